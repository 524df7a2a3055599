/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The state machine of a flow. Every change of state goes through move() under the flow's lock,
 * and is then reported by report() outside it. The diagram is in docs/architecture.md.
 */
#ifndef SEAM_BPF_TRANSITION_H
#define SEAM_BPF_TRANSITION_H

#include "maps.h"
#include "seam/tsval.h"

static __always_inline bool state_split(__u8 state)
{
	return state == FLOW_SPLIT || state == FLOW_RELAYED || state == FLOW_MERGING;
}

/* Convert a sequence number of what `e` sends: from e's view to the other end's, and back. */
static __always_inline __u32 seq_across(const struct flow_end *e, __u32 seq)
{
	return seq + e->seq_delta;
}

static __always_inline __u32 seq_back(const struct flow_end *e, __u32 seq)
{
	return seq - e->seq_delta;
}

/* From the freeze of a split to the end of the merge: `told_*` is what each end has been told. */
static __always_inline bool state_frozen(__u8 state)
{
	return state == FLOW_SPLITTING || state_split(state);
}

/* What an end takes at least if its SYN named no MSS (RFC 9293 3.7.1). */
static __always_inline __u16 mss_of(const struct flow_end *e)
{
	return e->mss ?: 536;
}

static __always_inline bool has_legs(const struct flow *f)
{
	return state_split(f->state) || (f->state == FLOW_SPLITTING && (f->flags & FLOW_F_LEGS));
}

/* Notes that `e` has been told `ack`, perhaps of its FIN. Lock held. */
static __always_inline void note_fin_acked(struct flow_end *e, __u32 ack)
{
	if ((e->flags & END_F_FIN) && seq_after(ack, e->fin))
		e->flags |= END_F_FIN_ACKED;
}

/* Whether a merge is crossing the flow's boundaries. */
static __always_inline bool merge_begun(const struct flow *f)
{
	return f->state == FLOW_MERGING && !(f->flags & FLOW_F_WAITS);
}

/* Whether its leg's acks are held back from `s`; the ack of its FIN is not. */
static __always_inline bool paced(const struct flow_end *s)
{
	return (s->flags & (END_F_PACED | END_F_FIN)) == END_F_PACED;
}

/* Whether the merge also waits until the timers of `s` have learnt from that. */
static __always_inline bool learns(const struct flow_end *s)
{
	return (s->flags & (END_F_LEARNS | END_F_FIN)) == END_F_LEARNS;
}

/* Whether the flow can go on only with the daemon. */
static __always_inline bool needs_daemon(const struct flow *f)
{
	return f->state == FLOW_HELD || state_frozen(f->state);
}

/* Whether a rule still waits to know what the flow is, or has it held. */
static __always_inline bool waits(const struct flow *f)
{
	return f->state == FLOW_HELD ||
	       (f->flags & (FLOW_F_WANT_UP | FLOW_F_WANT_DOWN | FLOW_F_ARMED));
}

/* A lead of a leg's clock, in ticks, that the end's own clock catches up with by itself. */
#define TSVAL_CATCHUP 16

/* Whether the daemon is alive, judged by its heartbeat. */
static __always_inline bool daemon_alive(const struct control *ctl, __u64 now)
{
	return ctl && ctl->heartbeat_ns &&
	       (__s64)(now - ctl->heartbeat_ns) < (__s64)ctl->patience_ms * (__s64)NSEC_PER_MSEC;
}

/*
 * Whether what is not tracked is dropped; with `doubt`, even if the only reason is that some rule
 * fails closed. Not while the daemon is stopping, or has stopped.
 */
static __always_inline bool blocks_untracked(bool doubt)
{
	struct control *ctl = control_get();

	return ctl && !ctl->draining && (ctl->block_untracked || (doubt && ctl->fail_block));
}

/* Time as `tc_at` has it: in units of 1024 ns, never 0. */
static __always_inline __u32 left_at(__u64 now)
{
	return (now >> 10) | 1;
}

/*
 * Changes the state of `f`, whose lock is held, and notes it in `ev`. If there are several moves
 * under one lock, the event keeps the first state and the last.
 */
