/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A flow between one control loop and two. In each direction, `s` sends and `r`
 * receives; the leg that faces `s` stands in for `r`. Bytes before the boundary
 * s->bound belong to the old owner until r itself has acknowledged them all, and
 * bytes from it on to the new one: while splitting, the old owner is the ends
 * themselves and the new one the legs; while merging it is the other way round.
 * One packet carries data of one direction and an acknowledgement of the other:
 * each part follows its own rule. The rules are those of docs/architecture.md.
 */
#ifndef SEAM_BPF_SPLIT_H
#define SEAM_BPF_SPLIT_H

#include "track.h"

/* Fixed when the programs are loaded. */
const volatile __u32 backlog_limit = SEAM_BACKLOG;

/* The acknowledgement that s may be told: of bytes that r has, or a leg for it. Lock held. */
static __always_inline __u32 ack_for(const struct flow *f, const struct flow_end *s,
				     const struct flow_end *r)
{
	__u32 ack = s->leg_ack;

	/* The leg sends no bare ack of its own accord any more once it has sent the FIN of `r`. */
	if (paced(s) && !(r->flags & END_F_FIN) && seq_after(ack, s->pace))
		ack = s->pace;
	if (f->state == FLOW_SPLITTING)
		ack = crossed(s, r) ? seq_max(s->bound, s->leg_ack) : seq_back(s, r->ack);
	else if (merge_begun(f) && crossed(s, r))
		ack = seq_back(s, r->ack); /* else the leg's: it has nothing from the boundary on */
	return seq_max(ack, s->told_ack);
}

/*
 * The window field that s is told with `ack`: what its leg offers, but never
 * beyond edge_for(), and never less than was told before. A window counts in units of the
 * scale, so that an edge cannot always be met: where the next unit would be
 * beyond the limit, it is missed by less than one, which senders are prepared
 * for (RFC 7323 2.4). Lock held.
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
 * The timestamps of a packet of `from` to `to`: of its leg, or `direct` of the end
 * itself, whose clock may be behind the leg's. A TSval never steps back, and a
 * TSecr never claims what its receiver has not sent (RFC 7323 5.3). Lock held.
 */
static __always_inline void tell_time(struct flow_end *to, const struct flow_end *from,
				      const struct pkt *p, bool direct, struct told *t)
{
	if (!p->ts)
		return;
	/* No more than is believed of its clock. */
	t->tsval = direct ? seq_min(p->tsval, from->tsval) + from->ts_delta : p->tsval;
	t->tsval = seq_max(t->tsval, to->told_tsval);
	to->told_tsval = t->tsval;
	t->tsecr = p->tsecr - (direct ? to->ts_delta : 0);
	if (!p->tsecr || seq_after(t->tsecr, to->tsval))
		t->tsecr = to->tsval;
}

/* All that `to` may be told of what `from` has, by any packet. Lock held. */
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

/* A bare ack to `to`, made of the packet `p` of `from`, with all that it may be told. Lock held. */
static __always_inline void tell_ack(struct flow *f, struct flow_end *to,
				     const struct flow_end *from, const struct pkt *p,
				     struct told *t)
{
	t->seq = to->told_nxt;
	tell_edge(f, to, from, t);
	tell_time(to, from, p, true, t);
}

/*
 * Whether `to` is told another ack than that of the packet `p`: SACK blocks belong
 * to the one they came with. Below another the first would speak of a duplicate
 * (RFC 2883 4).
 */
static __always_inline bool other_ack(const struct flow_end *to, const struct pkt *p,
				      const struct told *t)
{
	return t->ack != seq_back(to, p->ack);
}

/* Whether `to` has not been told yet what it may be told of `from`. Lock held. */
static __always_inline bool news(const struct flow *f, const struct flow_end *to,
				 const struct flow_end *from)
{
	return ack_for(f, to, from) != to->told_ack ||
	       (__s32)(edge_for(f, to, from) - to->told_edge) >= 2 * (__s32)from->mss;
}

/*
 * The acknowledgement that a leg is given is one that is believed, and lies within what it has
 * sent, which while merging may be less than is before the boundary: of a segment across it
 * the end has got more. And it does not step back: a kernel discards a segment that
 * acknowledges more, and one that acknowledges much less, as held packets may, together with
 * its data (RFC 5961 5.2). And a bare ack has a number within the leg's window: the ack of any
 * other is not looked at (RFC 9293 3.10.7.4). No lower than need be, for of a window nobody is
 * told by a number below that of the last time (3.10.7.4, SND.WL1): an ack may have come past
 * data that was lost on its way here, and the boundary is before that. Lock held.
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
	/* Once that is behind, edits may have moved it to where the end has not got to. */
	if (f->state == FLOW_SPLITTING)
		v->leg_ack = seq_max(v->leg_ack, seq_across(peer, peer->bound));
	if (seq_after(v->leg_ack, me->leg_nxt))
		v->leg_ack = me->leg_nxt;
	v->clamp = (p->flags & (TCP_ACK | TCP_SYN | TCP_RST)) == TCP_ACK &&
		   (v->leg_ack != p->ack || v->leg_seq != p->seq);
}

