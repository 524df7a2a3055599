/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A leg: a kernel socket that stands in for the far end of a connection that
 * was established without it. Called from within the inner namespace.
 */
#ifndef SEAM_LEG_H
#define SEAM_LEG_H

#include "seam/flow.h"

/*
 * What is left after `nxt` of a window up to `edge`. A probe of a shut window, or a FIN, may be
 * beyond it.
 */
static inline __u32 leg_room(__u32 edge, __u32 nxt)
{
	return (__s32)(edge - nxt) > 0 ? edge - nxt : 0;
}

struct leg_options {
	const char *congestion;	/* TCP_CONGESTION, "" for the system's */
	int mtu;		/* of the port it sends through; 0 unknown */
	unsigned int lowat;	/* bytes that may wait unsent in it */
};

/* Whether legs can have this TCP_CONGESTION. Negative errno and, in words, `why`. */
int leg_congestion(const char *name, char *why, size_t len);

/*
 * Builds the leg that faces `end` of the flow and speaks for the other end, from the flow's
 * state at the boundary. It is established, stays silent until leg_speak(), and sends only what
 * is written to it. Returns its descriptor, or a negative errno.
 */
int leg_build(const struct flow_key *key, const struct flow *f, enum seam_end end,
	      const struct leg_options *opt);

/* Makes it probe its end after `idle_s` seconds of silence. */
int leg_keepalive(int fd, unsigned int idle_s);

/* Bytes of kernel memory that its queues take. */
unsigned int leg_memory(int fd);

/*
 * Lets it speak, and makes it tell its window at once to an end that may wait for one. It does
 * so by a probe, which seam_leg_out turns into a bare ack (END_F_ANNOUNCE). Can be repeated.
 */
void leg_speak(int fd);

/* Makes it vanish without FIN or RST, whatever is queued in it. Closes fd. */
void leg_vanish(int fd);

/* Ends it with a RST. Closes fd. */
void leg_reset(int fd);

#endif
