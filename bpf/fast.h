/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The fast path of flows that were let go, the same for TC and XDP. A segment that cannot change
 * the flow's state is tracked, renumbered where edits or a leg's clock have left a delta, and sent
 * to its next hop, with no more work than that. Everything else is left to packet.h, which can
 * also do all that is done here.
 */
#ifndef SEAM_BPF_FAST_H
#define SEAM_BPF_FAST_H

#include "steer.h"
#include "track.h"

#include "seam/hop.h"

/* Returned for a packet that is not for the fast path: nothing was done. */
#define NOT_FAST (-4)

/*
 * For this long after the hold queue has run empty, packets of an end that had some in it still go
 * through it: one that another CPU is just bringing must not overtake the last.
 */
#define HOLD_SETTLE (50 * NSEC_PER_USEC)

/* Most SACK blocks of a segment without timestamps. */
#define SACK_BLOCKS 4

/*
 * Once per HOP_USED a packet is sent through the kernel's neighbour entry instead of with cached
 * MAC addresses, so that the kernel re-validates a stale one; it does not see our other packets.
 * For XDP the daemon does this (neigh.c).
 */
#define HOP_USED NSEC_PER_SEC

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOPS);
	__type(key, __u32);
	__type(value, struct hop);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} hops SEC(".maps");

/* Whether packets of this end have been in the hold queue. */
static __always_inline bool was_queued(const struct flow *f, __u32 end)
{
	return f->held_in && (f->flags & (end == SEAM_CLIENT ? FLOW_F_QUEUED_UP : FLOW_F_QUEUED_DOWN));
}

/*
 * Whether the hold queue is empty, and has been for a while if it had packets of this end. Signed:
 * another CPU may have stamped the flow after this one read the time.
 */
static __always_inline bool settled(const struct flow *f, __u32 end)
{
	return f->held_in == f->held_out &&
	       (!was_queued(f, end) ||
		(__s64)(bpf_ktime_get_coarse_ns() - f->released_ns) >= (__s64)HOLD_SETTLE);
}

/*
 * Whether the fast path is enough for packets of the flow's end on this side. `wire`: they cross a
 * wire, where there is no host's stack to have seen them.
 */
static __always_inline bool fast_flow(const struct flow *f, enum seam_end side, bool wire)
{
	__u32 never = FLOW_F_ARMED | FLOW_F_TSCATCHUP |
		      (side == SEAM_CLIENT ? FLOW_F_CLIENT_FAR : FLOW_F_SERVER_FAR);

	return (f->state == FLOW_MERGED || f->state == FLOW_PASSED) && !(f->flags & never) &&
	       (wire || (f->flags & FLOW_F_BYPASS));
}

/* Whether the packet cannot change the flow's state and is not for the host to answer. */
static __always_inline bool fast_packet(const struct flow *f, const struct flow_end *me,
					const struct pkt *p, bool wire)
{
	if ((p->flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_URG | TCP_ACK)) != TCP_ACK ||
	    (!wire && p->ttl <= 1) || p->ip_opts)
		return false;
	/* packet.h finds timestamps where parse() does not look. */
	if (!p->ts && (f->flags & FLOW_F_TSTAMP) && p->payload - p->l4 != sizeof(struct tcphdr))
		return false;
	/* Bytes that were replaced do not go on. */
	return !(f->flags & FLOW_F_EDITED) || !p->len || !seq_before(p->seq, me->seq_pos);
}

/* Looks up the next hop of what an end sends. NULL: there is none that the fast path can use. */
static __noinline struct hop *hop_ask(void *ctx, const struct pkt *p, __u32 ifindex, __u64 whose)
{
	__u32 slot = whose & (HOPS - 1);
	struct hop *h = bpf_map_lookup_elem(&hops, &slot);
	struct port *port;

	if (!h)
		return NULL;
	if (next_hop(ctx, p, ifindex, &h->fib) != FIB_SUCCESS) {
		h->tick = 0;
		return NULL;
	}
	h->now = bpf_ktime_get_ns();
	h->whose = whose;
	h->tick = tick();
	h->from = ifindex;
	h->flow_label = p->flow_label;
	h->tos = p->tos & ~3; /* ECN does not affect the route */
	next_neigh(&h->nh, &h->fib);
	__builtin_memcpy(h->mac, h->fib.dmac, 6);
	__builtin_memcpy((__u8 *)h->mac + 6, h->fib.smac, 6);
	port = bpf_map_lookup_elem(&ports, &ifindex);
	h->to[1] = 0;
	if (port) {
		__builtin_memcpy(h->to, port->mac, 6);
		h->to[1] = (h->to[1] & 0xffff) | HOP_TO;
	}
	return h;
}

