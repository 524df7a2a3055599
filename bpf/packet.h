/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet of an established flow, from a port or back from the hold queue: what it changes, and
 * where it goes. All of this is decided under the flow's lock, so that no packet is judged by one
 * state and sent after the next.
 */
#ifndef SEAM_BPF_PACKET_H
#define SEAM_BPF_PACKET_H

#include "fast.h"
#include "hold.h"
#include "later.h"
#include "steer.h"

#define ENODEV 19

/* If nothing has come out of the queue for this long, what is missing from it is lost. */
#define HOLD_STUCK NSEC_PER_SEC

/*
 * So it is if the queue has not been empty for this long, in units of hold_clock(), though packets
 * come out. Without this, one lost packet would keep a flow without a pause in the queue for good.
 */
#define HOLD_NEVER_EMPTY 64 /* 8.6 s */

/* A transition's age, shifted right by this, is taken off the required gap: none after 51 ms. */
#define HOLD_PATIENCE 10

/* Whether passed flows bypass the host's stack as well. Fixed when the programs are loaded. */
const volatile bool bypass_passed = false;

/* All that parse() looks at: Ethernet's header, IPv6's with its extensions, TCP's. */
#define HEADERS_MAX (ETH_HLEN + 512 + 60)

/* Parses the packet; pulls in headers that are not in the linear part. */
static __always_inline enum parse_result parse_skb(struct __sk_buff *ctx, struct pkt *p)
{
	enum parse_result what;
	__u32 gso = ctx->gso_size;

	asm volatile("" : "+r"(gso)); /* or clang reads through a moved context */
	p->gso = gso;
	what = parse(p, (void *)(long)ctx->data, (void *)(long)ctx->data_end, ctx->len);
	if (what != PARSE_SHORT)
		return what;
	if (bpf_skb_pull_data(ctx, ctx->len < HEADERS_MAX ? ctx->len : HEADERS_MAX))
		return PARSE_MALFORMED;
	what = parse(p, (void *)(long)ctx->data, (void *)(long)ctx->data_end, ctx->len);
	return what == PARSE_SHORT ? PARSE_MALFORMED : what;
}

/* Whether packets that went into the queue are not in it any more. Lock held. */
static __always_inline bool hold_lost(const struct flow *f, __u64 now)
{
	return (__s64)(now - f->released_ns) >= (__s64)HOLD_STUCK ||
	       (__u16)(hold_clock(now) - f->held_since) >= HOLD_NEVER_EMPTY;
}

/*
 * Whether a packet must queue behind others of the flow. The longer ago the transition, the
 * shorter the gap that lets the packet go by: otherwise packets in close succession would take the
 * queue for as long as they keep coming. (Not while splitting: legs may be slow to build.) Signed:
 * another CPU may have stamped the flow after `now` was read here.
 */
static __always_inline bool hold_pending(struct flow *f, __u32 end, struct verdict *v, __u64 now)
{
	__s64 age = f->state == FLOW_SPLITTING ? 0 : now - f->changed_ns;

	if (f->held_in != f->held_out) {
		if (!hold_lost(f, now))
			return true;
		f->held_out = f->held_in;
		f->held_bytes = 0;
		v->why = SEAM_R_HOLD_LOST;
		return false;
	}
	return was_queued(f, end) &&
	       (__s64)(now - f->released_ns) < (__s64)HOLD_SETTLE - (age >> HOLD_PATIENCE);
}

static __always_inline void drop(struct verdict *v, __u8 why)
{
	v->where = TO_DROP;
	v->why = why;
}

static __always_inline void into_hold(struct flow *f, __u32 end, const struct pkt *p,
				      const struct control *ctl, struct verdict *v, __u64 now)
{
	/* A flow that is split under load needs room for what arrives meanwhile. */
	if (ctl && f->held_bytes > ctl->hold_bytes << (f->state == FLOW_HELD ? 0 : 4)) {
		drop(v, SEAM_R_HOLD_BYTES);
		return;
	}
	if (f->held_in == f->held_out)
		hold_flows(f, now);
	f->flags |= end == SEAM_CLIENT ? FLOW_F_QUEUED_UP : FLOW_F_QUEUED_DOWN;
	f->held_in++;
	f->held_bytes += p->len;
	v->where = TO_HOLD;
}

/* A FIN or RST in a flow that is not split. Lock held. */
static __always_inline void ending(struct flow *f, struct flow_end *me, struct flow_end *peer,
				   const struct pkt *p, struct verdict *v, __u64 now,
				   struct seam_event *ev)
{
	if (p->flags & TCP_RST) {
		if (rst_counts(f, me, peer, p)) {
			me->flags |= END_F_RST;
			move(f, FLOW_CLOSING, SEAM_R_RST, now, ev);
		} else {
			v->why = SEAM_R_RST_WINDOW;
		}
	} else if ((me->flags & END_F_FIN) && (peer->flags & END_F_FIN)) {
		move(f, FLOW_CLOSING, SEAM_R_FIN, now, ev);
	}
}

/*
 * Prepares a window update for `peer`, which was told less than its leg offered because `me`, or
 * the legs, had no more room and now have. It is a copy of the packet, whose SACK blocks would
 * mean nothing to the other end: none is made of a packet that may have any. Lock held.
 */
static __always_inline void open_window(struct flow *f, const struct flow_end *me,
					struct flow_end *peer, const struct pkt *p,
					struct verdict *v)
{
	/* Once a merge has begun, its leg's offer is no longer a limit. */
	if ((!(peer->flags & END_F_CLAMPED) && !merge_begun(f)) || !untold(f, peer, me))
		return;
	v->update = true;
	tell_ack(f, peer, me, p, &v->told);
}

