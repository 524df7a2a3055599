/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records the kernel side keeps for people and for the daemon: the `events`
 * ring buffer and the `history` map.
 */
#ifndef SEAM_EVENT_H
#define SEAM_EVENT_H

#include "flow.h"

enum seam_event_type {
	EVENT_STATE = 1, /* a transition */
	EVENT_KEEPALIVE, /* an end of a split flow sends keepalive probes */
};

/* The value of the `holds` map: the timer of a held flow. */
struct hold {
	struct bpf_timer timer;
	__u64 id;
};

struct seam_event {
	__u64 time_ns;
	__u64 data_ns;
	__u64 id;
	struct flow_key key;
	__u32 type;	  /* enum seam_event_type */
	__u8 from, to;	  /* enum flow_state */
	__u8 reason;	  /* enum seam_reason */
	__u8 end;	  /* EVENT_KEEPALIVE: which end */
	__u16 rule;
	__u16 policy;
	__u32 nxt[2];	  /* tracker at the transition, by enum seam_end */
	__u32 ack[2];
	__u32 seq_delta[2];
	__u32 held;	  /* packets that have been put into the hold queue */
	__u32 reserved;
	__u64 packets[2];
	__u64 bytes[2];
};

/* One step in the life of a flow. */
struct transition {
	__u64 time_ns;
	__u64 data_ns;	  /* arrival of the last payload before it, 0: none */
	__u8 from, to, reason, reserved;
	__u32 nxt[2];	  /* highest sequence let through, by sender; the boundary if this
			   * transition sets one */
	__u32 ack[2];	  /* highest acknowledgement, by sender */
	__u32 seq_delta[2]; /* of what each end sends */
	__u32 held;	  /* packets that have been put into the hold queue so far */
};

#define HISTORY_MAX 16

/* The value of the `history` map, keyed by flow id: the last transitions of a
 * flow that was ever held, split or blocked. */
struct history {
	__u32 count;	  /* transitions so far; at[count % HISTORY_MAX] is next */
	__u32 reserved;
	struct transition at[HISTORY_MAX];
};

/* The value of the one-entry `control` map, shared with the daemon by mmap. */
struct control {
	__u64 heartbeat_ns; /* daemon: CLOCK_MONOTONIC of its last turn */
	__u32 abi;	    /* SEAM_ABI of whoever made the maps */
	__u32 draining;	    /* daemon is stopping: track nothing new */
	__u32 verbose;	    /* someone monitors: report every transition */
	__u32 tap_ifindex;  /* hold device, 0 if there is none */
	__u32 veth_ifindex; /* host end of the pair into the inner namespace */
	__u32 policy;	    /* generation of the policy in force */
	__u32 patience_ms;  /* a heartbeat older than this: the daemon is gone */
	__u32 hold_bytes;   /* payload one flow may have in the hold queue */
	__u32 hold_max_us;  /* longest hold, whatever the round trip */
	__u32 mode;	    /* enum seam_mode */
	__u64 netns;	    /* cookie of the ports' network namespace, 0: unknown */
	__u32 fail_block;   /* some rule that flows may wait for has the fail answer block */
	__u32 block_untracked; /* drop packets of connections that are not tracked */
};

/* How packets that need no treatment leave the box. */
enum seam_mode {
	MODE_ROUTE = 0,	    /* as the host would forward them */
	MODE_WIRE,	    /* through the other port of the wire, unchanged */
};

/* The value of the `ports` map, keyed by ifindex. */
struct port {
	__u32 end;	    /* enum seam_end: which end it faces */
	__u32 xdp;	    /* enum port_xdp */
	__u8 mac[6];	    /* its own, when Seam attached or heard of another */
	__u16 our_qdisc;    /* the clsact qdisc is ours to remove */
	__u32 partner;	    /* ifindex of the other port of the wire, 0: none */
	__u32 undo;	    /* PORT_UNDO_* */
};

/* port.undo: what Seam changed on an interface that became a port of a wire. */
#define PORT_UNDO_UP	  (1U << 0) /* it was down */
#define PORT_UNDO_PROMISC (1U << 1) /* it was not promiscuous */
#define PORT_UNDO_IPV6	  (1U << 2) /* IPv6 was on */
#define PORT_UNDO_LRO	  (1U << 3) /* large receive offload was on */
#define PORT_UNDO_MIRROR  (1U << 4) /* it is down because its partner has no link */

enum port_xdp {
	PORT_XDP_OFF = 0,
	PORT_XDP_NATIVE,
	PORT_XDP_GENERIC,
};

#endif
