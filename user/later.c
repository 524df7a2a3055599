// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Flows that are split later than at their first payload: armed by what the first payload
 * decided, or by the kernel at the SYN. Once the kernel has begun a split, this finds the rule
 * it is for. A flow keeps the policy that decided it, so a policy no longer in force is kept
 * for as long as an armed flow may come back to it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "log.h"

struct retired {
	struct retired *next;
	struct policy *policy;
	uint16_t generation;
	uint64_t needed_ns;	/* when a flow of it was last seen, or it was in force */
};

static bool has_later(const struct policy *p)
{
	for (size_t i = 0; i < p->n_rules; i++)
		if (policy_rule_later(&p->rules[i]))
			return true;
	return false;
}

void later_retire(struct daemon *d, struct policy *p, uint16_t generation)
{
	struct retired *r = has_later(p) ? calloc(1, sizeof(*r)) : NULL;

	if (!r)
		return; /* without memory its flows get their fail answer */
	r->policy = policy_get(p);
	r->generation = generation;
	r->needed_ns = kern_now();
	r->next = d->retired;
	d->retired = r;
}

static struct retired *retired_find(const struct daemon *d, uint16_t generation)
{
	struct retired *r = d->retired;

	while (r && r->generation != generation)
		r = r->next;
	return r;
}

void later_seen(struct daemon *d, const struct flow *f, uint64_t now)
{
	struct retired *r = f->flags & FLOW_F_ARMED ? retired_find(d, f->policy) : NULL;

	if (r)
		r->needed_ns = now;
}

void later_swept(struct daemon *d, uint64_t began)
{
	/* A connection decided by it may still be in its handshake, or held. */
	uint64_t wait = d->policy->timeout_ns[FLOW_HANDSHAKE] + d->policy->hold.time_ns;
	struct retired **at = &d->retired, *r;

	while ((r = *at)) {
		if (r->needed_ns + wait >= began) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		policy_put(r->policy);
		free(r);
	}
}

void later_close(struct daemon *d)
{
	struct retired *r;

	while ((r = d->retired)) {
		d->retired = r->next;
		policy_put(r->policy);
		free(r);
	}
}

bool later_arms(struct daemon *d, struct conn *c, bool spoken)
{
	const struct policy_rule *rule = c->rule;
	bool now = spoken && rule->after.request == 1;

	if (!policy_rule_later(rule) || c->later)
		return false;
	if (!now || rule->after.again)
		conn_ctl(d, c, CTL_ARM, SEAM_R_RULE, 0, NULL);
	if (!now && rule->after.request)
		c->turns = rule->after.request - spoken;
	return !now;
}

void later_disarm(struct daemon *d, struct conn *c)
{
	c->later = true;
	conn_ctl(d, c, CTL_ARM, SEAM_R_AFTER, 0, NULL);
}

/* The rule of a flow that is due, and in *p its policy; NULL: no longer known. */
static const struct policy_rule *rule_of(struct daemon *d, const struct flow_key *key,
					 const struct flow *f, struct policy **p)
{
	const struct policy_facts facts = { .key = *key };
	const struct policy_rule *rule;
	struct retired *r;

	if (!f->rule)
		return NULL;
	r = retired_find(d, f->policy);
	*p = r ? r->policy : d->policy;
	rule = f->rule <= (*p)->n_rules ? &(*p)->rules[f->rule - 1] : NULL;
	if (!rule || r || f->policy == d->generation)
		return rule;
	/* From an earlier daemon: the rule in its place, if that is such a rule. */
	return policy_rule_later(rule) && policy_rule_match_syn(rule, &facts, NULL) != MATCH_NO ?
		       rule : NULL;
}

/* Gives the fail answer of a flow that was to be split. */
static void give_up(struct daemon *d, const struct flow_key *key, const struct flow *f, __u8 reason)
{
	struct seam_ctl ctl = {
		.op = CTL_RECOVER, .key = *key, .id = f->id, .rule = CTL_KEEP_RULE, .reason = reason,
	};

	log_debug("flow %llu: due, and not split: reason %u", (unsigned long long)f->id, reason);
	kern_ctl(&d->kern, &ctl);
}

void later_split(struct daemon *d, const struct flow_key *key, const struct flow *f)
{
	struct policy *p = d->policy;
	const struct policy_rule *rule = rule_of(d, key, f, &p);
	struct conn *c;

	if (!rule || d->stopping) {
		give_up(d, key, f, rule ? SEAM_R_SHUTDOWN : SEAM_R_RULE_GONE);
		return;
	}
	/* Also frees what is left of the previous split. */
	c = conn_new(d, key, f);
	if (!c) {
		give_up(d, key, f, SEAM_R_NO_MEMORY);
		return;
	}
	policy_put(c->policy);
	c->policy = policy_get(p);
	c->generation = p == d->policy ? d->generation : f->policy;
	c->later = c->counted = true;
	if (conn_decided(d, c, rule)) {
		conn_free(d, c);
		give_up(d, key, f, SEAM_R_NO_MEMORY);
		return;
	}
	split_build(d, c, f);
}
