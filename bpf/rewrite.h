/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Changes to packets, with their checksums. A packet may come with a complete checksum or with one
 * that covers only the pseudo-header (CHECKSUM_PARTIAL). bpf_l4_csum_replace() knows which and
 * does the right thing for both, as long as BPF_F_PSEUDO_HDR is set exactly for what is in the
 * pseudo-header (incremental update as in RFC 1624).
 */
#ifndef SEAM_BPF_REWRITE_H
#define SEAM_BPF_REWRITE_H

#include "parse.h"
#include "verdict.h"

#define BPF_F_RECOMPUTE_CSUM (1ULL << 0)
#define BPF_F_PSEUDO_HDR (1ULL << 4)
#define TCP_CHECK_OFF 16
#define TCP_FLAGS_OFF 13
#define TCP_SEQ_OFF 4
#define TCP_ACK_OFF 8
#define TCP_WND_OFF 14

/* The checksum, in host order, for a sum from bpf_csum_diff(). */
static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	sum += sum >> 16;
	return ~bpf_ntohs(sum);
}

/* Replaces 32 bits at offset `at`, both values in host order. */
static __noinline int put32(struct __sk_buff *ctx, const struct pkt *p, __u32 at,
				 __u32 from, __u32 to)
{
	__u32 old = bpf_htonl(from), new = bpf_htonl(to), shift = (at - p->l4) & 1 ? 8 : 0;

	if (old == new)
		return 0;
	/* At an odd offset the sum sees the bytes swapped (RFC 1071 2 (B)). */
	if (bpf_l4_csum_replace(ctx, p->l4 + TCP_CHECK_OFF, old << shift | (__u64)old >> (32 - shift),
				new << shift | (__u64)new >> (32 - shift), 4))
		return -1;
	return bpf_skb_store_bytes(ctx, at, &new, 4, 0);
}

/* Replaces 16 bits at offset `at`, both values in host order. */
static __noinline int put16(struct __sk_buff *ctx, const struct pkt *p, __u32 at,
				 __u16 from, __u16 to)
{
	__u16 old = bpf_htons(from), new = bpf_htons(to);

	if (old == new)
		return 0;
	if (bpf_l4_csum_replace(ctx, p->l4 + TCP_CHECK_OFF, old, new, 2))
		return -1;
	return bpf_skb_store_bytes(ctx, at, &new, 2, 0);
}

/* Sets the TCP flags (the low eight); they share 16 bits with the data offset. */
static __always_inline int put_flags(struct __sk_buff *ctx, struct pkt *p, __u8 flags)
{
	__u16 off = (__u16)p->off << 8;
	int err = put16(ctx, p, p->l4 + TCP_FLAGS_OFF - 1, off | p->flags, off | flags);

	p->flags = flags;
	return err;
}

/* Sets TOS, or traffic class and flow label. */
static __noinline int put_class(struct __sk_buff *ctx, struct pkt *p, __u8 tos,
				     __u32 flow_label)
{
	__u16 old = bpf_htons(0x4500 | p->tos), new = bpf_htons(0x4500 | tos);
	__u32 word = bpf_htonl(6 << 28 | (__u32)tos << 20) | flow_label;

	p->tos = tos;
	p->flow_label = flow_label;
	if (!p->v4)
		return bpf_skb_store_bytes(ctx, ETH_HLEN, &word, 4, BPF_F_RECOMPUTE_CSUM);
	if (bpf_l3_csum_replace(ctx, ETH_HLEN + 10, old, new, 2))
		return -1;
	return bpf_skb_store_bytes(ctx, ETH_HLEN + 1, &tos, 1, 0);
}

struct csum_walk {
	struct __sk_buff *ctx;
	__u32 at, left;
	__s64 sum;
	__u8 buf[32]; /* the stack is small: 6.1 counts each frame in units of 32 */
};

static long csum_step(__u32 i, struct csum_walk *w)
{
	__u32 n = w->left;

	if (!n)
		return 1;
	if (n > sizeof(w->buf))
		n = sizeof(w->buf);
	__builtin_memset(w->buf, 0, sizeof(w->buf));
	if (load_bytes(w->ctx, w->at, w->buf, n, sizeof(w->buf))) {
		w->sum = -1;
		return 1;
	}
	w->sum = bpf_csum_diff((__be32 *)w->buf, sizeof(w->buf), 0, 0, w->sum);
	w->at += n;
	w->left -= n;
	return w->sum < 0;
}