/*
 * `me` probes a window that was shut because `peer` had no more room. The leg answers. But if
 * peer's window update was lost, only `peer` knows whether it has room by now: the probe goes on
 * to it. A probe with a byte in it is the leg's, which probes as well. Lock held.
 */
static __always_inline void ask_window(struct flow *f, const struct flow_end *me,
				       struct flow_end *peer, const struct pkt *p,
				       struct verdict *v)
{
	if (!(me->flags & END_F_CLAMPED) || me->told_edge != me->told_ack ||
	    me->nxt != me->told_ack || p->seq + 1 != me->told_ack)
		return;
	v->update = true;
	tell_ack(f, peer, me, p, &v->told);
	v->told.seq--;
}

/*
 * Whether this is the first payload, and the policy asks for it. A FIN without payload counts: had
 * it gone by, the legs of a later split would wait for it for ever. Lock held.
 */
static __always_inline bool wants_hold(const struct flow *f, __u32 end, const struct pkt *p)
{
	__u32 want = end == SEAM_CLIENT ? FLOW_F_WANT_UP : FLOW_F_WANT_DOWN;

	return (f->state == FLOW_MONITORED || f->state == FLOW_CLOSING) && (f->flags & want) &&
	       (p->len || (p->flags & TCP_FIN));
}

/*
 * Payload that its receiver has acknowledged in full, such as the byte in a keepalive probe.
 * What begins before the SYN is not of this connection. Lock held.
 */
static __always_inline bool old_payload(const struct flow *f, const struct flow_end *me,
					const struct flow_end *peer, const struct pkt *p)
{
	return (p->flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) == TCP_ACK && p->len &&
	       !seq_after(p->end, acked(f, me, peer)) && !seq_before(p->seq, me->isn);
}

/*
 * Whether the receiver would accept payload or FIN of this packet (RFC 9293 3.10.7.4,
 * RFC 5961 5.2, RFC 7323 5.3). A verdict on what the receiver discards would not be on what it
 * gets instead. In doubt, no: a sender that follows the standards sends the packet again, and then
 * it is acceptable. Lock held.
 */
static __always_inline bool acceptable(const struct flow *f, const struct flow_end *me,
				       const struct flow_end *peer, const struct pkt *p,
				       enum belief belief)
{
	__u32 edge = seq_back(me, peer->edge);

	if (belief < OLD || seq_before(p->ack, 2 * me->ack - me->edge))
		return false;
	/* Nobody can tell whether its receiver treats an urgent byte as part of the stream. */
	if ((p->flags & TCP_URG) && (f->flags & FLOW_F_FAIL_BLOCK))
		return false;
	/* One byte beyond the edge is a probe of a window that is shut. */
	if (!seq_after(p->end, acked(f, me, peer)) || seq_after(p->seq, edge) ||
	    seq_after(p->seq + p->len, edge + 1))
		return false;
	return !(f->flags & FLOW_F_TSTAMP) || (p->ts && !seq_before(p->tsval, me->tsval));
}

/* More payload of a flow that is still armed and not closed by its ends. Lock held. */
static __always_inline bool goes_on(const struct flow *f, const struct flow_end *me,
				    const struct flow_end *peer, const struct pkt *p)
{
	return (f->flags & FLOW_F_ARMED) && !(me->flags & peer->flags & END_F_FIN) && fresh(me, p);
}

/* Whether what this packet carries could become part of what a verdict is based on. Lock held. */
static __always_inline bool awaits_verdict(const struct flow *f, __u32 end, const struct pkt *p)
{
	if (f->state == FLOW_HELD)
		return !(f->flags & FLOW_F_RELEASE) && (p->len || (p->flags & TCP_FIN));
	return wants_hold(f, end, p);
}

/*
 * Whether a client's packet without payload may complete another handshake than the one that
 * the box has followed: a server that uses SYN cookies accepts the ACK of any SYN that it has
 * answered. While a rule that fails closed waits, no other connection may be established than
 * the one that it will judge. Lock held.
 */
static __always_inline bool other_handshake(const struct flow *f, const struct flow_end *me,
					    const struct pkt *p, enum belief belief)
{
	bool waiting = f->state == FLOW_HELD ? !(f->flags & FLOW_F_RELEASE) :
					       f->state == FLOW_MONITORED &&
						       (f->flags & (FLOW_F_WANT_UP | FLOW_F_WANT_DOWN));

	return waiting && (f->flags & FLOW_F_FAIL_BLOCK) && !(p->flags & (TCP_SYN | TCP_RST)) &&
	       (belief < OLD || seq_before(p->seq, me->isn));
}

/*
 * A packet of a blocked flow. The first one tells both ends. In a flow whose legs died, a RST
 * stands where its receiver's leg has stopped speaking. Lock held.
 */
static __always_inline void refuse(struct flow *f, struct flow_end *me, struct flow_end *peer,
				   const struct pkt *p, struct verdict *v)
{
	if (!(f->flags & FLOW_F_BLOCK_RST)) {
		drop(v, SEAM_R_BLOCK_DROP);
		return;
	}
	v->where = TO_RST;
	if (p->flags & TCP_RST) /* never answered */
		return;
	me->flags |= END_F_RST_SENT;
	if (!(f->flags & FLOW_F_RST_BOTH))
		return;
	f->flags &= ~FLOW_F_RST_BOTH;
	if (peer->flags & END_F_RST_SENT)
		return;
	v->rst_fwd = true;
	v->rst_seq = f->flags & FLOW_F_ABORTED ? peer->told_nxt : seq_across(me, me->nxt);
	peer->flags |= END_F_RST_SENT;
}