static __always_inline void move(struct flow *f, __u8 to, __u8 reason, __u64 now,
				 struct seam_event *ev)
{
	if (ev->type != EVENT_STATE) {
		ev->type = EVENT_STATE;
		ev->from = f->state;
	}
	f->tc_at[SEAM_CLIENT] = f->tc_at[SEAM_SERVER] = left_at(now);
	if (f->state == FLOW_MERGING) {
		__u16 over = END_F_LEARNS | (to == FLOW_MERGING ? 0 : END_F_PACED);

		f->flags &= ~FLOW_F_WAITS;
		f->end[SEAM_CLIENT].flags &= ~over;
		f->end[SEAM_SERVER].flags &= ~over;
	}
	barrier(); /* XDP reads the state, then tc_at, without the lock */
	f->state = to;
	f->reason = reason;
	f->changed_ns = now;
	/* The daemon needs to hear of no other flow. */
	if (to == FLOW_HELD || to == FLOW_SPLITTING || to == FLOW_BLOCKED)
		f->flags |= FLOW_F_HISTORY;

	ev->time_ns = now;
	ev->data_ns = f->data_ns;
	ev->id = f->id;
	ev->to = to;
	ev->reason = reason;
	ev->rule = f->rule;
	ev->policy = f->policy;
	ev->nxt[0] = f->end[0].nxt;
	ev->nxt[1] = f->end[1].nxt;
	ev->ack[0] = f->end[0].ack;
	ev->ack[1] = f->end[1].ack;
	ev->seq_delta[0] = f->end[0].seq_delta;
	ev->seq_delta[1] = f->end[1].seq_delta;
	ev->held = f->held_in;
	ev->packets[0] = f->end[0].packets;
	ev->packets[1] = f->end[1].packets;
	ev->bytes[0] = f->end[0].bytes;
	ev->bytes[1] = f->end[1].bytes;
}

static __always_inline void remember(const struct seam_event *ev)
{
	struct history *h = bpf_map_lookup_elem(&history, &ev->id);
	struct transition *t;
	__u32 zero = 0, n;

	if (!h) {
		h = bpf_map_lookup_elem(&history_new, &zero);
		if (!h || bpf_map_update_elem(&history, &ev->id, h, BPF_NOEXIST))
			return;
		h = bpf_map_lookup_elem(&history, &ev->id);
		if (!h)
			return;
	}
	n = __sync_fetch_and_add(&h->count, 1) % HISTORY_MAX;
	t = &h->at[n];
	t->time_ns = ev->time_ns;
	t->data_ns = ev->data_ns;
	t->from = ev->from;
	t->to = ev->to;
	t->reason = ev->reason;
	t->nxt[0] = ev->nxt[0];
	t->nxt[1] = ev->nxt[1];
	t->ack[0] = ev->ack[0];
	t->ack[1] = ev->ack[1];
	t->seq_delta[0] = ev->seq_delta[0];
	t->seq_delta[1] = ev->seq_delta[1];
	t->held = ev->held;
}

static __always_inline void count_state(__u32 state, __s64 by)
{
	__s64 *n = bpf_map_lookup_elem(&states, &state);

	/* seam_ctl may be interrupted by a packet, on the same CPU too. */
	if (n)
		__sync_fetch_and_add(n, by);
}

/*
 * Reports what was noted in `ev`, if anything. A transition goes to the counters, and to the
 * history of flows that have one. Every event goes to the daemon if it concerns the daemon or
 * someone monitors. A flow that was never held nor split does not concern the daemon.
 */
static __noinline void report(struct seam_event *ev, const struct flow_key *key,
				   __u32 flow_flags)
{
	const __u32 told = FLOW_F_BYPASS | FLOW_F_HISTORY;
	struct control *ctl;

	if (!ev->type)
		return;
	if (ev->type == EVENT_STATE) {
		if (ev->from != ev->to) {
			count_state(ev->from, -1);
			count_state(ev->to, 1);
		}
		count(ev->reason);
		if (flow_flags & FLOW_F_HISTORY)
			remember(ev);
	}
	ctl = control_get();
	if ((flow_flags & told) == told || monitored(ctl)) {
		ev->key = *key;
		if (bpf_ringbuf_output(&events, ev, sizeof(*ev), 0))
			count(SEAM_R_EVENT_LOST);
	}
}

/*
 * Freezes the boundaries: what was let through so far stays with the ends, everything after it
 * goes to the legs. From here on each end is told what its leg says, beginning exactly where the
 * other end left off. Lock held.
 */
static __always_inline void freeze(struct flow *f, __u8 reason, __u64 now,
				   struct seam_event *ev)
{
	struct flow_end *c = &f->end[SEAM_CLIENT], *s = &f->end[SEAM_SERVER];
	__u32 told_c, told_s;

