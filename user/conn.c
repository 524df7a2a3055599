// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <bpf/bpf.h>

#include "daemon.h"
#include "leg.h"
#include "log.h"
#include "record.h"

/* Of the hash: a number to add, and one for each word of a key. */
#define KEY_WORDS (sizeof(struct flow_key) / 4)
static uint64_t seed[1 + KEY_WORDS];

int conn_seed(void)
{
	return getrandom(seed, sizeof(seed), 0) == sizeof(seed) ? 0 : -errno;
}

/*
 * Multilinear hashing, which is strongly universal: without the seed any two keys collide as
 * two random numbers would (Lemire and Kaser 2014, "Strongly universal string hashing is fast",
 * theorem 3.1, the upper half of the sum).
 */
uint32_t conn_hash(const void *key)
{
	uint32_t words[KEY_WORDS];
	uint64_t sum = seed[0];
	size_t i;

	memcpy(words, key, sizeof(words));
	for (i = 0; i < KEY_WORDS; i++)
		sum += seed[1 + i] * words[i];
	return sum >> 32;
}

struct conn *conn_find(struct daemon *d, const struct flow_key *key)
{
	struct conn *c;

	HASH_FIND(hh, d->conns, key, sizeof(*key), c);
	return c;
}

struct conn *conn_new(struct daemon *d, const struct flow_key *key, const struct flow *f)
{
	struct conn *c = conn_find(d, key);
	int i;

	if (c)
		conn_free(d, c);
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->worker = workers_next(d);
	c->worker->conns++;
	c->key = *key;
	c->id = f->id;
	c->counted = f->flags & FLOW_F_INSPECT; /* at the SYN */
	c->fail_block = f->flags & FLOW_F_FAIL_BLOCK;
	c->base[SEAM_CLIENT] = f->end[SEAM_CLIENT].nxt;
	c->base[SEAM_SERVER] = f->end[SEAM_SERVER].nxt;
	c->policy = policy_get(d->policy);
	c->generation = d->generation;
	c->held_tail = &c->held;
	c->began_ns = kern_now();
	c->deadline_ns = c->began_ns + c->policy->hold.time_ns;
	for (i = 0; i < 2; i++) {
		c->leg[i].watch.fd = -1;
		c->leg[i].watch.ready = relay_ready;
		editor_init(&c->leg[i].edit);
		c->leg[i].conn = c;
	}
	if (!head_begin(c, f))
		HASH_ADD(hh, d->conns, key, sizeof(c->key), c);
	if (!c->hh.tbl) {
		head_free(c);
		policy_put(c->policy);
		c->worker->conns--;
		free(c);
		return NULL;
	}
	return c;
}

static void close_inspectors(struct conn *c)
{
	int i;

	for (i = 0; c->rule && c->rule->inspectors[i]; i++) {
		if (!c->inspect[i])
			continue;
		c->rule->inspectors[i]->close(c->inspect[i]);
		free(c->inspect[i]);
		c->inspect[i] = NULL;
	}
	c->memory = 0;
}

/* Once one end has reset, the deadline is how long the other may take for the rest: that stays. */
static void set_deadline(struct conn *c, uint64_t ns)
{
	if (c->phase != CONN_ABORTING)
		c->deadline_ns = ns;
}

void conn_let_go(struct conn *c)
{
	c->let_go = true;
	set_deadline(c, 0);
	c->leg[SEAM_CLIENT].edit.hold = c->leg[SEAM_SERVER].edit.hold = UINT64_MAX;
	close_inspectors(c);
}

/* False while an edit is half made: the flow is let go later. */
static bool let_go_due(struct conn *c)
{
	c->due = true;
	if (!c->midst)
		conn_let_go(c);
	return c->let_go;
}

void conn_end_due(struct daemon *d, struct conn *c, __u8 reason)
{
	if (!let_go_due(c))
		return;
	split_try_merge(d, c, reason);
	relay_run(d, c);
}

/* Keeps what was seen of a flow beyond its conn, for `seam flow`. */
static void keep_record(struct daemon *d, const struct conn *c)
{
	struct seam_record rec;

	/* If it was split by hand, keep what was seen before. */
	if (c->by_hand)
		return;
	if (!c->rec.tls.seen && !c->rec.http.seen && !c->rec.pattern.matches &&
	    !c->rec.bytes[SEAM_UP] && !c->rec.bytes[SEAM_DOWN] && !c->rec.edits)
		return;
	record_from(&c->rec, &rec);
	bpf_map_update_elem(d->kern.maps.records, &c->id, &rec, BPF_ANY);
}