/*
 * Timestamps of a merged flow until both clocks have reached what was told: a TSval never steps
 * back, and a TSecr never claims what its receiver has not sent (RFC 7323 5.3). Lock held; the
 * flow's deltas are already in `v`.
 */
static __always_inline void catch_up(struct flow *f, const struct flow_end *me,
				     const struct flow_end *peer, struct verdict *v)
{
	v->told.tsval = seq_max(v->told.tsval, peer->told_tsval);
	if (seq_after(v->told.tsecr, peer->tsval))
		v->told.tsecr = peer->tsval;
	if (!seq_before(me->tsval + me->ts_delta, peer->told_tsval) &&
	    !seq_before(peer->tsval + peer->ts_delta, me->told_tsval))
		f->flags &= ~FLOW_F_TSCATCHUP;
}

/* Whether the legs have left something that the flow's packets must be adapted to from then on. */
static __always_inline bool stays_merged(const struct flow *f)
{
	return f->flags & (FLOW_F_EDITED | FLOW_F_TSDELTA | FLOW_F_TSCATCHUP);
}

/*
 * An edit has filled room that its leg had promised to `peer`. `peer` has sent its FIN and no
 * longer needs the room, but a window is not taken back (RFC 9293 3.8.6). An old ack sets no
 * window and is left as it is. Lock held.
 */
static __always_inline void keep_window(const struct flow_end *me, const struct flow_end *peer,
					struct told *t)
{
	__u32 unit = 1U << me->wscale, field;

	if (seq_before(t->ack, peer->told_ack) ||
	    !seq_after(peer->told_edge, t->ack + ((__u32)t->wnd << me->wscale)))
		return;
	field = (peer->told_edge - t->ack + unit - 1) >> me->wscale;
	t->wnd = field > 0xffff ? 0xffff : field;
}

/* Adapts a merged flow's packet where the legs have told more time or other bytes. Lock held. */
static __always_inline void merged(struct flow *f, const struct flow_end *me,
				   const struct flow_end *peer, const struct pkt *p,
				   struct verdict *v)
{
	if (!stays_merged(f))
		return;
	v->tell = true;
	v->told = told_as_is(p);
	if (f->flags & FLOW_F_EDITED) {
		v->told.seq = seq_across(me, p->seq);
		if (p->flags & TCP_ACK) {
			v->told.ack = seq_back(peer, p->ack);
			if (f->flags & FLOW_F_CLOSED)
				keep_window(me, peer, &v->told);
		}
		mind_edits(f, me, peer, p, v);
	}
	if (!p->ts)
		return;
	if (f->flags & FLOW_F_TSDELTA) {
		v->told.tsval += me->ts_delta;
		if (p->tsecr)
			v->told.tsecr -= peer->ts_delta;
	}
	if (f->flags & FLOW_F_TSCATCHUP)
		catch_up(f, me, peer, v);
}

/* Seconds of silence after which a byte sent once more may be a keepalive probe. */
#define KEEPALIVE_MIN 10

/*
 * A leg answers keepalive probes in place of the end that they ask after, so that end's leg must
 * probe as well. Linux sends the last byte's number and no byte, RFC 9293 3.8.4 allows one; at a
 * closed window it is a window probe. Lock held.
 */
static __always_inline void note_keepalive(struct flow *f, struct flow_end *me,
					   const struct flow_end *peer, __u32 end,
					   const struct pkt *p, __u64 now, struct seam_event *ev)
{
	__u64 idle;

	if (me->keepalive_s || p->len > 1 || p->seq + 1 != me->told_ack ||
	    me->nxt != me->told_ack || me->told_edge == me->told_ack ||
	    (p->flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) != TCP_ACK)
		return;
	idle = (now - f->seen_ns) / NSEC_PER_SEC;
	/* Sooner it is a loss probe, or a duplicate. */
	if (p->len && idle < KEEPALIVE_MIN)
		return;
	me->keepalive_s = idle > 0xffff ? 0xffff : idle ?: 1;
	ev->type = EVENT_KEEPALIVE;
	ev->time_ns = now;
	ev->id = f->id;
	ev->from = ev->to = f->state;
	ev->end = end;
}

/* A SYN with the addresses and ports of an ended flow: its sender gets what TIME_WAIT answers. */
static __always_inline void note_asked(struct flow *f, __u32 end)
{
	bpf_spin_lock(&f->lock);
	if (f->flags & FLOW_F_CLOSED)
		f->end[end & 1].flags |= END_F_ASKED;
	bpf_spin_unlock(&f->lock);
}

/* Whether this is a RST that ends the connection: then its leg may tell its receiver. Lock held. */
static __always_inline bool note_rst(const struct flow *f, struct flow_end *me,
				     struct flow_end *peer, const struct pkt *p, struct verdict *v)
{
	if (!(p->flags & TCP_RST))
		return false;
	if (!rst_counts(f, me, peer, p)) {
		v->why = SEAM_R_RST_WINDOW;
		return false;
	}
	me->flags |= END_F_RST;
	peer->flags |= END_F_RST_OK;
	return true;
}

/*
 * Whether a flow must be let go, or not, because an end has acknowledged what the box has not seen.
 * No leg could go on from there. And what a server answers to a request that went by another way
 * would never be acceptable. Lock held.
 */
