// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The kernel relay: what a leg receives goes straight to the other leg. This applies only to legs
 * in the map `relay_socks`, each for the direction it receives.
 *
 * Runs under the leg's socket lock, for each buffer of its receive queue. The kernel hands over
 * whole buffers: they may still have bytes that userspace has read already, or that an overlapping
 * retransmission brought twice. Those are cut off here.
 */
#include "maps.h"
#include <bpf/bpf_core_read.h>

#include "seam/relay.h"

/* The most that one bpf_skb_adjust_room() takes off, and how often, for a buffer of 512 KiB. */
#define CUT_MAX 0xfff
#define CUTS 129

struct sk_buff___seam {
	char cb[48]; /* begins with tcp_skb_cb.seq */
	void *sk;
} __attribute__((preserve_access_index));

struct tcp_sock___seam {
	__u32 copied_seq;
} __attribute__((preserve_access_index));

/* Legs whose bytes the kernel moves, by their cookies. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u64);
} relay_socks SEC(".maps");

/* What is known of each leg. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct relay);
} relays SEC(".maps");

/* Number of legs of which bytes could not be passed on. */
__u64 relays_lost = 0;

static __always_inline int lost(struct relay *r)
{
	if (r && !r->lost) {
		r->lost = 1;
		__sync_fetch_and_add(&relays_lost, 1);
	}
	return SK_DROP;
}

/* Takes `n` bytes off the front. */
static __always_inline int cut(struct __sk_buff *ctx, __u32 n)
{
	int i;

	for (i = 0; i < CUTS && n; i++) {
		__u32 some = n < CUT_MAX ? n : CUT_MAX;

		if (bpf_skb_adjust_room(ctx, -(__s32)some, 0, 0))
			return -1;
		n -= some;
	}
	return n ? -1 : 0;
}

SEC("sk_skb/stream_verdict")
int seam_relay(struct __sk_buff *ctx)
{
	const struct sk_buff___seam *skb = (void *)ctx;
	const struct tcp_sock___seam *tp;
	__u64 cookie = bpf_get_socket_cookie(ctx);
	__u32 len = ctx->len, seq = 0, old;
	struct relay *r;

	/* A FIN: the daemon passes it on. Redirected, it would end the other leg. */
	if (!len)
		return SK_DROP;
	r = bpf_map_lookup_elem(&relays, &cookie);
	if (!r)
		return SK_DROP;
	if (bpf_probe_read_kernel(&seq, sizeof(seq), (void *)__builtin_preserve_access_index(&skb->cb)))
		return lost(r);
	if (!r->begun) {
		tp = BPF_CORE_READ(skb, sk);
		if (bpf_probe_read_kernel(&r->nxt, sizeof(r->nxt),
					  (void *)__builtin_preserve_access_index(&tp->copied_seq)))
			return lost(r);
		r->begun = 1;
	}
	old = r->nxt - seq;
	if (r->lost || (__s32)old < 0 || old >= len)
		return lost(r);
	if (old) {
		r->cut += old;
		if (cut(ctx, old))
			return lost(r);
	}
	r->nxt = seq + len;
	r->bytes += len - old;
	if (bpf_sk_redirect_hash(ctx, &legs, &r->peer, 0) != SK_PASS)
		return lost(r);
	return SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
