// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What ends of the lab do to their frames that the kernel here does not. VLAN tags: put on at TC
 * egress, taken off at ingress. 100 (802.1ad) and 5 (802.1Q), or 5 alone; a frame
 * with other tags is not for this end.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define INNER 5
#define OUTER 100

static __always_inline int put(struct __sk_buff *ctx, int two)
{
	if (bpf_skb_vlan_push(ctx, bpf_htons(0x8100), INNER) ||
	    (two && bpf_skb_vlan_push(ctx, bpf_htons(0x88a8), OUTER)))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

static __always_inline int take(struct __sk_buff *ctx, int two)
{
	if (!ctx->vlan_present || (ctx->vlan_tci & 0xfff) != (two ? OUTER : INNER) ||
	    bpf_skb_vlan_pop(ctx))
		return TC_ACT_SHOT;
	if (two && (!ctx->vlan_present || (ctx->vlan_tci & 0xfff) != INNER || bpf_skb_vlan_pop(ctx)))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

SEC("tc/put_one")
int put_one(struct __sk_buff *ctx)
{
	return put(ctx, 0);
}

SEC("tc/put_two")
int put_two(struct __sk_buff *ctx)
{
	return put(ctx, 1);
}

SEC("tc/take_one")
int take_one(struct __sk_buff *ctx)
{
	return take(ctx, 0);
}

SEC("tc/take_two")
int take_two(struct __sk_buff *ctx)
{
	return take(ctx, 1);
}

/* The same IP ID in every packet that comes in, as some hosts send what cannot be fragmented (RFC 6864 4.1). */
SEC("xdp/same_id")
int same_id(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u16 *ip = data + 14;
	__u32 sum;

	if (data + 34 > data_end || ip[-1] != bpf_htons(0x0800))
		return XDP_PASS;
	sum = ip[5] + ip[2]; /* RFC 1624 */
	ip[5] = (sum & 0xffff) + (sum >> 16);
	ip[2] = 0;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
