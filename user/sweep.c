// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Idle flows are found by reading the table in batches from here, which costs the packet path
 * nothing. The kernel side removes them after looking again under the flow's lock. On the way,
 * conns are found whose flows have changed without the daemon hearing of it. Handshakes that nobody
 * completes are found likewise.
 */
#include <errno.h>

#include <bpf/bpf.h>

#include "daemon.h"
#include "log.h"
#include "show.h"

#define SWEEP_BATCH 512
#define SWEEP_EVERY 1000000000ULL
#define EVENT_LATE 100000000ULL
/*
 * What a flow with deltas may be silent at least: 5 days, and while closing for as long as an end
 * waits to send again.
 */
#define DELTA_LIVES (432000 * 1000000000ULL)
#define DELTA_CLOSING (300 * 1000000000ULL)
#define SWEEP_SLICE 5000000ULL /* at once: the relay waits that long */

/* The way through a table: one at a time, and one that needs no memory when there is none. */
static struct {
	struct flow_key keys[SWEEP_BATCH];
	union {
		struct flow flows[SWEEP_BATCH];
		struct embryo embryos[SWEEP_BATCH];
	};
	int map;
	__u32 in, n;
	bool begun, ended;
} walk;

/* The sweep under way, begun at `began_ns` (0: none): through `flows`, and then `embryos`. */
static struct {
	uint64_t began_ns, spent_ns;
	bool embryos;
} sweep;

static void walk_begin(int map)
{
	walk.map = map;
	walk.begun = walk.ended = false;
	walk.n = 0;
}

/*
 * Reads the next `walk.n` entries; false: that was all. Those that come and go meanwhile may be
 * missed or met twice. Keeps the heartbeat going, however long the walk is.
 */
static bool walk_next(struct daemon *d)
{
	__u32 out = 0;
	int err;

	if (walk.ended)
		return false;
	daemon_beat(d);
	walk.n = SWEEP_BATCH;
	err = bpf_map_lookup_batch(walk.map, walk.begun ? &walk.in : NULL, &out, walk.keys,
				   walk.flows, &walk.n, NULL);
	if (err && err != -ENOENT)
		walk.n = 0;
	walk.ended = err;
	walk.in = out;
	walk.begun = true;
	return walk.n;
}

/* Calls `each` for every flow of the table; a sweep under way is begun anew. */
static void for_each_flow(struct daemon *d,
			  void (*each)(struct daemon *d, const struct flow_key *key,
				       const struct flow *f, void *arg), void *arg)
{
	__u32 i;

	sweep.began_ns = 0;
	walk_begin(d->kern.maps.flows);
	while (walk_next(d))
		for (i = 0; i < walk.n; i++)
			each(d, &walk.keys[i], &walk.flows[i], arg);
}

