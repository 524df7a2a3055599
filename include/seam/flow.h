/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a flow is: the key and value of the `flows` map, shared by the BPF
 * programs, the daemon and the command line. Sequence numbers, windows and
 * timestamps are in host byte order; addresses and ports in network order.
 */
#ifndef SEAM_FLOW_H
#define SEAM_FLOW_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#include <linux/bpf.h>
#endif

#include "reason.h"
#include "rule.h"

/* Changes whenever the layout of a pinned map does; see docs/architecture.md. */
#define SEAM_ABI 13

/* Default for the bytes of one direction of a split flow that its legs take charge of. */
#define SEAM_BACKLOG (32U << 20)

/* Who sent a packet, and so which way it goes: up is client to server. */
enum seam_dir {
	SEAM_UP = 0,
	SEAM_DOWN = 1,
};

/* An end of a connection. The sender in direction d is end d. */
enum seam_end {
	SEAM_CLIENT = 0,
	SEAM_SERVER = 1,
};

/*
 * A connection, in client-to-server order: the client sent the SYN. IPv4 addresses are mapped into
 * IPv6 (::ffff:a.b.c.d). Keys of the `legs` map follow the packets steered to the leg: the client
 * leg has the flow's own key, the server leg the reversed one.
 */
struct flow_key {
	__u32 client[4];
	__u32 server[4];
	__u16 client_port;
	__u16 server_port;
};

enum flow_state {
	FLOW_NONE = 0,
	FLOW_HANDSHAKE,	 /* SYN seen; lives in the `embryos` map */
	FLOW_MONITORED,	 /* established, watched; packets leave as they came */
	FLOW_HELD,	 /* payload is held until a verdict */
	FLOW_SPLITTING,	 /* boundary frozen, legs under construction */
	FLOW_SPLIT,	 /* two control loops, bytes moved by the daemon */
	FLOW_RELAYED,	 /* two control loops, bytes moved by sockmap */
	FLOW_MERGING,	 /* merge requested: waits for `reason` (FLOW_F_WAITS), or crosses the
			  * boundaries */
	FLOW_MERGED,	 /* one control loop again */
	FLOW_PASSED,	 /* let go by policy; never inspected again */
	FLOW_BLOCKED,	 /* packets are dropped or answered with RST */
	FLOW_CLOSING,	 /* FIN in both directions, or RST */
	FLOW_STATE_MAX,
};

/* flow.flags */
#define FLOW_F_BYPASS	 (1U << 0)  /* the host's stack has not seen all its packets */
#define FLOW_F_WANT_UP	 (1U << 1)  /* hold the client's first payload */
#define FLOW_F_WANT_DOWN (1U << 2)  /* hold the server's first payload */
#define FLOW_F_RELEASE	 (1U << 3)  /* verdict pass: held until the hold queue is empty */
#define FLOW_F_TSTAMP	 (1U << 4)  /* timestamps negotiated */
#define FLOW_F_SACK	 (1U << 5)  /* SACK permitted by both ends */
#define FLOW_F_WSCALE	 (1U << 6)  /* window scaling negotiated */
#define FLOW_F_ECN	 (1U << 7)  /* RFC 3168 ECN negotiated */
#define FLOW_F_IPV4	 (1U << 8)
#define FLOW_F_NO_SPLIT	 (1U << 9)  /* must not be split; `why_not` says why */
#define FLOW_F_BLOCK_RST (1U << 10) /* blocked: answer with RST instead of silence */
#define FLOW_F_INSPECT	 (1U << 11) /* the SYN already decided: inspect */
#define FLOW_F_FAIL_BLOCK (1U << 12) /* the rule's fail answer is block, else pass */
#define FLOW_F_RST_BOTH	 (1U << 13) /* blocked: next packet also triggers a RST to its receiver */
#define FLOW_F_TSDELTA	 (1U << 14) /* a timestamp delta is set */
#define FLOW_F_HISTORY	 (1U << 15) /* its transitions go to the `history` map */
#define FLOW_F_ABORTED	 (1U << 16) /* its legs died: their FIN and RST become RST */
#define FLOW_F_TSCATCHUP (1U << 17) /* merged: an end's clock still lags what its leg told */
#define FLOW_F_CLOSED	 (1U << 18) /* closing: legs closed it; the ends owe each other nothing */
#define FLOW_F_LEGS	 (1U << 19) /* splitting: the legs stand */
#define FLOW_F_CLIENT_FAR (1U << 20) /* the client is on the servers' side, ... */
#define FLOW_F_SERVER_FAR (1U << 21) /* ... the server on the clients' side */
#define FLOW_F_EDITED	 (1U << 22) /* bytes were changed: seq_delta and seq_pos are in use */
#define FLOW_F_WAITS	 (1U << 23) /* merging: not begun, acts as while split; `reason` says why */
#define FLOW_F_ARMED	 (1U << 24) /* monitored, merged: to be split when `after` says */
#define FLOW_F_AGAIN	 (1U << 25) /* and again after the merge */
#define FLOW_F_ANSWERED	 (1U << 26) /* armed: the client's next payload begins a turn */
#define FLOW_F_SOCKMAP	 (1U << 27) /* the kernel relay may move bytes between its legs */
#define FLOW_F_BY_NAME	 (1U << 28) /* the kernel may settle it by a name in its first payload */
#define FLOW_F_EXACT	 (1U << 29) /* retransmissions cannot replace bytes that legs received */
#define FLOW_F_QUEUED_UP (1U << 30) /* the client's packets have been in the hold queue, ... */
#define FLOW_F_QUEUED_DOWN (1U << 31) /* ... the server's */

