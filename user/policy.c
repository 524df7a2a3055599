// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Policies: lifetime, and which rule decides a flow.
 */
#include "header_edits.h"
#include "policy.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void free_strings(struct policy_strings *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
}

static void free_rule(struct policy_rule *rule)
{
	free(rule->name);
	free(rule->client.v);
	free(rule->server.v);
	free(rule->client_port.v);
	free(rule->server_port.v);
	free_strings(&rule->sni);
	free_strings(&rule->alpn);
	free_strings(&rule->host);
	if (rule->setup.patterns)
		pattern_db_free(rule->setup.patterns);
	replacements_free(rule->setup.replacements);
	header_edits_free(rule->setup.request);
	header_edits_free(rule->setup.response);
}

struct policy *policy_get(struct policy *p)
{
	__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
	return p;
}

void policy_put(struct policy *p)
{
	if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < p->n_rules; i++)
		free_rule(&p->rules[i]);
	free(p->rules);
	free_rule(&p->default_rule);
	free_strings(&p->client);
	free_strings(&p->server);
	free(p->path);
	free(p);
}

static bool same_strings(const struct policy_strings *a, const struct policy_strings *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (strcmp(a->v[i], b->v[i]))
			return false;
	}
	return true;
}

size_t policy_fixed(const struct policy *a, const struct policy *b,
		    const char *names[static POLICY_FIXED_MAX])
{
	const struct {
		const char *name;
		bool same;
	} fixed[POLICY_FIXED_MAX] = {
		{ "client", same_strings(&a->client, &b->client) },
		{ "server", same_strings(&a->server, &b->server) },
		{ "mode", a->mode == b->mode },
		{ "mirror_link", a->mirror_link == b->mirror_link },
		{ "instance", !strcmp(a->instance, b->instance) },
		{ "xdp", a->xdp == b->xdp },
		{ "bypass", a->bypass == b->bypass },
		{ "backlog", a->backlog == b->backlog },
		{ "workers", a->workers == b->workers },
		{ "max_flows", a->max_flows == b->max_flows },
		{ "max_embryos", a->max_embryos == b->max_embryos },
	};
	size_t n = 0;

	for (size_t i = 0; i < POLICY_FIXED_MAX; i++) {
		if (!fixed[i].same)
			names[n++] = fixed[i].name;
	}
	return n;
}

const char *policy_condition_name(enum policy_condition cond)
{
	static const char *const names[] = {
		[COND_NONE] = "",
		[COND_CLIENT] = "client",
		[COND_SERVER] = "server",
		[COND_CLIENT_PORT] = "client_port",
		[COND_SERVER_PORT] = "server_port",
		[COND_SERVER_FIRST] = "server_first",
		[COND_UNRECOGNISED] = "unrecognised",
		[COND_SNI] = "sni",
		[COND_ALPN] = "alpn",
		[COND_HOST] = "host",
	};

	return names[cond];
}

const char *policy_mode_name(enum seam_mode mode)
{
	return mode == MODE_WIRE ? "wire" : "route";
}

const char *policy_action_name(enum rule_action action)
{
	static const char *const names[] = {
		[RULE_PASS] = "pass",
		[RULE_INSPECT] = "inspect",
		[RULE_BLOCK] = "block",
		[RULE_ASK] = "ask",
	};

	return names[action];
}

bool policy_rule_asks(const struct policy_rule *rule)
{
	return rule->server_first || rule->unrecognised || rule->sni.n || rule->alpn.n ||
	       rule->host.n;
}

bool policy_rule_later(const struct policy_rule *rule)
{
	const struct policy_after *a = &rule->after;

	return a->bytes != AFTER_NEVER || a->time_ns || a->request;
}

struct seam_after policy_rule_after(const struct policy_rule *rule)
{
	const struct policy_after *a = &rule->after;

	return (struct seam_after){
		.bytes = a->bytes == AFTER_NEVER ? 0 : a->bytes,
		.ms = a->time_ns / 1000000,
		.request = a->request,
	};
}

