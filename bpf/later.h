/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Splits later than at the first payload. An armed flow goes by, watched, until it has reached the
 * bytes, time or requests that its rule says; the very packet that shows it splits the flow.
 */
#ifndef SEAM_BPF_LATER_H
#define SEAM_BPF_LATER_H

#include "split.h"

/* The rule says when, counted from now. Lock held, or the flow is new. */
static __always_inline void arm(struct flow *f, const struct seam_after *after, bool at_once,
				bool again)
{
	f->after_bytes = after->bytes;
	f->after_ms = after->ms;
	f->after_request = after->request;
	f->due_bytes = at_once ? 0 : after->bytes ?: DUE_NEVER;
	f->flags |= FLOW_F_ARMED | FLOW_F_HISTORY;
	if (again)
		f->flags |= FLOW_F_AGAIN;
}

/* Whether a packet whose payload is believed has payload that its sender has not sent before. */
static __always_inline bool fresh(const struct flow_end *me, const struct pkt *p)
{
	return p->len && seq_after(p->end, me->nxt);
}

/* The client begins to send after the server has: a turn. Whether this is the one waited for. */
static __always_inline bool turn(struct flow *f, __u32 end)
{
	if (end == SEAM_SERVER) {
		f->flags |= FLOW_F_ANSWERED;
		return false;
	}
	if (!(f->flags & FLOW_F_ANSWERED))
		return false;
	f->flags &= ~FLOW_F_ANSWERED;
	if (f->after_request > 1)
		f->after_request--;
	else
		return f->after_request;
	return false;
}

/* Whether the flow has lasted, or been merged, as long as its rule says. */
static __always_inline bool long_enough(const struct flow *f, __u64 now)
{
	bool anew = f->state == FLOW_MERGED && (f->flags & FLOW_F_AGAIN);
	__u64 since = anew ? f->changed_ns : f->created_ns;

	return f->after_ms && (__s64)(now - since) >= (__s64)(f->after_ms * NSEC_PER_MSEC);
}

/* Splits an armed flow; if no daemon is there to do it, gives its rule's fail answer. Lock held. */
static __always_inline void fall_due(struct flow *f, bool alive, __u64 now, struct seam_event *ev)
{
	if (!alive) {
		fail(f, SEAM_R_DAEMON_GONE, now, ev);
	} else {
		if (!(f->flags & FLOW_F_AGAIN))
			f->flags &= ~FLOW_F_ARMED;
		freeze(f, SEAM_R_AFTER, now, ev);
	}
}

/*
 * A packet of an armed flow, its bytes already counted. If it is time, splits the flow, so that
 * this packet is the legs' first. True: it is time, but the flow is still merging, and can be
 * split only once it is merged. Lock held.
 */
static __always_inline bool later(struct flow *f, __u32 end, const struct flow_end *me,
				  const struct pkt *p, bool alive, __u64 now, struct seam_event *ev)
{
	/* Packets in the hold queue have not been looked at: they would bypass the legs. */
	bool busy = f->held_in != f->held_out, due;

	if (!fresh(me, p) || (busy && end == SEAM_CLIENT))
		return false;
	due = turn(f, end);
	if (f->state != FLOW_MONITORED && f->state != FLOW_MERGED)
		return due && merge_begun(f) && !(f->end[0].flags & f->end[1].flags & END_F_FIN);
	if (!busy && (due || f->end[0].bytes + f->end[1].bytes - p->len >= f->due_bytes ||
		      long_enough(f, now)))
		fall_due(f, alive, now, ev);
	return false;
}

/*
 * The client's turn comes while the flow is merging, as when its payload brings the ack that the
 * merge has waited for. That ack goes on by itself and ends the merge, and the payload is the
 * first of the next split. False if the ack does not end the merge. Lock held.
 */
static __always_inline bool turn_ends_merge(struct flow *f, struct flow_end *me,
					    struct flow_end *peer, const struct pkt *p, __u64 now,
					    struct verdict *v, struct seam_event *ev)
{
	tell_ack(f, peer, me, p, &v->told);
	merge_if_done(f, SEAM_R_CROSSED, now, ev);
	if (f->state != FLOW_MERGED)
		return false;
	fall_due(f, true, now, ev);
	v->strip = true; /* what its SACK blocks are about was not judged */
	v->part = true;
	return true;
}

/*
 * If the ack does not end the merge, and what is not inspected must not pass, the ack goes on
 * alone. Its sender will send the payload again, and then the merge is over. Otherwise a client
 * could have all its requests let by, acknowledging late. Lock held.
 */
static __always_inline bool turn_must_wait(struct flow *f, const struct flow_end *me,
					   struct flow_end *peer, const struct pkt *p,
					   struct verdict *v)
{
	if (!(f->flags & FLOW_F_FAIL_BLOCK))
		return false;
	f->flags |= FLOW_F_ANSWERED;
	v->where = TO_WIRE;
	v->why = SEAM_R_UNACCEPTABLE;
	v->bare = v->tell = v->strip = true;
	tell_ack(f, peer, me, p, &v->told);
	return true;
}

/* Whether this ack completes the handshake of a flow that is split before any payload. */
static __always_inline bool at_once(const struct flow *f, const struct pkt *p)
{
	return (f->flags & FLOW_F_ARMED) && !f->due_bytes && !p->len &&
	       (p->flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) == TCP_ACK;
}

#endif
