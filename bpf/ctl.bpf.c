// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Transitions that userspace asks for. Run by BPF_PROG_TEST_RUN, as a classifier
 * because syscall programs may not take spin locks before Linux 6.6. The packet
 * is a struct seam_ctl.
 */
#include "later.h"
#include "wire.h"

#define ENOENT 2
#define EAGAIN 11
#define EBUSY 16
#define EINVAL 22
#define EINPROGRESS 115

/* Copies the flow into the answer, except for its lock. Lock held. */
static __always_inline void snapshot(struct seam_ctl *c, const struct flow *f)
{
	__builtin_memcpy((void *)&c->flow + sizeof(struct bpf_spin_lock),
			 (void *)f + sizeof(struct bpf_spin_lock),
			 sizeof(*f) - sizeof(struct bpf_spin_lock));
}

/* Asks the leg that faces `s` for a packet, if `s` is `owed` one. */
static __always_inline void announce(struct flow_end *s, bool owed)
{
	if (owed)
		s->flags |= END_F_ANNOUNCE;
}

/*
 * Whether nothing of `s` has gone straight since a merge began, and nothing may that its leg has
 * no room for: `s` has been told no more window than the leg's own.
 */
static __always_inline bool untouched(const struct flow_end *s)
{
	return s->nxt == s->bound && !seq_after(s->told_edge, s->leg_edge);
}

static __always_inline int ctl_split(struct flow *f, struct seam_ctl *c, __u64 now,
				     struct seam_event *ev)
{
	struct flow_end *client = &f->end[SEAM_CLIENT], *server = &f->end[SEAM_SERVER];

	if (f->flags & FLOW_F_NO_SPLIT)
		return -EINVAL;
	if (f->state == FLOW_SPLITTING) /* the timer was faster; or the split is another's */
		return f->reason == SEAM_R_AFTER ? -EBUSY : 0;
	if (f->state == FLOW_MERGING) {
		if (c->arg != CTL_SPLIT_SAME ||
		    (merge_begun(f) && !(untouched(client) && untouched(server))))
			return -EBUSY;
		/* No byte has gone straight: the merge is given up. */
		move(f, FLOW_SPLIT, c->reason, now, ev);
		/* What an end was not told, its leg has said already and will not say again. */
		announce(client, news(f, client, server));
		announce(server, news(f, server, client));
		return 0;
	}
	if (c->arg == CTL_SPLIT_SAME)
		return -EBUSY;
	if (f->state == FLOW_HELD ? f->flags & FLOW_F_RELEASE :
				    f->state != FLOW_MONITORED && f->state != FLOW_MERGED && f->state != FLOW_PASSED)
		return -EBUSY;
	/*
	 * What the previous transition left in the hold queue has not been looked at yet. It would
	 * go to the legs, and so would what its acknowledgement says to the other end.
	 */
	if (f->state != FLOW_HELD && f->held_in != f->held_out)
		return -EBUSY;
	/* The legs would begin where the ends are not. */
	if (f->state != FLOW_HELD && ((client->flags | server->flags) & END_F_ASTRAY)) {
		c->reason = SEAM_R_ASTRAY;
		return -EAGAIN;
	}
	freeze(f, c->reason, now, ev);
	return 0;
}

/*
 * Asks a leg for a packet where otherwise only a packet of the other end would tell what is left
 * to tell, and that end may have nothing to say. Lock held.
 */
static __always_inline int merge_goes_on(struct flow *f)
{
	struct flow_end *client = &f->end[SEAM_CLIENT], *server = &f->end[SEAM_SERVER];

	if (f->state != FLOW_MERGING)
		return 0;
	if (f->flags & FLOW_F_WAITS)
		return -EINPROGRESS;
	announce(client, crossed(client, server) && untold(f, client, server));
	announce(server, crossed(server, client) && untold(f, server, client));
	return -EINPROGRESS;
}

/* From now on `s` is told in steps of what its leg has, and the merge waits. Lock held. */
static __always_inline void pace(struct flow_end *s, bool on)
{
	if (!on)
		return;
	s->flags |= END_F_PACED | END_F_LEARNS;
	s->pace = s->told_ack;
}

static __always_inline int ctl_pace(struct flow *f, const struct seam_ctl *c, __u64 now,
				    struct seam_event *ev)
{
	struct flow_end *s = c->arg & CTL_PACED(SEAM_SERVER, 0) ? &f->end[SEAM_SERVER] : &f->end[SEAM_CLIENT];
	__u32 bytes = c->arg;

	if (f->state != FLOW_MERGING || !(s->flags & END_F_PACED))
		return -EINVAL;
	s->pace = seq_after(s->pace + bytes, s->leg_ack) ? s->leg_ack : s->pace + bytes;
	if (c->arg & CTL_PACE_END)
		s->flags &= ~END_F_PACED;
	announce(s, bytes || (c->arg & CTL_PACE_END));
	if ((c->arg & (CTL_PACE_LEARNT | CTL_PACE_END)) && (f->flags & FLOW_F_WAITS)) {
		s->flags &= ~END_F_LEARNS;
		try_merge(f, SEAM_R_QUIET, now, ev);
		merge_goes_on(f);
	}
	return 0;
}

