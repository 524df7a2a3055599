/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the kernel relay and the daemon tell each other of a leg. */
#ifndef SEAM_RELAY_H
#define SEAM_RELAY_H

#include "flow.h"

/* The value of the `relays` map, by the cookie of the leg that receives. */
struct relay {
	struct flow_key peer;	/* of the leg that sends, in `legs` */
	__u32 nxt;		/* next sequence number to pass on */
	__u8 begun;		/* `nxt` is valid */
	__u8 lost;		/* bytes could not be passed on */
	__u8 reserved[6];
	__u64 bytes;		/* passed on */
	__u64 cut;		/* not passed on, because they had been before */
};

_Static_assert(sizeof(struct relay) == 64, "no holes");

#endif
