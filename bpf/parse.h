/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From bytes to a struct pkt: Ethernet, IPv4 or IPv6 with its usual extension headers, TCP. The
 * same code for TC and XDP: it only needs two pointers.
 */
#ifndef SEAM_BPF_PARSE_H
#define SEAM_BPF_PARSE_H

#include "common.h"

#define ETH_HLEN 14
#define WSCALE_MAX 14 /* RFC 7323 2.3 */
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define IPPROTO_HOPOPTS 0
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_ICMPV6 58
#define IPPROTO_DSTOPTS 60

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20
#define TCP_ECE 0x40
#define TCP_CWR 0x80

#define TCPOPT_EOL 0
#define TCPOPT_NOP 1
#define TCPOPT_MSS 2
#define TCPOPT_WSCALE 3
#define TCPOPT_SACK_PERM 4
#define TCPOPT_SACK 5
#define TCPOPT_TSTAMP 8
#define TCPOPT_MD5 19
#define TCPOPT_AO 29
#define TCPOPT_MPTCP 30
#define TCPOPT_FASTOPEN 34

/* NOP NOP TIMESTAMP, as nearly every stack lays it out. */
#define TSTAMP_ALIGNED bpf_htonl(0x0101080a)

/* A packet, parsed. Host byte order except for the key and flow_label. */
struct pkt {
	struct flow_key key; /* as the packet has it: its sender as client */
	__u32 seq, ack;
	__u32 len;	     /* payload bytes */
	__u32 end;	     /* seq after it: payload, SYN and FIN counted */
	__u32 tsval, tsecr;
	__u32 flow_label;
	__u32 gso;	     /* TC: payload per segment of a GSO packet, else 0 */
	__u16 wnd;	     /* as in the header, not scaled */
	__u16 l4;	     /* offset of the TCP header */
	__u16 payload;	     /* offset of the payload */
	__u16 ts;	     /* offset of TSval, 0: none found yet */
	__u8 flags;
	__u8 ae;
	__u8 off;	     /* data offset and reserved bits, as in the header */
	__u8 ttl;
	__u8 tos;
	bool v4;
	bool ip_opts;	     /* IPv4 options or IPv6 extension headers */
};

enum parse_result {
	PARSE_TCP = 0,
	PARSE_SHORT,	 /* headers not within [data, data_end): pull, try again */
	PARSE_OTHER,	 /* not TCP over IP */
	PARSE_CHAIN,	 /* more IPv6 extension headers than are followed */
	PARSE_ICMP,	 /* ICMP or ICMPv6; pkt.l4 is set */
	PARSE_FRAGMENT,  /* a fragment; the key is set if `end` is 1 */
	PARSE_MALFORMED,
};

static __always_inline void key_mapped(__u32 addr[4], __u32 v4)
{
	addr[0] = 0;
	addr[1] = 0;
	addr[2] = bpf_htonl(0xffff);
	addr[3] = v4;
}

/* Finds timestamps that come first, after one NOP or none. The caller has checked 12 bytes. */
static __always_inline void find_tstamp_first(struct pkt *p, const __u8 *opt)
{
	__u32 at = opt[0] == TCPOPT_NOP;

	if (at ? opt[1] != TCPOPT_TSTAMP || opt[2] != 10 : opt[0] != TCPOPT_TSTAMP || opt[1] != 10)
		return;
	if (at) {
		p->tsval = bpf_ntohl(*(__u32 *)(opt + 3));
		p->tsecr = bpf_ntohl(*(__u32 *)(opt + 7));
	} else {
		p->tsval = bpf_ntohl(*(__u32 *)(opt + 2));
		p->tsecr = bpf_ntohl(*(__u32 *)(opt + 6));
	}
	p->ts = p->l4 + sizeof(struct tcphdr) + 2 + at;
}