static __always_inline int ctl_merge(struct flow *f, struct seam_ctl *c, __u64 now,
				     struct seam_event *ev)
{
	if (f->state == FLOW_MERGED)
		return 0;
	if (f->state == FLOW_SPLITTING)
		return -EBUSY;
	if (!state_split(f->state))
		return -EINVAL;
	if (f->state == FLOW_MERGING)
		return merge_goes_on(f);
	f->release = c->reason;
	pace(&f->end[SEAM_CLIENT], c->arg & 1);
	pace(&f->end[SEAM_SERVER], c->arg & 2);
	try_merge(f, SEAM_R_QUIET, now, ev);
	return merge_goes_on(f);
}

/*
 * The first payload has decided for a later split, or the time for one has come while the flow is
 * still split.
 */
static __always_inline int ctl_arm(struct flow *f, const struct seam_ctl *c)
{
	bool client = f->end[SEAM_CLIENT].flags & END_F_DATA;

	if (f->state != FLOW_HELD && !state_frozen(f->state))
		return -EINVAL;
	if (!c->after.bytes && !c->after.ms && !c->after.request) {
		f->flags &= ~FLOW_F_ARMED;
		return 0;
	}
	/* Held payload is a turn already, if it is the client's. */
	if (!client || (f->end[SEAM_SERVER].flags & END_F_DATA))
		f->flags |= FLOW_F_ANSWERED;
	f->flags &= ~FLOW_F_FAIL_BLOCK;
	f->flags |= c->flags & FLOW_F_FAIL_BLOCK;
	arm(f, &c->after, false, c->flags & FLOW_F_AGAIN);
	if (client && f->after_request > 1)
		f->after_request--;
	return 0;
}

static __always_inline int ctl_pass(struct flow *f, struct seam_ctl *c, __u64 now,
				    struct seam_event *ev)
{
	if (f->state == FLOW_PASSED)
		return 0;
	if (f->state == FLOW_SPLITTING)
		return -EBUSY;
	if (f->state != FLOW_HELD)
		return -EINVAL;
	if (f->held_in == f->held_out) {
		f->release = c->reason;
		released(f, now, ev);
	} else {
		f->flags |= FLOW_F_RELEASE;
		f->release = c->reason;
		hold_flows(f, now);
	}
	return 0;
}

/*
 * Bytes were changed, or are about to be: from now on the legs' streams differ in length by this
 * much. Not while a boundary is being crossed: it would be unclear which numbers are on which side
 * of it.
 */
static __always_inline int ctl_edit(struct flow *f, const struct seam_ctl *c)
{
	struct flow_end *client = &f->end[SEAM_CLIENT], *server = &f->end[SEAM_SERVER];

	if (f->state == FLOW_SPLITTING || f->state == FLOW_MERGING)
		return -EBUSY;
	if (!state_split(f->state))
		return -EINVAL;
	client->seq_delta = c->arg;
	server->seq_delta = c->arg >> 32;
	f->flags |= FLOW_F_EDITED;
	/* Removed bytes take no room, and their sender may be waiting for that. */
	announce(client, untold(f, client, server));
	announce(server, untold(f, server, client));
	return 0;
}

/*
 * Urgent data needs the userspace relay, which passes its mark on. Until the relay is taken back,
 * a packet with urgent data waits in the hold queue.
 */
static __always_inline int ctl_relay(struct flow *f, struct seam_ctl *c, __u64 now,
				     struct seam_event *ev)
{
	if (f->state == FLOW_RELAYED)
		return 0;
	if (f->state != FLOW_SPLIT)
		return state_frozen(f->state) ? -EBUSY : -EINVAL;
	if ((f->end[0].flags | f->end[1].flags) & END_F_URG) {
		c->reason = SEAM_R_URGENT_MARK;
		return -EAGAIN;
	}
	f->flags |= FLOW_F_SOCKMAP;
	move(f, FLOW_RELAYED, c->reason, now, ev);
	return 0;
}

static __always_inline int ctl_unrelay(struct flow *f, struct seam_ctl *c, __u64 now,
				       struct seam_event *ev)
{
	if (!state_split(f->state))
		return -EINVAL;
	f->flags &= ~FLOW_F_SOCKMAP;
	if (f->state == FLOW_RELAYED)
		move(f, FLOW_SPLIT, c->reason, now, ev);
	return 0;
}

/* What a dead daemon left to a new one, or one that ends leaves. */
static __always_inline int ctl_recover(struct flow *f, __u8 reason, __u64 now,
				       struct seam_event *ev)
{
	if (needs_daemon(f))
		fail(f, reason, now, ev);
	f->held_out = f->held_in;
	return 0;
}

static __always_inline int ctl_run(struct flow *f, struct seam_ctl *c, __u64 now,
				   struct seam_event *ev)
{
	const struct flow_end *client = &f->end[SEAM_CLIENT], *server = &f->end[SEAM_SERVER];