static __always_inline bool goes_astray(const struct flow *f, __u32 end, const struct pkt *p)
{
	if (f->flags & FLOW_F_ARMED)
		return f->state == FLOW_MONITORED || f->state == FLOW_MERGED;
	return end == SEAM_SERVER && f->state == FLOW_MONITORED && p->len &&
	       (f->flags & (FLOW_F_WANT_DOWN | FLOW_F_FAIL_BLOCK)) == FLOW_F_WANT_DOWN;
}

/*
 * Congestion that a packet to a leg tells of: legs have not negotiated ECN, so its mark is echoed,
 * and its echo answered, in packets of theirs (RFC 3168 6.1). Not what a SYN-ACK that is sent again
 * negotiates. Lock held.
 */
static __always_inline void note_ecn(const struct flow *f, struct flow_end *me, const struct pkt *p,
				     enum belief belief)
{
	if (!(f->flags & FLOW_F_ECN))
		return;
	if (belief >= AHEAD && p->len) {
		if (p->flags & TCP_CWR)
			me->flags &= ~END_F_CE;
		if ((p->tos & 3) == 3) /* also on the segment with the CWR */
			me->flags |= END_F_CE;
	}
	if (belief == GENUINE && (p->flags & TCP_ECE))
		me->flags |= END_F_CWR;
}

static __always_inline void decide(struct flow *f, __u32 end, const struct pkt *p,
				   enum source source, const struct control *ctl, bool alive,
				   __u32 seg, __u32 ifindex, __u64 now, struct verdict *v,
				   struct seam_event *ev)
{
	struct flow_end *me = end == SEAM_CLIENT ? &f->end[0] : &f->end[1];
	struct flow_end *peer = end == SEAM_CLIENT ? &f->end[1] : &f->end[0];
	bool payload = p->len || (p->flags & TCP_FIN), over, queued, due = false, forged;
	enum belief belief = believe(f, me, peer, p);
	__u32 tsval;

	if (source == FROM_PORT && belief == AHEAD && goes_astray(f, end, p))
		fail(f, SEAM_R_ASTRAY, now, ev);
	if (source == FROM_PORT && awaits_verdict(f, end, p)) {
		if (old_payload(f, me, peer, p)) {
			payload = false;
		} else if (!acceptable(f, me, peer, p, belief)) {
			drop(v, SEAM_R_UNACCEPTABLE);
			return;
		}
	} else if (source == FROM_PORT && end == SEAM_CLIENT && other_handshake(f, me, p, belief)) {
		drop(v, SEAM_R_UNACCEPTABLE);
		return;
	}
	/*
	 * A leg would get a forged packet with numbers that it accepts. Elsewhere the other end
	 * may accept it, and a rule would have missed it.
	 */
	forged = belief == FORGED &&
		 (state_frozen(f->state) ||
		  (payload && (f->flags & (FLOW_F_ARMED | FLOW_F_FAIL_BLOCK)) == (FLOW_F_ARMED | FLOW_F_FAIL_BLOCK)));
	v->ifindex = source == FROM_PORT ? ifindex : me->ifindex;
	if (source == FROM_PORT) {
		if (state_split(f->state) && !forged)
			note_keepalive(f, me, peer, end, p, now, ev);
		track_sender(f, me, p, belief, seg, ifindex, now);
	} else if (f->held_out == f->held_in && !(payload && seq_after(p->end, me->nxt))) {
		/* Written off, and meanwhile its sender has sent it again. */
		drop(v, SEAM_R_HOLD_LOST);
		return;
	} else {
		if (f->held_out != f->held_in)
			f->held_out++;
		f->held_bytes -= f->held_bytes < p->len ? f->held_bytes : p->len;
		f->released_ns = now;
		f->tc_at[end & 1] = left_at(now);
	}
	if (forged) {
		drop(v, SEAM_R_FORGED);
		return;
	}
	if (!alive && source == FROM_PORT && needs_daemon(f))
		fail(f, SEAM_R_DAEMON_GONE, now, ev);

