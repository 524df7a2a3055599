/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From SYN to established: what is negotiated is noted in an embryo, and the
 * ACK that completes the handshake makes a flow of it.
 */
#ifndef SEAM_BPF_HANDSHAKE_H
#define SEAM_BPF_HANDSHAKE_H

#include "later.h"
#include "policy.h"
#include "steer.h"
#include "track.h"

static __always_inline __u64 id_next(void)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&ids, &zero);

	return n ? __sync_fetch_and_add(n, 1) + 1 : 0;
}

static __always_inline void note_end(struct embryo_end *e, const struct pkt *p,
				     const struct room *room, __u32 ifindex, __u64 now)
{
	const struct options *o = &room->options;

	e->isn = p->seq;
	e->nxt = p->end;
	e->ack = p->ack;
	e->wnd = p->wnd;
	e->tsval = o->tsval;
	e->ifindex = ifindex;
	e->flow_label = p->flow_label;
	e->mss = o->mss;
	e->wscale = o->wscale;
	e->opts = o->opts;
	e->ttl = p->ttl;
	e->tos = p->tos & ~3;
	e->tcp_flags = p->flags;
	e->ae = p->ae;
	e->seen_ns = e->tsval_ns = now;
	if (wire_mode)
		e->link = room->link;
}

/* Notes the time of a SYN that is sent again, unless it is a late copy. */
static __always_inline void note_time(struct embryo_end *e, const struct options *o, __u64 now)
{
	if (!seq_after(o->tsval, e->tsval))
		return;
	e->tsval = o->tsval;
	e->tsval_ns = now;
}

static __always_inline bool embryo_lives(const struct embryo *e, __u64 now)
{
	return (__s64)(now - e->end[SEAM_CLIENT].seen_ns) < (__s64)EMBRYO_LIFE;
}

/*
 * Returned by handle_syn() for a SYN to be answered with a RST. Its caller does that, for want of
 * stack (before Linux 6.4 each frame counts 32 bytes and more, and 512 is all).
 */
#define ACT_RST (-2)

