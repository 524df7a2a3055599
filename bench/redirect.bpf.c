// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The least that a box can do to a packet on TC: fixed link addresses, and out of the other
 * port. No flow, no route, no TTL. Anything but IPv4 is the host's, ARP above all.
 */
#include "common.h"

#define ETH_P_IP 0x0800
#define PORTS 64

/* Where packets go, by the index of the interface they came in on; set by systems.py. */
struct way {
	__u32 ifindex;
	__u8 mac[12]; /* as they are in the frame */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PORTS);
	__type(key, __u32);
	__type(value, struct way);
} ways SEC(".maps");

SEC("tc")
int redirect(struct __sk_buff *ctx)
{
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	__u32 port = ctx->ifindex;
	struct way *way = bpf_map_lookup_elem(&ways, &port);

	if (!way || !way->ifindex || (void *)(eth + 1) > data_end ||
	    eth->h_proto != bpf_htons(ETH_P_IP))
		return TC_ACT_UNSPEC;
	__builtin_memcpy(eth, way->mac, sizeof(way->mac));
	return bpf_redirect(way->ifindex, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
