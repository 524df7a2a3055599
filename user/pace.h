/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * At a merge the sender near the box has timers for the round trip to its leg. Where the other
 * end is much farther, the sender would take the first segments that go straight for lost. So
 * the box holds back what the leg acknowledges, a little longer each time, until
 * acknowledgements come as late as the other end's own will. Then the merge begins, and what is
 * still held back comes out in the meantime: the sender hears of its bytes one way or the other
 * all along.
 */
#ifndef SEAM_PACE_H
#define SEAM_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "seam/flow.h"

/* A sender's estimates of its round trip, in microseconds (RFC 6298 2). */
struct pace_rtt {
	uint32_t srtt, var; /* var: four times the variation */
};

/* Takes a measurement. */
void pace_measured(struct pace_rtt *r, uint32_t rtt);
/* The least its retransmission timeout can be. */
uint32_t pace_rto(const struct pace_rtt *r);
/* Whether its timers would wait for an acknowledgement from as far away as `far`. */
bool pace_enough(const struct pace_rtt *r, uint32_t far);

#define PACE_LINE 128

/* The state of a flow's pacing. Times are microseconds. */
struct pace {
	struct pace *next;	  /* in the list of paced ones */
	struct conn *conn;
	struct pace_rtt rtt;	  /* the sender's estimates */
	uint32_t near, far;	  /* round trips of its leg and of the other end's leg */
	uint32_t hold;		  /* how long an acknowledgement is held back */
	enum seam_end end;	  /* the end that is paced */
	bool on, learnt;	  /* learnt: the merge no longer waits for it */
	uint64_t began_us, told_us;
	unsigned int first, n;	  /* of `line` */
	/* What its leg has acknowledged and when, oldest first. Own memory. */
	struct pace_ack {
		uint64_t at_us;
		uint32_t ack;
	} *line;
};

#endif