/* A SYN: the policy decides what can be decided without payload. */
static __noinline int handle_syn(struct __sk_buff *ctx, struct pkt *p, enum seam_end side,
				      __u32 ifindex, __u64 now)
{
	struct control *ctl = control_get();
	struct room *room = room_get();
	struct embryo *old, *e;
	struct rule_walk walk;
	struct options *o;
	bool crossing;

	if (!ctl || !room)
		return TC_ACT_UNSPEC;

	old = bpf_map_lookup_elem(&embryos, &p->key);
	/* What is left of another connection must not judge this one: it is let pass in its place. */
	if (ctl->draining && !old && !bpf_map_lookup_elem(&flows, &p->key))
		return TC_ACT_UNSPEC;
	/*
	 * A SYN sent again is treated as new if it has payload, which it may have only now. So is
	 * one that another policy decided, which may have let by what never got to the server.
	 */
	if (old && old->end[SEAM_CLIENT].isn == p->seq && !p->len && embryo_lives(old, now) &&
	    old->policy == policy_in_force()) {
		/* The clock is measured from here: time and TSval belong together. */
		walk_options(ctx, p, &room->options);
		old->end[SEAM_CLIENT].seen_ns = now;
		note_time(&old->end[SEAM_CLIENT], &room->options, now);
		/* Which of the two the server answers is not known. A sender without an answer offers less, not more. */
		if ((room->options.opts & ~old->end[SEAM_CLIENT].opts) ||
		    ((room->options.opts & EMBRYO_O_WSCALE) && room->options.wscale != old->end[SEAM_CLIENT].wscale))
			old->why_not = SEAM_R_TCP_OPTION;
		count(SEAM_R_SYN_RETRANS);
		return TC_ACT_UNSPEC;
	}
	/*
	 * One the other way round. walk.key holds its key first: the stack is nearly used up here.
	 */
	__builtin_memcpy(walk.key.client, p->key.server, 16);
	__builtin_memcpy(walk.key.server, p->key.client, 16);
	walk.key.client_port = p->key.server_port;
	walk.key.server_port = p->key.client_port;
	old = bpf_map_lookup_elem(&embryos, &walk.key);
	/* Not if this SYN is from its own client's side, from where it may yet be completed. */
	if (old && !embryo_lives(old, now) && (side == SEAM_CLIENT) == !!(old->flags & FLOW_F_CLIENT_FAR)) {
		bpf_map_delete_elem(&embryos, &walk.key);
		old = NULL;
	}
	if (old && !(old->end[SEAM_SERVER].tcp_flags & TCP_SYN))
		old->why_not = SEAM_R_SIMULTANEOUS;
	crossing = old || bpf_map_lookup_elem(&flows, &walk.key);

	walk.key = p->key;
	rule_decide(&walk);
	if (ctl->draining) {
		walk.action = RULE_PASS;
		walk.rule = walk.flags = 0;
	}
	if (walk.action == RULE_BLOCK) {
		if (monitored(ctl)) {
			struct seam_event *ev = &room->event;

			__builtin_memset(ev, 0, sizeof(*ev));
			ev->time_ns = now;
			ev->type = EVENT_STATE;
			ev->to = FLOW_BLOCKED;
			ev->reason = walk.rule ? SEAM_R_RULE : SEAM_R_DEFAULT;
			ev->rule = walk.rule;
			ev->policy = walk.policy;
			ev->key = p->key;
			bpf_ringbuf_output(&events, ev, sizeof(*ev), 0);
		}
		if (walk.flags & RULE_F_BLOCK_RST)
			return ACT_RST;
		count(SEAM_R_BLOCK_DROP);
		return TC_ACT_SHOT;
	}

	/* Its packets would be taken for those of the other connection, which may be forged. */
	if (crossing) {
		count(SEAM_R_SIMULTANEOUS);
		return walk.action != RULE_PASS && blocks_untracked(walk.flags & RULE_F_FAIL_BLOCK) ?
			       TC_ACT_SHOT : TC_ACT_UNSPEC;
	}

	/*
	 * The receiver may act on it at once (RFC 7413). Unanswered, the client sends a plain SYN.
	 */
	if (p->len && walk.action != RULE_PASS && (walk.flags & RULE_F_FAIL_BLOCK)) {
		count(SEAM_R_SYN_DATA);
		return TC_ACT_SHOT;
	}

	o = &room->options;
	walk_options(ctx, p, o);
	e = &room->embryo;
	__builtin_memset(e, 0, sizeof(*e));
	e->id = id_next();
	e->created_ns = now;
	e->rule = walk.rule;
	e->policy = walk.policy;
	e->action = walk.action;
	e->rule_flags = walk.flags;
	e->by_name = walk.by_name;
	e->after = room->after;
	if (walk.flags & RULE_F_FAIL_BLOCK)
		e->flags |= FLOW_F_FAIL_BLOCK;
	if (side != SEAM_CLIENT)
		e->flags |= FLOW_F_CLIENT_FAR;
	if (p->v4)
		e->flags |= FLOW_F_IPV4;
	if (o->opts & EMBRYO_O_BAD)
		e->why_not = SEAM_R_TCP_OPTION;
	else if (p->ip_opts)
		e->why_not = SEAM_R_IP_OPTIONS;
	else if (p->len)
		e->why_not = SEAM_R_SYN_DATA;
	note_end(&e->end[SEAM_CLIENT], p, room, ifindex, now);
	if (bpf_map_update_elem(&embryos, &p->key, e, BPF_ANY))
		count(SEAM_R_TABLE_FULL);
	else
		count(SEAM_R_NEW);
	return TC_ACT_UNSPEC;
}

