/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tracker: what is learnt from each packet of a flow, per end. */
#ifndef SEAM_BPF_TRACK_H
#define SEAM_BPF_TRACK_H

#include "parse.h"
#include "transition.h"

/*
 * How far beyond the receiver's window data may reach and still be believed: a zero-window probe,
 * a rounded window.
 */
#define TRACK_SLACK 16384

/* How fresh seen_ns is at least, to leave the cache line alone. */
#define SEEN_GRAIN (NSEC_PER_SEC / 2)

/* The kernel's tick counter; it costs next to nothing to read. */
static __always_inline __u32 tick(void)
{
	return bpf_jiffies64();
}

/* The key of the packet's flow if `end` has sent the packet. */
static __always_inline void key_of(struct flow_key *key, const struct pkt *p, enum seam_end end)
{
	if (end == SEAM_CLIENT) {
		*key = p->key;
		return;
	}
	__builtin_memcpy(key->client, p->key.server, 16);
	__builtin_memcpy(key->server, p->key.client, 16);
	key->client_port = p->key.server_port;
	key->server_port = p->key.client_port;
}

/*
 * Finds the flow of a packet and which end sent it. `likely` is the end that
 * the port faces: the order that is tried first.
 */
static __always_inline struct flow *flow_find(const struct pkt *p, struct flow_key *key,
					      enum seam_end likely, __u32 *end)
{
	struct flow *f;

	key_of(key, p, likely);
	*end = likely;
	f = bpf_map_lookup_elem(&flows, key);
	if (f)
		return f;
	key_of(key, p, !likely);
	*end = !likely;
	return bpf_map_lookup_elem(&flows, key);
}

/*
 * Whether a packet that claims to be from `end` came by a port of the side where this end was in
 * the handshake: anybody can write an address (BCP 38). Any other port of that side will do.
 */
static __always_inline bool right_side(const struct flow *f, __u32 end, enum seam_end side)
{
	__u32 far = end == SEAM_CLIENT ? FLOW_F_CLIENT_FAR : FLOW_F_SERVER_FAR;

	return (end == side) == !(f->flags & far);
}

/* The largest window that an end can announce (RFC 7323 2.2). */
static __always_inline __u32 window_max(const struct flow_end *e)
{
	return 0xffffU << e->wscale;
}

/* Whether what ends at `end` is within the window told to `me`. Lock held. */
static __always_inline bool within_window(const struct flow *f, const struct flow_end *me,
					  const struct flow_end *peer, __u32 end)
{
	__u32 edge = state_frozen(f->state) ? me->told_edge : seq_back(me, peer->edge);

	return !seq_after(end, edge + TRACK_SLACK);
}

/* The highest acknowledgement that `me` has been told. Lock held. */
static __always_inline __u32 acked(const struct flow *f, const struct flow_end *me,
				   const struct flow_end *peer)
{
	return state_frozen(f->state) ? me->told_ack : seq_back(me, peer->ack);
}

/* Whether a segment of `me` that begins at `seq` may contain something new. Lock held. */
static __always_inline bool may_be_new(const struct flow *f, const struct flow_end *me,
				       const struct flow_end *peer, __u32 seq)
{
	return !seq_before(seq, acked(f, me, peer) - 0xffff) && within_window(f, me, peer, seq);
}

/*
 * Whether a RST ends the connection. One that is merely in the window does not: its receiver
 * answers it with a challenge (RFC 5961 3.2). The receiver expects what it has acknowledged, or by
 * now the end of all that was sent. Lock held.
 */
static __always_inline bool rst_counts(const struct flow *f, const struct flow_end *me,
				       const struct flow_end *peer, const struct pkt *p)
{
	return p->seq == me->nxt || p->seq == acked(f, me, peer);
}

/*
 * How much of a packet is believed. Anybody who knows the addresses and ports can write a packet
 * in an end's name, but does not know its numbers, which its receiver checks as well.
 */
enum belief {
	FORGED = 0,  /* nothing: its receiver discards it */
	OTHER,	     /* a SYN, or a RST that may be genuine: judged by itself, not tracked */
	AHEAD,	     /* its payload: its ack is of what the box has not seen, but may have been
		      * sent */
	OLD,	     /* its payload: the receiver has had it, or has had a later ack */
	GENUINE,     /* and its acknowledgement, window, time, and headers */
};

/* Whether `seq` is outside [first, last]; one comparison, as the verifier walks each branch. */
static __always_inline bool seq_outside(__u32 seq, __u32 first, __u32 last)
{
	return seq - first > last - first;
}

/*
 * What is believed of a packet of `me` with ACK, and neither SYN nor RST (RFC 5961 5.2,
 * RFC 9293 3.10.7.4). The receiver answers a segment that ends before what it has acknowledged,
 * but looks no further at it; a probe with the number before it still counts here. Acks only grow,
 * and the time with them: a packet that says less than is known says nothing. `frozen`: its
 * receiver is a leg, or was told by one. Lock held.
 */
