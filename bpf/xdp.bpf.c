// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * XDP on the ports: the fast path of flows that were let go. Everything that is not for
 * it goes on to TC (port.bpf.c).
 */
#include "fast.h"

/* In units of left_at(): 1 ms. */
#define XDP_GAP 977

/* Ports whose driver takes redirected packets: those with one of these programs. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} xdp_ports SEC(".maps");

/*
 * Whether TC has nothing in hand of what an end sends. What XDP left to TC may still be on its way
 * there (GRO, a queue of another CPU) when this packet comes, which would overtake it. So TC must
 * have seen all bytes before this packet's, and the last acknowledgement. Some time must also have
 * passed in which TC got none, for what is on its way behind TC. A packet with old bytes proves
 * nothing of that. What TC gets of a port with XDP has come by here, except for a tagged frame or
 * a fragment of a flow that has others as well.
 */
static __always_inline bool quiet_in_tc(const struct flow_end *me, __u32 at, const struct pkt *p)
{
	return !at || (p->seq == me->nxt && !seq_after(me->left_ack, me->ack) &&
		       (__s32)(left_at(bpf_ktime_get_ns()) - at) > XDP_GAP);
}

/* Like fast_forward(), plus the checksum, which is complete here: xdp.c ensures that. */
static __always_inline int forward(void *data, void *data_end, struct flow *f, enum seam_end side,
				   const struct pkt *p, const struct hop *h, __u32 ifindex,
				   __u64 now, __u32 l4)
{
	__u16 *check = data + l4 + TCP_CHECK_OFF;
	__u64 sum = 0;
	__u64 diff;

	if (fast_forward(data, data_end, f, side, p, h, ifindex, now, l4, false, &sum))
		return NOT_FAST;
	if ((void *)(check + 1) > data_end)
		return 0; /* checked before: for the verifier */
	diff = sum_fold(sum);
	if (diff) {
		diff += (__u16)~*check;
		*check = bpf_htons(csum_fold((diff & 0xffffffff) + (diff >> 32)));
	}
	return 0;
}

/*
 * On a wire: the port that an untagged frame leaves by; 0 for those that TC knows better. A tag
 * that the device has taken off is not seen here: xdp.c takes care of that, too.
 */
static __always_inline __u32 out_across(struct xdp_md *ctx, const struct flow *f, enum seam_end side, __u32 ifindex)
{
	void *data = (void *)(long)ctx->data;
	__u32 partner = partner_of(ifindex), mtu = 0;
	struct seam_link link = {};

	if (data + sizeof(link.mac) > (void *)(long)ctx->data_end)
		return 0;
	__builtin_memcpy(link.mac, data, sizeof(link.mac));
	if (!same_way(f, links_of(f), side, ifindex, partner, &link) || bpf_check_mtu(ctx, partner, &mtu, 0, 0))
		return 0;
	return partner;
}

/* Whether a routed frame is addressed to the port that it came in by. */
static __always_inline bool addressed(const void *data, const struct hop *h)
{
	const __u32 *first = data;
	const __u16 *last = data + 4;

	return !h->to[1] || (*first == h->to[0] && *last == (__u16)h->to[1]);
}

static __always_inline int fast_path(struct xdp_md *ctx, enum seam_end side)
{
	void *data_end = (void *)(long)ctx->data_end;
	void *data = (void *)(long)ctx->data;
	__u32 len = bpf_xdp_get_buff_len(ctx), ifindex = ctx->ingress_ifindex;
	struct flow_key key;
	struct flow_end *me;
	struct flow *f;
	__u64 now;
	__u32 at;
	struct hop *h = NULL;
	struct pkt p;
	__u32 out;
	int err;

	p.gso = 0;
	if (parse(&p, data, data_end, len) != PARSE_TCP)
		return XDP_PASS;
	key_of(&key, &p, side);
	f = bpf_map_lookup_elem(&flows, &key);
	if (!f)
		return XDP_PASS;
	me = side == SEAM_CLIENT ? &f->end[0] : &f->end[1];
	if (!fast_flow(f, side, wire_mode)) {
		me->left_ack = p.ack;
		return XDP_PASS;
	}
	barrier(); /* move() writes tc_at first */
	at = f->tc_at[side];
	/* Not if in pieces: no kernel of 6.1 tells which devices can send those. */
	if (len != data_end - data || me->ifindex != ifindex || !fast_packet(f, me, &p, wire_mode) || !settled(f, side) ||
	    !quiet_in_tc(me, at, &p))
		goto to_tc;
	/* Find the way before the lock: TC must not track the packet again. */
	if (!wire_mode && !(h = hop_find(ctx, f, side, &p, ifindex)))
		goto to_tc;
	/* For another host, and seen by a promiscuous port only: TC leaves it alone. */
	if (h && !addressed(data, h))
		return XDP_PASS;
	out = h ? h->fib.ifindex : out_across(ctx, f, side, ifindex);
	if (!out || bpf_redirect_map(&xdp_ports, out, XDP_PASS) != XDP_REDIRECT)
		goto to_tc;
	now = fast_now(me, &p, h);
	if (p.v4)
		err = forward(data, data_end, f, side, &p, h, ifindex, now, ETH_HLEN + sizeof(struct iphdr));
	else
		err = forward(data, data_end, f, side, &p, h, ifindex, now, ETH_HLEN + sizeof(struct ipv6hdr));
	if (err)
		goto to_tc;
	/* Clears it, unless TC has been given the flow meanwhile. */
	if (at)
		__sync_val_compare_and_swap(&f->tc_at[side], at, 0);
	count(SEAM_R_XDP);
	return XDP_REDIRECT;
to_tc:
	/* From now on it is on its way to TC, perhaps in a batch with what comes next. */
	me->left_ack = p.ack;
	f->tc_at[side] = left_at(bpf_ktime_get_ns());
	return XDP_PASS;
}

SEC("xdp")
int seam_xdp_client(struct xdp_md *ctx)
{
	return fast_path(ctx, SEAM_CLIENT);
}

SEC("xdp")
int seam_xdp_server(struct xdp_md *ctx)
{
	return fast_path(ctx, SEAM_SERVER);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