static __always_inline struct hop *hop_find(void *ctx, const struct flow *f, enum seam_end side,
					    const struct pkt *p, __u32 ifindex)
{
	__u64 whose = f->id * 2 + side;
	__u32 slot = whose & (HOPS - 1);
	struct hop *h = bpf_map_lookup_elem(&hops, &slot);

	if (!h)
		return NULL;
	if (h->whose != whose || h->tick != tick() || h->from != ifindex ||
	    h->tos != (p->tos & ~3) || h->flow_label != p->flow_label)
		return hop_ask(ctx, p, ifindex, whose);
	/* The MTU check that hop_ask() would make. */
	return p->payload - ETH_HLEN + (p->gso ?: p->len) <= h->fib.mtu_result ? h : NULL;
}

/*
 * Tracks the packet and fills in `t`, what the other end is told. False if the flow has changed
 * since `changed` was read. Lock not held.
 */
static __always_inline bool fast_track(struct flow *f, enum seam_end side, const struct pkt *p,
				       __u32 ifindex, bool wire, bool tc, __u64 now, __u64 changed,
				       struct told *t)
{
	struct flow_end *me = side == SEAM_CLIENT ? &f->end[0] : &f->end[1];
	struct flow_end *peer = side == SEAM_CLIENT ? &f->end[1] : &f->end[0];
	enum belief belief;
	bool same;

	bpf_spin_lock(&f->lock);
	same = fast_flow(f, side, wire) && f->changed_ns == changed && f->held_in == f->held_out;
	if (same) {
		belief = believe_ack(false, me, peer, p);
		/*
		 * Else clang also keeps what `belief` is computed from, for which 6.1 has no
		 * stack. XDP has the stack, but its verifier would walk what follows once more for
		 * each value.
		 */
		if (tc)
			asm volatile("" : "+r"(belief));
		track_ack(me, p, belief, now);
		track_data(f, me, peer, p, belief);
		track_sender(f, me, p, belief, p->gso ?: p->len, ifindex, now);
		t->seq = p->seq + me->seq_delta;
		t->ack = p->ack - peer->seq_delta;
		t->tsval = p->tsval + me->ts_delta;
		t->tsecr = p->tsecr ? p->tsecr - peer->ts_delta : 0;
	}
	bpf_spin_unlock(&f->lock);
	return same;
}

/* Writes 32 bits in host order at `to`, and adds the difference to a sum of 16-bit words. */
static __always_inline void put_word(__u8 *to, __u32 from, __u32 value, bool odd, __u64 *sum)
{
	__u32 old = bpf_htonl(from), new = bpf_htonl(value);
	__u64 diff = (__u64)(__u32)~old + new;

	*(__u32 *)to = new;
	/* At an odd offset the sum sees the bytes swapped (RFC 1071 2 (B)). */
	*sum += odd ? diff << 8 : diff;
}

static __always_inline void put_ts(__u8 *to, void *data_end, const struct pkt *p, const struct told *t,
				   bool odd, __u64 *sum)
{
	/*
	 * fast_forward() has checked this, but the verifier of 6.1 has forgotten its `ts` by now.
	 */
	asm volatile("" : "+r"(data_end));
	if ((void *)(to + 8) > data_end)
		return;
	put_word(to, p->tsval, t->tsval, odd, sum);
	put_word(to + 4, p->tsecr, t->tsecr, odd, sum);
}

/*
 * Converts the sum of put_word() into what bpf_csum_diff() would return; 0 if the checksum is to
 * stay. Unchanged words add up to the other zero, ~0, which would turn the checksum 0xffff into 0
 * (RFC 1624 3).
 */
static __always_inline __u32 sum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return sum == 0xffffffff ? 0 : sum;
}

/*
 * Adds `delta` to the SACK blocks of a segment whose only other option is timestamps before them,
 * as nearly every stack lays it out; without `write`, only checks them. `at` is where they begin.
 * -1: it is not such a segment, or a block is about what the other end has not sent.
 */
