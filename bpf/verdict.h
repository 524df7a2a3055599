/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is decided about a packet under its flow's lock, and done after that. */
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
	TO_RST,		/* answered with a RST; if rst_fwd, one goes on too */
};

/* Fields of a packet to an end that may differ from what its sender wrote. */
struct told {
	__u32 seq, ack, tsval, tsecr;
	__u16 wnd;
};

struct verdict {
	__u32 where;	/* enum where */
	__u32 ifindex;	/* port of the sender, for routing */
	__u32 flags;	/* of the flow */
	__u32 rst_seq;	/* of the RST that goes on */
	__u32 leg_seq, leg_ack; /* clamp: as the leg gets it */
	__u32 keep;	/* part, cut: payload bytes to keep, those before the boundary */
	__u32 sack;	/* edited: what must be added to SACK blocks, ... */
	__u32 sack_min;	/* ... and where blocks begin that mean something to the other end */
	struct told told;
	__u8 why;	/* counted */
	bool rst_fwd;	/* a RST goes on to the receiver as well */
	bool tell;	/* TO_WIRE: with the fields of `told` */
	bool strip;	/* and without SACK blocks */
	bool bare;	/* and without payload and FIN */
	bool update;	/* TO_LEG: a copy of this bare ack goes on, with those fields */
	bool part;	/* TO_HOLD: `keep` payload bytes of it go on, with those fields */
	bool leg_copy;	/* TO_WIRE: its ack goes to the leg too, without payload */
	bool clamp;	/* for the leg, with leg_seq and leg_ack */
	bool cut;	/* and with `keep` bytes of its payload */
	bool edited;	/* the two ends number their bytes differently */
};

/* What seam_leg_out() does to a leg's packet. */
struct out {
	bool drop, rst, cut, other_ack;
	__u8 why;
	__u8 flags, tos;
	struct told told;
	__u32 flow_label;
	__u32 ifindex;
	__u32 flow_flags;
};

/* An ICMP error, in words in network order; IPv4 uses less of `ip` and `quoted`. */
struct too_big {
	__u32 ip[10];
	__u32 icmp[2];
	__u32 quoted[12];
};

#endif