	/* The flow seemed to be over, because of a RST that its receiver never got. */
	if (f->state == FLOW_CLOSING &&
	    belief >= AHEAD && (wants_hold(f, end, p) || goes_on(f, me, peer, p))) {
		me->flags &= ~END_F_RST;
		peer->flags &= ~END_F_RST;
		move(f, stays_merged(f) ? FLOW_MERGED : FLOW_MONITORED, SEAM_R_REVIVED, now, ev);
	}
	if (source == FROM_PORT && belief >= AHEAD && (f->flags & FLOW_F_ARMED))
		due = later(f, end, me, p, alive, now, ev);
	switch (f->state) {
	case FLOW_MONITORED:
		if (source == FROM_PORT && hold_pending(f, end, v, now)) {
			into_hold(f, end, p, ctl, v, now);
			break;
		}
		tsval = me->tsval;
		track_ack(me, p, belief, now);
		if (payload && wants_hold(f, end, p)) {
			if (alive) {
				peer->told_tsval = me->free_tsval = tsval;
				me->told_tsval = peer->free_tsval = peer->tsval;
				f->flags |= FLOW_F_BYPASS;
				move(f, FLOW_HELD,
				     end == SEAM_CLIENT ? SEAM_R_FIRST_PAYLOAD : SEAM_R_SERVER_FIRST,
				     now, ev);
				into_hold(f, end, p, ctl, v, now);
				break;
			}
			fail(f, SEAM_R_DAEMON_GONE, now, ev);
			if (f->state == FLOW_BLOCKED) {
				refuse(f, me, peer, p, v);
				break;
			}
		}
		track_data(f, me, peer, p, belief);
		v->where = f->flags & FLOW_F_BYPASS ? TO_WIRE : TO_STACK;
		if (p->flags & (TCP_FIN | TCP_RST))
			ending(f, me, peer, p, v, now, ev);
		if (at_once(f, p))
			fall_due(f, alive, now, ev);
		if (f->state == FLOW_BLOCKED)
			refuse(f, me, peer, p, v);
		break;

	case FLOW_HELD:
		track_ack(me, p, belief, now);
		if (source == FROM_HOLD) {
			if (!(f->flags & FLOW_F_RELEASE)) {
				v->where = TO_DROP; /* only a verdict lets it out */
				break;
			}
			track_data(f, me, peer, p, belief);
			v->where = TO_WIRE;
			if (f->held_in == f->held_out) {
				released(f, now, ev);
				ending(f, me, peer, p, v, now, ev);
			}
		} else if ((f->flags & FLOW_F_RELEASE) && !hold_pending(f, end, v, now)) {
			/* The queue has lost what is still missing. */
			released(f, now, ev);
			track_data(f, me, peer, p, belief);
			v->where = TO_WIRE;
			ending(f, me, peer, p, v, now, ev);
		} else if (payload || ((p->flags & TCP_RST) && belief != FORGED) ||
			   (f->flags & FLOW_F_RELEASE)) {
			/* During the release an ack, too: its sender's data may be in the queue. */
			into_hold(f, end, p, ctl, v, now);
		} else {
			if (p->ts && belief == GENUINE)
				peer->told_tsval = seq_max(peer->told_tsval, p->tsval);
			v->where = TO_WIRE;
		}
		break;

	case FLOW_SPLITTING:
		if (source == FROM_HOLD && !(f->flags & FLOW_F_LEGS)) {
			v->where = TO_DROP; /* it only kept its place in the queue */
			break;
		}
		over = crossed(peer, me);
		track_ack(me, p, belief, now);
		if (source == FROM_HOLD) {
			track_data(f, me, peer, p, belief);
			note_rst(f, me, peer, p, v);
			note_ecn(f, me, p, belief);
			to_leg(f, me, peer, p, v);
		} else {
			queued = !(f->flags & FLOW_F_LEGS) || hold_pending(f, end, v, now);
			if (p->flags & TCP_RST)
				v->where = TO_HOLD;
			else
				splitting(f, me, peer, p, belief, over, queued, v);
			if (v->where == TO_WIRE || v->part)
				mind_edits(f, me, peer, p, v);
			if (v->where == TO_LEG)
				note_ecn(f, me, p, belief);
			if (over && v->where == TO_LEG && belief == GENUINE && !payload && !more_options(p))
				open_window(f, me, peer, p, v);
			if (v->where == TO_HOLD)
				into_hold(f, end, p, ctl, v, now);
			/* No room; but what its ack says is told, because it counts as told. */
			if (v->where == TO_DROP && v->part) {
				v->where = TO_WIRE;
				v->part = false;
				v->tell = v->bare = true;
			}
		}
		split_done(f, SEAM_R_CROSSED, now, ev);
		break;

	case FLOW_SPLIT:
	case FLOW_RELAYED:
	case FLOW_MERGING:
		/* Urgent data waits for the end of the kernel relay, which would lose the mark. */
		if (source == FROM_PORT &&
		    (hold_pending(f, end, v, now) ||
		     ((f->flags & FLOW_F_SOCKMAP) && (p->flags & TCP_URG)))) {
			into_hold(f, end, p, ctl, v, now);
			break;
		}
		over = crossed(peer, me);
		track_ack(me, p, belief, now);
		if (due && turn_ends_merge(f, me, peer, p, now, v, ev)) {
			into_hold(f, end, p, ctl, v, now);
			break;
		}
		if (due && turn_must_wait(f, me, peer, p, v))
			break;
		track_data(f, me, peer, p, belief);
		if (note_rst(f, me, peer, p, v) && merge_begun(f)) {
			/*
			 * If its receiver discards the RST, because of its checksum say, the client could
			 * put other bytes in the place of those that were judged and not delivered.
			 */
			if (!crossed(me, peer) && (f->flags & (FLOW_F_EXACT | FLOW_F_FAIL_BLOCK))) {
				abort_split(f, SEAM_R_RST, now, ev);
				me->flags |= END_F_RST_SENT; /* unless it goes on, it needs none */
				v->where = TO_DROP;
				break;
			}
			/* What the RST cuts off is not worth waiting for. */
			merge_clocks(f, now);
			move(f, FLOW_CLOSING, SEAM_R_RST, now, ev);
			v->where = TO_WIRE;
			merged(f, me, peer, p, v);
			break;
		}
		note_ecn(f, me, p, belief);
		if (merge_begun(f)) {
			merging(f, me, peer, p, over, v);
			if (v->where == TO_WIRE)
				mind_edits(f, me, peer, p, v);
			else if (belief == GENUINE && !payload && !more_options(p))
				/* The ack is the leg's to tell, but not the window. */
				open_window(f, me, peer, p, v);
			merge_if_done(f, SEAM_R_CROSSED, now, ev);
			if (f->state != FLOW_MERGING && !payload)
				v->leg_copy = false; /* the leg goes */
			break;
		}
		if (belief == GENUINE && !payload && !more_options(p)) {
			open_window(f, me, peer, p, v);
			ask_window(f, me, peer, p, v);
		}
		to_leg(f, me, peer, p, v);
		if (closed(f))
			close_split(f, now, ev);
		else if (f->flags & FLOW_F_WAITS)
			try_merge(f, SEAM_R_CROSSED, now, ev);
		break;

	case FLOW_MERGED:
	case FLOW_PASSED:
	case FLOW_CLOSING:
		if (source == FROM_PORT && hold_pending(f, end, v, now)) {
			into_hold(f, end, p, ctl, v, now);
			break;
		}
		if (f->flags & FLOW_F_CLOSED) {
			/* An ack of what a leg sent twice does not concern the other end. */
			if (payload) {
				me->flags |= END_F_ASKED;
			} else if (!(peer->flags & END_F_ASKED) && !(p->flags & TCP_RST)) {
				v->where = TO_DROP;
				break;
			}
		}
		track_ack(me, p, belief, now);
		track_data(f, me, peer, p, belief);
		/* Not one that could not be split: the host may have to translate it. */
		if (bypass_passed && f->state == FLOW_PASSED && !f->why_not)
			f->flags |= FLOW_F_BYPASS;
		v->where = f->flags & FLOW_F_BYPASS ? TO_WIRE : TO_STACK;
		f->tc_at[end & 1] = left_at(now);
		if (f->state != FLOW_CLOSING && (p->flags & (TCP_FIN | TCP_RST)))
			ending(f, me, peer, p, v, now, ev);
		merged(f, me, peer, p, v);
		break;

	case FLOW_BLOCKED:
		refuse(f, me, peer, p, v);
		break;
	}
}