static __always_inline enum parse_result parse_tcp(struct pkt *p, void *data, void *data_end,
						   __u32 l4, __u32 l3_end)
{
	struct tcphdr *th = data + l4;
	__u32 doff, *opt;

	asm volatile("" : "+r"(th)); /* one pointer for every check and access */
	if ((void *)(th + 1) > data_end)
		return PARSE_SHORT;
	doff = th->doff * 4;
	if (doff < sizeof(*th) || l4 + doff > l3_end)
		return PARSE_MALFORMED;

	p->key.client_port = th->source;
	p->key.server_port = th->dest;
	p->seq = bpf_ntohl(th->seq);
	p->ack = bpf_ntohl(th->ack_seq);
	p->wnd = bpf_ntohs(th->window);
	p->flags = ((__u8 *)th)[13];
	p->off = ((__u8 *)th)[12];
	p->ae = p->off & 1;
	p->l4 = l4;
	p->payload = l4 + doff;
	p->len = l3_end - l4 - doff;
	p->end = p->seq + p->len + !!(p->flags & TCP_SYN) + !!(p->flags & TCP_FIN);
	p->ts = 0;
	if (doff >= 32) {
		opt = (void *)(th + 1);
		if ((void *)(opt + 3) > data_end)
			return PARSE_SHORT;
		if (opt[0] == TSTAMP_ALIGNED) {
			p->tsval = bpf_ntohl(opt[1]);
			p->tsecr = bpf_ntohl(opt[2]);
			p->ts = l4 + sizeof(*th) + 4;
		} else {
			find_tstamp_first(p, (__u8 *)opt);
		}
	}
	return PARSE_TCP;
}

/* A fragment: the first one has the ports, however short it is. */
static __always_inline enum parse_result parse_fragment(struct pkt *p, void *data, void *data_end,
							__u32 l4, bool first)
{
	__u16 *ports = data + l4;

	p->l4 = l4;
	p->end = 0;
	if (!first)
		return PARSE_FRAGMENT;
	asm volatile("" : "+r"(ports)); /* else the two checks become one that 6.1 cannot follow */
	if ((void *)(ports + 2) > data_end)
		return PARSE_SHORT;
	p->key.client_port = ports[0];
	p->key.server_port = ports[1];
	p->end = 1;
	return PARSE_FRAGMENT;
}

static __always_inline enum parse_result parse_ipv4(struct pkt *p, void *data, void *data_end,
						    __u32 pkt_len)
{
	struct iphdr *ih = data + ETH_HLEN;
	__u32 ihl, tot;

	if ((void *)(ih + 1) > data_end)
		return PARSE_SHORT;
	ihl = ih->ihl * 4;
	tot = bpf_ntohs(ih->tot_len);
	if (!tot && p->gso) /* BIG TCP */
		tot = pkt_len - ETH_HLEN;
	if (ih->version != 4 || ihl < sizeof(*ih) || tot < ihl || tot > pkt_len - ETH_HLEN)
		return PARSE_MALFORMED;
	p->v4 = true;
	p->ttl = ih->ttl;
	p->tos = ih->tos;
	p->flow_label = 0;
	p->ip_opts = ihl != sizeof(*ih);
	key_mapped(p->key.client, ih->saddr);
	key_mapped(p->key.server, ih->daddr);
	p->l4 = ETH_HLEN + ihl;
	if (ih->frag_off & bpf_htons(0x3fff)) {
		if (ih->protocol != IPPROTO_TCP)
			return PARSE_OTHER;
		return parse_fragment(p, data, data_end, ETH_HLEN + ihl,
				      !(ih->frag_off & bpf_htons(0x1fff)));
	}
	if (ih->protocol == IPPROTO_ICMP)
		return PARSE_ICMP;
	if (ih->protocol != IPPROTO_TCP)
		return PARSE_OTHER;
	return parse_tcp(p, data, data_end, ETH_HLEN + ihl, ETH_HLEN + tot);
}

