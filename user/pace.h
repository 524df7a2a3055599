/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * At a merge: the sender near the box has timers for the round trip to its leg. Where
 * the other end is much farther, it would give the first segments that go straight up
 * for lost. So what its leg acknowledges is held back, a little longer each time, until
 * it comes as late as the other end's own acknowledgements will. Then the merge begins,
 * and what is still held back comes out in the meantime: the sender hears of its bytes
 * one way or the other all along.
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

#define PACE_LINE 128

/* The state of a flow's pacing. Times are microseconds. */
struct pace {
	struct pace *next;	  /* of those that are paced */
	struct conn *conn;
	struct pace_rtt rtt;	  /* what the sender makes of it */
	uint32_t near, far;	  /* round trips: of its leg, and of the other end's */
	uint32_t hold;		  /* how long an acknowledgement is held back */
	enum seam_end end;	  /* who is paced */
	bool on, learnt;	  /* learnt: the merge waits for it no longer */
	uint64_t began_us, told_us;
	unsigned int first, n;	  /* of the line */
	/* What its leg has acknowledged, and when, from the oldest on. Own memory. */
	struct pace_ack {
		uint64_t at_us;
		uint32_t ack;
	} *line;
};

#endif