/* Adapts a packet's SACK blocks to the end it goes to, and to the ack that end is told. */
static __noinline int sack_across(struct __sk_buff *ctx, struct pkt *p, const struct verdict *v)
{
	struct room *room = room_get();

	if (!room)
		return -1;
	if (!more_options(p) || !(v->strip || v->edited))
		return 0;
	walk_options(ctx, p, &room->options);
	return v->strip ? sack_to_nops(ctx, p, &room->options) :
			  move_sack(ctx, p, &room->options, v->sack, v->sack_min);
}

/*
 * Tells the other end something with a copy of this bare ack. The packet itself is restored for
 * the leg, except for SACK blocks, which will come again.
 */
static __noinline void tell_by_copy(struct __sk_buff *ctx, struct pkt *p, const struct verdict *v)
{
	struct told was = told_as_is(p);

	if (sack_across(ctx, p, v) || put_told(ctx, p, &v->told))
		return;
	wire_clone(ctx, p, v->ifindex);
	count(SEAM_R_WINDOW_UPDATE);
	put_told(ctx, p, &was);
}

/* Leaves `keep` bytes of a packet's payload, and clears the flags about what comes after. */
static __always_inline int cut_to(struct __sk_buff *ctx, struct pkt *p, __u32 keep)
{
	return cut_payload(ctx, p, keep) ||
	       put_flags(ctx, p, p->flags & ~(TCP_FIN | TCP_PSH | TCP_URG));
}

/* For the leg: SACK blocks that came with another ack are not about what the leg has sent. */
static __noinline int clamp_for_leg(struct __sk_buff *ctx, struct pkt *p, const struct verdict *v)
{
	struct room *room = room_get();
	/* Blocks that an edit has moved are not moved back. */
	bool other_ack = p->ack != v->leg_ack || v->edited;

	if (!room || (v->cut && cut_to(ctx, p, v->keep)) ||
	    put32(ctx, p, p->l4 + TCP_SEQ_OFF, p->seq, v->leg_seq) ||
	    put32(ctx, p, p->l4 + TCP_ACK_OFF, p->ack, v->leg_ack))
		return -1;
	p->seq = v->leg_seq;
	p->ack = v->leg_ack;
	return other_ack ? strip_sack(ctx, p, &room->options) : 0;
}

/* What the host may quote of the packet in hand is not what another packet was told. */
static __always_inline void not_answered(void)
{
	struct room *room = room_get();

	if (room)
		room->told = false;
}

/*
 * The packet goes to the legs through the hold queue. What is left of it, with no payload or only
 * that before the boundary, goes to the other end.
 */
static __noinline int part_to_wire(struct __sk_buff *ctx, struct pkt *p, const struct verdict *v,
				   __u32 tap)
{
	if (bpf_clone_redirect(ctx, tap, 0) || cut_to(ctx, p, v->bare ? 0 : v->keep) ||
	    put_told(ctx, p, &v->told) || sack_across(ctx, p, v))
		return TC_ACT_SHOT;
	not_answered();
	return to_wire(ctx, p, v->ifindex, FROM_PORT);
}

/* The packet goes to the other end; the leg gets its acknowledgement as it was. */
static __noinline int rest_to_leg(struct __sk_buff *ctx, struct pkt *p, const struct verdict *v,
				  const struct told *was, __u32 veth)
{
	if (!wire_clone(ctx, p, v->ifindex)) {
		not_answered();
		return to_wire(ctx, p, v->ifindex, FROM_PORT);
	}
	if (cut_to(ctx, p, 0) || put_told(ctx, p, was) || clamp_for_leg(ctx, p, v))
		return TC_ACT_SHOT;
	return to_inner(ctx, veth);
}

/* Finds timestamps that are not where nearly every stack puts them. */
static __noinline void find_tstamp(struct __sk_buff *ctx, struct pkt *p)
{
	struct room *room = room_get();
	struct options *o;

	if (!room)
		return;
	o = &room->options;
	walk_options(ctx, p, o);
	if (!o->ts_pos)
		return;
	p->ts = p->l4 + sizeof(struct tcphdr) + o->ts_pos;
	p->tsval = o->tsval;
	p->tsecr = o->tsecr;
}