/* IPv6 headers that may precede TCP's (RFC 8200 4). */
static __always_inline bool is_extension(__u8 nexthdr)
{
	return nexthdr == IPPROTO_HOPOPTS || nexthdr == IPPROTO_DSTOPTS ||
	       nexthdr == IPPROTO_ROUTING || nexthdr == IPPROTO_FRAGMENT;
}

/* An IPv4 address in an IPv6 header: the host drops it, and its key would be an IPv4 flow's. */
static __always_inline bool is_mapped(const struct in6_addr *a)
{
	const __u32 *w = (const __u32 *)a;

	return !w[0] && !w[1] && w[2] == bpf_htonl(0xffff);
}

static __always_inline enum parse_result parse_ipv6(struct pkt *p, void *data, void *data_end,
						    __u32 pkt_len)
{
	struct ipv6hdr *ih = data + ETH_HLEN;
	__u32 off = ETH_HLEN + sizeof(*ih), end;
	__u8 nexthdr;
	int i;

	if ((void *)(ih + 1) > data_end)
		return PARSE_SHORT;
	end = bpf_ntohs(ih->payload_len);
	/*
	 * BIG TCP: a jumbo payload option, or its stripped form. And what a receiver takes for one,
	 * whatever its options are (ip6_rcv_core()).
	 */
	if (!end && (p->gso || ih->nexthdr == IPPROTO_HOPOPTS))
		end = pkt_len - off;
	if (ih->version != 6 || end > pkt_len - off || is_mapped(&ih->saddr) || is_mapped(&ih->daddr))
		return PARSE_MALFORMED;
	end += off;
	p->v4 = false;
	p->ttl = ih->hop_limit;
	p->tos = ih->priority << 4 | ih->flow_lbl[0] >> 4;
	p->flow_label = *(__u32 *)ih & bpf_htonl(0xfffff);
	p->ip_opts = false;
	__builtin_memcpy(p->key.client, &ih->saddr, 16);
	__builtin_memcpy(p->key.server, &ih->daddr, 16);
	nexthdr = ih->nexthdr;

#pragma unroll
	for (i = 0; i < 4; i++) {
		struct ipv6_opt_hdr *eh = data + off;

		if (nexthdr == IPPROTO_TCP || nexthdr == IPPROTO_ICMPV6)
			break;
		if (nexthdr == IPPROTO_FRAGMENT) {
			struct frag_hdr *fh = data + off;

			asm volatile("" : "+r"(fh));
			if ((void *)(fh + 1) > data_end)
				return PARSE_SHORT;
			if (!(fh->frag_off & bpf_htons(0xfff8)) && is_extension(fh->nexthdr)) {
				/*
				 * One more is followed: a tunnel's has an option there, and no TCP
				 * behind it.
				 */
				eh = (void *)(fh + 1);
				if ((void *)(eh + 1) > data_end)
					return PARSE_SHORT;
				nexthdr = eh->nexthdr;
				return nexthdr == IPPROTO_TCP || is_extension(nexthdr) ? PARSE_CHAIN :
											 PARSE_OTHER;
			}
			return parse_fragment(p, data, data_end, off + sizeof(*fh),
					      fh->nexthdr == IPPROTO_TCP &&
						      !(fh->frag_off & bpf_htons(0xfff8)));
		}
		if (!is_extension(nexthdr))
			return PARSE_OTHER;
		if ((void *)(eh + 1) > data_end)
			return PARSE_SHORT;
		nexthdr = eh->nexthdr;
		off += 8 + eh->hdrlen * 8;
		if (off > 512)
			return PARSE_CHAIN;
		p->ip_opts = true;
	}
	p->l4 = off;
	if (nexthdr == IPPROTO_ICMPV6)
		return PARSE_ICMP;
	if (is_extension(nexthdr))
		return PARSE_CHAIN;
	if (nexthdr != IPPROTO_TCP)
		return PARSE_OTHER;
	return parse_tcp(p, data, data_end, off, end);
}

/*
 * Parses the packet in [data, data_end), of which pkt_len bytes exist in all
 * (a GSO packet's payload is not in the linear part).
 */