static __always_inline enum belief believe_ack(bool frozen, const struct flow_end *me,
					       const struct flow_end *peer, const struct pkt *p)
{
	__u32 has = frozen ? me->told_ack : seq_back(me, peer->ack);
	__u32 edge = frozen ? me->told_edge : seq_back(me, peer->edge);
	__u32 sent = frozen ? me->told_nxt : seq_across(peer, peer->nxt);
	/* The box has seen what it told. */
	__u32 may_have = frozen ? sent : me->edge + TRACK_SLACK;

	if (seq_outside(p->ack, me->ack - window_max(me), may_have) ||
	    seq_outside(p->end, has - window_max(peer), edge + TRACK_SLACK))
		return FORGED;
	if (seq_after(p->ack, sent))
		return AHEAD;
	return seq_before(p->ack, me->ack) || seq_before(p->end + 1, has) ? OLD : GENUINE;
}

/* The same for any packet. Lock held. */
static __always_inline enum belief believe(const struct flow *f, const struct flow_end *me,
					   const struct flow_end *peer, const struct pkt *p)
{
	if (p->flags & TCP_SYN)
		return OTHER;
	if (p->flags & TCP_RST)
		return !seq_before(p->seq, acked(f, me, peer)) && within_window(f, me, peer, p->seq) ? OTHER : FORGED;
	return p->flags & TCP_ACK ? believe_ack(state_frozen(f->state), me, peer, p) : FORGED;
}

/* Acknowledgement, window and timestamp of a packet from `me`. Lock held. */
static __always_inline void track_ack(struct flow_end *me, const struct pkt *p, enum belief belief,
				      __u64 now)
{
	__u32 edge = p->ack + ((__u32)p->wnd << me->wscale);

	if (belief != GENUINE)
		return;
	me->ack = p->ack;
	if (seq_after(edge, me->edge))
		me->edge = edge;
	/* The clock had this value when it was first seen: a held packet comes by twice. */
	if (p->ts && seq_after(p->tsval, me->tsval)) {
		me->tsval = p->tsval;
		me->tsval_ns = now;
	}
}

/*
 * How much was in flight beyond the box, from the packets of one control loop. What came in a
 * burst is seen only now and then. The maximum seen fades by the bytes sent since, which is by a
 * sixteenth each round trip. Lock held.
 */
static __always_inline void track_flight(struct flow_end *me, const struct flow_end *peer,
					 const struct pkt *p)
{
	__u32 flight = seq_across(me, me->nxt) - peer->ack, fade = p->len / 16;

	me->flight -= me->flight < fade ? me->flight : fade;
	if ((__s32)(flight - me->flight) > 0)
		me->flight = flight;
}

/*
 * No window is larger (RFC 7323 2.3), so what is this far behind is not sent again. Without this
 * limit the position of the last edit would be ahead of what is sent after 2 GiB.
 */
#define SEQ_POS_BEHIND (1U << 30)

/* Tracks payload and FIN, which move the end of what was let through. Lock held. */
static __always_inline void track_data(struct flow *f, struct flow_end *me,
				       const struct flow_end *peer, const struct pkt *p,
				       enum belief belief)
{
	if (belief < AHEAD || (!p->len && !(p->flags & TCP_FIN)))
		return;
	if (seq_after(p->end, me->nxt))
		me->nxt = p->end;
	if (!state_frozen(f->state)) {
		track_flight(me, peer, p);
		if (me->nxt - me->seq_pos > SEQ_POS_BEHIND)
			me->seq_pos = me->nxt - SEQ_POS_BEHIND;
	}
	if ((me->flags & END_F_URG_OUT) && !seq_before(peer->ack, seq_across(me, me->urg)))
		me->flags &= ~END_F_URG_OUT;
	if (p->flags & TCP_URG) {
		me->urg = me->flags & END_F_URG_OUT ? seq_max(me->urg, p->end) : p->end;
		me->flags |= END_F_URG_OUT;
	}
	/* Nothing comes after a FIN: a FIN that does not come last is not from this end. */
	if ((p->flags & TCP_FIN) && p->end == me->nxt) {
		me->fin = p->end - 1;
		me->flags |= END_F_FIN;
	}
}

/*
 * What a packet says about its sender, whatever becomes of it. A forged packet that is forwarded
 * as it came counts as traffic, but not as bytes that a rule waits for. Lock held.
 */
static __always_inline void track_sender(struct flow *f, struct flow_end *me, const struct pkt *p,
					 enum belief belief, __u32 seg, __u32 ifindex, __u64 now)
{
	me->packets++;
	if (belief != FORGED || !(f->flags & FLOW_F_ARMED))
		me->bytes += p->len;
	if ((__s64)(now - f->seen_ns) > (__s64)SEEN_GRAIN && (belief != FORGED || !state_frozen(f->state)))
		f->seen_ns = now;
	/* Nothing is known of a server whose SYN-ACK was not noted. */
	if (belief == GENUINE || !me->ifindex) {
		me->ttl = p->ttl;
		me->tos = p->tos & ~3;
		me->flow_label = p->flow_label;
		me->ifindex = ifindex;
	}
	if (belief == OTHER)
		return;
	if (belief >= OLD)
		me->flags &= ~END_F_ASTRAY;
	else
		me->flags |= END_F_ASTRAY;
	if (belief == FORGED)
		return;
	if (seg > me->seg_max)
		me->seg_max = seg > 0xffff ? 0xffff : seg;
	if (p->len) {
		me->flags |= END_F_DATA;
		f->data_ns = now;
	}
	if (p->flags & TCP_URG)
		me->flags |= END_F_URG;
}

#endif
