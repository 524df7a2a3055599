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

/* Pinned, as the kernel empties it with its last user in userspace. */
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

/* Untracked packets and what a port sees that is not TCP. */
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
		f = p->end ? flow_find(p, &key, likely, &end) : NULL;
		return f ? handle_fragment(f, &key) : TC_ACT_UNSPEC;
	}
	if (what == PARSE_MALFORMED)
		count(SEAM_R_MALFORMED);
	else if (what == PARSE_CHAIN)
		count(SEAM_R_IP_OPTIONS);
	else
		count(SEAM_R_NOT_TCP);
	return TC_ACT_UNSPEC;
}

/* The fast path; NOT_FAST: the packet is as it was. */
static __noinline int fast_tc(struct __sk_buff *ctx, struct flow *f, const struct pkt *p,
			      enum seam_end side)
{
	const struct flow_end *me = side == SEAM_CLIENT ? &f->end[0] : &f->end[1];
	__u64 now, sum = 0;
	__u32 ifindex = ctx->ifindex, out;
	void *data, *data_end;
	struct hop *h;
	int err;

	if (!fast_flow(f, side) || !settled(f) || !fast_packet(f, me, p))
		return NOT_FAST;
	h = hop_find(ctx, f, side, p, ifindex);
	if (!h)
		return NOT_FAST;
	out = h->ifindex;
	now = fast_now(me, p, h);
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	if (p->v4)
		err = fast_forward(data, data_end, f, side, p, h, ifindex, now,
				   ETH_HLEN + sizeof(struct iphdr), &sum);
	else
		err = fast_forward(data, data_end, f, side, p, h, ifindex, now,
				   ETH_HLEN + sizeof(struct ipv6hdr), &sum);
	if (err)
		return err;
	/* Of a checksum that covers only the pseudo-header the kernel leaves it as it is. */
	if (sum && bpf_l4_csum_replace(ctx, p->l4 + TCP_CHECK_OFF, 0, sum_fold(sum), 0))
		return TC_ACT_SHOT;
	if (!p->v4) /* CHECKSUM_COMPLETE: nothing in the header makes up for the hop limit */
		bpf_csum_update(ctx, (__u16)~bpf_htons(1));
	if ((__s64)(h->now - h->used_ns) < (__s64)HOP_USED)
		return bpf_redirect(out, 0);
	h->used_ns = h->now;
	return bpf_redirect_neigh(out, &h->nh, sizeof(h->nh), 0);
}

static __always_inline int from_port(struct __sk_buff *ctx, enum seam_end likely)
{
	__u32 ifindex = ctx->ifindex, end;
	struct room *room = room_get();
	enum parse_result what;
	struct flow_key key;
	struct flow *f;
	struct pkt *p;
	bool synack;
	__u64 now;
	int act;

	if (ctx->vlan_present || !room)
		return TC_ACT_UNSPEC;
	p = &room->pkt;
	what = parse_skb(ctx, p);
	if (what != PARSE_TCP)
		return not_tcp(ctx, p, what, likely);

	key_of(&key, p, likely);
	f = bpf_map_lookup_elem(&flows, &key);
	if (f) {
		act = fast_tc(ctx, f, p, likely);
		if (act != NOT_FAST)
			return act;
		end = likely;
	} else {
		key_of(&key, p, !likely);
		f = bpf_map_lookup_elem(&flows, &key);
		end = !likely;
	}
	now = bpf_ktime_get_ns();
	synack = (p->flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK);
	if (synack || (p->flags & (TCP_SYN | TCP_RST)) == TCP_SYN) {
		/* Sent again while the flow is split: its leg has the answer. */
		if (!f || !has_legs(f) || end != (synack ? SEAM_SERVER : SEAM_CLIENT)) {
			if (!synack) {
				act = handle_syn(ctx, p, likely, ifindex, now);
				return act == ACT_RST ? rst_back(ctx, p, ifindex) : act;
			}
			handle_unknown(ctx, p, likely, ifindex, now);
			return TC_ACT_UNSPEC;
		}
	} else if (!f) {
		if (!handle_unknown(ctx, p, likely, ifindex, now))
			return TC_ACT_UNSPEC;
		f = flow_find(p, &key, SEAM_CLIENT, &end);
		if (!f)
			return TC_ACT_UNSPEC;
	}
	if (!right_side(f, end, likely)) {
		/*
		 * Not believed. Where it would be forwarded as it is, the host judges it; but
		 * where bytes were changed the other end would take it for others.
		 */
		count(SEAM_R_WRONG_SIDE);
		return waits(f) || state_frozen(f->state) || (f->flags & FLOW_F_EDITED) ?
			       TC_ACT_SHOT : TC_ACT_UNSPEC;
	}
	if (may_settle(f, end, p))
		bpf_tail_call(ctx, &jumps, JUMP_NAMES);
	return handle_packet(ctx, f, &key, end, p, FROM_PORT, now);
}

SEC("tc")
int seam_client(struct __sk_buff *ctx)
{
	return from_port(ctx, SEAM_CLIENT);
}

SEC("tc")
int seam_server(struct __sk_buff *ctx)
{
	return from_port(ctx, SEAM_SERVER);
}

/*
 * From there, and back: a client's first payload, where the policy may settle it by a name.
 * A program of its own, with a stack of its own.
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
