/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A flow between one control loop and two. In each direction, `s` sends and `r` receives; the leg
 * that faces `s` stands in for `r`. Bytes before the boundary s->bound belong to the old owner
 * until `r` itself has acknowledged them all. Bytes from the boundary on belong to the new owner.
 * While splitting, the old owner is the ends themselves and the new one the legs; while merging it
 * is the other way round. One packet carries data of one direction and an acknowledgement of the
 * other: each part follows its own rule. The rules are those of docs/architecture.md.
 */
#ifndef SEAM_BPF_SPLIT_H
#define SEAM_BPF_SPLIT_H

#include "track.h"

/* Fixed when the programs are loaded. */
const volatile __u32 backlog_limit = SEAM_BACKLOG;

/* The acknowledgement that `s` may be told: of bytes that `r`, or a leg for it, has. Lock held. */
static __always_inline __u32 ack_for(const struct flow *f, const struct flow_end *s,
				     const struct flow_end *r)
{
	__u32 ack = s->leg_ack;

	/* Not after r's FIN: having sent that, the leg sends no more bare acks unprompted. */
	if (paced(s) && !(r->flags & END_F_FIN) && seq_after(ack, s->pace))
		ack = s->pace;
	if (f->state == FLOW_SPLITTING)
		ack = crossed(s, r) ? seq_max(s->bound, s->leg_ack) : seq_back(s, r->ack);
	else if (merge_begun(f) && crossed(s, r))
		ack = seq_back(s, r->ack); /* else the leg's: it has nothing from the boundary on */
	return seq_max(ack, s->told_ack);
}

/*
 * The window field that `s` is told with `ack`: what its leg offers, but never beyond edge_for(),
 * and never less than was told before. A window counts in units of the scale, so the edge cannot
 * always be met. Where the next unit would be beyond the limit, the edge is missed by less than
 * one unit, which senders are prepared for (RFC 7323 2.4). Lock held.
 */
static __always_inline __u16 window_for(const struct flow *f, struct flow_end *s,
					const struct flow_end *r, __u32 ack)
{
	__u32 unit = 1U << r->wscale, limit = edge_for(f, s, r), edge, field;

	s->flags &= ~END_F_CLAMPED;
	if (!merge_begun(f)) {
		if (seq_after(s->leg_edge, limit))
			s->flags |= END_F_CLAMPED;
		else
			limit = s->leg_edge;
	}
	edge = seq_max(limit, s->told_edge);
	if (!seq_after(edge, ack))
		return 0;
	field = (edge - ack + unit - 1) >> r->wscale;
	if (seq_after(ack + (field << r->wscale), limit))
		field = (edge - ack) >> r->wscale;
	if (field > 0xffff)
		field = 0xffff;
	s->told_edge = seq_max(s->told_edge, ack + (field << r->wscale));
	return field;
}

/*
 * The timestamps of a packet to `to`, sent by the leg that speaks for `from` or, if `direct`, by
 * `from` itself, whose clock may be behind the leg's. A TSval never steps back, and a TSecr never
 * claims what its receiver has not sent (RFC 7323 5.3). Lock held.
 */
static __always_inline void tell_time(struct flow_end *to, const struct flow_end *from,
				      const struct pkt *p, bool direct, struct told *t)
{
	if (!p->ts)
		return;
	/* No more than is believed of from's clock. */
	t->tsval = direct ? seq_min(p->tsval, from->tsval) + from->ts_delta : p->tsval;
	t->tsval = seq_max(t->tsval, to->told_tsval);
	to->told_tsval = t->tsval;
	t->tsecr = p->tsecr - (direct ? to->ts_delta : 0);
	if (!p->tsecr || seq_after(t->tsecr, to->tsval))
		t->tsecr = to->tsval;
}

/*
 * Tells `to`, with any packet, all that it may be told of what `from` has: ack and window. Lock
 * held.
 */
static __always_inline void tell_edge(struct flow *f, struct flow_end *to,
				      const struct flow_end *from, struct told *t)
{
	t->ack = ack_for(f, to, from);
	to->told_ack = t->ack;
	t->wnd = window_for(f, to, from, t->ack);
	note_fin_acked(to, t->ack);
}

/* What `to` is told by the packet `p` of `from`. Lock held. */
static __always_inline void tell(struct flow *f, struct flow_end *to, const struct flow_end *from,
				 const struct pkt *p, bool direct, struct told *t)
{
	__u32 end;

	t->seq = direct ? seq_across(from, p->seq) : p->seq;
	tell_edge(f, to, from, t);
	end = t->seq + (p->end - p->seq);
	if ((p->len || (p->flags & TCP_FIN)) && !(p->flags & (TCP_SYN | TCP_RST)) &&
	    seq_after(end, to->told_nxt))
		to->told_nxt = end;
	tell_time(to, from, p, direct, t);
}