/*
 * Cuts the payload off after `keep` bytes, leaving a correct checksum. If none are kept this works
 * for any packet. bpf_csum_diff() with only a `from` yields what to add for bytes that disappear.
 * A GSO packet's checksum is always partial and does not cover its payload, which therefore need
 * not be read. A GSO packet is cut to nothing or within its first segment: the kernel makes one
 * frame of it. In the sum, a tail at an odd offset has its bytes swapped; TCP headers are
 * multiples of four.
 */
static __noinline int cut_payload(struct __sk_buff *ctx, struct pkt *p, __u32 keep)
{
	__u32 l4_len = p->payload - p->l4 + p->len, cut_len = p->payload - p->l4 + keep;
	struct csum_walk w = { .ctx = ctx, .at = p->payload + keep, .left = p->len - keep };
	__u32 end = p->payload + keep, sum;
	__u16 old_len, v16;

	if (keep > p->len || (p->gso && keep > p->gso))
		return -1;
	if (p->len != keep && !p->gso) {
		bpf_loop(16384 / sizeof(w.buf), csum_step, &w, 0);
		if (w.sum < 0 || w.left)
			return -1;
		sum = w.sum;
		if (keep & 1)
			sum = sum << 8 | sum >> 24;
		if (bpf_l4_csum_replace(ctx, p->l4 + TCP_CHECK_OFF, 0, sum, 0))
			return -1;
	}
	if (ctx->len != end && bpf_skb_change_tail(ctx, end, 0))
		return -1;
	if (p->len == keep)
		return 0;
	/* All 32 bits: BIG TCP's are longer than any packet says. */
	if (bpf_l4_csum_replace(ctx, p->l4 + TCP_CHECK_OFF, bpf_htonl(l4_len), bpf_htonl(cut_len),
				4 | BPF_F_PSEUDO_HDR))
		return -1;
	if (p->v4) {
		v16 = bpf_htons(end - ETH_HLEN);
		if (bpf_skb_load_bytes(ctx, ETH_HLEN + 2, &old_len, 2) ||
		    bpf_l3_csum_replace(ctx, ETH_HLEN + 10, old_len, v16, 2) ||
		    bpf_skb_store_bytes(ctx, ETH_HLEN + 2, &v16, 2, 0))
			return -1;
	} else {
		v16 = bpf_htons((__u16)(end - ETH_HLEN - sizeof(struct ipv6hdr)));
		if (bpf_skb_store_bytes(ctx, ETH_HLEN + 4, &v16, 2, 0))
			return -1;
	}
	p->end -= p->len - keep;
	p->len = keep;
	p->gso = 0;
	return 0;
}

/* Replaces the SACK option that walk_options() found with NOPs, wherever it stands (RFC 2018 3). */
static __noinline int sack_to_nops(struct __sk_buff *ctx, const struct pkt *p,
				   const struct options *o)
{
	__u32 at, last, was, i;

	if (o->sack_len < 10 || o->sack_len > 34)
		return 0;
	at = p->l4 + sizeof(struct tcphdr) + o->sack_pos;
	last = at + o->sack_len - 4;
	/* The last four bytes may overlap those before. */
	for (i = 0; i < 9; i++) {
		if (at > last)
			at = last;
		if (bpf_skb_load_bytes(ctx, at, &was, 4) ||
		    put32(ctx, p, at, bpf_ntohl(was), 0x01010101))
			return -1;
		if (at == last)
			return 0;
		at += 4;
	}
	return -1;
}

/*
 * Adds `delta` to the SACK blocks that walk_options() found. If a block begins before `min`, it is
 * about what the other end has not sent: then all blocks are removed.
 */
static __noinline int move_sack(struct __sk_buff *ctx, const struct pkt *p, const struct options *o,
				__u32 delta, __u32 min)
{
	__u32 at = p->l4 + sizeof(struct tcphdr) + o->sack_pos + 2, block[2], from, to, i;

	if (o->sack_len < 10 || o->sack_len > 34)
		return 0;
	for (i = 0; i < 4 && i * 8 + 2 < o->sack_len; i++) {
		if (bpf_skb_load_bytes(ctx, at, block, 8))
			return -1;
		from = bpf_ntohl(block[0]);
		to = bpf_ntohl(block[1]);
		if (seq_before(from, min))
			return sack_to_nops(ctx, p, o);
		if (put32(ctx, p, at, from, from + delta) || put32(ctx, p, at + 4, to, to + delta))
			return -1;
		at += 8;
	}
	return 0;
}

