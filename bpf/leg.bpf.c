// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The veth pair between the host and the inner namespace. Inner end: packets find their leg. Host
 * end: a leg's packets are made what the end it speaks for would have sent, and nothing leaves
 * that the flow does not authorise.
 */
#include "packet.h"

SEC("tc")
int seam_leg_in(struct __sk_buff *ctx)
{
	struct room *room = room_get();
	enum parse_result what;
	struct bpf_sock *sk;
	struct pkt *p;
	long err;

	if (!room)
		return TC_ACT_SHOT;
	p = &room->pkt;
	/* Before 6.15 bpf_redirect_peer() leaves the packet type as the port set it. */
	bpf_skb_change_type(ctx, PACKET_HOST);
	what = parse_skb(ctx, p);
	if (what == PARSE_ICMP)
		return TC_ACT_OK;
	if (what != PARSE_TCP)
		return TC_ACT_SHOT;
	sk = bpf_map_lookup_elem(&legs, &p->key);
	if (!sk) {
		count(SEAM_R_NO_LEG);
		return TC_ACT_SHOT;
	}
	err = bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	if (err) {
		count(SEAM_R_NO_LEG);
		return TC_ACT_SHOT;
	}
	return TC_ACT_OK;
}

/*
 * Whether a leg's packet must not get to its end: a bare ack while it is not yet, or no longer,
 * the leg's turn to acknowledge, or data that the end has in full, and has said so past the leg.
 * What was in it is remembered. But the leg may be asking for a window (RFC 9293 3.8.6.1), which
 * nobody else will. While splitting, all that a leg may have from before its boundary is the byte
 * that prime_leg() acknowledges.
 */
static __always_inline bool silent(const struct flow *f, const struct flow_end *to,
				   const struct flow_end *from, const struct pkt *p, bool bare)
{
	if (f->state == FLOW_SPLITTING)
		return bare ? !crossed(to, from) : seq_before(p->seq, seq_across(from, from->bound));
	if (merge_begun(f) && !bare)
		return crossed(from, to);
	if (merge_begun(f) && crossed(to, from))
		return !news(f, to, from) && !untold(f, to, from) &&
		       (crossed(from, to) || !seq_before(p->seq, to->leg_nxt));
	/* If nothing is held back, the ack answers something: what was told may be lost. */
	return paced(to) && bare && seq_after(p->ack, to->told_ack) && !news(f, to, from) &&
	       !untold(f, to, from);
}

/* The shortest retransmission timeout, in milliseconds (TCP_RTO_MIN of Linux). */
#define LEG_RTO_MIN 200

/*
 * Whether a packet of a leg is a probe for the loss of its last segment whose payload its end
 * should not see. The probe is sent after two round trips (RFC 8985 7.2), but a receiver that does
 * not read acknowledges later than that. If a leg is much nearer to its end than the other leg is
 * to its own, it probes too soon, where the other end, whose round trip is the whole way, would
 * have waited. If the last segment is sent again while others before it are not acknowledged, and
 * before any other retransmission, it can only be a probe: repairs begin with the first. Without
 * the probe a lost segment is sent again after a timeout, no later than twice the time after which
 * the other end would have probed. If the other end is nearer than that, a leg may probe as it
 * likes. Lock held.
 */
static __always_inline bool early_probe(const struct flow *f, const struct flow_end *to,
					const struct flow_end *from, const struct pkt *p,
					__u16 *sent, __u64 now)
{
	__u32 patience = 2 * flow_rtt_us(f) / 1000;
	__u16 ms = now / NSEC_PER_MSEC | 1; /* 0 means something */

	if (seq_after(p->end, to->leg_nxt)) {
		*sent = ms;
		return false;
	}
	if (p->end != to->leg_nxt)
		*sent = 0;
	return *sent && seq_after(p->seq, to->ack) && to->rtt_us < from->rtt_us / 4 &&
	       patience >= LEG_RTO_MIN / 2 &&
	       (__u16)(ms - *sent) < (patience < LEG_RTO_MIN ? patience : LEG_RTO_MIN);
}