static __always_inline enum parse_result parse(struct pkt *p, void *data, void *data_end,
					       __u32 pkt_len)
{
	struct ethhdr *eth = data;

	if ((void *)(eth + 1) > data_end)
		return PARSE_SHORT;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(p, data, data_end, pkt_len);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(p, data, data_end, pkt_len);
	return PARSE_OTHER;
}

/* What walk_options() finds, on its stack: 64 bytes are two of the units that 6.1 counts. */
struct options {
	__u8 buf[40];	     /* the option bytes, zero-padded */
	__u32 tsval, tsecr;
	__u16 mss;
	__u8 wscale;
	__u8 opts;	     /* EMBRYO_O_* */
	__u8 len;
	__u8 pos;
	__u8 ts_pos;	     /* position of TSval in buf, 0: none */
	__u8 sack_pos, sack_len; /* of the SACK option in buf, 0: none */
};

static __always_inline __u32 opt_u32(const __u8 *b)
{
	return (__u32)b[0] << 24 | (__u32)b[1] << 16 | (__u32)b[2] << 8 | b[3];
}

static long walk_one(__u32 i, struct options *o)
{
	__u32 pos = o->pos, room;
	__u8 kind, len;

	if (pos >= o->len || pos >= sizeof(o->buf))
		return 1;
	kind = o->buf[pos];
	if (kind == TCPOPT_EOL)
		return 1;
	if (kind == TCPOPT_NOP) {
		o->pos = pos + 1;
		return 0;
	}
	room = o->len - pos;
	if (room < 2 || pos > sizeof(o->buf) - 2)
		goto bad;
	len = o->buf[pos + 1];
	if (len < 2 || len > room)
		goto bad;
	switch (kind) {
	case TCPOPT_MSS:
		if (len != 4 || pos > sizeof(o->buf) - 4)
			goto bad;
		o->mss = o->buf[pos + 2] << 8 | o->buf[pos + 3];
		break;
	case TCPOPT_WSCALE:
		if (len != 3 || pos > sizeof(o->buf) - 3)
			goto bad;
		o->wscale = o->buf[pos + 2] > WSCALE_MAX ? WSCALE_MAX : o->buf[pos + 2];
		o->opts |= EMBRYO_O_WSCALE;
		break;
	case TCPOPT_SACK_PERM:
		o->opts |= EMBRYO_O_SACK;
		break;
	case TCPOPT_TSTAMP:
		if (len != 10 || pos > sizeof(o->buf) - 10)
			goto bad;
		o->tsval = opt_u32(&o->buf[pos + 2]);
		o->tsecr = opt_u32(&o->buf[pos + 6]);
		o->ts_pos = pos + 2;
		o->opts |= EMBRYO_O_TSTAMP;
		break;
	case TCPOPT_MPTCP:
		o->opts |= EMBRYO_O_MPTCP;
		break;
	case TCPOPT_MD5:
	case TCPOPT_AO:
		o->opts |= EMBRYO_O_AUTH;
		break;
	case TCPOPT_SACK:
		o->sack_pos = pos;
		o->sack_len = len;
		break;
	case TCPOPT_FASTOPEN:
		break;
	default:
		o->opts |= EMBRYO_O_OTHER;
	}
	o->pos = pos + len;
	return 0;
bad:
	o->opts |= EMBRYO_O_BAD;
	return 1;
}

/* Reads every TCP option of `p`. */
static __noinline void walk_options(struct __sk_buff *ctx, const struct pkt *p,
				    struct options *out)
{
	__u32 len = p->payload - p->l4 - sizeof(struct tcphdr);
	struct options o = {}; /* bpf_loop() wants its context on the stack */

	if (!load_bytes(ctx, p->l4 + sizeof(struct tcphdr), o.buf, len, sizeof(o.buf))) {
		o.len = len;
		bpf_loop(sizeof(o.buf), walk_one, &o, 0);
	}
	*out = o;
}

#endif