	if (c->rule != CTL_KEEP_RULE) {
		f->rule = c->rule;
		f->policy = c->policy;
	}
	switch (c->op) {
	case CTL_PASS:
		return ctl_pass(f, c, now, ev);
	case CTL_SPLIT:
		return ctl_split(f, c, now, ev);
	case CTL_SPLIT_READY:
		if (f->state != FLOW_SPLITTING)
			return -EINVAL;
		hold_flows(f, now);
		f->flags |= FLOW_F_LEGS;
		announce(&f->end[SEAM_CLIENT], true);
		announce(&f->end[SEAM_SERVER], true);
		split_done(f, c->reason, now, ev);
		return 0;
	case CTL_UNSPLIT:
		if (f->state != FLOW_SPLITTING)
			return -EINVAL;
		f->flags &= ~(FLOW_F_WANT_UP | FLOW_F_WANT_DOWN | FLOW_F_ARMED);
		move(f, FLOW_PASSED, c->reason, now, ev);
		return 0;
	case CTL_MERGE:
		return ctl_merge(f, c, now, ev);
	case CTL_BLOCK:
		if (f->state == FLOW_BLOCKED)
			return 0;
		f->flags |= c->flags & (FLOW_F_BLOCK_RST | FLOW_F_RST_BOTH | FLOW_F_ABORTED);
		f->flags &= ~FLOW_F_RELEASE;
		move(f, FLOW_BLOCKED, c->reason, now, ev);
		return 0;
	case CTL_ABORT:
		if (c->arg & 1)
			f->end[SEAM_CLIENT].flags |= END_F_RST_OK;
		if (c->arg & 2)
			f->end[SEAM_SERVER].flags |= END_F_RST_OK;
		return 0;
	case CTL_CLOSED:
		if (f->state == FLOW_CLOSING || f->state == FLOW_BLOCKED)
			return 0;
		if (has_legs(f)) {
			/* The legs have taken with them what nobody sends again; what goes straight tells of none of it. */
			if (merge_begun(f) && !(crossed(client, server) && crossed(server, client))) {
				abort_split(f, c->reason, now, ev);
				return 0;
			}
			legs_done(f, now);
		}
		move(f, FLOW_CLOSING, c->reason, now, ev);
		return 0;
	case CTL_RECOVER:
		return ctl_recover(f, c->reason, now, ev);
	case CTL_SNAPSHOT:
		return 0;
	case CTL_PACE:
		return ctl_pace(f, c, now, ev);
	case CTL_EDIT:
		return ctl_edit(f, c);
	case CTL_ARM:
		return ctl_arm(f, c);
	case CTL_RELAY:
		return ctl_relay(f, c, now, ev);
	case CTL_UNRELAY:
		return ctl_unrelay(f, c, now, ev);
	}
	return -EINVAL;
}

SEC("tc")
int seam_ctl(struct __sk_buff *ctx)
{
	struct seam_ctl *c = (void *)(long)ctx->data;
	__u64 now = bpf_ktime_get_ns();
	struct room *room = room_get();
	struct flow_key key;
	struct flow *f;
	bool expired;
	__u32 flags;
	__u64 id;

	if ((void *)(c + 1) > (void *)(long)ctx->data_end || !room)
		return -1;
	key = c->key;
	f = bpf_map_lookup_elem(&flows, &key);
	if (!f || (c->id && f->id != c->id)) {
		c->result = -ENOENT;
		return 0;
	}
	room->event.type = 0;
	if (c->op == CTL_EXPIRE || c->op == CTL_DELETE) {
		bpf_spin_lock(&f->lock);
		expired = c->op == CTL_DELETE ||
			  (f->state == c->state && (__s64)(now - f->seen_ns) >= (__s64)c->arg);
		/* Nobody has its numbers: what the legs have taken is not to be forgotten without a word. */
		if (expired && has_legs(f)) {
			abort_split(f, c->reason, now, &room->event);
			f->seen_ns = now;
			expired = false;
		}
		if (expired) {
			move(f, FLOW_NONE, c->reason, now, &room->event);
			snapshot(c, f);
		}
		flags = f->flags;
		id = f->id;
		bpf_spin_unlock(&f->lock);
		if (!expired) {
			report(&room->event, &key, flags);
			c->result = -EAGAIN;
			return 0;
		}
		report(&room->event, &key, flags);
		/* A packet may have put the next connection with these addresses there. */
		f = bpf_map_lookup_elem(&flows, &key);
		if (f && f->id == id)
			bpf_map_delete_elem(&flows, &key);
		bpf_map_delete_elem(&history, &id);
		forget_links(id);
		c->result = 0;
		return 0;
	}
	if (c->count)
		count_rule(c->rule);
	bpf_spin_lock(&f->lock);
	c->result = ctl_run(f, c, now, &room->event);
	snapshot(c, f);
	bpf_spin_unlock(&f->lock);
	report(&room->event, &key, c->flow.flags);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