void conn_free(struct daemon *d, struct conn *c)
{
	struct conn **dead;

	relay_kernel_forget(d, c);
	keep_record(d, c);
	pthread_mutex_lock(&d->lists);
	HASH_DEL(d->conns, c);
	pthread_mutex_unlock(&d->lists);
	pace_stop(d, c);
	split_vanish(c);
	hold_drop(c);
	close_inspectors(c);
	editor_free(&c->leg[SEAM_CLIENT].edit);
	editor_free(&c->leg[SEAM_SERVER].edit);
	head_free(c);
	policy_put(c->policy);
	c->worker->conns--;
	/*
	 * Other events of the same turn may point here, or events that its worker has fetched
	 * and not looked at yet.
	 */
	dead = c->watched ? &c->worker->dead : &d->dead;
	c->next_dead = *dead;
	*dead = c;
}

void conn_bury(struct conn **dead)
{
	struct conn *c;

	while ((c = *dead)) {
		*dead = c->next_dead;
		free(c);
	}
}

int conn_ctl(struct daemon *d, struct conn *c, enum seam_ctl_op op, __u8 reason, __u64 arg,
	     struct flow *out)
{
	struct seam_ctl ctl = {
		.op = op,
		.key = c->key,
		.id = c->id,
		.reason = reason,
		.arg = arg,
		.rule = c->rule ? c->rule->number : CTL_KEEP_RULE,
		.policy = c->generation,
		.count = c->rule && !c->counted && c->generation == d->generation,
	};
	int err;

	if (op == CTL_ARM) {
		if (!c->later) /* else it has come, and the kernel no longer waits for it */
			ctl.after = policy_rule_after(c->rule);
		ctl.flags = (c->rule->after.again ? FLOW_F_AGAIN : 0) |
			    (c->rule->fail_block ? FLOW_F_FAIL_BLOCK : 0);
	}
	if (c->rule && op == CTL_BLOCK && c->rule->block_rst)
		/* What its legs say as they close may arrive after this, or before. */
		ctl.flags = FLOW_F_BLOCK_RST |
			    (c->phase == CONN_HELD ? FLOW_F_RST_BOTH : FLOW_F_ABORTED);
	c->counted |= ctl.count;
	err = kern_ctl(&d->kern, &ctl);
	if (out)
		*out = ctl.flow;
	return err;
}

int conn_decided(struct daemon *d, struct conn *c, const struct policy_rule *rule)
{
	bool spoken = c->head_len;

	c->rule = rule;
	head_free(c);
	c->let_go = rule->action != RULE_INSPECT || later_arms(d, c, spoken);
	set_deadline(c, 0);
	return c->let_go ? 0 : conn_inspect(c);
}

int conn_inspect(struct conn *c)
{
	const struct policy_rule *rule = c->rule;
	int i, err;
	size_t n;

	c->let_go = c->due = false;
	if (rule->until.time_ns)
		set_deadline(c, kern_now() + rule->until.time_ns);
	for (i = 0; rule->inspectors[i]; i++) {
		n = rule->inspectors[i]->size(&rule->setup);
		c->inspect[i] = calloc(1, n ? n : 1);
		err = c->inspect[i] ? rule->inspectors[i]->open(c->inspect[i], &c->rec,
								&rule->setup, &c->key) :
				      -ENOMEM;
		if (err) {
			free(c->inspect[i]);
			c->inspect[i] = NULL;
			close_inspectors(c);
			return err;
		}
		c->memory += n;
		c->midst |= rule->inspectors[i]->edits;
	}
	return 0;
}

void conn_block(struct daemon *d, struct conn *c, const struct policy_rule *rule, __u8 reason)
{
	bool split = c->phase != CONN_HELD;
	int err;

	if (c->rule != rule) {
		close_inspectors(c);
		c->rule = rule;
	}
	if (split && rule->block_rst) {
		/* The legs know the right sequence numbers for a RST. */
		conn_ctl(d, c, CTL_ABORT, reason, 3, NULL);
		split_reset(c);
	}
	err = conn_ctl(d, c, CTL_BLOCK, reason, 0, NULL);
	if (err && err != -ENOENT)
		log_debug("flow %llu: block: %s", (unsigned long long)c->id, strerror(-err));
	/* The first held packet comes back as a RST to each end; one is enough. */
	if (!split && rule->block_rst && c->held) {
		struct held *rest = c->held->next;

		c->held->next = NULL;
		hold_release(d, c);
		c->held = rest;
	}
	conn_free(d, c);
}

void conn_reset(struct daemon *d, struct conn *c)
{
	split_reset(c);
	conn_ctl(d, c, CTL_CLOSED, SEAM_R_RST, 0, NULL);
	conn_free(d, c);
}

/* Nothing more is expected of the flow: its legs are not needed. */
static void conn_over(struct daemon *d, struct conn *c, const struct seam_event *ev)
{
	if (ev->to == FLOW_BLOCKED && ev->reason != SEAM_R_RULE)
		split_reset(c);
	conn_free(d, c);
}