static __always_inline int fast_sack(__u8 *at, __u32 len, void *data_end, __u32 delta, __u32 min,
				     bool write, __u64 *sum)
{
	__u32 i, *block = (__u32 *)(at + 4);

	if ((void *)(at + 4) > data_end || *(__u32 *)at != bpf_htonl(0x01010500 | (len - 2)))
		return -1;
#pragma unroll
	for (i = 0; i < SACK_BLOCKS; i++, block += 2) {
		if (4 + i * 8 == len)
			return 0;
		if ((void *)(block + 2) > data_end)
			return -1;
		if (!write && seq_before(bpf_ntohl(block[0]), min))
			return -1;
		if (write) {
			put_word((__u8 *)block, bpf_ntohl(block[0]), bpf_ntohl(block[0]) + delta, false, sum);
			put_word((__u8 *)(block + 1), bpf_ntohl(block[1]), bpf_ntohl(block[1]) + delta, false, sum);
		}
	}
	return 4 + SACK_BLOCKS * 8 == len ? 0 : -1;
}

/* The time at which a new TSval is first seen matters to the microsecond, later times do not. */
static __always_inline __u64 fast_now(const struct flow_end *me, const struct pkt *p, const struct hop *h)
{
	if (p->ts && seq_after(p->tsval, me->tsval))
		return bpf_ktime_get_ns();
	return h ? h->now : bpf_ktime_get_coarse_ns();
}

/*
 * Prepares the packet for its next hop `h`, or if that is NULL for the other end of a wire, if the
 * packet is for the fast path. `l4` is where its TCP header begins: a constant, because the
 * verifier knows little of `p`. Returns 0, with what must be added to the TCP checksum in `sum`,
 * or NOT_FAST.
 */
static __always_inline int fast_forward(void *data, void *data_end, struct flow *f, enum seam_end side,
					const struct pkt *p, const struct hop *h, __u32 ifindex,
					__u64 now, __u32 l4, bool tc, __u64 *sum)
{
	struct flow_end *peer = side == SEAM_CLIENT ? &f->end[1] : &f->end[0];
	__u32 delta = -peer->seq_delta, min = seq_across(peer, peer->seq_pos), sack;
	__u32 ts = p->ts ? p->ts - l4 - sizeof(struct tcphdr) : 0;
	__u8 *th = data + l4, *opt = th + sizeof(struct tcphdr);
	__u64 changed = f->changed_ns;
	__u32 *mac = data;
	struct told t = {};

	asm volatile("" : "+r"(ts)); /* else it is re-read, and the verifier does not know it */
	if ((void *)opt > data_end || (ts && (void *)(opt + 12) > data_end))
		return NOT_FAST;
	/* Translates SACK blocks that an edit moved only where nearly every stack has them. */
	sack = f->flags & FLOW_F_EDITED ? p->payload - p->l4 - sizeof(struct tcphdr) - (ts ? 12 : 0) : 0;
	asm volatile("" : "+r"(sack));
	if (sack && (ts == 4 ? fast_sack(opt + 12, sack, data_end, delta, min, false, sum) :
		     ts	     ? -1 :
			       fast_sack(opt, sack, data_end, delta, min, false, sum)))
		return NOT_FAST;
	if (!fast_track(f, side, p, ifindex, !h, tc, now, changed, &t))
		return NOT_FAST;

	if (h) {
		mac[0] = h->mac[0];
		mac[1] = h->mac[1];
		mac[2] = h->mac[2];
		ttl_down(data + ETH_HLEN, l4 == ETH_HLEN + sizeof(struct iphdr));
	}
	put_word(th + TCP_SEQ_OFF, p->seq, t.seq, false, sum);
	put_word(th + TCP_ACK_OFF, p->ack, t.ack, false, sum);
	if (ts == 4)
		put_ts(opt + 4, data_end, p, &t, false, sum);
	else if (ts == 3)
		put_ts(opt + 3, data_end, p, &t, true, sum);
	else if (ts)
		put_ts(opt + 2, data_end, p, &t, false, sum);
	if (sack && delta) {
		if (ts)
			fast_sack(opt + 12, sack, data_end, delta, min, true, sum);
		else
			fast_sack(opt, sack, data_end, delta, min, true, sum);
	}
	return 0;
}

#endif
