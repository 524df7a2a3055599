/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where a packet goes, and how it gets there from a TC hook. */
#ifndef SEAM_BPF_STEER_H
#define SEAM_BPF_STEER_H

#include "maps.h"
#include "rewrite.h"
#include "wire.h"

/* Answers of bpf_fib_lookup(), which BTF does not carry. */
#define FIB_SUCCESS 0
#define FIB_NO_NEIGH 7
#define FIB_FRAG_NEEDED 8

/* Where a packet that Seam handles came from. */
enum source {
	FROM_PORT,
	FROM_HOLD,
	FROM_LEG,
};

/*
 * Looks up a packet's next hop as a router would: route, neighbour, MTU. `ctx` is that of TC or
 * XDP; `ifindex` is the port that packets of its sender come in on, for routing rules that ask.
 * Returns what bpf_fib_lookup() does.
 */
static __always_inline long next_hop(void *ctx, const struct pkt *p, __u32 ifindex,
				     struct bpf_fib_lookup *fib)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->l4_protocol = IPPROTO_TCP;
	fib->sport = p->key.client_port;
	fib->dport = p->key.server_port;
	fib->ifindex = ifindex;
	fib->tot_len = p->payload - ETH_HLEN + (p->gso ?: p->len);
	if (p->v4) {
		fib->family = AF_INET;
		fib->tos = p->tos;
		fib->ipv4_src = p->key.client[3];
		fib->ipv4_dst = p->key.server[3];
	} else {
		fib->family = AF_INET6;
		fib->flowinfo = p->flow_label | bpf_htonl((__u32)p->tos << 20);
		__builtin_memcpy(fib->ipv6_src, p->key.client, 16);
		__builtin_memcpy(fib->ipv6_dst, p->key.server, 16);
	}
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
}

/*
 * Whether the next hop has a multicast address, as those of clusters have: bpf_redirect_neigh()
 * drops a frame that already bears one.
 */
static __always_inline bool multicast_hop(const struct bpf_fib_lookup *fib)
{
	return fib->dmac[0] & 1;
}

/* The neighbour that is the next hop. */
static __always_inline void next_neigh(struct bpf_redir_neigh *nh, const struct bpf_fib_lookup *fib)
{
	nh->nh_family = fib->family;
	if (fib->family == AF_INET)
		nh->ipv4_nh = fib->ipv4_dst;
	else
		__builtin_memcpy(nh->ipv6_nh, fib->ipv6_dst, 16);
}

/* Takes one hop off the IP header at `ip`, which is known to be complete. */
static __always_inline void ttl_down(void *ip, bool v4)
{
	struct ipv6hdr *ih6 = ip;
	struct iphdr *ih = ip;
	__u32 check;

	if (!v4) {
		ih6->hop_limit--;
		return;
	}
	ih->ttl--;
	check = ih->check + bpf_htons(0x0100);
	ih->check = check + (check >= 0xffff);
}

/*
 * Turns the headers in [data, data_end) into those of a forwarded packet: TTL, and the link
 * addresses of the next hop if its neighbour is known. -1 if they are not complete; nothing is
 * changed then.
 */
static __always_inline int to_next_hop(void *data, void *data_end, const struct pkt *p,
				       const struct bpf_fib_lookup *fib, bool known)
{
	struct ethhdr *eth = data;
	void *ip = data + ETH_HLEN;

	if (p->v4) {
		if (ip + sizeof(struct iphdr) > data_end)
			return -1;
		ttl_down(ip, true);
	} else {
		if (ip + sizeof(struct ipv6hdr) > data_end)
			return -1;
		ttl_down(ip, false);
	}
	if (known) {
		__builtin_memcpy(eth->h_dest, fib->dmac, 6);
		__builtin_memcpy(eth->h_source, fib->smac, 6);
	}
	return 0;
}

/*
 * Prepares a packet for its next hop. Returns what bpf_fib_lookup() does, or -1 to drop. The
 * packet is changed only on FIB_SUCCESS and, unless its neighbour must be `known`, on FIB_NO_NEIGH
 * (without MAC addresses).
 */
static __noinline long route(struct __sk_buff *ctx, const struct pkt *p, __u32 ifindex,
				  struct bpf_fib_lookup *fib, bool known)
{
	long rc = next_hop(ctx, p, ifindex, fib);

	if (rc != FIB_SUCCESS && (known || rc != FIB_NO_NEIGH))
		return rc;
	if (to_next_hop((void *)(long)ctx->data, (void *)(long)ctx->data_end, p, fib,
			rc == FIB_SUCCESS))
		return -1;
	if (!p->v4) /* CHECKSUM_COMPLETE: no header field compensates for the hop limit */
		bpf_csum_update(ctx, (__u16)~bpf_htons(1));
	return rc;
}

