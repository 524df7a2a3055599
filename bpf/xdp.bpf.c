// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * XDP on the ports: the fast path of flows that were let go. Everything that is not for
 * it goes on to TC (port.bpf.c).
 */
#include "fast.h"

/*
 * A packet that TC has may still be on its way (GRO, a queue) when the next one comes;
 * XDP would overtake it. It takes a flow over only after such a gap. What TC gets of a
 * port with XDP has come by here.
 */
#define XDP_GAP NSEC_PER_MSEC

/* Ports whose driver takes redirected packets: those with one of these programs. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} xdp_ports SEC(".maps");

/* Whether nothing of the flow is in TC's hands. Signed: another CPU may have stamped it meanwhile. */
static __always_inline bool quiet_in_tc(__u64 tc_ns)
{
	return !tc_ns || (__s64)(bpf_ktime_get_ns() - tc_ns) > (__s64)XDP_GAP;
}

/* As fast_forward(), and with the checksum, which is complete here: xdp.c sees to that. */
static __always_inline int forward(void *data, void *data_end, struct flow *f, enum seam_end side,
				   const struct pkt *p, const struct hop *h, __u32 ifindex,
				   __u64 now, __u32 l4)
{
	__u16 *check = data + l4 + TCP_CHECK_OFF;
	__u64 sum = 0;

	if (fast_forward(data, data_end, f, side, p, h, ifindex, now, l4, &sum))
		return NOT_FAST;
	if ((void *)(check + 1) > data_end)
		return 0; /* was looked at before: for the verifier */
	*check = bpf_htons(csum_fold(sum_fold(sum + (__u16)~*check)));
	return 0;
}

static __always_inline int fast_path(struct xdp_md *ctx, enum seam_end side)
{
	void *data_end = (void *)(long)ctx->data_end;
	void *data = (void *)(long)ctx->data;
	__u32 len = bpf_xdp_get_buff_len(ctx), ifindex = ctx->ingress_ifindex;
	struct flow_key key;
	__u64 now, tc_ns;
	const struct flow_end *me;
	struct flow *f;
	struct hop *h;
	struct pkt p;
	int err;

	p.gso = 0;
	if (parse(&p, data, data_end, len) != PARSE_TCP)
		return XDP_PASS;
	key_of(&key, &p, side);
	f = bpf_map_lookup_elem(&flows, &key);
	if (!f || !fast_flow(f, side, false))
		return XDP_PASS;
	me = side == SEAM_CLIENT ? &f->end[0] : &f->end[1];
	tc_ns = f->tc_ns;
	/* In pieces: no kernel of 6.1 tells which devices can send those. */
	if (len != data_end - data || me->ifindex != ifindex || !fast_packet(f, me, &p, false) || !settled(f) ||
	    !quiet_in_tc(tc_ns))
		goto to_tc;
	/* The way before the lock: TC must not track it again. */
	h = hop_find(ctx, f, side, &p, ifindex);
	if (!h || bpf_redirect_map(&xdp_ports, h->fib.ifindex, XDP_PASS) != XDP_REDIRECT)
		goto to_tc;
	now = fast_now(me, &p, h);
	if (p.v4)
		err = forward(data, data_end, f, side, &p, h, ifindex, now, ETH_HLEN + sizeof(struct iphdr));
	else
		err = forward(data, data_end, f, side, &p, h, ifindex, now, ETH_HLEN + sizeof(struct ipv6hdr));
	if (err)
		goto to_tc;
	/* Unless TC has got one meanwhile, of the other direction. */
	if (tc_ns)
		__sync_val_compare_and_swap(&f->tc_ns, tc_ns, 0);
	count(SEAM_R_XDP);
	return XDP_REDIRECT;
to_tc:
	/* On its way to TC from now on, perhaps in a batch with what comes next. */
	f->tc_ns = bpf_ktime_get_ns();
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