static uint64_t longer(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void expire(struct daemon *d, const struct flow_key *key, const struct flow *f,
		   uint64_t now)
{
	uint64_t limit;
	struct seam_ctl ctl = {
		.op = CTL_EXPIRE, .key = *key, .id = f->id, .rule = CTL_KEEP_RULE,
		.reason = SEAM_R_TIMEOUT, .state = f->state,
	};
	struct conn *c;

	if (f->state >= FLOW_STATE_MAX)
		return;
	limit = d->policy->timeout_ns[f->state];
	/* Without its entry its packets would go on with numbers that the other end takes for others. */
	if (f->flags & (FLOW_F_EDITED | FLOW_F_TSDELTA))
		limit = longer(limit, f->state == FLOW_CLOSING ? DELTA_CLOSING : DELTA_LIVES);
	if (!limit || now < f->seen_ns || now - f->seen_ns < limit)
		return;
	ctl.arg = limit;
	/* If a packet has come since it was read, nothing happens to it. */
	if (kern_ctl(&d->kern, &ctl))
		return;
	conntrack_forget(d, key, f);
	c = conn_find(d, key);
	if (c && c->id == f->id)
		conn_free(d, c);
}

/*
 * If a packet of it has come since it was read, its connection is one that began before Seam; if
 * it was a SYN, the next copy begins it anew. Where a rule fails closed, none is forgotten that a
 * server may still complete.
 */
static void expire_embryo(struct daemon *d, const struct flow_key *key, const struct embryo *e,
			  uint64_t now)
{
	uint64_t seen = longer(e->end[SEAM_CLIENT].seen_ns, e->end[SEAM_SERVER].seen_ns);
	uint64_t limit = d->policy->timeout_ns[FLOW_HANDSHAKE];

	if (limit && (e->flags & FLOW_F_FAIL_BLOCK))
		limit = longer(limit, EMBRYO_LIFE);
	if (limit && now > seen && now - seen > limit)
		bpf_map_delete_elem(d->kern.maps.embryos, key);
}

/* Whether a conn's phase fits its flow's state. */
static bool agrees(const struct conn *c, const struct flow *f)
{
	if (c->phase == CONN_HELD)
		return f->state == FLOW_HELD;
	if (c->phase == CONN_SPLIT && !c->crossed && f->state == FLOW_SPLIT)
		return false;
	return f->state >= FLOW_SPLITTING && f->state <= FLOW_MERGING;
}

static void visit(struct daemon *d, const struct flow_key *key, const struct flow *f, uint64_t now)
{
	struct conn *c;

	if (f->state >= FLOW_HELD && f->state <= FLOW_MERGING) {
		c = conn_find(d, key);
		if (c && c->id == f->id && agrees(c, f))
			c->checked_ns = now;
	}
	later_seen(d, f, now);
	expire(d, key, f, now);
}

/*
 * Tells conns what has become of their flows, if the sweep begun at `began` did not find them
 * as they should be: the ring buffer may have had no room for the event.
 */
static void catch_up(struct daemon *d, uint64_t began)
{
	struct seam_event ev = { .type = EVENT_STATE };
	struct conn *c, *next;
	uint64_t now;
	struct flow f;

	/* What is still in there is not lost. If it is too much at once, the next sweep tells. */
	if (ring_buffer__consume(d->ring) == -EAGAIN)
		return;
	now = kern_now();
	HASH_ITER(hh, d->conns, c, next) {
		if (c->began_ns >= began || c->checked_ns >= began)
			continue;
		if (kern_flow(&d->kern, &c->key, &f) || f.id != c->id) {
			f.state = FLOW_NONE;
			f.reason = SEAM_R_EVENT_LOST;
			f.changed_ns = 0;
		}
		/* The event of a change just now may be on its way. */
		if (f.changed_ns + EVENT_LATE > now || agrees(c, &f))
			continue;
		log_debug("flow %llu: %s for a while, unheard of", (unsigned long long)c->id,
			  show_state(f.state));
		ev.key = c->key;
		ev.id = c->id;
		ev.to = f.state;
		ev.reason = f.reason;
		ev.time_ns = f.changed_ns;
		conn_event(d, &ev);
	}
}

void sweep_run(struct daemon *d)
{
	uint64_t began = kern_now(), now = began;
	bool more = true;
	__u32 i;

	if (began < d->sweep_ns)
		return;
	if (!sweep.began_ns) {
		sweep.began_ns = began;
		sweep.embryos = false;
		walk_begin(d->kern.maps.flows);
		conntrack_look(d);
	}
	while (now - began < SWEEP_SLICE && (more = walk_next(d))) {
		for (i = 0; i < walk.n; i++) {
			if (sweep.embryos)
				expire_embryo(d, &walk.keys[i], &walk.embryos[i], now);
			else
				visit(d, &walk.keys[i], &walk.flows[i], now);
		}
		now = kern_now();
	}
	sweep.spent_ns += now - began;
	if (more)
		return; /* the rest in the next turn */
	if (!sweep.embryos) {
		sweep.embryos = true;
		walk_begin(d->kern.maps.embryos);
		return;
	}
	catch_up(d, sweep.began_ns);
	later_swept(d, sweep.began_ns);
	sweep.began_ns = 0;
	limits_tick(d, now);
	/* A table that takes long to read is read less often. */
	d->sweep_ns = now + SWEEP_EVERY + 20 * sweep.spent_ns;
	sweep.spent_ns = 0;
}

static void recover(struct daemon *d, const struct flow_key *key, const struct flow *f, void *arg)
{
	struct seam_ctl ctl = {
		.op = CTL_RECOVER, .key = *key, .id = f->id, .rule = CTL_KEEP_RULE,
		.reason = SEAM_R_RESTART,
	};
	unsigned int *n = arg;

	kern_ctl(&d->kern, &ctl);
	(*n)++;
}

unsigned int sweep_recover(struct daemon *d)
{
	unsigned int n = 0;

	for_each_flow(d, recover, &n);
	return n;
}

static void census(struct daemon *d, const struct flow_key *key, const struct flow *f, void *arg)
{
	struct sweep_census *n = arg;

	if (f->state == FLOW_CLOSING || f->state == FLOW_BLOCKED) {
		conntrack_forget(d, key, f);
		return;
	}
	if (f->flags & (FLOW_F_TSDELTA | FLOW_F_EDITED))
		n->deltas++;
	else if (d->stateful && (f->flags & FLOW_F_BYPASS))
		n->bypass++;
	else if (f->flags & FLOW_F_ARMED)
		n->armed++;
	else if (d->policy->block_untracked)
		n->untracked++;
	else
		return;
	n->all++;
}

void sweep_census(struct daemon *d, struct sweep_census *out)
{
	*out = (struct sweep_census){};
	for_each_flow(d, census, out);
}
