/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is decided about a packet under its flow's lock, and done after it. */
#ifndef SEAM_BPF_VERDICT_H
#define SEAM_BPF_VERDICT_H

#include "common.h"

/* Where a packet is to go. */
enum where {
	TO_STACK = 0,	/* the normal way on */
	TO_WIRE,	/* forwarded from here */
	TO_HOLD,	/* into the hold queue */
	TO_LEG,		/* to the leg that faces its sender */
	TO_DROP,
	TO_RST,		/* answered with a RST; and if rst_fwd, one goes on too */
};

/* What must be added to a merged flow's packet. */
struct deltas {
	__u32 tsval, tsecr;
};

struct verdict {
	__u32 where;	/* enum where */
	__u32 ifindex;	/* port of the sender, for routing */
	__u32 flags;	/* of the flow */
	struct deltas deltas;
	__u32 seq;	/* of that RST, or of the window update */
	__u32 ack, tsval, tsecr;
	__u16 wnd;	/* of the window update, as are these */
	__u8 why;	/* counted */
	bool rst_fwd;	/* a RST goes on to the receiver as well */
	bool update;	/* the sender's window opened: tell the other end */
};

#endif