/* flow_end.flags */
#define END_F_FIN	 (1U << 0)  /* sent FIN, at `fin` */
#define END_F_FIN_ACKED	 (1U << 1)  /* and the other end (or its leg) acknowledged it */
#define END_F_RST	 (1U << 2)  /* sent a RST */
#define END_F_RST_OK	 (1U << 3)  /* a RST to this end is allowed */
#define END_F_ASTRAY	 (1U << 4)  /* by what the box saw, the other end would not accept its
				     * last packet */
#define END_F_CE	 (1U << 5)  /* split: CE seen from this end, echo it */
#define END_F_CWR	 (1U << 6)  /* split: answer this end's ECE with CWR once */
#define END_F_DATA	 (1U << 7)  /* has sent payload */
#define END_F_URG	 (1U << 8)  /* has sent urgent data */
#define END_F_CLAMPED	 (1U << 9)  /* split: told less window than its leg offers, limited by
				     * the other end */
#define END_F_RST_SENT	 (1U << 10) /* a RST was sent to this end */
#define END_F_ASKED	 (1U << 11) /* closed: retransmitted, or sent a SYN, and awaits an ack */
#define END_F_ANNOUNCE	 (1U << 12) /* its leg is asked for its window, and says it by a probe */
#define END_F_URG_OUT	 (1U << 13) /* urgent data, up to `urg`, that the other end itself has
				     * not acknowledged */
#define END_F_PACED	 (1U << 14) /* merging: its leg acknowledges no further than `pace`; the
				     * other end may */
#define END_F_LEARNS	 (1U << 15) /* merging, waits: paced until it knows how far away the
				     * other end is */

/*
 * On a wire: the link header of an end's frames, and of packets that are made in its name. A tag
 * is its ethertype << 16 | its TCI, 0: there is none.
 */
struct seam_link {
	__u8 mac[12];	  /* destination, source */
	__u32 tag[2];	  /* VLAN tags, the outer one first */
};

/*
 * The value of the `links` map, by flow id: the link header of each end's last frame. In a map of
 * its own: inside struct flow it would push a hash element beyond the allocator's 512-byte size
 * class.
 */
struct seam_links {
	struct seam_link end[2];
};

/* The bits of a tag that identify its VLAN; without the priority, which may change. */
#define LINK_VLAN 0xffff0fffU
#define LINK_VID 0xfffU

/*
 * One end of a flow as the box sees it. The first group is what the end itself sent; `told_*` is
 * what was sent to it while the flow is split, when that is not simply what the other end sent.
 * All numbers are in the end's own view: the numbers it sends, and those it received and
 * acknowledges. The two views of one stream differ by the sender's `seq_delta`.
 */
struct flow_end {
	__u32 nxt;	  /* end of the highest sequence let through or steered */
	__u32 ack;	  /* highest acknowledgement it sent */
	__u32 edge;	  /* highest right edge of its window: ack + window */
	__u32 tsval;	  /* last TSval it sent */
	__u32 told_nxt;	  /* end of the highest sequence sent to it */
	__u32 told_ack;	  /* highest acknowledgement sent to it */
	__u32 told_edge;  /* highest right edge sent to it */
	__u32 told_tsval; /* highest TSval sent to it */
	__u32 bound;	  /* splitting, merging: where custody of what it sends changes hands */
	__u32 leg_ack;	  /* highest acknowledgement of the leg that faces it, told or not */
	__u32 leg_edge;	  /* highest right edge of that leg's window, told or not */
	__u32 leg_nxt;	  /* end of the highest sequence that leg has sent */
	__u32 ts_delta;	  /* merged: added to this end's TSval (signed) */
	__u32 seq_delta;  /* added to its sequence numbers: the other end's view (signed) */
	__u32 seq_pos;	  /* edited: payload before this was replaced and never goes on */
	__u32 flight;	  /* recent maximum of its bytes in flight beyond the box */
	__u32 backlog_max; /* maximum of its bytes in the custody of legs */
	__u32 fin;	  /* sequence number of its FIN */
	__u32 isn;
	__u32 rtt_us;	  /* between it and the box, from the handshake */
	__u32 free_tsval; /* last TSval it sent before any held packet */
	__u32 tsval0;	  /* its first TSval, ... */
	__u64 tsval0_ns;  /* ... and when it was seen */
	__u64 tsval_ns;	  /* when tsval was seen */
	__u32 ifindex;	  /* the port its packets come in on */
	__u32 flow_label; /* IPv6, network order, 20 bits */
	__u16 mss;	  /* announced; 0 if it was not */
	__u16 seg_max;	  /* largest segment payload seen from it */
	__u16 flags;	  /* END_F_* */
	__u16 keepalive_s; /* idle time before its keepalive probe, at least 1; 0: none sent */
	__u8 wscale;
	__u8 ttl;	  /* as it arrived on the box */
	__u8 tos;	  /* TOS or traffic class of its last packet, without ECN */
	__u8 ttl0;	  /* of its SYN */
	__u32 urg;	  /* end of the last segment with urgent data */
	__u32 pace;	  /* END_F_PACED: its leg acknowledges no further */
	__u32 left_ack;	  /* ack of the last packet that XDP left to TC */
	__u64 packets;
	__u64 bytes;	  /* payload bytes, retransmissions included */
};