/*
 * Decides on a packet of the leg that faces `to` and speaks for `from`; `sent` is the
 * time of its last new segment. Lock held.
 */
static __always_inline void leg_out(struct flow *f, struct flow_end *to, struct flow_end *from,
				    const struct pkt *p, __u16 *sent, __u64 now, struct out *o,
				    struct seam_event *ev)
{
	bool fin = p->flags & TCP_FIN, rst = p->flags & TCP_RST, bare = !p->len && !fin, early;
	__u32 offered = p->ack + ((__u32)p->wnd << from->wscale), edge = to->told_edge;
	__u32 ack = to->told_ack, backlog;
	bool announces;

	o->flags = p->flags;
	o->told = told_as_is(p);
	o->flow_label = from->flow_label;
	o->tos = from->tos | (p->tos & 3);
	o->ifindex = from->ifindex;

	if (f->state == FLOW_BLOCKED && (f->flags & FLOW_F_ABORTED) && (fin || rst) &&
	    !(to->flags & END_F_RST_SENT)) {
		to->flags |= END_F_RST_SENT;
		o->rst = true;
		goto out;
	}
	/* The leg of an end that has reset is gone; RSTs answer what still comes for it. */
	if (rst && (to->flags & END_F_RST)) {
		o->drop = true;
		o->why = SEAM_R_LEG_SILENCED;
		goto out;
	}
	/* An allowed RST may not get here until the flow has been closed. */
	if (rst && !(p->flags & TCP_SYN) && (to->flags & END_F_RST_OK) &&
	    (has_legs(f) || !(to->flags & END_F_RST_SENT))) {
		to->flags |= END_F_RST_SENT;
		goto out;
	}
	if (!has_legs(f)) {
		o->drop = true;
		o->why = SEAM_R_LEG_STRAY;
		goto out;
	}
	if (p->flags & TCP_SYN) {
		o->drop = true;
		o->why = SEAM_R_LEG_SILENCED;
		goto out;
	}
	if (rst || (fin && !((from->flags & END_F_FIN) && p->end - 1 == seq_across(from, from->fin)))) {
		/* A leg that ends by itself has lost its owner, or its peer. */
		abort_split(f, SEAM_R_LEG_DIED, now, ev);
		to->flags |= END_F_RST_SENT;
		o->rst = true;
		o->why = SEAM_R_LEG_SILENCED;
		goto out;
	}

	early = !bare && early_probe(f, to, from, p, sent, now);
	if (early) {
		/* It may carry an acknowledgement that waited for data to go with: that goes. */
		o->why = SEAM_R_EARLY_PROBE;
		o->flags &= ~(TCP_FIN | TCP_PSH | TCP_URG);
		o->cut = bare = true;
	}
	to->leg_ack = seq_max(to->leg_ack, p->ack);
	to->leg_edge = seq_max(to->leg_edge, offered);
	backlog = seq_across(to, to->leg_ack) - from->ack;
	if ((__s32)(backlog - to->backlog_max) > 0 && state_split(f->state))
		to->backlog_max = backlog;
	if (!bare)
		to->leg_nxt = seq_max(to->leg_nxt, p->end);
	announces = bare && !early && (to->flags & END_F_ANNOUNCE) && seq_before(p->seq, to->leg_nxt);
	if (announces)
		to->flags &= ~END_F_ANNOUNCE;
	if (silent(f, to, from, p, bare)) {
		o->drop = true;
		goto out;
	}
	tell(f, to, from, p, false, &o->told);
	/*
	 * What goes straight may be ahead of what the leg has sent. An end that has it discards an
	 * ack with the number before, all of it (RFC 9293 3.10.7.4). Behind a probe with a byte,
	 * it also discards one with a number beyond its window. But a probe of the leg's must be
	 * answered.
	 */
	if (bare && merge_begun(f) && !seq_before(p->seq, to->leg_nxt))
		o->told.seq = seq_max(p->seq, seq_min(to->told_nxt, to->edge));
	if (announces || early) {
		/* The packet asks nothing of its end, which need not answer. */
		o->told.seq = to->told_nxt;
		o->drop = to->told_ack == ack && to->told_edge == edge;
	}
	o->other_ack = o->told.ack != p->ack;
	if (f->flags & FLOW_F_ECN) {
		if (to->flags & END_F_CE)
			o->flags |= TCP_ECE;
		if ((to->flags & END_F_CWR) && p->len && !early) {
			o->flags |= TCP_CWR;
			to->flags &= ~END_F_CWR;
		}
	}
	if (merge_begun(f))
		merge_if_done(f, SEAM_R_CROSSED, now, ev);
	else if (closed(f))
		close_split(f, now, ev);
	else if (f->flags & FLOW_F_WAITS)
		try_merge(f, SEAM_R_CROSSED, now, ev);
out:
	o->flow_flags = f->flags;
}