	c->told_nxt = seq_across(s, s->nxt);
	c->told_ack = seq_back(c, s->ack);
	c->told_edge = seq_back(c, s->edge);
	s->told_nxt = seq_across(c, c->nxt);
	s->told_ack = seq_back(s, c->ack);
	s->told_edge = seq_back(s, c->edge);
	note_fin_acked(c, c->told_ack);
	note_fin_acked(s, s->told_ack);
	/* Of a held flow, less has been told than was seen. */
	if (f->state != FLOW_HELD) {
		c->free_tsval = c->tsval;
		s->free_tsval = s->tsval;
		told_c = s->tsval + s->ts_delta;
		told_s = c->tsval + c->ts_delta;
		/*
		 * Or what the legs of the previous split told, if the ends' clocks are still
		 * behind.
		 */
		if (f->flags & FLOW_F_TSCATCHUP) {
			told_c = seq_max(told_c, c->told_tsval);
			told_s = seq_max(told_s, s->told_tsval);
		}
		c->told_tsval = told_c;
		s->told_tsval = told_s;
	} else {
		f->flags |= FLOW_F_EXACT; /* the verdict is on what the legs receive */
	}
	c->bound = c->leg_ack = c->nxt;
	s->bound = s->leg_ack = s->nxt;
	c->leg_nxt = c->told_nxt;
	s->leg_nxt = s->told_nxt;
	c->leg_edge = c->told_edge;
	s->leg_edge = s->told_edge;
	/* The new legs know of no probe yet, and owe no echo of what passed without them. */
	c->keepalive_s = s->keepalive_s = 0;
	c->flags &= ~(END_F_CE | END_F_CWR);
	s->flags &= ~(END_F_CE | END_F_CWR);
	f->flags |= FLOW_F_BYPASS;
	f->flags &= ~(FLOW_F_LEGS | FLOW_F_SOCKMAP | FLOW_F_WANT_UP | FLOW_F_WANT_DOWN);
	move(f, FLOW_SPLITTING, reason, now, ev);
}

/*
 * Whether both ends have sent FIN and each knows of the other's. Then the legs have nothing left
 * to do, and the ends' closing states are end to end. Lock held.
 */
static __always_inline bool closed(const struct flow *f)
{
	const struct flow_end *c = &f->end[SEAM_CLIENT], *s = &f->end[SEAM_SERVER];
	__u16 both = END_F_FIN | END_F_FIN_ACKED;

	return (c->flags & both) == both && (s->flags & both) == both &&
	       c->ack == c->told_nxt && s->ack == s->told_nxt &&
	       seq_across(c, c->nxt) == s->told_nxt && seq_across(s, s->nxt) == c->told_nxt;
}

/*
 * Timestamps after the merge: the clock of `from` must not be behind what its leg has told `to`
 * (RFC 7323 5.3). A leg's clock runs with the end's, but not in phase. A lead of a few ticks is
 * over before it matters, and until then the end's TSval is raised to what was told. A larger lead
 * is not a matter of phase, and a delta makes up for it for good.
 */
static __always_inline void merge_clock(struct flow *f, struct flow_end *from,
					const struct flow_end *to, __u64 now)
{
	__s32 lead = to->told_tsval - tsval_now(from, now);

	from->ts_delta = 0;
	if (lead > TSVAL_CATCHUP) {
		from->ts_delta = lead;
		f->flags |= FLOW_F_TSDELTA;
	}
	if (seq_after(to->told_tsval, from->tsval + from->ts_delta))
		f->flags |= FLOW_F_TSCATCHUP;
}

/* From here on the ends' own clocks count. Lock held. */
static __always_inline void merge_clocks(struct flow *f, __u64 now)
{
	if (!(f->flags & FLOW_F_TSTAMP))
		return;
	merge_clock(f, &f->end[SEAM_SERVER], &f->end[SEAM_CLIENT], now);
	merge_clock(f, &f->end[SEAM_CLIENT], &f->end[SEAM_SERVER], now);
}

/* The legs go, with all that they had; what the ends say from now on is their own. Lock held. */
static __always_inline void legs_done(struct flow *f, __u64 now)
{
	merge_clocks(f, now);
	f->end[SEAM_CLIENT].seq_pos = f->end[SEAM_CLIENT].nxt;
	f->end[SEAM_SERVER].seq_pos = f->end[SEAM_SERVER].nxt;
}

/* The legs have closed the flow end to end. Lock held. */
static __always_inline void close_split(struct flow *f, __u64 now, struct seam_event *ev)
{
	legs_done(f, now);
	f->flags |= FLOW_F_CLOSED;
	move(f, FLOW_CLOSING, SEAM_R_FIN, now, ev);
}

/*
 * Ends a split whose legs are lost. Both ends get a RST, made of what the legs still send or with
 * the next packet of either end. Lock held.
 */
