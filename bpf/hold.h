/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long a hold may last. Nobody acknowledges held payload, and its sender probes after two
 * round trips. Before that, the timer turns the hold into a split, or follows the rule's fail
 * answer if the daemon is gone.
 */
#ifndef SEAM_BPF_HOLD_H
#define SEAM_BPF_HOLD_H

#include "transition.h"

#define HOLD_MIN_US 1000
/*
 * With one segment in flight a sender's probe also allows for a delayed ack, 200 ms
 * (RFC 8985 7.2): a busy daemon may have this long for most verdicts.
 */
#define HOLD_ONE_US 5000

static int hold_timer(void *map, struct flow_key *key, struct hold *h)
{
	struct control *ctl = control_get();
	__u64 now = bpf_ktime_get_ns();
	struct room *room = room_get();
	struct flow *f = bpf_map_lookup_elem(&flows, key);
	bool again = false, alive = daemon_alive(ctl, now);
	__u64 patience, left;
	struct flow_key k;
	__u32 flags;

	if (!f || !room || !ctl || f->id != h->id)
		goto done;
	room->event.type = 0;
	bpf_spin_lock(&f->lock);
	if (f->state == FLOW_HELD || f->state == FLOW_SPLITTING) {
		again = alive;
		if (!alive)
			fail(f, SEAM_R_DAEMON_GONE, now, &room->event);
		else if (f->state == FLOW_HELD && !(f->flags & FLOW_F_RELEASE))
			freeze(f, SEAM_R_HOLD_TIME, now, &room->event);
	}
	flags = f->flags;
	bpf_spin_unlock(&f->lock);
	__builtin_memcpy(&k, key, sizeof(k));
	report(&room->event, &k, flags);
done:
	if (!again) {
		bpf_map_delete_elem(&holds, key);
		return 0;
	}
	/* Again when patience ends, unless the heart beats until then. */
	patience = ctl->patience_ms * NSEC_PER_MSEC;
	left = ctl->heartbeat_ns + patience - now;
	bpf_timer_start(&h->timer, left < patience ? left : patience, 0);
	return 0;
}

/* How long packets of a flow may be held, in nanoseconds. */
static __always_inline __u64 hold_time(const struct flow *f, const struct control *ctl, bool one)
{
	__u64 us = (__u64)flow_rtt_us(f) + HOLD_MIN_US;

	if (one && us < HOLD_ONE_US)
		us = HOLD_ONE_US;
	return (us < ctl->hold_max_us ? us : ctl->hold_max_us) * NSEC_PER_USEC;
}

/* A second packet has joined the first, and the time for both is short. */
static __noinline void hold_shorten(const struct flow *f, const struct flow_key *key,
				    const struct control *ctl)
{
	struct hold *h = bpf_map_lookup_elem(&holds, key);

	if (h && ctl && h->id == f->id)
		bpf_timer_start(&h->timer, hold_time(f, ctl, false), 0);
}

/*
 * Starts the timer of a flow about to be held, for `one` segment or more. False if there is no
 * memory for a timer, of which some kernels have little (6.18: for a few hundred at a time). Then
 * the daemon looks after the hold or, if it is gone, the flow's next packet does.
 */
static __noinline bool hold_start(const struct flow *f, const struct flow_key *key,
				       const struct control *ctl, bool one)
{
	struct hold new = {}, *h;

	if (!ctl)
		return false;
	new.id = f->id;
	if (bpf_map_update_elem(&holds, key, &new, BPF_ANY))
		return false;
	h = bpf_map_lookup_elem(&holds, key);
	if (h && !bpf_timer_init(&h->timer, &holds, CLOCK_MONOTONIC) &&
	    !bpf_timer_set_callback(&h->timer, hold_timer) &&
	    !bpf_timer_start(&h->timer, hold_time(f, ctl, one), 0))
		return true;
	bpf_map_delete_elem(&holds, key);
	return false;
}

#endif
