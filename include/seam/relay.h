/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the kernel relay and the daemon tell each other about a leg. */
#ifndef SEAM_RELAY_H
#define SEAM_RELAY_H

#include "flow.h"

/* The value of the `relays` map, by the cookie of the receiving leg. */
struct relay {
	struct flow_key peer;	/* key in `legs` of the sending leg */
	__u32 nxt;		/* next sequence number to pass on */
	__u8 begun;		/* `nxt` is valid */
	__u8 lost;		/* bytes could not be passed on */
	__u8 reserved[6];
	__u64 bytes;		/* passed on */
	__u64 cut;		/* skipped, because already passed on */
};

_Static_assert(sizeof(struct relay) == 64, "no holes");

#endif