static __always_inline void abort_split(struct flow *f, __u8 reason, __u64 now,
					struct seam_event *ev)
{
	f->flags |= FLOW_F_BLOCK_RST | FLOW_F_RST_BOTH | FLOW_F_ABORTED;
	move(f, FLOW_BLOCKED, reason, now, ev);
}

/*
 * Gives the rule's fail answer to a flow that cannot be inspected, because of what it is or
 * because the daemon did not answer in time. But a flow of which a leg may have acknowledged a
 * part is not let go. Lock held.
 */
static __always_inline void fail(struct flow *f, __u8 reason, __u64 now, struct seam_event *ev)
{
	if (has_legs(f)) {
		abort_split(f, reason, now, ev);
		return;
	}
	f->flags &= ~(FLOW_F_WANT_UP | FLOW_F_WANT_DOWN | FLOW_F_RELEASE | FLOW_F_ARMED);
	f->held_out = f->held_in;
	f->held_bytes = 0;
	if (f->flags & FLOW_F_FAIL_BLOCK) {
		f->flags |= FLOW_F_BLOCK_RST | FLOW_F_RST_BOTH;
		move(f, FLOW_BLOCKED, reason, now, ev);
	} else {
		move(f, FLOW_PASSED, reason, now, ev);
	}
}

/* Coarse time, for the little room that a flow has left: units of 134 ms, modulo 2.4 hours. */
static __always_inline __u16 hold_clock(__u64 now)
{
	return now >> 27;
}

/* From now on the hold queue lets packets out; how long that takes is measured. Lock held. */
static __always_inline void hold_flows(struct flow *f, __u64 now)
{
	f->released_ns = now;
	f->held_since = hold_clock(now);
}

/* All held packets are out again. Lock held. */
static __always_inline void released(struct flow *f, __u64 now, struct seam_event *ev)
{
	f->flags &= ~(FLOW_F_RELEASE | FLOW_F_WANT_UP | FLOW_F_WANT_DOWN);
	move(f, f->flags & FLOW_F_ARMED ? FLOW_MONITORED : FLOW_PASSED, f->release, now, ev);
}

/*
 * Begins a merge: what was steered to the legs so far stays theirs, everything after it goes
 * straight from end to end. Lock held.
 */
static __always_inline void begin_merge(struct flow *f, __u8 reason, __u64 now,
					struct seam_event *ev)
{
	f->end[SEAM_CLIENT].bound = f->end[SEAM_CLIENT].seq_pos = f->end[SEAM_CLIENT].nxt;
	f->end[SEAM_SERVER].bound = f->end[SEAM_SERVER].seq_pos = f->end[SEAM_SERVER].nxt;
	move(f, FLOW_MERGING, reason, now, ev);
}

/* Whether `r` itself has acknowledged all that `s` sent before the boundary. Lock held. */
static __always_inline bool crossed(const struct flow_end *s, const struct flow_end *r)
{
	return !seq_before(r->ack, seq_across(s, s->bound));
}

/* Bytes of one direction that legs take charge of. Defined in split.h: XDP has no such map. */
extern const volatile __u32 backlog_limit;

/*
 * How far `s` may send: to r's own right edge, or by what legs take charge of if that is less.
 * Once a merge has begun, what `s` sends goes to `r` alone. Lock held.
 */
static __always_inline __u32 edge_for(const struct flow *f, const struct flow_end *s,
				      const struct flow_end *r)
{
	__u32 limit = r->ack + backlog_limit;

	if (merge_begun(f) || seq_after(limit, r->edge))
		limit = r->edge;
	return seq_back(s, limit);
}

/*
 * Whether `s` may be waiting for more of r's window than it has been told: at once if it has no
 * window left to send into, else in steps of two segments, as a receiver would announce it
 * (RFC 9293 3.8.6.2.2). Behind the FIN of `r`, the leg that speaks for it says nothing unasked;
 * then `s` need not wait as long as it may send a whole segment, which is answered. Lock held.
 */
static __always_inline bool untold(const struct flow *f, const struct flow_end *s,
				   const struct flow_end *r)
{
	__u32 edge = edge_for(f, s, r), wnd = (edge - s->told_ack) >> r->wscale;
	__s32 more = edge - s->told_edge, left = s->told_edge - s->nxt;

	/* Its leg may have acknowledged a byte or two more than `r` has room for. */
	if ((s->flags & END_F_FIN) || !seq_after(edge, s->told_ack) ||
	    (left >= (__s32)mss_of(r) && (more < 2 * (__s32)mss_of(r) || (r->flags & END_F_FIN))))
		return false;
	if (wnd > 0xffff)
		wnd = 0xffff;
	/* The window must grow by a whole unit of its scale. */
	return seq_after(s->told_ack + (wnd << r->wscale), s->told_edge);
}