/* The value of the `flows` map: the shared state of one flow. */
struct flow {
	struct bpf_spin_lock lock;
	__u8 state;	   /* enum flow_state */
	__u8 reason;	   /* enum seam_reason of the last transition */
	__u8 why_not;	   /* enum seam_reason: why it cannot be split */
	__u8 release;	   /* enum seam_reason of the release (FLOW_F_RELEASE) or the merge */
	__u32 flags;	   /* FLOW_F_* */
	__u16 rule;	   /* number of the deciding rule, from 1; 0: default */
	__u16 policy;	   /* generation of the policy that decided */
	__u64 id;
	__u64 created_ns;  /* CLOCK_MONOTONIC, as all times here */
	__u64 changed_ns;  /* last transition */
	__u64 seen_ns;	   /* last packet, to half a second */
	__u64 data_ns;	   /* last packet with payload */
	__u64 released_ns; /* last packet that left the hold queue */
	__u32 tc_at[2];	   /* by end: left_at() of the last packet left to TC; 0: XDP has had
			    * them since */
	__u32 held_in;	   /* packets put into the hold queue */
	__u32 held_out;	   /* packets that came back out of it */
	__u32 held_bytes;
	__u16 leg_ms[2];   /* by end: when its leg last sent new data, low bits; 0: none since it
			    * last repaired a loss */
	struct flow_end end[2];
	__u64 after_bytes; /* FLOW_F_ARMED: as in struct seam_after */
	__u32 after_ms;
	__u16 after_request;
	__u16 held_since;  /* hold_clock() when the hold queue last began to let packets out */
	__u64 due_bytes;   /* bytes of both ends at which it is split; ~0: not by that */
};

#define DUE_NEVER (~0ULL)

/* The end-to-end round trip measured in the handshake, in microseconds. */
static inline __attribute__((always_inline)) __u32 flow_rtt_us(const struct flow *f)
{
	return f->end[SEAM_CLIENT].rtt_us + f->end[SEAM_SERVER].rtt_us;
}

/*
 * A connection from its SYN to the end of its handshake: the value of the `embryos` map, an LRU of
 * its own so that a SYN flood evicts only other embryos.
 */
struct embryo_end {
	__u32 isn;
	__u32 nxt;
	__u32 ack;
	__u32 wnd;	  /* bytes, never scaled */
	__u32 tsval;
	__u32 ifindex;
	__u32 flow_label;
	__u16 mss;
	__u8 wscale;
	__u8 opts;	  /* EMBRYO_O_* */
	__u8 ttl;
	__u8 tos;
	__u8 tcp_flags;
	__u8 ae;	  /* AccECN's AE bit */
	__u64 seen_ns;
	__u64 tsval_ns;	  /* when tsval, of the last copy of its SYN, was seen */
	struct seam_link link; /* on a wire: of its SYN */
	__u32 reserved;
};

#define EMBRYO_O_WSCALE (1U << 0)
#define EMBRYO_O_SACK	(1U << 1)
#define EMBRYO_O_TSTAMP (1U << 2)
#define EMBRYO_O_MPTCP	(1U << 3)
#define EMBRYO_O_AUTH	(1U << 4) /* TCP-MD5 or TCP-AO */
#define EMBRYO_O_OTHER	(1U << 5) /* an option Seam cannot carry */
#define EMBRYO_O_BAD	(1U << 6) /* malformed options */

/*
 * This long, in ns, after a SYN was last sent nobody waits for the answer: Linux sends it again
 * after at most 64 s, and its SYN cookies hold for 120.
 */
#define EMBRYO_LIFE 130000000000ULL

struct embryo {
	__u64 id;
	__u64 created_ns;
	__u32 flags;	  /* FLOW_F_* the flow will start with */
	__u16 rule;
	__u16 policy;
	__u8 action;	  /* enum rule_action decided at the SYN */
	__u8 why_not;	  /* enum seam_reason */
	__u8 rule_flags;  /* RULE_F_* of that rule */
	__u8 by_name;	  /* the flow will start with FLOW_F_BY_NAME */
	__u8 let_by;	  /* its handshake was completed, but there was no room for a flow */
	__u8 reserved[3];
	struct embryo_end end[2];
	struct seam_after after; /* RULE_F_AFTER */
};

#endif