/*
 * A bare ack to `to`, made of the packet `p` of `from`, with all that `to` may be told. Lock held.
 */
static __always_inline void tell_ack(struct flow *f, struct flow_end *to,
				     const struct flow_end *from, const struct pkt *p,
				     struct told *t)
{
	t->seq = to->told_nxt;
	tell_edge(f, to, from, t);
	tell_time(to, from, p, true, t);
}

/*
 * Whether `to` is told a different ack than that of the packet `p`. SACK blocks belong to the ack
 * they came with: below another ack, the first would report a duplicate (RFC 2883 4).
 */
static __always_inline bool other_ack(const struct flow_end *to, const struct pkt *p,
				      const struct told *t)
{
	return t->ack != seq_back(to, p->ack);
}

/* Whether `to` may be told something of `from` that it has not been told yet. Lock held. */
static __always_inline bool news(const struct flow *f, const struct flow_end *to,
				 const struct flow_end *from)
{
	return ack_for(f, to, from) != to->told_ack ||
	       (__s32)(edge_for(f, to, from) - to->told_edge) >= 2 * (__s32)mss_of(from);
}

/*
 * Chooses the ack and sequence number with which a packet is handed to a leg. The ack must be one
 * that is believed and within what the leg has sent; while merging that may be less than what lies
 * before the boundary, because the end got the rest in a straddling segment. It must not step back
 * either, as with held packets it might: the kernel drops a segment whose ack is beyond SND.NXT or
 * far below SND.UNA, payload included (RFC 5961 5.2). A bare ack also needs a sequence number
 * inside the leg's window, or its ack is ignored (RFC 9293 3.10.7.4). The number is clamped no
 * lower than necessary: a window update below the last one's number is ignored (3.10.7.4,
 * SND.WL1), and an ack may have come past data that was lost on its way here, while the boundary
 * is before that data. Lock held.
 */
static __always_inline void to_leg(const struct flow *f, const struct flow_end *me,
				   const struct flow_end *peer, const struct pkt *p,
				   struct verdict *v)
{
	v->where = TO_LEG;
	v->leg_seq = p->seq;
	if (merge_begun(f) && seq_after(p->seq, me->bound))
		v->leg_seq = seq_max(me->bound, seq_min(p->seq, me->leg_edge));
	v->leg_ack = me->ack;
	/*
	 * Only until the boundary is crossed: then edits may move it to where the end has not got
	 * to.
	 */
	if (f->state == FLOW_SPLITTING)
		v->leg_ack = seq_max(v->leg_ack, seq_across(peer, peer->bound));
	if (seq_after(v->leg_ack, me->leg_nxt))
		v->leg_ack = me->leg_nxt;
	v->clamp = (p->flags & (TCP_ACK | TCP_SYN | TCP_RST)) == TCP_ACK &&
		   (v->leg_ack != p->ack || v->leg_seq != p->seq);
}

/*
 * How much payload of a segment across the boundary lies before it; of a GSO packet no more than
 * its first segment, because one frame is made of it. Once that is acknowledged, the sender sends
 * the rest of what was lost again. Lock held.
 */
static __always_inline __u32 before_bound(const struct flow_end *me, const struct pkt *p)
{
	__u32 keep = me->bound - p->seq;

	return p->gso && keep > p->gso ? p->gso : keep;
}

/* Sends the packet straight to the other end, with what that end may be told. Lock held. */
static __always_inline void straight(struct flow *f, const struct flow_end *me,
				     struct flow_end *peer, const struct pkt *p, struct verdict *v)
{
	v->where = TO_WIRE;
	v->tell = true;
	tell(f, peer, me, p, true, &v->told);
	v->strip = other_ack(peer, p, &v->told);
}

/* Ends the splitting once both legs stand and both boundaries are crossed. Lock held. */
static __always_inline void split_done(struct flow *f, __u8 reason, __u64 now,
				       struct seam_event *ev)
{
	if ((f->flags & FLOW_F_LEGS) && crossed(&f->end[0], &f->end[1]) &&
	    crossed(&f->end[1], &f->end[0]))
		move(f, FLOW_SPLIT, reason, now, ev);
}

/*
 * A packet of an end while the flow is splitting. `over`: whether the boundary of the other
 * direction was already crossed before the packet's acknowledgement was noted. Lock held.
 */