/*
 * Answers a leg's packet that is too large for the next link, as a router would: fragmentation
 * needed (RFC 1191 4), or packet too big (RFC 4443 3.2). The leg sends it again in pieces that
 * fit, and its namespace remembers.
 */
static __noinline int too_big(struct __sk_buff *ctx, const struct pkt *p, __u16 mtu)
{
	__u32 head = p->v4 ? 20 : 40, len = 8 + head + 8;
	struct room *room = room_get();
	struct too_big *e;
	__s64 sum = 0;
	int err;

	if (!room)
		return TC_ACT_SHOT;
	e = &room->too_big;
	__builtin_memset(e, 0, sizeof(*e));
	if (p->ip_opts || bpf_skb_load_bytes(ctx, ETH_HLEN, e->quoted, sizeof(e->quoted)) ||
	    turn_around(ctx, p) || bpf_skb_change_tail(ctx, ETH_HLEN + head + len, 0))
		return TC_ACT_SHOT;
	e->icmp[1] = bpf_htonl(mtu);
	if (p->v4) {
		__builtin_memset(e->quoted + 7, 0, 20);
		e->icmp[0] = bpf_htonl(0x03040000);
		e->ip[0] = bpf_htonl(0x45000000 | (head + len));
		e->ip[2] = bpf_htonl(64 << 24 | IPPROTO_ICMP << 16);
		e->ip[3] = p->key.server[3];
		e->ip[4] = p->key.client[3];
		sum = bpf_csum_diff(0, 0, e->ip, 20, 0);
		e->ip[2] |= bpf_htonl(csum_fold(sum));
		sum = 0;
	} else {
		e->icmp[0] = bpf_htonl(0x02000000);
		e->ip[0] = bpf_htonl(6 << 28);
		e->ip[1] = bpf_htonl(len << 16 | IPPROTO_ICMPV6 << 8 | 64);
		__builtin_memcpy(e->ip + 2, p->key.server, 16);
		__builtin_memcpy(e->ip + 6, p->key.client, 16);
		/* The pseudo-header (RFC 8200 8.1). */
		sum = bpf_csum_diff(0, 0, e->ip + 2, 32, bpf_htonl(len + IPPROTO_ICMPV6));
	}
	sum = bpf_csum_diff(0, 0, e->icmp, sizeof(e->icmp) + sizeof(e->quoted), sum);
	e->icmp[0] |= bpf_htonl(csum_fold(sum));
	err = p->v4 ? bpf_skb_store_bytes(ctx, ETH_HLEN, e->ip, 20, 0) ?:
		      bpf_skb_store_bytes(ctx, ETH_HLEN + 20, e->icmp, 36, 0) :
		      bpf_skb_store_bytes(ctx, ETH_HLEN, e, sizeof(*e), 0);
	return err ? TC_ACT_SHOT : bpf_redirect(ctx->ifindex, 0);
}

/*
 * Forwards a packet of a flow on a wire. Nobody here may answer if it is too long for the other
 * port; but a leg sends it again in pieces.
 */
static __noinline int to_partner(struct __sk_buff *ctx, const struct pkt *p, __u32 ifindex,
				 enum source source)
{
	struct room *room = room_get();
	__u32 mtu = 0, out;

	if (!room)
		return TC_ACT_SHOT;
	out = source == FROM_HOLD ? partner_of(ifindex) : room->partner;
	if (source == FROM_LEG) {
		bpf_check_mtu(ctx, out, &mtu, 0, 0);
		if (mtu && p->payload - ETH_HLEN + (p->gso ?: p->len) > mtu) {
			count(SEAM_R_MTU);
			return too_big(ctx, p, mtu);
		}
		if (link_write(ctx, &room->link))
			return TC_ACT_SHOT;
	}
	return cross(ctx, out);
}

/*
 * Notes that the host will answer this packet and not forward it; unless it is `dead`, that is so
 * only if it may not be fragmented.
 */
static __always_inline void host_answers(struct __sk_buff *ctx, const struct pkt *p, bool dead)
{
	struct room *room = room_get();
	__u16 frag_off = 0;

	if (!dead && p->v4)
		bpf_skb_load_bytes(ctx, ETH_HLEN + 6, &frag_off, 2);
	if (room)
		room->answered = room->told && (dead || !p->v4 || (frag_off & bpf_htons(0x4000)));
}