/*
 * Whether the daemon is there for a flow that has not been let go. If killed, it took the hold
 * device with it, which shows before the heartbeat is missed.
 */
static __always_inline bool daemon_there(struct __sk_buff *ctx, const struct flow *f,
					 const struct control *ctl, __u64 now)
{
	__u32 mtu = 0;

	if (f->state >= FLOW_MERGED && !(f->flags & FLOW_F_ARMED))
		return true;
	return daemon_alive(ctl, now) && ctl->tap_ifindex &&
	       (has_legs(f) ||
		bpf_check_mtu(ctx, ctl->tap_ifindex, &mtu, 0, 0) != -ENODEV);
}

static __always_inline int handle_packet(struct __sk_buff *ctx, struct flow *f,
					 struct flow_key *key, __u32 end, struct pkt *p,
					 enum source source, __u64 now)
{
	struct control *ctl = control_get();
	__u32 seg = p->gso ?: p->len, ifindex = ctx->ifindex;
	struct room *room = room_get();
	bool alive = daemon_there(ctx, f, ctl, now);
	struct seam_event *ev;
	struct verdict *v;

	if (!room)
		return TC_ACT_SHOT;
	v = &room->verdict;
	__builtin_memset(v, 0, sizeof(*v));
	ev = &room->event;
	ev->type = 0;
	if (!p->ts && more_options(p) && (f->flags & FLOW_F_TSTAMP))
		find_tstamp(ctx, p);
	/* The timer needs map operations, which a lock forbids. */
	if (alive && wants_hold(f, end, p) && !hold_start(f, key, ctl, !p->gso))
		count(SEAM_R_NO_MEMORY);

	bpf_spin_lock(&f->lock);
	decide(f, end, p, source, ctl, alive, seg, ifindex, now, v, ev);
	v->flags = f->flags;
	bpf_spin_unlock(&f->lock);

	if (v->where == TO_HOLD && f->state == FLOW_HELD && p->len && f->held_in == 2)
		hold_shorten(f, key, ctl);
	report(ev, key, v->flags);
	if (v->why)
		count(v->why);
	switch (v->where) {
	case TO_WIRE:
		room->was = told_as_is(p);
		if ((v->bare && cut_to(ctx, p, 0)) || (v->tell && put_told(ctx, p, &v->told)))
			return TC_ACT_SHOT;
		if (sack_across(ctx, p, v))
			return TC_ACT_SHOT;
		if (v->leg_copy && ctl)
			return rest_to_leg(ctx, p, v, &room->was, ctl->veth_ifindex);
		room->told = v->tell;
		return to_wire(ctx, p, v->ifindex, source);
	case TO_HOLD:
		if (!ctl)
			return TC_ACT_SHOT;
		if (v->part)
			return part_to_wire(ctx, p, v, ctl->tap_ifindex);
		return bpf_redirect(ctl->tap_ifindex, 0);
	case TO_LEG:
		if (v->update)
			tell_by_copy(ctx, p, v);
		if (!ctl || ((v->clamp || v->cut) && clamp_for_leg(ctx, p, v)))
			return TC_ACT_SHOT;
		return to_inner(ctx, ctl->veth_ifindex);
	case TO_RST:
		return v->rst_fwd ? rst_both(ctx, p, v->rst_seq, v->ifindex) : rst_back(ctx, p, v->ifindex);
	case TO_DROP:
		return TC_ACT_SHOT;
	default:
		return TC_ACT_UNSPEC;
	}
}

/*
 * Whether a packet that is not believed to be of the flow must be kept from the other end, which
 * would accept it all the same. It must where that end has not been shown yet what a rule waits
 * for, or was shown other bytes, or none.
 */
static __always_inline bool keep_out(const struct flow *f)
{
	return waits(f) || state_frozen(f->state) || (f->flags & FLOW_F_EDITED) ||
	       (wire_mode && f->state == FLOW_BLOCKED);
}

/*
 * The first fragment of a flow's segment (the others carry no ports). Whether it is believed
 * depends on the sequence number, which is all of TCP's header that it has for certain. A flow
 * that is not split is let go, and is not split any more. Of a split flow it cannot get to a leg
 * whole, nor, once bytes were changed, be numbered as the other end does.
 */
