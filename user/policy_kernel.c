// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * From a policy to the kernel's table of rules.
 */
#include "policy.h"

#include <errno.h>
#include <string.h>

#define LINES_CAP ((size_t)1 << 20)

static const struct policy_prefix any_prefix;
static const struct policy_ports any_ports = { 0, 65535 };

bool policy_fails_closed(const struct policy *p)
{
	for (size_t i = 0; i < p->n_rules; i++) {
		const struct policy_rule *r = &p->rules[i];

		if (r->fail_block && (r->action != RULE_PASS || policy_rule_asks(r)))
			return true;
	}
	return p->default_rule.fail_block && p->default_rule.action != RULE_PASS;
}

size_t policy_rule_lines(const struct policy_rule *rule)
{
	const size_t n[] = { rule->client.n, rule->server.n, rule->client_port.n,
			     rule->server_port.n };
	size_t lines = 1;

	for (size_t i = 0; i < sizeof(n) / sizeof(n[0]); i++) {
		if (n[i] > LINES_CAP)
			return LINES_CAP;
		if (n[i])
			lines *= n[i];
		if (lines > LINES_CAP)
			return LINES_CAP;
	}
	return lines;
}

/* Whether a rule matches flows of that protocol, by its conditions on their first payload. */
static __u8 by_payload(const struct policy_rule *rule, enum rule_proto proto)
{
	const struct policy_strings *own = proto == PROTO_TLS ? &rule->sni : &rule->host;
	const struct policy_strings *other = proto == PROTO_TLS ? &rule->host : &rule->sni;

	/* Where there is one, the client has spoken first. */
	if (rule->server_first == WANT_TRUE || rule->unrecognised == WANT_TRUE || other->n ||
	    (proto == PROTO_HTTP && rule->alpn.n))
		return BY_NONE;
	return own->n ? BY_NAME : BY_ALL;
}

/* What the kernel may do by itself where a rule matches; it knows nothing of ALPN. */
static __u8 by_itself(const struct policy_rule *rule)
{
	if (rule->alpn.n || rule->action == RULE_INSPECT)
		return 0;
	return rule->action == RULE_BLOCK ? RULE_F_BLOCKS : RULE_F_PASSES;
}

bool policy_kernel_decides(const struct policy *p, const struct policy_facts *facts)
{
	enum rule_proto proto = facts->http == CLASSIFY_YES ? PROTO_HTTP : PROTO_TLS;
	const struct policy_strings none = { 0 };

	if (p->decide != DECIDE_KERNEL || !facts->tls_known || !facts->http_known ||
	    (facts->tls != CLASSIFY_YES && facts->http != CLASSIFY_YES))
		return false;
	for (size_t i = 0; i < p->n_rules; i++) {
		struct policy_rule rule = p->rules[i];
		enum policy_match m;

		rule.alpn = none;
		m = policy_rule_match(&rule, facts, NULL);
		if (m == MATCH_UNKNOWN)
			return false;
		if (m == MATCH_YES && by_payload(&p->rules[i], proto) != BY_NONE)
			return by_itself(&p->rules[i]);
	}
	return by_itself(&p->default_rule);
}

static void set_line(struct seam_rule *line, const struct policy_rule *rule,
		     const struct policy_prefix *client, const struct policy_prefix *server,
		     const struct policy_ports *client_port,
		     const struct policy_ports *server_port, bool by_name, __u16 generation)
{
	memset(line, 0, sizeof(*line));
	memcpy(line->client, client->addr, sizeof(line->client));
	memcpy(line->client_mask, client->mask, sizeof(line->client_mask));
	memcpy(line->server, server->addr, sizeof(line->server));
	memcpy(line->server_mask, server->mask, sizeof(line->server_mask));
	line->client_port_lo = client_port->lo;
	line->client_port_hi = client_port->hi;
	line->server_port_lo = server_port->lo;
	line->server_port_hi = server_port->hi;
	line->rule = rule->number;
	line->policy = generation;
	line->action = policy_rule_asks(rule) ? RULE_ASK : rule->action;
	if (rule->block_rst)
		line->flags |= RULE_F_BLOCK_RST;
	if (rule->fail_block)
		line->flags |= RULE_F_FAIL_BLOCK;
	if (line->action == RULE_ASK && by_name) {
		line->flags |= by_itself(rule);
		line->by[PROTO_TLS] = by_payload(rule, PROTO_TLS);
		line->by[PROTO_HTTP] = by_payload(rule, PROTO_HTTP);
	}
	if (!policy_rule_later(rule))
		return;
	line->flags |= RULE_F_AFTER;
	if (!rule->after.bytes)
		line->flags |= RULE_F_AT_ONCE;
	if (rule->after.again)
		line->flags |= RULE_F_AGAIN;
	line->after = policy_rule_after(rule);
}

static size_t at_least_one(size_t n)
{
	return n ? n : 1;
}

static size_t compile_rule(const struct policy_rule *r, struct seam_rule *lines, bool by_name,
			   __u16 generation)
{
	size_t n = 0;

	for (size_t c = 0; c < at_least_one(r->client.n); c++)
		for (size_t s = 0; s < at_least_one(r->server.n); s++)
			for (size_t cp = 0; cp < at_least_one(r->client_port.n); cp++)
				for (size_t sp = 0; sp < at_least_one(r->server_port.n); sp++)
					set_line(&lines[n++], r,
						 r->client.n ? &r->client.v[c] : &any_prefix,
						 r->server.n ? &r->server.v[s] : &any_prefix,
						 r->client_port.n ? &r->client_port.v[cp] : &any_ports,
						 r->server_port.n ? &r->server_port.v[sp] : &any_ports,
						 by_name, generation);
	return n;
}

int policy_compile(const struct policy *p, struct seam_rule *lines, size_t max, __u16 generation)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_rules; i++) {
		if (policy_rule_lines(&p->rules[i]) > max - n)
			return -E2BIG;
		n += compile_rule(&p->rules[i], lines + n, p->decide == DECIDE_KERNEL, generation);
	}
	if (n == max)
		return -E2BIG;
	set_line(&lines[n], &p->default_rule, &any_prefix, &any_prefix, &any_ports, &any_ports,
		 false, generation);
	lines[n].flags |= RULE_F_LAST;
	return n + 1;
}