static __always_inline void splitting(struct flow *f, struct flow_end *me, struct flow_end *peer,
				      const struct pkt *p, enum belief belief, bool over,
				      bool queued, struct verdict *v)
{
	bool payload = p->len || (p->flags & TCP_FIN);

	if (payload && seq_after(p->end, me->bound)) {
		/*
		 * New data is for the leg; the ack with it, and data before the boundary, are not.
		 */
		v->where = TO_HOLD;
		if (seq_before(p->seq, me->bound)) {
			v->part = true;
			v->keep = before_bound(me, p);
			v->why = SEAM_R_STRADDLE;
		}
		if (v->part || (!over && news(f, peer, me))) {
			v->part = true;
			tell_ack(f, peer, me, p, &v->told);
			v->strip = other_ack(peer, p, &v->told);
			if (v->keep)
				v->told.seq = seq_across(me, p->seq);
		} else if (!queued) {
			track_data(f, me, peer, p, belief);
			to_leg(f, me, peer, p, v);
		}
	} else if (payload && crossed(me, peer) && !queued && (over || !news(f, peer, me))) {
		/*
		 * A retransmission of what the other end has in full: the ack that said so was
		 * lost. The other end's answer would go to the leg, but the leg can answer itself.
		 */
		to_leg(f, me, peer, p, v);
	} else if (payload || !over) {
		/* Belongs to the old loop. */
		if (!payload && !seq_before(p->ack, seq_across(peer, peer->bound))) {
			/*
			 * Its ack may also be of what the leg has sent, and its window is the
			 * leg's from now on: the leg needs it, too, if only after the queue.
			 */
			if (queued) {
				v->where = TO_HOLD;
				v->part = news(f, peer, me);
			} else {
				to_leg(f, me, peer, p, v);
				v->update = news(f, peer, me);
			}
			if (v->part || v->update) {
				tell_ack(f, peer, me, p, &v->told);
				/*
				 * SACK blocks moved for one receiver would be wrong for the other.
				 */
				v->strip = other_ack(peer, p, &v->told) || (f->flags & FLOW_F_EDITED);
			}
			return;
		}
		straight(f, me, peer, p, v);
	} else if (queued) {
		v->where = TO_HOLD;
	} else {
		to_leg(f, me, peer, p, v);
	}
}

/*
 * Applies edits to a packet of `me` that goes straight to the other end. In a direction whose
 * bytes were changed, nothing from before the merge may go on, not even as a late duplicate. Made
 * a bare segment, the packet still asks for the acknowledgement that its sender may not have got
 * (RFC 9293 3.10.7.4). Lock held.
 */
static __always_inline void mind_edits(const struct flow *f, const struct flow_end *me,
				       const struct flow_end *peer, const struct pkt *p,
				       struct verdict *v)
{
	if (!(f->flags & FLOW_F_EDITED))
		return;
	v->edited = true;
	v->sack = -peer->seq_delta;
	v->sack_min = seq_across(peer, peer->seq_pos);
	if ((p->len || (p->flags & TCP_FIN)) && seq_before(p->seq, me->seq_pos)) {
		v->bare = true;
		v->why = SEAM_R_REPLACED;
	}
}

/*
 * A packet of an end while the flow is merging; `over` as above. A packet that repeats something,
 * and so asks for an acknowledgement, goes to the other end once that end has all from before the
 * boundary: the leg's answer would not be told (silent()), and the ack that told its sender may
 * have been lost. Lock held.
 */
static __always_inline void merging(struct flow *f, struct flow_end *me, struct flow_end *peer,
				    const struct pkt *p, bool over, struct verdict *v)
{
	bool payload = p->len || (p->flags & TCP_FIN), done = crossed(me, peer);
	bool asks = payload || seq_before(p->seq, me->told_ack);

	/* A RST that does not count; with the leg's numbers it might. */
	if (p->flags & TCP_RST) {
		to_leg(f, me, peer, p, v);
		return;
	}
	/*
	 * The other end gets all of a segment across the boundary: the bytes are the same. After
	 * an edit they are not, and perhaps not if the sender deliberately evades inspection or a
	 * verdict: then the leg gets what is before the boundary.
	 */
	if (payload && seq_after(p->end, me->bound) && seq_before(p->seq, me->bound) &&
	    !done && (f->flags & (FLOW_F_EDITED | FLOW_F_FAIL_BLOCK | FLOW_F_EXACT))) {
		to_leg(f, me, peer, p, v);
		v->cut = true;
		v->keep = before_bound(me, p);
		v->why = SEAM_R_STRADDLE;
	} else if (asks && (done || seq_after(p->end, me->bound))) {
		straight(f, me, peer, p, v);
		/*
		 * The leg still waits for acknowledgements of its own data. What is missing before
		 * the boundary is the leg's to repair: no SACK block may tell the other end of a
		 * gap that it did not make.
		 */
		to_leg(f, me, peer, p, v);
		v->leg_seq = seq_max(v->leg_seq, me->leg_ack);
		v->where = TO_WIRE;
		v->leg_copy = !over;
		v->strip |= !crossed(peer, me);
	} else if (!payload && crossed(peer, me)) {
		straight(f, me, peer, p, v);
		if (!over) {
			/* The leg has been waiting for this ack: the merge may yet be given up. */
			to_leg(f, me, peer, p, v);
			v->where = TO_WIRE;
			v->leg_copy = true;
		}
	} else {
		to_leg(f, me, peer, p, v);
	}
}

#endif