static __noinline int handle_fragment(struct __sk_buff *ctx, struct flow *f, struct flow_key *key,
				      __u32 end)
{
	struct flow_end *me = end == SEAM_CLIENT ? &f->end[0] : &f->end[1];
	struct flow_end *peer = end == SEAM_CLIENT ? &f->end[1] : &f->end[0];
	struct room *room = room_get();
	__u64 now = bpf_ktime_get_ns();
	bool drop = false, forged, doubt;
	__u8 flags;
	__u32 seq;

	if (!room)
		return TC_ACT_UNSPEC;
	if (bpf_skb_load_bytes(ctx, room->pkt.l4 + TCP_SEQ_OFF, &seq, sizeof(seq)))
		return keep_out(f) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	/* A connection of its own may begin with it, or with what the next fragment makes of it (RFC 1858 3). */
	doubt = blocks_untracked(true);
	if (doubt && (bpf_skb_load_bytes(ctx, room->pkt.l4 + TCP_FLAGS_OFF, &flags, 1) || (flags & TCP_SYN)))
		return TC_ACT_SHOT;
	room->event.type = 0;
	bpf_spin_lock(&f->lock);
	forged = !may_be_new(f, me, peer, bpf_ntohl(seq));
	if (forged) {
		drop = keep_out(f) || doubt;
	} else if (f->state == FLOW_MONITORED || f->state == FLOW_MERGED || f->state == FLOW_PASSED) {
		/* Its payload is not tracked, and a split would not know of it. */
		f->why_not = SEAM_R_FRAGMENT;
		f->flags |= FLOW_F_NO_SPLIT;
		if (f->state == FLOW_MONITORED || (f->flags & FLOW_F_ARMED))
			fail(f, SEAM_R_FRAGMENT, now, &room->event);
		drop = f->state == FLOW_BLOCKED;
	} else {
		/* A closing flow may yet go on, past what looked like its end. */
		drop = f->state != FLOW_CLOSING || (waits(f) && (f->flags & FLOW_F_FAIL_BLOCK));
	}
	drop |= !!(f->flags & FLOW_F_EDITED);
	bpf_spin_unlock(&f->lock);
	if (forged)
		count(SEAM_R_FORGED);
	report(&room->event, key, f->flags);
	return drop ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

/* Restores the sequence number that an ICMP error quotes at `at` to what its sender wrote. */
static __always_inline int quote_back(struct __sk_buff *ctx, const struct pkt *p, __u32 at,
				      const struct flow_end *from)
{
	__u32 was, is;

	if (bpf_skb_load_bytes(ctx, at, &was, 4))
		return -1;
	is = bpf_htonl(seq_back(from, bpf_ntohl(was)));
	return bpf_l4_csum_replace(ctx, p->l4 + 2, was, is, 4) ||
	       bpf_skb_store_bytes(ctx, at, &is, 4, 0);
}

/*
 * Whether an ICMP error is about what `from` has sent past the legs; it quotes `seq` of `from`, as
 * numbered behind the box.
 */
static __always_inline bool past_legs(const struct flow *f, const struct flow_end *from, __u32 seq)
{
	bool before = seq_before(seq, seq_across(from, from->bound));

	return f->state == FLOW_SPLITTING ? before : merge_begun(f) && !before;
}

/* On a wire: whether the packet in hand is on the VLAN of what the end opposite to `end` sends. */
static __always_inline bool vlan_of_other(const struct flow *f, __u32 end)
{
	const struct seam_links *l = links_of(f);
	const struct room *room = room_get();

	return room && l && same_vlan(&room->link, &l->end[!(end & 1)]);
}

/* Returned by handle_icmp() for an error to be forwarded; like ACT_RST in handshake.h. */
#define ACT_FORWARD (-3)

/*
 * An ICMP error that quotes a segment of a flow. In a split flow it is about one of the legs,
 * unless the segment itself has crossed a boundary. Where the host's stack has not seen the flow,
 * the error is forwarded past the stack as well.
 */
static __noinline int handle_icmp(struct __sk_buff *ctx, struct pkt *p)
{
	struct control *ctl = control_get();
	struct room *room = room_get();
	struct flow_key key;
	struct pkt *quoted;
	struct flow *f;
	__u32 end, at = p->l4 + 8;
	__u16 ports[2];
	__u32 seq, i;
	__u8 type;

	if (!ctl || !room || bpf_skb_load_bytes(ctx, p->l4, &type, 1))
		return TC_ACT_UNSPEC;
	quoted = &room->quoted;
	if (p->v4) {
		struct iphdr ih;

		if ((type != 3 && type != 11 && type != 12) ||
		    bpf_skb_load_bytes(ctx, at, &ih, sizeof(ih)) || ih.protocol != IPPROTO_TCP)
			return TC_ACT_UNSPEC;
		key_mapped(quoted->key.client, ih.saddr);
		key_mapped(quoted->key.server, ih.daddr);
		at += ih.ihl * 4;
	} else {
		struct ipv6hdr ih;

		if (type < 1 || type > 4 || bpf_skb_load_bytes(ctx, at, &ih, sizeof(ih)) ||
		    ih.nexthdr != IPPROTO_TCP)
			return TC_ACT_UNSPEC;
		__builtin_memcpy(quoted->key.client, &ih.saddr, 16);
		__builtin_memcpy(quoted->key.server, &ih.daddr, 16);
		at += sizeof(ih);
	}
	if (bpf_skb_load_bytes(ctx, at, ports, sizeof(ports)) ||
	    bpf_skb_load_bytes(ctx, at + 4, &seq, sizeof(seq)))
		return TC_ACT_UNSPEC;
	quoted->key.client_port = ports[0];
	quoted->key.server_port = ports[1];
	/* Sent to another host than it is about: for the host to judge, as connection tracking would. */
	for (i = 0; i < 4; i++)
		if (p->key.server[i] != quoted->key.client[i])
			return TC_ACT_UNSPEC;
	f = flow_find(quoted, &key, SEAM_CLIENT, &end);
	if (!f || (wire_mode && !vlan_of_other(f, end)))
		return TC_ACT_UNSPEC;
	if (has_legs(f) && !past_legs(f, &f->end[end & 1], bpf_ntohl(seq))) {
		count(SEAM_R_ICMP_LEG);
		return to_inner(ctx, ctl->veth_ifindex);
	}
	if (!(f->flags & FLOW_F_BYPASS))
		return TC_ACT_UNSPEC;
	if ((f->flags & FLOW_F_EDITED) && quote_back(ctx, p, at + 4, &f->end[end & 1]))
		return TC_ACT_SHOT;
	/* The next hop is asked for by what the packet is: it has no ports. */
	p->key.client_port = p->key.server_port = 0;
	room->told = false;
	p->payload = ETH_HLEN;
	p->len = ctx->len - ETH_HLEN;
	return ACT_FORWARD;
}

#endif
