// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * XDP on the ports: the fast path of flows that were let go. It forwards what
 * needs nothing but a next hop; everything else goes on to TC (port.bpf.c),
 * which can do all that is done here, and more.
 */
#include "steer.h"
#include "track.h"

/*
 * A packet that TC has may still be on its way (GRO, a queue) when the next one
 * comes; XDP would overtake it. It takes a flow over only after such a gap.
 */
#define XDP_GAP NSEC_PER_MSEC

/* Ports whose driver takes redirected packets: those with one of these programs. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} xdp_ports SEC(".maps");

/* Whether packets of the flow need nothing but forwarding, past the host's stack. */
static __always_inline bool let_go(const struct flow *f)
{
	return (f->state == FLOW_MERGED || f->state == FLOW_PASSED) &&
	       (f->flags & (FLOW_F_BYPASS | FLOW_F_EDITED | FLOW_F_TSDELTA | FLOW_F_TSCATCHUP |
			    FLOW_F_ARMED)) ==
		       FLOW_F_BYPASS;
}

/* Signed: another CPU may have stamped the flow after `now` was read here. */
static __always_inline bool long_ago(__u64 then, __u64 now)
{
	return (__s64)(now - then) > (__s64)XDP_GAP;
}

/* Whether nothing of the flow is in TC's hands or in the hold queue. */
static __always_inline bool quiet_in_tc(const struct flow *f, __u64 now)
{
	return f->held_in == f->held_out && long_ago(f->tc_ns, now) &&
	       long_ago(f->released_ns, now) && long_ago(f->changed_ns, now);
}

/* Whether the packet is one that cannot change the flow's state or need TC's care. */
static __always_inline bool plain(const struct pkt *p, const struct flow *f, bool in_one_piece)
{
	/* In pieces: no kernel of 6.1 tells which devices can send those. */
	if (!in_one_piece || p->ip_opts || p->ttl <= 1 ||
	    (p->flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) != TCP_ACK)
		return false;
	/* Timestamps where parse() does not look: TC finds them. */
	return p->ts || p->payload - p->l4 == sizeof(struct tcphdr) || !(f->flags & FLOW_F_TSTAMP);
}

/* Tracks the packet as TC does, unless the flow is no longer what it was. */
static __always_inline bool track(struct flow *f, __u32 end, const struct pkt *p, __u32 ifindex,
				  __u64 now)
{
	struct flow_end *me = end == SEAM_CLIENT ? &f->end[0] : &f->end[1];
	struct flow_end *peer = end == SEAM_CLIENT ? &f->end[1] : &f->end[0];
	bool ours;

	bpf_spin_lock(&f->lock);
	ours = let_go(f) && quiet_in_tc(f, now);
	if (ours) {
		track_sender(f, me, p, p->len, ifindex, now);
		track_ack(f, me, peer, p, now);
		track_data(f, me, peer, p);
	}
	bpf_spin_unlock(&f->lock);
	return ours;
}

static __always_inline int fast_path(struct xdp_md *ctx, enum seam_end likely)
{
	void *data_end = (void *)(long)ctx->data_end;
	void *data = (void *)(long)ctx->data;
	__u32 len = bpf_xdp_get_buff_len(ctx), ifindex = ctx->ingress_ifindex, end;
	struct bpf_fib_lookup fib;
	__u64 now = bpf_ktime_get_ns();
	struct flow_key key;
	struct pkt p = {};
	struct flow *f;

	if (parse(&p, data, data_end, len) != PARSE_TCP)
		return XDP_PASS;
	f = flow_find(&p, &key, likely, &end);
	if (!f || !let_go(f) || !right_side(f, end, likely))
		return XDP_PASS;
	/* The route and the target before the lock: TC must not track it again. */
	if (plain(&p, f, len == data_end - data) && quiet_in_tc(f, now) &&
	    next_hop(ctx, &p, ifindex, &fib) == FIB_SUCCESS &&
	    bpf_redirect_map(&xdp_ports, fib.ifindex, XDP_PASS) == XDP_REDIRECT &&
	    track(f, end, &p, ifindex, now)) {
		count(SEAM_R_XDP);
		return to_next_hop(data, data_end, &p, &fib, true) ? XDP_DROP : XDP_REDIRECT;
	}
	/* On its way to TC from now on, perhaps in a batch with what comes next. */
	f->tc_ns = now;
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
