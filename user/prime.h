/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What no socket option can tell a leg: the round trip to its end. A repaired socket has none,
 * so its first retransmission timeout is 3 s and its first loss probe 1 s, where the end it
 * speaks for had learnt better long ago. A leg is therefore built one byte short of its
 * boundary (leg_build()), with that byte as sent but not acknowledged. It is then given the
 * acknowledgement, with timestamps that tell the round trip the tracker saw.
 */
#ifndef SEAM_PRIME_H
#define SEAM_PRIME_H

#include <stdbool.h>

#include "seam/flow.h"

/* Sockets in the inner namespace that send packets to the legs. */
struct primer {
	int fd4, fd6;
};

/* Opens the sockets; the thread is in the inner namespace. Negative errno. */
int primer_open(struct primer *p);
void primer_close(struct primer *p);

/* Whether the leg facing `end` can be told its round trip: it takes timestamps. */
bool prime_possible(const struct flow *f, enum seam_end end);

/*
 * Acknowledges the byte before the boundary to the leg `fd` that faces `end`.
 * Negative errno.
 */
int prime_leg(const struct primer *p, int fd, const struct flow_key *key, const struct flow *f,
	      enum seam_end end);

#endif
