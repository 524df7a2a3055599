// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The veth pair between the host and the inner namespace. Inner end: packets
 * find their leg. Host end: what a leg sends is made to be what the end it speaks
 * for would have sent, and nothing leaves that the flow does not authorise.
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
	/* Before 6.15 bpf_redirect_peer() leaves the type as the port set it. */
	bpf_skb_change_type(ctx, 0 /* PACKET_HOST */);
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

/* What seam_leg_out() does to a leg's packet. */
struct out {
	bool drop, rst;
	__u8 why;
	__u16 wnd;
	__u8 flags, tos;
	__u32 tsval, tsecr;
	__u32 flow_label;
	__u32 ifindex;
	__u32 flow_flags;
};

/*
 * The window that `to` is told: what the leg offers, but never beyond what the
 * real receiver `from` has promised itself, and never less than was told before.
 * A window counts in units of the scale, so that an edge cannot always be met:
 * where the next unit would be beyond the receiver's, it is missed by less than
 * one, which senders are prepared for (RFC 7323 2.4).
 */
static __always_inline __u16 told_window(struct flow_end *to, const struct flow_end *from,
					 const struct pkt *p)
{
	__u32 unit = 1U << from->wscale, edge = p->ack + ((__u32)p->wnd << from->wscale), field;

	if (seq_after(edge, from->edge)) {
		to->flags |= END_F_CLAMPED;
		edge = from->edge;
	} else {
		to->flags &= ~END_F_CLAMPED;
	}
	edge = seq_max(edge, to->told_edge);
	if (!seq_after(edge, p->ack))
		return 0;
	field = (edge - p->ack + unit - 1) >> from->wscale;
	if (seq_after(p->ack + (field << from->wscale), from->edge))
		field = (edge - p->ack) >> from->wscale;
	if (field > 0xffff)
		field = 0xffff;
	to->told_edge = seq_max(to->told_edge, p->ack + (field << from->wscale));
	return field;
}

/* Decides on a packet of the leg that faces `to` and speaks for `from`. Lock held. */
static __always_inline void leg_out(struct flow *f, struct flow_end *to, struct flow_end *from,
				    const struct pkt *p, __u64 now, struct out *o,
				    struct seam_event *ev)
{
	bool fin = p->flags & TCP_FIN, rst = p->flags & TCP_RST;

	o->flags = p->flags;
	o->wnd = p->wnd;
	o->tsval = p->tsval;
	o->tsecr = p->tsecr;
	o->flow_label = from->flow_label;
	o->tos = from->tos | (p->tos & 3);
	o->ifindex = from->ifindex;

	if (f->state == FLOW_BLOCKED && (f->flags & FLOW_F_ABORTED) && (fin || rst) &&
	    !(to->flags & END_F_RST_SENT)) {
		to->flags |= END_F_RST_SENT;
		o->rst = true;
		goto out;
	}
	/* One that is allowed may get here only after the flow has been closed. */
	if (rst && (to->flags & END_F_RST_OK) &&
	    (state_split(f->state) || !(to->flags & END_F_RST_SENT))) {
		to->flags |= END_F_RST_SENT;
		goto out;
	}
	if (!state_split(f->state)) {
		o->drop = true;
		o->why = SEAM_R_LEG_STRAY;
		goto out;
	}
	if (p->flags & TCP_SYN) {
		o->drop = true;
		o->why = SEAM_R_LEG_SILENCED;
		goto out;
	}
	if (rst || (fin && !((from->flags & END_F_FIN) && p->end - 1 == from->fin))) {
		/* A leg that ends by itself has lost its owner, or its peer. */
		abort_split(f, SEAM_R_LEG_DIED, now, ev);
		to->flags |= END_F_RST_SENT;
		o->rst = true;
		o->why = SEAM_R_LEG_SILENCED;
		goto out;
	}

	if ((p->len || fin) && seq_after(p->end, to->told_nxt))
		to->told_nxt = p->end;
	if (seq_after(p->ack, to->told_ack))
		to->told_ack = p->ack;
	if ((to->flags & END_F_FIN) && seq_after(p->ack, to->fin))
		to->flags |= END_F_FIN_ACKED;
	o->wnd = told_window(to, from, p);
	if (p->ts) {
		if (seq_before(o->tsval, to->told_tsval))
			o->tsval = to->told_tsval;
		to->told_tsval = o->tsval;
		if (!o->tsecr)
			o->tsecr = to->tsval;
	}
	if (f->flags & FLOW_F_ECN) {
		if (to->flags & END_F_CE)
			o->flags |= TCP_ECE;
		if ((to->flags & END_F_CWR) && p->len) {
			o->flags |= TCP_CWR;
			to->flags &= ~END_F_CWR;
		}
	}
	if (closed(f)) {
		close_split(f, now, ev);
	} else if (f->state == FLOW_MERGING && quiet(f)) {
		merge(f, SEAM_R_QUIET, now, ev);
		f->tc_ns = now;
	}
out:
	o->flow_flags = f->flags;
}

SEC("tc")
int seam_leg_out(struct __sk_buff *ctx)
{
	__u64 now = bpf_ktime_get_ns();
	struct room *room = room_get();
	struct flow_key key;
	struct out o = {};
	struct flow *f;
	struct pkt *p;
	__u32 end;

	if (!room)
		return TC_ACT_SHOT;
	p = &room->pkt;
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
		leg_out(f, &f->end[SEAM_SERVER], &f->end[SEAM_CLIENT], p, now, &o, &room->event);
	else
		leg_out(f, &f->end[SEAM_CLIENT], &f->end[SEAM_SERVER], p, now, &o, &room->event);
	bpf_spin_unlock(&f->lock);
	report(&room->event, &key, o.flow_flags);

	if (o.why)
		count(o.why);
	if (o.drop)
		return TC_ACT_SHOT;
	if (o.rst) {
		/* A FIN or RST stands at the end of what the leg has sent. */
		if (make_rst(ctx, p, p->seq + p->len, false))
			return TC_ACT_SHOT;
	} else {
		if (put16(ctx, p, p->l4 + TCP_WND_OFF, p->wnd, o.wnd))
			return TC_ACT_SHOT;
		if (o.flags != p->flags && put_flags(ctx, p, o.flags))
			return TC_ACT_SHOT;
		if (p->ts && (put32(ctx, p, p->ts, p->tsval, o.tsval) ||
			     put32(ctx, p, p->ts + 4, p->tsecr, o.tsecr)))
			return TC_ACT_SHOT;
	}
	if ((o.tos != p->tos || (!p->v4 && o.flow_label != p->flow_label)) &&
	    put_class(ctx, p, o.tos, o.flow_label))
		return TC_ACT_SHOT;
	return to_wire(ctx, p, o.ifindex, FROM_LEG);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
