// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Runs a path again and again on the same packet. A program that forwards changes its packet,
 * and BPF_PROG_TEST_RUN runs it on what is left. So each run begins here, where the packet is
 * restored, and goes on to the path by a tail call. The cost of that is the same in all
 * figures, those of the empty programs included.
 */
#include "common.h"

#define HEAD_MAX 128
#define ETH_HLEN 14
#define TCP_CHECK_OFF 16

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tc_path SEC(".maps"), xdp_path SEC(".maps");

/* The loader puts Seam's own map of that name in its place. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

/* Like Seam's own map of that name; contains the interface that test runs come in on. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} xdp_ports SEC(".maps");

/*
 * The packet's headers, and over how many IPv4 clients' ports it is spread at random, a power
 * of 2.
 */
__u8 head[HEAD_MAX];
__u32 head_len, spread = 1;

/* The same order as flow_number() of cost.c. */
static __always_inline void another_flow(void)
{
	__u32 n;

	if (spread == 1)
		return;
	n = bpf_get_prandom_u32() & (spread - 1);
	head[ETH_HLEN + 14] = n >> 16;
	head[ETH_HLEN + 20] = n >> 8;
	head[ETH_HLEN + 21] = n;
}

SEC("tc")
int again_tc(struct __sk_buff *ctx)
{
	__u32 len = head_len;

	another_flow();
	if (len && len <= HEAD_MAX && !bpf_skb_store_bytes(ctx, 0, head, len, 0))
		bpf_tail_call(ctx, &tc_path, 0);
	return TC_ACT_SHOT;
}

SEC("xdp")
int again_xdp(struct xdp_md *ctx)
{
	__u32 len = head_len;

	another_flow();
	if (len && len <= HEAD_MAX && !bpf_xdp_store_bytes(ctx, 0, head, len))
		bpf_tail_call(ctx, &xdp_path, 0);
	return XDP_ABORTED;
}

SEC("tc")
int empty_tc(struct __sk_buff *ctx)
{
	return TC_ACT_UNSPEC;
}

SEC("xdp")
int empty_xdp(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* The least that a program with flows can do: find the flow of an IPv4 packet. */
static __always_inline struct flow *find(void *data, void *data_end)
{
	struct flow_key key = { .client[2] = bpf_htonl(0xffff), .server[2] = bpf_htonl(0xffff) };
	struct iphdr *ih = data + ETH_HLEN;
	struct tcphdr *th = (void *)(ih + 1);

	if ((void *)(th + 1) > data_end)
		return NULL;
	key.client[3] = ih->saddr;
	key.server[3] = ih->daddr;
	key.client_port = th->source;
	key.server_port = th->dest;
	return bpf_map_lookup_elem(&flows, &key);
}

SEC("tc")
int lookup_tc(struct __sk_buff *ctx)
{
	return find((void *)(long)ctx->data, (void *)(long)ctx->data_end) ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

SEC("xdp")
int lookup_xdp(struct xdp_md *ctx)
{
	return find((void *)(long)ctx->data, (void *)(long)ctx->data_end) ? XDP_PASS : XDP_DROP;
}

/*
 * The least that a program can do that keeps account of a flow and forwards its packets with
 * changed numbers. It looks at nothing, asks for nothing, and writes nothing into the packet.
 */
static __always_inline void account(struct flow *f, void *data, void *data_end)
{
	bpf_spin_lock(&f->lock);
	f->end[0].packets++;
	f->end[0].bytes += data_end - data;
	bpf_spin_unlock(&f->lock);
}

SEC("tc")
int floor_tc(struct __sk_buff *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct flow *f = find(data, data_end);

	if (!f)
		return TC_ACT_SHOT;
	account(f, data, data_end);
	bpf_l4_csum_replace(ctx, ETH_HLEN + sizeof(struct iphdr) + TCP_CHECK_OFF, 0, 1, 0);
	return bpf_redirect(ctx->ifindex, 0);
}

SEC("xdp")
int floor_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct flow *f = find(data, data_end);

	if (!f)
		return XDP_DROP;
	account(f, data, data_end);
	return bpf_redirect_map(&xdp_ports, ctx->ingress_ifindex, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