void conn_event(struct daemon *d, const struct seam_event *ev)
{
	struct conn *c = conn_find(d, &ev->key);
	struct flow f;
	bool stale;

	if (c && c->id != ev->id)
		c = NULL;
	/* An event of the split before this one: a held packet may have come first. */
	stale = c && ev->time_ns < c->began_ns;
	if (ev->type == EVENT_KEEPALIVE) {
		if (c && c->phase != CONN_HELD && !kern_flow(&d->kern, &ev->key, &f) && f.id == c->id)
			leg_keepalive(c->leg[!ev->end].watch.fd, f.end[ev->end & 1].keepalive_s);
		return;
	}
	switch (ev->to) {
	case FLOW_SPLITTING:
		if (kern_flow(&d->kern, &ev->key, &f) || f.id != ev->id ||
		    f.state != FLOW_SPLITTING)
			return;
		if (ev->from == FLOW_MERGING)
			d->stats.merges++;
		if (later_due(&f)) {
			later_split(d, &ev->key, &f);
			return;
		}
		if (!c)
			c = conn_new(d, &ev->key, &f);
		if (!c || c->phase != CONN_HELD)
			return;
		if (d->stopping)
			hold_let_out(d, c, SEAM_R_SHUTDOWN);
		else
			split_build(d, c, &f);
		return;
	case FLOW_MERGED:
		if (ev->reason == SEAM_R_REVIVED)
			return;
		d->stats.merges++;
		if (c && !stale) {
			conn_free(d, c);
			d->stats.closing_ns += kern_now() - ev->time_ns;
		}
		return;
	case FLOW_CLOSING:
		if (stale) /* it was revived, and split again */
			return;
		/* fallthrough */
	case FLOW_NONE:
	case FLOW_BLOCKED:
		if (c)
			conn_over(d, c, ev);
		return;
	case FLOW_PASSED:
		/* Not the daemon's doing: what is held is let out as it is. */
		if (c && c->phase == CONN_HELD) {
			hold_release(d, c);
			conn_free(d, c);
		}
		return;
	case FLOW_SPLIT:
		/* Until now another transition has been under way. */
		if (c && !stale && c->phase == CONN_SPLIT) {
			c->crossed = true;
			relay_run(d, c);
		}
		return;
	case FLOW_MERGING:
		/* What the merge waited for is over. */
		if (c && !stale && c->phase == CONN_MERGING && ev->from == FLOW_MERGING)
			split_merge_on(d, c);
		return;
	case FLOW_MONITORED:
	case FLOW_HELD:
	case FLOW_RELAYED:
		return;
	}
}

void conn_give_up(struct daemon *d, struct conn *c)
{
	const struct policy_rule *rule = &c->policy->default_rule;

	if (c->policy->hold.answer == HOLD_BLOCK ||
	    (c->policy->hold.answer == HOLD_FAIL && c->fail_block)) {
		conn_block(d, c, rule, SEAM_R_UNDECIDED);
		return;
	}
	conn_decided(d, c, rule);
	conn_let_go(c);
	if (c->phase == CONN_HELD) {
		hold_pass(d, c, SEAM_R_UNDECIDED);
		return;
	}
	split_try_merge(d, c, SEAM_R_UNDECIDED);
	relay_run(d, c);
}

static void conn_deadline(struct daemon *d, struct conn *c)
{
	c->deadline_ns = 0;
	if (c->phase == CONN_ABORTING) {
		conn_reset(d, c);
	} else if (!c->rule) {
		conn_give_up(d, c);
	} else if (!c->let_go) {
		conn_end_due(d, c, SEAM_R_UNTIL);
	}
}

/* A hold that its timer should have ended: there was no memory for a timer. */
static void conn_overdue(struct daemon *d, struct conn *c)
{
	struct flow f;

	if (!conn_ctl(d, c, CTL_SPLIT, SEAM_R_HOLD_TIME, 0, &f))
		split_build(d, c, &f);
}

void conn_tick(struct daemon *d, uint64_t now)
{
	struct conn *c, *next;

	relay_kernel_tick(d);
	HASH_ITER(hh, d->conns, c, next) {
		daemon_beat(d);
		if (relay_kernel_weigh(d, c, now))
			continue;
		if (c->deadline_ns && now >= c->deadline_ns)
			conn_deadline(d, c);
		else if (c->phase == CONN_HELD && now >= c->began_ns + HOLD_MAX_US * 1000ULL)
			conn_overdue(d, c);
		else if (c->phase == CONN_ABORTING)
			relay_run(d, c);
		else if (c->phase == CONN_SPLIT && c->let_go && !c->kept)
			split_try_merge(d, c, SEAM_R_LET_GO);
		else if (c->phase == CONN_MERGING)
			split_merge_on(d, c);
	}
}