static enum policy_match match_prefixes(const struct policy_prefixes *set, const __u32 addr[4])
{
	for (size_t i = 0; i < set->n; i++) {
		const struct policy_prefix *p = &set->v[i];
		__u32 diff = 0;

		for (int w = 0; w < 4; w++)
			diff |= (addr[w] & p->mask[w]) ^ p->addr[w];
		if (!diff)
			return MATCH_YES;
	}
	return MATCH_NO;
}

static enum policy_match match_ports(const struct policy_port_ranges *set, __u16 port)
{
	for (size_t i = 0; i < set->n; i++) {
		if (port >= set->v[i].lo && port <= set->v[i].hi)
			return MATCH_YES;
	}
	return MATCH_NO;
}

static enum policy_match match_want(enum policy_want want, bool known, bool value)
{
	if (!known)
		return MATCH_UNKNOWN;
	return value == (want == WANT_TRUE) ? MATCH_YES : MATCH_NO;
}

/*
 * What one classification amounts to once the other facts are considered: a flow is at most one
 * of TLS and HTTP/1, and in both the client speaks first. Without the latter, a server that
 * waits for nobody would be held until its client answered what it has not been shown.
 */
static enum classify classified(bool known, enum classify own, bool other_known,
				enum classify other, const struct policy_facts *f)
{
	if (known && own != CLASSIFY_MORE)
		return own;
	if (other_known && other == CLASSIFY_YES)
		return CLASSIFY_NO;
	if (f->server_first_known && f->server_first)
		return CLASSIFY_NO;
	return CLASSIFY_MORE;
}

static enum classify is_tls(const struct policy_facts *f)
{
	return classified(f->tls_known, f->tls, f->http_known, f->http, f);
}

static enum classify is_http(const struct policy_facts *f)
{
	return classified(f->http_known, f->http, f->tls_known, f->tls, f);
}

static enum policy_match match_unrecognised(enum policy_want want, const struct policy_facts *f)
{
	enum classify tls = is_tls(f), http = is_http(f);

	if (tls == CLASSIFY_YES || http == CLASSIFY_YES)
		return match_want(want, true, false);
	return match_want(want, tls == CLASSIFY_NO && http == CLASSIFY_NO, true);
}

/* `pattern` is a name, "*.suffix" or an IPv6 address, which can be written in many ways. */
static bool host_matches(const char *pattern, const char *name)
{
	size_t plen = strlen(pattern), nlen = strlen(name);
	__u32 a[4], b[4];

	if (strchr(pattern, ':'))
		return inet_pton(AF_INET6, pattern, a) == 1 && inet_pton(AF_INET6, name, b) == 1 &&
		       !memcmp(a, b, sizeof(a));
	if (nlen && name[nlen - 1] == '.')
		nlen--;
	if (pattern[0] != '*')
		return plen == nlen && !strncasecmp(pattern, name, nlen);
	/* the dot of the suffix counts, and something must stand before it */
	pattern++;
	plen--;
	return nlen > plen && !strncasecmp(pattern, name + nlen - plen, plen);
}

static enum policy_match match_hosts(const struct policy_strings *set, enum classify is,
				     const char *name)
{
	if (is == CLASSIFY_MORE)
		return MATCH_UNKNOWN;
	if (is == CLASSIFY_NO || !name)
		return MATCH_NO;
	for (size_t i = 0; i < set->n; i++) {
		if (host_matches(set->v[i], name))
			return MATCH_YES;
	}
	return MATCH_NO;
}

/* `offered` is comma-separated. */
static bool alpn_offers(const char *offered, const char *protocol)
{
	size_t len = strlen(protocol);

	for (;;) {
		size_t n = strcspn(offered, ",");

		if (n == len && !memcmp(offered, protocol, n))
			return true;
		if (!offered[n])
			return false;
		offered += n + 1;
	}
}

static enum policy_match match_alpn(const struct policy_strings *set, const struct policy_facts *f)
{
	enum classify is = is_tls(f);

	if (is == CLASSIFY_MORE)
		return MATCH_UNKNOWN;
	if (is == CLASSIFY_NO || !f->rec)
		return MATCH_NO;
	if (f->missing & FACT_NO_ALPN)
		return MATCH_UNKNOWN;
	for (size_t i = 0; i < set->n; i++) {
		if (alpn_offers(f->rec->tls.alpn, set->v[i]))
			return MATCH_YES;
	}
	return MATCH_NO;
}