/*
 * The payload of a segment across the boundary that is before it; of a GSO packet no
 * more than the first of its segments, as one frame will be made of it. The rest of
 * what was lost is sent again when that is acknowledged. Lock held.
 */
static __always_inline __u32 before_bound(const struct flow_end *me, const struct pkt *p)
{
	__u32 keep = me->bound - p->seq;

	return p->gso && keep > p->gso ? p->gso : keep;
}

/* The packet goes straight to the other end, saying what that may be told. Lock held. */
static __always_inline void straight(struct flow *f, const struct flow_end *me,
				     struct flow_end *peer, const struct pkt *p, struct verdict *v)
{
	v->where = TO_WIRE;
	v->tell = true;
	tell(f, peer, me, p, true, &v->told);
	v->strip = other_ack(peer, p, &v->told);
}

/* Both legs stand, and maybe both boundaries are behind. Lock held. */
static __always_inline void split_done(struct flow *f, __u8 reason, __u64 now,
				       struct seam_event *ev)
{
	if ((f->flags & FLOW_F_LEGS) && crossed(&f->end[0], &f->end[1]) &&
	    crossed(&f->end[1], &f->end[0]))
		move(f, FLOW_SPLIT, reason, now, ev);
}

/*
 * A packet of an end while the flow is splitting. `over`: whether the boundary of
 * the other direction was behind before its acknowledgement was noted. Lock held.
 */
static __always_inline void splitting(struct flow *f, struct flow_end *me, struct flow_end *peer,
				      const struct pkt *p, enum belief belief, bool over,
				      bool queued, struct verdict *v)
{
	bool payload = p->len || (p->flags & TCP_FIN);

	if (payload && seq_after(p->end, me->bound)) {
		/* New data is the leg's; the ack with it, and what is before the boundary, are not. */
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
		 * Sent again, though the other end has it all: what told its sender so was
		 * lost, and the other end's answer would be the leg's. The leg has an answer.
		 */
		to_leg(f, me, peer, p, v);
	} else if (payload || !over) {
		/* The old loop's own. */
		if (!payload && !seq_before(p->ack, seq_across(peer, peer->bound))) {
			/*
			 * Of what the leg has sent as well, and of the window it has from now on:
			 * it needs it, too, if only after the queue.
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
				/* Moved for the one, blocks would be wrong for the other. */
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
 * What an edit has to do with a packet of `me` that goes straight to the other end:
 * of a direction whose bytes were changed nothing from before the merge may go on,
 * not as a late duplicate either. As a bare segment it still asks for the
 * acknowledgement that its sender may not have got (RFC 9293 3.10.7.4). Lock held.
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
 * A packet of an end while the flow is merging; `over` as above. One that asks for
 * an acknowledgement, by what it repeats, is for the other end once that has all from
 * before the boundary: the answer of the leg would not be told (silent()), and what
 * told its sender may have been lost. Lock held.
 */
static __always_inline void merging(struct flow *f, struct flow_end *me, struct flow_end *peer,
				    const struct pkt *p, bool over, struct verdict *v)
{
	bool payload = p->len || (p->flags & TCP_FIN), done = crossed(me, peer);
	bool asks = payload || seq_before(p->seq, me->told_ack);

	/* One that does not count: with the leg's numbers it might. */
	if (p->flags & TCP_RST) {
		to_leg(f, me, peer, p, v);
		return;
	}
	/*
	 * Of a segment across the boundary the other end gets all: it is the same. But after
	 * an edit it is not, nor perhaps of a sender that evades on purpose what its bytes were
	 * inspected, or judged, for: then the leg gets what is before the boundary.
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
		 * The leg still waits for acknowledgements of its own data. What is missing
		 * before the boundary is the leg's to repair: no SACK block may tell the other
		 * end of a gap that is none of its making.
		 */
		to_leg(f, me, peer, p, v);
		v->leg_seq = seq_max(v->leg_seq, me->leg_ack);
		v->where = TO_WIRE;
		v->leg_copy = !over;
		v->strip |= !crossed(peer, me);
	} else if (!payload && crossed(peer, me)) {
		straight(f, me, peer, p, v);
		if (!over) {
			/* The leg has been waiting for it: the merge may yet be given up. */
			to_leg(f, me, peer, p, v);
			v->where = TO_WIRE;
			v->leg_copy = true;
		}
	} else {
		to_leg(f, me, peer, p, v);
	}
}

#endif
