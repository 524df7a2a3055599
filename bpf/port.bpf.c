// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * TC ingress on the ports: tracks every TCP connection, decides at the SYN,
 * holds first payload, steers split flows to their legs, forwards merged ones.
 */
#include "handshake.h"
#include "names.h"

int seam_client(struct __sk_buff *ctx);
int seam_server(struct __sk_buff *ctx);
int seam_names(struct __sk_buff *ctx);

/* Pinned, because the kernel empties it when its last user in userspace goes. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, JUMP_MAX);
	__uint(key_size, sizeof(__u32));
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__array(values, int(struct __sk_buff *));
} jumps SEC(".maps") = {
	.values = {
		[JUMP_CLIENT] = &seam_client,
		[JUMP_SERVER] = &seam_server,
		[JUMP_NAMES] = &seam_names,
	},
};

/* A packet that may be of a flow that waits for a verdict, or will, or of no flow. */
static __always_inline int in_doubt(void)
{
	return blocks_untracked(true) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

/* On a wire: whether the packet in hand is on the VLAN of the end that it claims to be from. */
static __always_inline bool on_its_vlan(const struct flow *f, __u32 end)
{
	const struct room *room = room_get();
	const struct seam_links *l;

	if (!wire_mode)
		return true;
	l = links_of(f);
	return room && l && same_vlan(&room->link, &l->end[end & 1]);
}

/* What a port sees that is not TCP, or cannot be tracked. */
static __always_inline int not_tcp(struct __sk_buff *ctx, struct pkt *p, enum parse_result what,
				   enum seam_end likely)
{
	struct flow_key key;
	struct flow *f;
	__u32 end;
	int act;

	if (what == PARSE_ICMP) {
		act = handle_icmp(ctx, p);
		return act == ACT_FORWARD ? to_wire(ctx, p, ctx->ifindex, FROM_PORT) : act;
	}
	if (what == PARSE_FRAGMENT) {
		count(SEAM_R_FRAGMENT);
		/* The first tells whose they are; the others are useless without it. */
		if (!p->end)
			return TC_ACT_UNSPEC;
		f = flow_find(p, &key, likely, &end);
		if (!f)
			return in_doubt();
		if (!on_its_vlan(f, end))
			count(SEAM_R_VLAN);
		else if (!right_side(f, end, likely))
			count(SEAM_R_WRONG_SIDE);
		else
			return handle_fragment(ctx, f, &key, end);
		return keep_out(f) || blocks_untracked(false) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	}
	if (what == PARSE_CHAIN || what == PARSE_MALFORMED) { /* its receiver may know better */
		count(what == PARSE_CHAIN ? SEAM_R_IP_OPTIONS : SEAM_R_MALFORMED);
		return in_doubt();
	}
	count(SEAM_R_NOT_TCP);
	return TC_ACT_UNSPEC;
}

/* The fast path; NOT_FAST: the packet is unchanged. */
static __noinline int fast_tc(struct __sk_buff *ctx, struct flow *f, const struct seam_links *l,
			      const struct pkt *p, enum seam_end side)
{
	const struct room *room = room_get();
	const struct flow_end *me = side == SEAM_CLIENT ? &f->end[0] : &f->end[1];
	__u64 now, sum = 0;
	__u32 ifindex = ctx->ifindex, diff;
	void *data, *data_end;
	struct hop *h = NULL;
	int err;

	if (!fast_flow(f, side, wire_mode) || !settled(f, side) || !fast_packet(f, me, p, wire_mode))
		return NOT_FAST;
	if (wire_mode && (!room || !same_way(f, l, side, ifindex, room->partner, &room->link)))
		return NOT_FAST;
	if (!wire_mode && !(h = hop_find(ctx, f, side, p, ifindex)))
		return NOT_FAST;
	now = fast_now(me, p, h);
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	if (p->v4)
		err = fast_forward(data, data_end, f, side, p, h, ifindex, now,
				   ETH_HLEN + sizeof(struct iphdr), true, &sum);
	else
		err = fast_forward(data, data_end, f, side, p, h, ifindex, now,
				   ETH_HLEN + sizeof(struct ipv6hdr), true, &sum);
	if (err)
		return err;
	/* The kernel leaves a checksum that covers only the pseudo-header as it is. */
	diff = sum_fold(sum);
	if (diff && bpf_l4_csum_replace(ctx, p->l4 + TCP_CHECK_OFF, 0, diff, 0))
		return TC_ACT_SHOT;
	if (!h)
		return wire_end(ctx);
	if (!p->v4) /* CHECKSUM_COMPLETE: nothing in the header makes up for the hop limit */
		bpf_csum_update(ctx, (__u16)~bpf_htons(1));
	if ((__s64)(h->now - h->used_ns) < (__s64)HOP_USED || multicast_hop(&h->fib))
		return bpf_redirect(h->fib.ifindex, 0);
	h->used_ns = h->now;
	return bpf_redirect_neigh(h->fib.ifindex, &h->nh, sizeof(h->nh), 0);
}

/*
 * Notes the way that an end's frames take. A flow is split only as long as both directions take
 * the same wire. One that is already held or split goes on, because each direction stands by
 * itself. If a rule waits for the flow: the rule's fail answer.
 */
static __noinline void note_way(struct flow *f, struct seam_links *l, const struct flow_key *key,
				__u32 end, __u32 ifindex)
{
	struct seam_link *last = end == SEAM_CLIENT ? &l->end[0] : &l->end[1];
	struct flow_end *me = end == SEAM_CLIENT ? &f->end[0] : &f->end[1];
	struct flow_end *peer = end == SEAM_CLIENT ? &f->end[1] : &f->end[0];
	__u64 now = bpf_ktime_get_ns();
	struct room *room = room_get();
	bool astray;
	__u32 flags;

	if (!room)
		return;
	astray = room->partner != peer->ifindex;
	if (me->ifindex == ifindex && same_link(last, &room->link) &&
	    astray == (f->why_not == SEAM_R_ASYMMETRIC))
		return;
	room->event.type = 0;
	bpf_spin_lock(&f->lock);
	if (me->ifindex && believe(f, me, peer, &room->pkt) != GENUINE)
		goto unlock;
	*last = room->link;
	if (astray && !(f->flags & FLOW_F_NO_SPLIT) && !needs_daemon(f)) {
		f->why_not = SEAM_R_ASYMMETRIC;
		f->flags |= FLOW_F_NO_SPLIT;
		if (waits(f) && f->state != FLOW_BLOCKED)
			fail(f, SEAM_R_ASYMMETRIC, now, &room->event);
	} else if (!astray && f->why_not == SEAM_R_ASYMMETRIC) {
		f->why_not = SEAM_R_NONE;
		f->flags &= ~FLOW_F_NO_SPLIT;
	}
unlock:
	flags = f->flags;
	bpf_spin_unlock(&f->lock);
	report(&room->event, key, flags);
}

/*
 * Whether a SYN or its answer has been sent again while the flow is split: its leg has the answer.
 * Once both ends have ended the flow, the SYN may be the next connection's. That may be here
 * before the last acknowledgement, which may still be in the hold queue.
 */
static __always_inline bool leg_answers(const struct flow *f)
{
	return has_legs(f) && !(f->end[SEAM_CLIENT].flags & f->end[SEAM_SERVER].flags & END_F_FIN);
}

/*
 * Takes off tags of VLAN 0, which carry a priority and no VLAN (IEEE 802.1Q 6.9): the host treats
 * such a frame as untagged. True: it has another tag.
 */
static __always_inline bool untag(struct __sk_buff *ctx)
{
	int i;

	for (i = 0; i < 2 && ctx->vlan_present && !(ctx->vlan_tci & LINK_VID); i++)
		if (bpf_skb_vlan_pop(ctx))
			break;
	return ctx->vlan_present;
}

static __always_inline int from_port(struct __sk_buff *ctx, enum seam_end likely)
{
	__u32 ifindex = ctx->ifindex, end;
	struct room *room = room_get();
	enum parse_result what;
	struct seam_links *l = NULL;
	struct flow_key key;
	struct flow *f;
	struct pkt *p;
	bool synack;
	__u64 now;
	int act;

	if (!room)
		return TC_ACT_UNSPEC;
	/* Seen by a promiscuous port only; a host does not forward it either (ip_rcv(), ip_forward()). */
	if (!wire_mode && ctx->pkt_type != PACKET_HOST)
		return TC_ACT_UNSPEC;
	act = wire_mode ? link_read(ctx, &room->link) : 0;
	if (act == -2) { /* the receiver ignores any number of tags that are only priorities */
		count(SEAM_R_VLAN);
		return in_doubt();
	}
	if (act)
		return TC_ACT_UNSPEC;
	if (!wire_mode && untag(ctx)) { /* another VLAN's; three priorities are nobody's */
		if (ctx->vlan_tci & LINK_VID)
			return TC_ACT_UNSPEC;
		count(SEAM_R_VLAN);
		return TC_ACT_SHOT;
	}
	p = &room->pkt;
	what = parse_skb(ctx, p);
	if (what != PARSE_TCP)
		return not_tcp(ctx, p, what, likely);

	key_of(&key, p, likely);
	f = bpf_map_lookup_elem(&flows, &key);
	if (wire_mode && f)
		l = links_of(f);
	if (f) {
		act = fast_tc(ctx, f, l, p, likely);
		if (act != NOT_FAST)
			return act;
		end = likely;
	} else {
		key_of(&key, p, !likely);
		f = bpf_map_lookup_elem(&flows, &key);
		end = !likely;
		if (wire_mode && f)
			l = links_of(f);
	}
	now = bpf_ktime_get_ns();
	if (wire_mode && f && (!l || !same_vlan(&room->link, &l->end[end & 1]))) {
		/* Of another connection, or by another way: the key does not tell them apart. */
		count(SEAM_R_VLAN);
		if (keep_out(f) || (!(p->flags & TCP_SYN) && blocks_untracked(false)))
			return TC_ACT_SHOT;
		if (!(p->flags & TCP_SYN))
			return TC_ACT_UNSPEC;
		f = NULL;
	}
	synack = (p->flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK);
	if (synack || (p->flags & (TCP_SYN | TCP_RST)) == TCP_SYN) {
		if (!f || !leg_answers(f) || end != (synack ? SEAM_SERVER : SEAM_CLIENT)) {
			if (!synack) {
				if (f)
					note_asked(f, end);
				act = handle_syn(ctx, p, likely, ifindex, now);
				return act == ACT_RST ? rst_back(ctx, p, ifindex) : act;
			}
			act = handle_unknown(ctx, p, likely, ifindex, now);
			/*
			 * Not a SYN-ACK of a flow that exists: the ack of it may have been lost
			 * behind the box.
			 */
			return act < 0 && !(f && p->seq == f->end[SEAM_SERVER].isn) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
		}
	} else if (!f) {
		act = handle_unknown(ctx, p, likely, ifindex, now);
		if (act <= 0)
			return act ? TC_ACT_SHOT : TC_ACT_UNSPEC;
		f = flow_find(p, &key, SEAM_CLIENT, &end);
		if (!f)
			return TC_ACT_UNSPEC;
	}
	if (!right_side(f, end, likely)) {
		/* Not believed. Where it would be forwarded as it is, the host judges it. */
		count(SEAM_R_WRONG_SIDE);
		return keep_out(f) || blocks_untracked(false) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	}
	if (wire_mode) {
		l = l ?: links_of(f);
		if (l)
			note_way(f, l, &key, end, ifindex);
	}
	/* The outer of two tags is off by now, and would be forgotten. */
	if (may_settle(f, end, p) && !(wire_mode && room->link.tag[1]))
		bpf_tail_call(ctx, &jumps, JUMP_NAMES);
	return handle_packet(ctx, f, &key, end, p, FROM_PORT, now);
}

/*
 * What the host quotes in an ICMP error has to be what the packet's sender has written, or that
 * does not believe it (RFC 5927 4.1).
 */
static __noinline int as_sent(struct __sk_buff *ctx)
{
	struct room *room = room_get();

	if (!room || !room->answered)
		return 0;
	room->answered = false;
	return put_told(ctx, &room->pkt, &room->was);
}

/* On a wire the normal way on is the other port: nothing is for the host. */
static __always_inline int on_port(struct __sk_buff *ctx, enum seam_end side)
{
	int act;

	if (wire_mode)
		wire_begin(ctx);
	act = from_port(ctx, side);
	if (act != TC_ACT_UNSPEC)
		return act;
	if (wire_mode)
		return wire_end(ctx);
	return as_sent(ctx) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

SEC("tc")
int seam_client(struct __sk_buff *ctx)
{
	return on_port(ctx, SEAM_CLIENT);
}

SEC("tc")
int seam_server(struct __sk_buff *ctx)
{
	return on_port(ctx, SEAM_SERVER);
}

/*
 * Called from there, and goes back: a client's first payload that the policy may settle by a name.
 * A separate program, for a stack of its own.
 */
SEC("tc")
int seam_names(struct __sk_buff *ctx)
{
	struct settle_walk w = { .action = RULE_ASK };
	__u64 now = bpf_ktime_get_ns();
	struct room *room = room_get();
	__u32 zero = 0, flags;
	struct first f = {};
	struct flow *flow;
	bool settled;

	f.room = bpf_map_lookup_elem(&first_rooms, &zero);
	if (!room || !f.room || parse_skb(ctx, &room->pkt) != PARSE_TCP)
		return TC_ACT_SHOT;
	w.key = room->pkt.key;
	flow = bpf_map_lookup_elem(&flows, &w.key);
	if (!flow)
		return TC_ACT_SHOT;
	settle_decide(ctx, &room->pkt, &f, &w);

	room->event.type = 0;
	bpf_spin_lock(&flow->lock);
	settled = settle(flow, &room->pkt, &w, now, &room->event);
	flags = flow->flags;
	bpf_spin_unlock(&flow->lock);
	if (settled) {
		settle_record(ctx, &room->pkt, &f, room->event.id);
		report(&room->event, &w.key, flags);
		count_rule(w.rule);
		count(SEAM_R_SETTLED);
	}
	bpf_tail_call(ctx, &jumps, flags & FLOW_F_CLIENT_FAR ? JUMP_SERVER : JUMP_CLIENT);
	return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