static bool has_condition(const struct policy_rule *r, enum policy_condition cond)
{
	switch (cond) {
	case COND_CLIENT:
		return r->client.n;
	case COND_SERVER:
		return r->server.n;
	case COND_CLIENT_PORT:
		return r->client_port.n;
	case COND_SERVER_PORT:
		return r->server_port.n;
	case COND_SERVER_FIRST:
		return r->server_first != WANT_ANY;
	case COND_UNRECOGNISED:
		return r->unrecognised != WANT_ANY;
	case COND_SNI:
		return r->sni.n;
	case COND_ALPN:
		return r->alpn.n;
	case COND_HOST:
		return r->host.n;
	case COND_NONE:
		break;
	}
	return false;
}

static enum policy_match match_condition(const struct policy_rule *r, enum policy_condition cond,
					 const struct policy_facts *f)
{
	switch (cond) {
	case COND_CLIENT:
		return f->missing & FACT_NO_CLIENT ? MATCH_UNKNOWN :
						     match_prefixes(&r->client, f->key.client);
	case COND_SERVER:
		return f->missing & FACT_NO_SERVER ? MATCH_UNKNOWN :
						     match_prefixes(&r->server, f->key.server);
	case COND_CLIENT_PORT:
		return f->missing & FACT_NO_CLIENT_PORT ?
			       MATCH_UNKNOWN :
			       match_ports(&r->client_port, ntohs(f->key.client_port));
	case COND_SERVER_PORT:
		return f->missing & FACT_NO_SERVER_PORT ?
			       MATCH_UNKNOWN :
			       match_ports(&r->server_port, ntohs(f->key.server_port));
	case COND_SERVER_FIRST:
		return match_want(r->server_first, f->server_first_known, f->server_first);
	case COND_UNRECOGNISED:
		return match_unrecognised(r->unrecognised, f);
	case COND_SNI:
		return match_hosts(&r->sni, is_tls(f), f->rec ? f->rec->tls.sni : NULL);
	case COND_ALPN:
		return match_alpn(&r->alpn, f);
	case COND_HOST:
		return match_hosts(&r->host, is_http(f), f->rec ? f->rec->http.host : NULL);
	case COND_NONE:
		break;
	}
	return MATCH_YES;
}

static enum policy_match match_until(const struct policy_rule *rule,
				     const struct policy_facts *facts, enum policy_condition last,
				     enum policy_condition *why)
{
	enum policy_condition unknown = COND_NONE;

	for (enum policy_condition c = COND_CLIENT; c <= last; c++) {
		enum policy_match m;

		if (!has_condition(rule, c))
			continue;
		m = match_condition(rule, c, facts);
		if (m == MATCH_NO) {
			if (why)
				*why = c;
			return MATCH_NO;
		}
		if (m == MATCH_UNKNOWN && !unknown)
			unknown = c;
	}
	if (why)
		*why = unknown;
	return unknown ? MATCH_UNKNOWN : MATCH_YES;
}

enum policy_match policy_rule_match(const struct policy_rule *rule,
				    const struct policy_facts *facts, enum policy_condition *why)
{
	return match_until(rule, facts, COND_HOST, why);
}

enum policy_match policy_rule_match_syn(const struct policy_rule *rule,
					const struct policy_facts *facts,
					enum policy_condition *why)
{
	return match_until(rule, facts, COND_SERVER_PORT, why);
}

const struct policy_rule *policy_decide(const struct policy *p, const struct policy_facts *facts,
					bool *need_more)
{
	*need_more = false;
	for (size_t i = 0; i < p->n_rules; i++) {
		switch (policy_rule_match(&p->rules[i], facts, NULL)) {
		case MATCH_YES:
			return &p->rules[i];
		case MATCH_UNKNOWN:
			/*
			 * Even where a later rule would do the same: which rule
			 * is named must not depend on how the client's first
			 * bytes were cut into segments.
			 */
			*need_more = true;
			return NULL;
		case MATCH_NO:
			break;
		}
	}
	return &p->default_rule;
}