/*
 * Forwards a packet past the host's stack. What a host must answer itself (TTL, MTU, no route) is
 * left to the stack if it came from a port, else dropped. A leg is told of an MTU, because it does
 * not ask the host's routes.
 */
static __noinline int to_router(struct __sk_buff *ctx, const struct pkt *p, __u32 ifindex,
				enum source source)
{
	int otherwise = source == FROM_PORT ? TC_ACT_UNSPEC : TC_ACT_SHOT;
	struct bpf_redir_neigh nh = {};
	struct bpf_fib_lookup fib;
	long rc;

	if (p->ttl <= 1) {
		count(SEAM_R_TTL);
		host_answers(ctx, p, true);
		return otherwise;
	}
	rc = route(ctx, p, ifindex, &fib, false);
	/*
	 * A leg may be the only sender to this neighbour, so have the kernel check that it is
	 * still there. But bpf_redirect_neigh() takes no multicast address, which clusters have.
	 */
	if (rc == FIB_SUCCESS && (source != FROM_LEG || multicast_hop(&fib)))
		return bpf_redirect(fib.ifindex, 0);
	if (rc == FIB_SUCCESS || rc == FIB_NO_NEIGH) {
		next_neigh(&nh, &fib);
		return bpf_redirect_neigh(fib.ifindex, &nh, sizeof(nh), 0);
	}
	if (rc < 0)
		return TC_ACT_SHOT;
	if (rc == FIB_FRAG_NEEDED) {
		count(SEAM_R_MTU);
		host_answers(ctx, p, false);
		return source == FROM_LEG ? too_big(ctx, p, fib.mtu_result) : otherwise;
	}
	count(SEAM_R_NO_ROUTE);
	return otherwise;
}

/* Forwards a packet of a flow; `ifindex` is the port that packets of its sender come in on. */
static __always_inline int to_wire(struct __sk_buff *ctx, const struct pkt *p, __u32 ifindex,
				   enum source source)
{
	return wire_mode ? to_partner(ctx, p, ifindex, source) : to_router(ctx, p, ifindex, source);
}

/*
 * Sends a copy of the packet on. The packet itself stays as it is, except for its link addresses
 * and TTL where it is routed. A next hop whose address is not known gets no copy. Whether one was
 * sent; if not, nothing was changed.
 */
static __noinline bool wire_clone(struct __sk_buff *ctx, struct pkt *p, __u32 ifindex)
{
	struct bpf_fib_lookup fib;
	__u32 out;

	if (wire_mode) {
		out = partner_of(ifindex);
		if (out)
			copy_out_of(ctx, out);
		return out;
	}
	if (p->ttl <= 1 || route(ctx, p, ifindex, &fib, true) != FIB_SUCCESS)
		return false;
	p->ttl--;
	bpf_clone_redirect(ctx, fib.ifindex, 0);
	return true;
}

/* Answers a packet with a RST out of `ifindex`, where it came in. */
static __noinline int rst_back(struct __sk_buff *ctx, struct pkt *p, __u32 ifindex)
{
	if (p->flags & TCP_RST) {
		count(SEAM_R_RST_DROPPED);
		return TC_ACT_SHOT;
	}
	if (make_rst(ctx, p, p->flags & TCP_ACK ? p->ack : 0, true))
		return TC_ACT_SHOT;
	count(SEAM_R_BLOCK_RST);
	return out_of(ctx, ifindex);
}

/* Sends a RST with sequence number `seq` on to the receiver, and one back. */
static __noinline int rst_both(struct __sk_buff *ctx, struct pkt *p, __u32 seq,
				    __u32 ifindex)
{
	__u32 end = p->end;
	__u8 mac[12];

	if (p->flags & TCP_RST || bpf_skb_load_bytes(ctx, 0, mac, sizeof(mac)) ||
	    make_rst(ctx, p, seq, false))
		return TC_ACT_SHOT;
	count(SEAM_R_BLOCK_RST);
	wire_clone(ctx, p, ifindex);

	if (bpf_skb_store_bytes(ctx, 0, mac, sizeof(mac), 0) || turn_around(ctx, p) ||
	    put32(ctx, p, p->l4 + TCP_SEQ_OFF, seq, p->ack) ||
	    put32(ctx, p, p->l4 + TCP_ACK_OFF, p->ack, end))
		return TC_ACT_SHOT;
	if (p->ts && (put32(ctx, p, p->ts, p->tsval, p->tsecr) ||
		      put32(ctx, p, p->ts + 4, p->tsecr, p->tsval)))
		return TC_ACT_SHOT;
	count(SEAM_R_BLOCK_RST);
	return out_of(ctx, ifindex);
}

#endif