/*
 * Whether this direction is merged: `r` has acknowledged everything before the boundary, `s` has
 * been told so, and `s` has been told of all the window `r` offers. After the merge only `r` would
 * tell `s` of a larger window, and only when it next sends. That `s` has been told no more than
 * there is needs no check: without an edit window_for() ensures it, and with one no merge begins
 * before. Lock held.
 */
static __always_inline bool merged_way(const struct flow *f, const struct flow_end *s,
				       const struct flow_end *r)
{
	return crossed(s, r) && !seq_before(s->told_ack, s->bound) && !untold(f, s, r);
}

/*
 * Ends a merge as soon as the legs hold nothing that is needed, so that closing them loses
 * nothing. Lock held.
 */
static __always_inline void merge_if_done(struct flow *f, __u8 reason, __u64 now,
					  struct seam_event *ev)
{
	struct flow_end *c = &f->end[SEAM_CLIENT], *s = &f->end[SEAM_SERVER];

	if (!merged_way(f, c, s) || !merged_way(f, s, c))
		return;
	merge_clocks(f, now);
	f->flags &= ~(FLOW_F_LEGS | FLOW_F_SOCKMAP);
	if ((f->flags & FLOW_F_ARMED) && (f->flags & FLOW_F_AGAIN))
		f->due_bytes = f->after_bytes ? c->bytes + s->bytes + f->after_bytes : DUE_NEVER;
	if ((c->flags & END_F_FIN) && (s->flags & END_F_FIN))
		move(f, FLOW_CLOSING, SEAM_R_FIN, now, ev);
	else
		move(f, FLOW_MERGED, reason, now, ev);
}

/*
 * Whether `s` has been promised more room than `r` has, because an edit has filled it with other
 * bytes; or its leg has taken more, which was a probe of a closed window. After a merge, what `s`
 * sends there would be lost, and nobody would answer its next probe.
 */
static __always_inline bool promised_more(const struct flow_end *s, const struct flow_end *r)
{
	__u32 edge = seq_back(s, r->edge), nxt = s->flags & END_F_FIN ? s->fin : s->nxt;

	return seq_after(s->told_edge, edge) || seq_after(nxt, edge);
}

/*
 * Whether congestion that `s` has met has not been echoed to it yet: the echo is in the
 * acknowledgement of what it has sent. An echo of `r` is not waited for: `s` will see it itself.
 */
static __always_inline bool owes_echo(const struct flow_end *s)
{
	return (s->flags & END_F_CE) && s->told_ack != s->nxt;
}

/* Whether urgent data of `s` might be overtaken by what goes straight to `r`. */
static __always_inline bool urgent_out(const struct flow_end *s, const struct flow_end *r)
{
	return (s->flags & END_F_URG_OUT) && seq_before(r->ack, seq_across(s, s->urg));
}

/* What a merge has to wait for before it begins, or NONE. Lock held. */
static __always_inline __u8 merge_waits_for(const struct flow *f)
{
	const struct flow_end *c = &f->end[SEAM_CLIENT], *s = &f->end[SEAM_SERVER];
	__u16 flags = c->flags | s->flags;

	if (flags & END_F_RST)
		return SEAM_R_RST;
	/*
	 * After both FINs the legs close with their ends. One FIN is a byte like others: a leg's,
	 * or direct.
	 */
	if (c->flags & s->flags & END_F_FIN)
		return SEAM_R_FIN;
	if (owes_echo(c) || owes_echo(s))
		return SEAM_R_ECN;
	if (urgent_out(c, s) || urgent_out(s, c))
		return SEAM_R_URGENT;
	if (promised_more(c, s) || promised_more(s, c))
		return SEAM_R_WINDOW;
	return learns(c) || learns(s) ? SEAM_R_FAR : SEAM_R_NONE;
}

/*
 * Merges a flow, now or with the packet that ends what it waits for. The wait is reported once,
 * however often its reason changes. Lock held.
 */
static __always_inline void try_merge(struct flow *f, __u8 done, __u64 now, struct seam_event *ev)
{
	__u8 why = merge_waits_for(f);

	if (!why) {
		begin_merge(f, f->release, now, ev);
		merge_if_done(f, done, now, ev);
	} else if (f->state == FLOW_MERGING) {
		f->reason = why;
	} else {
		move(f, FLOW_MERGING, why, now, ev);
		f->flags |= FLOW_F_WAITS;
	}
}

#endif
