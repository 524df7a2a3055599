/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Before a merge: the sender near the box has timers for the round trip to its leg.
 * Where the other end is much farther, it would give the first segments that go
 * straight up for lost. So the acknowledgements that it is told are held back, each
 * a little longer than the one before, until its timers would wait for the other
 * end's own.
 */
#ifndef SEAM_PACE_H
#define SEAM_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "seam/flow.h"

/* What a sender makes of its round trips, in microseconds (RFC 6298 2). */
struct pace_rtt {
	uint32_t srtt, var; /* var: four times the variation */
};

/* Takes a measurement. */
void pace_measured(struct pace_rtt *r, uint32_t rtt);
/* Its retransmission timeout, at least. */
uint32_t pace_rto(const struct pace_rtt *r);
/* Whether its timers would wait for an acknowledgement from so far away. */
bool pace_enough(const struct pace_rtt *r, uint32_t far);

/* The state of a flow's pacing. */
struct pace {
	struct pace *next;	  /* of those that are paced */
	struct conn *conn;
	struct pace_rtt rtt;
	uint32_t far;		  /* round trip to the other end, microseconds */
	enum seam_end end;	  /* who is paced */
	bool on;
	uint64_t began_ns;
	uint64_t since_ns;	  /* what is not acknowledged to it up to `upto` was sent before, 0: nothing is */
	uint32_t upto;
	uint64_t due_ns;	  /* next step */
};

#endif
