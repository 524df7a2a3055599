/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the SYN decides: the walk over the kernel's part of the policy. */
#ifndef SEAM_BPF_POLICY_H
#define SEAM_BPF_POLICY_H

#include "maps.h"

static __always_inline bool prefix_matches(const __u32 addr[4], const __u32 net[4],
					   const __u32 mask[4])
{
	return !(((addr[0] ^ net[0]) & mask[0]) | ((addr[1] ^ net[1]) & mask[1]) |
		 ((addr[2] ^ net[2]) & mask[2]) | ((addr[3] ^ net[3]) & mask[3]));
}

/* Whether a line of the table is about this connection. */
static __always_inline bool rule_matches(const struct seam_rule *r, const struct flow_key *key)
{
	__u16 cport = bpf_ntohs(key->client_port), sport = bpf_ntohs(key->server_port);

	if (r->flags & RULE_F_LAST)
		return true;
	return cport >= r->client_port_lo && cport <= r->client_port_hi &&
	       sport >= r->server_port_lo && sport <= r->server_port_hi &&
	       prefix_matches(key->client, r->client, r->client_mask) &&
	       prefix_matches(key->server, r->server, r->server_mask);
}

struct rule_walk {
	struct flow_key key;
	__u16 rule, policy;
	__u8 action, flags;
	bool by_name, torn; /* the policy was exchanged during the walk */
};

static long rule_step(__u32 i, struct rule_walk *w)
{
	struct seam_rule *r;
	struct room *room;
	__u32 zero = 0;
	void *table;

	table = bpf_map_lookup_elem(&policy, &zero);
	if (!table)
		return 1;
	r = bpf_map_lookup_elem(table, &i);
	if (!r)
		return 1;
	if (!i)
		w->policy = r->policy;
	w->torn = r->policy != w->policy;
	if (w->torn)
		return 1;
	if (!rule_matches(r, &w->key))
		return 0;
	w->rule = r->rule;
	w->action = r->action;
	w->flags = r->flags;
	w->by_name = r->action == RULE_ASK && (r->by[PROTO_TLS] || r->by[PROTO_HTTP]);
	room = room_get();
	if (room)
		room->after = r->after;
	return 1;
}

/* The generation of the policy in force; 0: there is none. */
static __always_inline __u16 policy_in_force(void)
{
	struct seam_rule *first;
	__u32 zero = 0;
	void *table = bpf_map_lookup_elem(&policy, &zero);

	first = table ? bpf_map_lookup_elem(table, &zero) : NULL;
	return first ? first->policy : 0;
}

/*
 * Fills in what the first matching line says about w->key, and room->after; without a policy:
 * pass. A connection whose walks keep meeting an exchange of policies is not let by: its SYN will
 * be sent again.
 */
static __always_inline void rule_decide(struct rule_walk *w)
{
	int tries;

	for (tries = 0; tries < 3; tries++) {
		w->rule = 0;
		w->policy = 0;
		w->action = RULE_PASS;
		w->flags = 0;
		w->by_name = w->torn = false;
		bpf_loop(SEAM_RULES_MAX, rule_step, w, 0);
		if (!w->torn)
			break;
	}
	if (w->torn)
		w->action = RULE_BLOCK;
	if (w->action != RULE_ASK)
		count_rule(w->rule);
}

#endif
