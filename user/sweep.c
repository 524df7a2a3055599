// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Idle flows are found by reading the table in batches from here, so that it
 * costs the packet path nothing, and are removed by the kernel side, which looks
 * again under the flow's lock.
 */
#include <errno.h>
#include <stdlib.h>

#include <bpf/bpf.h>

#include "daemon.h"
#include "log.h"

#define SWEEP_BATCH 512
#define SWEEP_EVERY 1000000000ULL

/* Calls `each` for every flow of the table. */
static void for_each_flow(struct daemon *d,
			  void (*each)(struct daemon *d, const struct flow_key *key,
				       const struct flow *f, void *arg), void *arg)
{
	struct flow_key *keys = calloc(SWEEP_BATCH, sizeof(*keys));
	struct flow *flows = calloc(SWEEP_BATCH, sizeof(*flows));
	__u32 in = 0, out = 0, n, i;
	bool first = true;
	int err = 0;

	while (keys && flows && !err) {
		n = SWEEP_BATCH;
		err = bpf_map_lookup_batch(d->kern.maps.flows, first ? NULL : &in, &out, keys,
					   flows, &n, NULL);
		if (err && err != -ENOENT)
			break;
		for (i = 0; i < n; i++)
			each(d, &keys[i], &flows[i], arg);
		in = out;
		first = false;
	}
	free(keys);
	free(flows);
}

static void expire(struct daemon *d, const struct flow_key *key, const struct flow *f, void *arg)
{
	uint64_t now = *(uint64_t *)arg, limit;
	struct seam_ctl ctl = {
		.op = CTL_EXPIRE, .key = *key, .id = f->id, .rule = CTL_KEEP_RULE,
		.reason = SEAM_R_TIMEOUT, .state = f->state,
	};
	struct conn *c;

	if (f->state >= FLOW_STATE_MAX)
		return;
	limit = d->policy->timeout_ns[f->state];
	if (!limit || now < f->seen_ns || now - f->seen_ns < limit)
		return;
	ctl.arg = limit;
	c = conn_find(d, key);
	if (c && c->id == f->id) {
		split_reset(d, c);
		conn_free(d, c);
	}
	kern_ctl(&d->kern, &ctl);
}

void sweep_run(struct daemon *d)
{
	uint64_t now = kern_now();

	if (now < d->sweep_ns)
		return;
	for_each_flow(d, expire, &now);
	/* A table that takes long to read is read less often. */
	d->sweep_ns = now + SWEEP_EVERY + 20 * (kern_now() - now);
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

	(void)d;
	(void)key;
	n->total++;
	if (f->state == FLOW_CLOSING || f->state == FLOW_BLOCKED)
		return;
	if (f->flags & FLOW_F_TSDELTA)
		n->deltas++;
	else if (f->flags & FLOW_F_BYPASS)
		n->bypass++;
	if (f->state >= FLOW_HELD && f->state <= FLOW_MERGING)
		n->split++;
}

void sweep_census(struct daemon *d, struct sweep_census *out)
{
	*out = (struct sweep_census){};
	for_each_flow(d, census, out);
}