static __always_inline bool link_local(const __u32 addr[4])
{
	return (addr[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Why what the handshake agreed on prevents a split of the flow, or NONE. */
static __always_inline __u8 cannot_split(const struct embryo *e, const struct flow_key *key)
{
	const struct embryo_end *c = &e->end[SEAM_CLIENT], *s = &e->end[SEAM_SERVER];
	__u8 ecn = TCP_ECE | TCP_CWR;

	if (e->why_not)
		return e->why_not;
	if (!(s->tcp_flags & TCP_SYN))
		return SEAM_R_NAT;
	if ((c->opts | s->opts) & EMBRYO_O_AUTH)
		return SEAM_R_TCP_AUTH;
	if (c->opts & s->opts & EMBRYO_O_MPTCP)
		return SEAM_R_MPTCP;
	if (s->opts & (EMBRYO_O_OTHER | EMBRYO_O_BAD))
		return SEAM_R_TCP_OPTION;
	/* Any answer to an AccECN SYN other than "no ECN" and "RFC 3168" accepts it. */
	if (c->ae && (c->tcp_flags & ecn) == ecn &&
	    (s->ae || (s->tcp_flags & TCP_CWR)))
		return SEAM_R_ACCECN;
	/* A socket has them on one interface only. No router forwards them. */
	if (wire_mode && (link_local(key->client) || link_local(key->server)))
		return SEAM_R_LINK_LOCAL;
	if (wire_mode && partner_of(c->ifindex) != s->ifindex)
		return SEAM_R_ASYMMETRIC;
	if (wire_mode && !same_vlan(&c->link, &s->link))
		return SEAM_R_VLAN;
	return SEAM_R_NONE;
}

static __always_inline void flow_end_init(struct flow_end *e, const struct embryo_end *me,
					  const struct embryo_end *peer)
{
	e->isn = me->isn;
	e->nxt = me->nxt;
	e->ack = me->tcp_flags & TCP_ACK ? me->ack : peer->nxt;
	e->edge = e->ack + me->wnd;
	e->tsval = e->tsval0 = me->tsval;
	e->tsval_ns = e->tsval0_ns = me->tsval_ns;
	e->ifindex = me->ifindex;
	e->flow_label = me->flow_label;
	e->mss = me->mss;
	e->ttl = e->ttl0 = me->ttl;
	e->tos = me->tos;
	e->packets = 1;
}

/*
 * If the server's answer was not noted, the client's first ack tells where the server's sequence
 * began. An example is TCP Fast Open, whose SYN-ACK acknowledges more than the SYN. How the server
 * scales its window is not known. Such a flow is not split: it is enough to see it end.
 */
static __always_inline void unanswered(struct flow *f, const struct embryo_end *c, const struct pkt *p)
{
	struct flow_end *client = &f->end[SEAM_CLIENT], *server = &f->end[SEAM_SERVER];

	server->isn = p->ack - 1;
	server->nxt = client->ack = p->ack;
	client->edge = client->ack + 0xffff;
	server->edge = server->ack + 0xffff;
	client->wscale = c->wscale;
	server->wscale = WSCALE_MAX;
}

static __always_inline long note_links(struct room *room, const struct embryo_end *c,
				       const struct embryo_end *s, __u64 id)
{
	room->links.end[SEAM_CLIENT] = c->link;
	room->links.end[SEAM_SERVER] = s->link;
	return bpf_map_update_elem(&links, &id, &room->links, BPF_ANY);
}

/* Makes a flow of an embryo whose handshake is complete. */
static __noinline int promote(const struct pkt *p, const struct embryo *e, __u64 now)
{
	const struct embryo_end *c = &e->end[SEAM_CLIENT], *s = &e->end[SEAM_SERVER];
	struct room *room = room_get();
	struct flow *f, *old;
	struct control *ctl = control_get();
	struct seam_event *ev;
	__u8 both = c->opts & s->opts, action = e->action;

	if (!room || !ctl)
		return -1;
	ev = &room->event;
	ev->type = 0;
	f = (struct flow *)room->flow;
	__builtin_memset(f, 0, sizeof(*f));
	f->id = e->id;
	f->created_ns = e->created_ns;
	f->seen_ns = now;
	f->flags = e->flags;
	if (ctl->draining) { /* nobody will be there to judge its payload */
		action = RULE_PASS;
		f->flags &= ~FLOW_F_FAIL_BLOCK;
	}
	f->rule = e->rule;
	f->policy = e->policy;
	flow_end_init(&f->end[SEAM_CLIENT], c, s);
	flow_end_init(&f->end[SEAM_SERVER], s, c);
	if (s->tcp_flags & TCP_SYN) {
		/* A SYN sent again after its answer tells nothing: the first one does. */
		f->end[SEAM_SERVER].rtt_us =
			(s->seen_ns - (s->seen_ns > c->seen_ns ? c->seen_ns : e->created_ns)) / NSEC_PER_USEC;
		f->end[SEAM_CLIENT].rtt_us = (now - s->seen_ns) / NSEC_PER_USEC;
	} else {
		unanswered(f, c, p);
	}
	if (both & EMBRYO_O_TSTAMP)
		f->flags |= FLOW_F_TSTAMP;
	if (both & EMBRYO_O_SACK)
		f->flags |= FLOW_F_SACK;
	if (both & EMBRYO_O_WSCALE) {
		f->flags |= FLOW_F_WSCALE;
		f->end[SEAM_CLIENT].wscale = c->wscale;
		f->end[SEAM_SERVER].wscale = s->wscale;
	}
	if ((c->tcp_flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR) &&
	    (s->tcp_flags & (TCP_ECE | TCP_CWR)) == TCP_ECE)
		f->flags |= FLOW_F_ECN;
	f->why_not = cannot_split(e, &p->key);
	f->state = FLOW_HANDSHAKE;
	if (f->why_not) {
		f->flags |= FLOW_F_NO_SPLIT;
		if (action == RULE_PASS)
			f->flags &= ~FLOW_F_FAIL_BLOCK;
		fail(f, f->why_not, now, ev);
	} else if (action == RULE_PASS) {
		move(f, FLOW_PASSED, e->rule ? SEAM_R_RULE : SEAM_R_DEFAULT, now, ev);
	} else {
		if (action == RULE_INSPECT)
			f->flags |= FLOW_F_INSPECT;
		if (action == RULE_INSPECT && (e->rule_flags & RULE_F_AFTER)) {
			f->flags |= FLOW_F_ANSWERED;
			arm(f, &e->after, e->rule_flags & RULE_F_AT_ONCE, e->rule_flags & RULE_F_AGAIN);
		} else {
			f->flags |= FLOW_F_WANT_UP | FLOW_F_WANT_DOWN | FLOW_F_HISTORY;
			if (e->by_name)
				f->flags |= FLOW_F_BY_NAME;
		}
		move(f, FLOW_MONITORED, SEAM_R_ESTABLISHED, now, ev);
	}
	if (wire_mode && note_links(room, c, s, f->id)) {
		count(SEAM_R_TABLE_FULL);
		return -1;
	}
	if (bpf_map_update_elem(&flows, &p->key, f, BPF_NOEXIST)) {
		/* Perhaps another CPU made it, of the packet before: then it is there. */
		old = bpf_map_lookup_elem(&flows, &p->key);
		if (old && old->id == f->id)
			return 0;
		count(SEAM_R_TABLE_FULL);
		forget_links(f->id);
		return -1;
	}
	count_state(FLOW_HANDSHAKE, 1);
	report(ev, &p->key, f->flags);
	return 0;
}

/*
 * A packet that does not complete the handshake. If all is right, its receiver will not accept
 * its payload either, and a rule that waits has not seen it. Where the rule fails closed, the
 * client must not complete another handshake than this one either: see other_handshake().
 */
static __always_inline int not_let_by(const struct embryo *e, const struct pkt *p, bool from_client)
{
	if (e->action == RULE_PASS || e->let_by ||
	    (!p->len && !(p->flags & TCP_FIN) && !(from_client && (e->flags & FLOW_F_FAIL_BLOCK))))
		return 0;
	count(SEAM_R_UNACCEPTABLE);
	return -1;
}

/*
 * Whether an answer from this side replaces the known one, as when a SYN that was sent again came
 * to another server. On the client's own side, the client may have written a server's address.
 */
static __always_inline bool may_answer(__u32 flags, enum seam_end side)
{
	enum seam_end client = flags & FLOW_F_CLIENT_FAR ? SEAM_SERVER : SEAM_CLIENT;
	enum seam_end server = flags & FLOW_F_SERVER_FAR ? SEAM_CLIENT : SEAM_SERVER;

	return side == server || server == client;
}

/* Whether the packet continues the server's answer, as far as the box has seen the handshake. */
static __always_inline bool answered(const struct embryo *e, const struct pkt *p)
{
	const struct embryo_end *s = &e->end[SEAM_SERVER];

	return (s->tcp_flags & TCP_SYN) && p->seq == s->nxt && (p->flags & TCP_ACK) &&
	       p->ack == e->end[SEAM_CLIENT].isn + 1;
}

/*
 * Whether the packet in hand is of a connection of the router's own, of which Seam sees only
 * one direction. A listening socket does not count: if the host translates addresses to one,
 * the connection has another pair of addresses there.
 */
static __noinline bool hosts_own(struct __sk_buff *ctx, const struct pkt *p)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	__u32 len;
	bool own;

	if (wire_mode)
		return false;
	if (p->v4) {
		tuple.ipv4.saddr = p->key.client[3];
		tuple.ipv4.daddr = p->key.server[3];
		tuple.ipv4.sport = p->key.client_port;
		tuple.ipv4.dport = p->key.server_port;
		len = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, p->key.client, 16);
		__builtin_memcpy(tuple.ipv6.daddr, p->key.server, 16);
		tuple.ipv6.sport = p->key.client_port;
		tuple.ipv6.dport = p->key.server_port;
		len = sizeof(tuple.ipv6);
	}
	sk = bpf_skc_lookup_tcp(ctx, &tuple, len, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	own = sk->state != TCP_LISTEN;
	bpf_sk_release(sk);
	return own;
}

/* The server has accepted a SYN: what was there before is over. */
static __always_inline void replaced(const struct flow *f, const struct flow_key *key)
{
	count_state(f->state, -1);
	forget_links(f->id);
	bpf_map_delete_elem(&flows, key);
	count(SEAM_R_REUSED);
}

/*
 * A packet that belongs to no flow and is no SYN: the rest of a handshake, or a connection that
 * began before Seam. Returns 1 if there is a flow now, -1 to drop the packet.
 */
static __noinline int handle_unknown(struct __sk_buff *ctx, struct pkt *p,
					  enum seam_end likely, __u32 ifindex, __u64 now)
{
	struct room *room = room_get();
	struct flow_key key;
	struct embryo *e;
	struct flow *old;
	bool from_client = true;

	if (!room)
		return 0;
	key = p->key;
	e = bpf_map_lookup_elem(&embryos, &key);
	if (!e) {
		/* One key for both directions: the stack is nearly used up here. */
		from_client = false;
		key_of(&key, p, SEAM_SERVER);
		e = bpf_map_lookup_elem(&embryos, &key);
	}
	if (!e) {
		count(SEAM_R_UNTRACKED);
		return blocks_untracked(false) && !hosts_own(ctx, p) ? -1 : 0;
	}
	if (wire_mode && from_client && !same_vlan(&room->link, &e->end[SEAM_CLIENT].link)) {
		/* Of another connection with the same addresses, or of the same on another way. */
		count(SEAM_R_VLAN);
		return not_let_by(e, p, true);
	}
	if (p->flags & TCP_RST) {
		/*
		 * Perhaps refused. But a RST also answers a wrong ACK, and a right one still
		 * completes the handshake.
		 */
		count(SEAM_R_RST);
		return 0;
	}
	if (!from_client) {
		if ((p->flags & (TCP_SYN | TCP_ACK)) != (TCP_SYN | TCP_ACK)) {
			/*
			 * Its client takes data by now, so its ACK has gone another way, or is lost.
			 * Where a rule fails closed, the data has to wait for that ACK.
			 */
			if (e->flags & FLOW_F_FAIL_BLOCK)
				return not_let_by(e, p, false);
			if (answered(e, p) && may_answer(e->flags, likely) && !e->why_not)
				e->why_not = SEAM_R_ASTRAY;
			return e->why_not ? 0 : not_let_by(e, p, false);
		}
		if (p->len && e->action != RULE_PASS) {
			count(SEAM_R_SYN_DATA);
			if (e->flags & FLOW_F_FAIL_BLOCK)
				return -1;
			e->why_not = SEAM_R_SYN_DATA;
		}
		old = bpf_map_lookup_elem(&flows, &key);
		/* Anybody can write an address: only the server's side counts, if it is known. */
		if (old && !may_answer(old->flags, likely)) {
			count(SEAM_R_WRONG_SIDE);
			return 0;
		}
		if (p->ack != e->end[SEAM_CLIENT].isn + 1) {
			/* An earlier SYN was accepted: a flow of this embryo has no answer. */
			if (old && old->end[SEAM_SERVER].isn != p->seq)
				replaced(old, &key);
			return 0;
		}
		if (e->end[SEAM_SERVER].tcp_flags & TCP_SYN) {
			/* It begins no round trip, but the client may have got only its time. */
			if (e->end[SEAM_SERVER].isn == p->seq) {
				walk_options(ctx, p, &room->options);
				note_time(&e->end[SEAM_SERVER], &room->options, now);
				count(SEAM_R_SYN_RETRANS);
				return 0;
			}
			if (!may_answer(e->flags, likely)) {
				count(SEAM_R_WRONG_SIDE);
				return 0;
			}
		}
		if (old && old->end[SEAM_SERVER].isn == p->seq &&
		    old->end[SEAM_CLIENT].isn == e->end[SEAM_CLIENT].isn) {
			/* Late copies of the SYN and its answer, of a flow that exists. */
			count(SEAM_R_SYN_RETRANS);
			bpf_map_delete_elem(&embryos, &key);
			return 0;
		}
		walk_options(ctx, p, &room->options);
		if (p->ip_opts && !e->why_not)
			e->why_not = SEAM_R_IP_OPTIONS;
		e->flags &= ~FLOW_F_SERVER_FAR;
		if (likely != SEAM_SERVER)
			e->flags |= FLOW_F_SERVER_FAR;
		note_end(&e->end[SEAM_SERVER], p, room, ifindex, now);
		if (old)
			replaced(old, &key);
		return 0;
	}
	if (!(p->flags & TCP_ACK) || (p->flags & TCP_SYN))
		return 0;
	if ((e->end[SEAM_SERVER].tcp_flags & TCP_SYN) &&
	    p->ack != e->end[SEAM_SERVER].nxt)
		return not_let_by(e, p, true);
	/* The answer went another way. It did so if it was the host's own: then no rule is evaded. */
	if (!(e->end[SEAM_SERVER].tcp_flags & TCP_SYN) && (e->flags & FLOW_F_FAIL_BLOCK) && hosts_own(ctx, p)) {
		bpf_map_delete_elem(&embryos, &key);
		return 0;
	}
	/* The flow's entry is made from a copy: the embryo's own may be evicted. */
	if (promote(p, e, now)) {
		if (blocks_untracked(false))
			return -1;
		e->let_by = 1;
		return 0;
	}
	bpf_map_delete_elem(&embryos, &key);
	return 1;
}

#endif
