/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The value of the `hops` map: recent next hops, by flow and sender, because bpf_fib_lookup()
 * costs more than all the rest of the fast path. An answer is valid for one tick of the clock, so
 * that a change of route, neighbour or link is seen as soon as a queue on the way would let it be.
 */
#ifndef SEAM_HOP_H
#define SEAM_HOP_H

struct hop {
	__u64 whose;	/* flow id * 2 + sender; its low bits are the slot */
	__u64 now;	/* when it was looked up; good enough for the whole tick */
	__u64 used_ns;	/* when TC last told the kernel that the neighbour is in use */
	__u32 tick;
	__u32 from;	/* port the packet came in on */
	__u32 flow_label;
	__u8 tos;
	__u8 reserved[3];
	__u32 mac[3];	/* of the next frame, as they are there */
	__u32 to[2];	/* of the port, likewise; HOP_TO in the second if it is known */
	struct bpf_redir_neigh nh;
	struct bpf_fib_lookup fib; /* the answer; here, because the stack is small */
};

#define HOP_TO (1U << 16)
#define HOPS 256 /* a power of 2 */

#endif