/* Whether there are options other than timestamps in their usual place. */
static __always_inline bool more_options(const struct pkt *p)
{
	return p->payload - p->l4 > (p->ts ? 32 : 20);
}

/* Removes a packet's SACK blocks. Inline: before 6.4 every frame counts 32 bytes and more. */
static __always_inline int strip_sack(struct __sk_buff *ctx, const struct pkt *p, struct options *o)
{
	if (!more_options(p))
		return 0;
	walk_options(ctx, p, o);
	return sack_to_nops(ctx, p, o);
}

/* The fields as they are. */
static __always_inline struct told told_as_is(const struct pkt *p)
{
	return (struct told){ .seq = p->seq, .ack = p->ack, .tsval = p->tsval,
			      .tsecr = p->tsecr, .wnd = p->wnd };
}

/* Writes the fields `t` into a packet; `p` says what it has before and after. */
static __noinline int put_told(struct __sk_buff *ctx, struct pkt *p, const struct told *t)
{
	if (put32(ctx, p, p->l4 + TCP_SEQ_OFF, p->seq, t->seq) ||
	    put32(ctx, p, p->l4 + TCP_ACK_OFF, p->ack, t->ack) ||
	    put16(ctx, p, p->l4 + TCP_WND_OFF, p->wnd, t->wnd))
		return -1;
	p->seq = t->seq;
	p->ack = t->ack;
	p->wnd = t->wnd;
	if (!p->ts)
		return 0;
	if (put32(ctx, p, p->ts, p->tsval, t->tsval) ||
	    put32(ctx, p, p->ts + 4, p->tsecr, t->tsecr))
		return -1;
	p->tsval = t->tsval;
	p->tsecr = t->tsecr;
	return 0;
}

/* Swaps source and destination, ports and MAC addresses: no checksum changes. */
static __noinline int turn_around(struct __sk_buff *ctx, const struct pkt *p)
{
	__u8 mac[12], swapped[12];
	__u16 ports[2];

	if (bpf_skb_load_bytes(ctx, 0, mac, 12))
		return -1;
	__builtin_memcpy(swapped, mac + 6, 6);
	__builtin_memcpy(swapped + 6, mac, 6);
	if (bpf_skb_store_bytes(ctx, 0, swapped, 12, 0))
		return -1;
	if (p->v4) {
		if (bpf_skb_store_bytes(ctx, ETH_HLEN + 12, &p->key.server[3], 4, 0) ||
		    bpf_skb_store_bytes(ctx, ETH_HLEN + 16, &p->key.client[3], 4, 0))
			return -1;
	} else {
		if (bpf_skb_store_bytes(ctx, ETH_HLEN + 8, p->key.server, 16, 0) ||
		    bpf_skb_store_bytes(ctx, ETH_HLEN + 24, p->key.client, 16, 0))
			return -1;
	}
	ports[0] = p->key.server_port;
	ports[1] = p->key.client_port;
	return bpf_skb_store_bytes(ctx, p->l4, ports, 4, 0);
}

/*
 * Turns a packet into a bare RST to its receiver, or with `back` to its sender
 * (RFC 9293 3.10.7.1). Options stay: a RST carries timestamps like any segment
 * (RFC 7323 5.2), and none of the others means anything on it.
 */
static __noinline int make_rst(struct __sk_buff *ctx, struct pkt *p, __u32 seq, bool back)
{
	__u32 end = p->end, tsval = p->tsval;
	bool had_ack = p->flags & TCP_ACK;

	if (cut_payload(ctx, p, 0))
		return -1;
	if (back && turn_around(ctx, p))
		return -1;
	if (put32(ctx, p, p->l4 + TCP_SEQ_OFF, p->seq, seq))
		return -1;
	if (back) {
		if (put32(ctx, p, p->l4 + TCP_ACK_OFF, p->ack, end))
			return -1;
		if (p->ts && (put32(ctx, p, p->ts, p->tsval, p->tsecr) ||
			      put32(ctx, p, p->ts + 4, p->tsecr, tsval)))
			return -1;
	}
	if (put16(ctx, p, p->l4 + TCP_WND_OFF, p->wnd, 0))
		return -1;
	return put_flags(ctx, p, TCP_RST | (back || had_ack ? TCP_ACK : 0));
}

#endif