SEC("tc")
int seam_leg_out(struct __sk_buff *ctx)
{
	__u64 now = bpf_ktime_get_ns();
	struct room *room = room_get();
	struct flow_key key;
	struct flow *f;
	struct out *o;
	struct pkt *p;
	__u32 end, other;

	if (!room)
		return TC_ACT_SHOT;
	p = &room->pkt;
	o = &room->out;
	__builtin_memset(o, 0, sizeof(*o));
	if (parse_skb(ctx, p) != PARSE_TCP)
		return TC_ACT_SHOT;
	f = flow_find(p, &key, SEAM_CLIENT, &end);
	if (!f) {
		count(SEAM_R_LEG_STRAY);
		return TC_ACT_SHOT;
	}
	room->event.type = 0;
	bpf_spin_lock(&f->lock);
	if (end == SEAM_CLIENT)
		leg_out(f, &f->end[SEAM_SERVER], &f->end[SEAM_CLIENT], p, &f->leg_ms[SEAM_SERVER], now, o, &room->event);
	else
		leg_out(f, &f->end[SEAM_CLIENT], &f->end[SEAM_SERVER], p, &f->leg_ms[SEAM_CLIENT], now, o, &room->event);
	bpf_spin_unlock(&f->lock);
	report(&room->event, &key, o->flow_flags);

	if (o->why)
		count(o->why);
	if (o->drop)
		return TC_ACT_SHOT;
	/* The port of the end it speaks for may be gone. */
	other = end == SEAM_CLIENT ? f->end[SEAM_SERVER].ifindex : f->end[SEAM_CLIENT].ifindex;
	if (wire_mode)
		room->partner = partner_of(o->ifindex) ?: other;
	else if (!bpf_map_lookup_elem(&ports, &o->ifindex))
		o->ifindex = other;
	if (o->rst) {
		/* A FIN or RST is at the end of what the leg has sent. */
		if (make_rst(ctx, p, p->seq + p->len, false))
			return TC_ACT_SHOT;
	} else {
		if ((o->cut && cut_payload(ctx, p, 0)) || put_told(ctx, p, &o->told))
			return TC_ACT_SHOT;
		if (o->flags != p->flags && put_flags(ctx, p, o->flags))
			return TC_ACT_SHOT;
		/* SACK blocks belong to the acknowledgement they came with. */
		if (o->other_ack && strip_sack(ctx, p, &room->options))
			return TC_ACT_SHOT;
	}
	if ((o->tos != p->tos || (!p->v4 && o->flow_label != p->flow_label)) &&
	    put_class(ctx, p, o->tos, o->flow_label))
		return TC_ACT_SHOT;
	if (wire_mode && link_as(room, f, end))
		return TC_ACT_SHOT;
	return to_wire(ctx, p, o->ifindex, FROM_LEG);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
