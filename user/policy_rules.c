// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reads the rules of the policy, and checks what must be true of each. */
#include "policy_read.h"
#include "policy_value.h"

#include <stdlib.h>
#include <string.h>

static void list_inspectors(char *out, size_t size)
{
	size_t n = 0;

	*out = '\0';
	for (size_t i = 0; inspectors[i] && n < size; i++)
		n += snprintf(out + n, size - n, "%s\"%s\"", i ? ", " : "", inspectors[i]->name);
}

static void read_inspectors(struct load *l, const config_setting_t *s, void *field,
			    const struct key *k)
{
	const struct inspector **list = field;
	size_t n = count(l, s, k), used = 0;
	char available[128];

	list_inspectors(available, sizeof(available));
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *e = element(s, i);
		const char *v = get_string(l, e, k, "the name of an inspector or a list of them");
		const struct inspector *found = v ? inspector_find(v) : NULL;
		size_t at = 0;

		if (!v)
			continue;
		if (!found) {
			bad(l, e, "%s: there is no inspector \"%s\"; expected any of %s", k->name,
			    v, available);
			continue;
		}
		while (at < used && list[at] != found)
			at++;
		if (at < used)
			bad(l, e, "%s: \"%s\" is given twice; expected it once", k->name, v);
		else if (used < POLICY_INSPECTORS_MAX)
			list[used++] = found;
		else
			bad(l, e, "%s: too many; expected at most %d", k->name,
			    POLICY_INSPECTORS_MAX);
	}
}

/* ---- patterns ---- */

static const struct choice pattern_actions[] = { { "let go", false }, { "block", true }, { NULL, 0 } };

static void read_pattern_name(struct load *l, const config_setting_t *s, void *field,
			      const struct key *k)
{
	char name[POLICY_NAME_MAX] = "";

	read_name(l, s, name, k);
	if (*name)
		*(const char **)field = config_setting_get_string(s);
}

static void read_regex(struct load *l, const config_setting_t *s, void *field,
		       const struct key *k)
{
	const char *v = get_string(l, s, k, "a regular expression");

	if (v && !*v)
		bad(l, s, "regex is empty; expected a regular expression");
	else if (v)
		*(const char **)field = v;
}

static const struct key pattern_keys[] = {
	{ "name", read_pattern_name, offsetof(struct pattern, name), 0, POLICY_NAME_MAX, NULL },
	{ "regex", read_regex, offsetof(struct pattern, regex), 0, 0, NULL },
	{ "action", read_either, offsetof(struct pattern, block), 0, 0, pattern_actions },
	{ NULL, NULL, 0, 0, 0, NULL },
};

/* Reports all that is wrong with the patterns, each at its own line. */
static void compile_patterns(struct load *l, const config_setting_t *s,
			     const struct pattern *patterns, size_t n, struct pattern_db **db)
{
	unsigned int before = l->errors;
	char all[256] = "", one[256];

	*db = pattern_db_new(patterns, n, all, sizeof(all));
	if (*db)
		return;
	for (size_t i = 0; i < n; i++) {
		struct pattern_db *single = pattern_db_new(&patterns[i], 1, one, sizeof(one));

		if (!single)
			bad(l, config_setting_get_elem(s, i), "patterns: %s", one);
		else
			pattern_db_free(single);
	}
	if (l->errors == before)
		bad(l, s, "patterns: %s", all);
}

static void read_patterns(struct load *l, const config_setting_t *s, void *field,
			  const struct key *k)
{
	unsigned int before = l->errors;
	struct pattern *patterns;
	size_t n;

	if (!is_list(l, s, k->name))
		return;
	n = count(l, s, k);
	patterns = n ? allocate(l, n, sizeof(*patterns)) : NULL;
	if (!patterns)
		return;
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *e = config_setting_get_elem(s, i);

		if (!is_group_in(l, e, k->name))
			continue;
		read_keys(l, e, &patterns[i], pattern_keys);
		require(l, e, "name", "pattern", "a name, for the log");
		require(l, e, "regex", "pattern", "a regular expression");
		require(l, e, "action", "pattern", "\"let go\" or \"block\"");
		for (size_t j = 0; j < i && patterns[i].name; j++) {
			if (patterns[j].name && !strcmp(patterns[i].name, patterns[j].name))
				bad(l, e, "pattern \"%s\" is there twice, first in line %u; "
				    "expected names to differ", patterns[i].name,
				    config_setting_source_line(config_setting_get_elem(s, j)));
		}
	}
	if (l->errors == before)
		compile_patterns(l, s, patterns, n, field);
	free(patterns);
}

/* ---- rules ---- */

const struct choice policy_answers[] = { { "pass", false }, { "block", true }, { NULL, 0 } };
static const struct choice block_ways[] = { { "drop", false }, { "reset", true }, { NULL, 0 } };
const struct choice policy_actions[] = {
	{ "pass", RULE_PASS }, { "inspect", RULE_INSPECT }, { "block", RULE_BLOCK }, { NULL, 0 }
};

static const struct key until_keys[] = {
	{ "bytes", read_size, offsetof(struct policy_until, bytes), 1, 1ULL << 50, NULL },
	{ "time", read_duration, offsetof(struct policy_until, time_ns), 1000000, 365 * DAY, NULL },
	{ "message", read_number, offsetof(struct policy_until, messages), 1, 1000000000, NULL },
	{ "verdict", read_bool, offsetof(struct policy_until, verdict), 0, 0, NULL },
	{ NULL, NULL, 0, 0, 0, NULL },
};

/* `time` is counted in 32 bits of milliseconds. */
static const struct key after_keys[] = {
	{ "bytes", read_size, offsetof(struct policy_after, bytes), 0, 1ULL << 50, NULL },
	{ "time", read_duration, offsetof(struct policy_after, time_ns), 1000000, 30 * DAY, NULL },
	{ "request", read_number, offsetof(struct policy_after, request), 1, 0xffff, NULL },
	{ "again", read_bool, offsetof(struct policy_after, again), 0, 0, NULL },
	{ NULL, NULL, 0, 0, 0, NULL },
};

static void read_rule_name(struct load *l, const config_setting_t *s, void *field,
			   const struct key *k)
{
	const char *v = get_string(l, s, k, "a name");

	if (!v)
		return;
	if (!value_is_name(v, POLICY_NAME_MAX, true)) {
		bad(l, s, "name: \"%s\" is not a name; expected 1 to %d of letters, digits, '-', "
		    "'_' and '.'", v, POLICY_NAME_MAX - 1);
		return;
	}
	if (!strcmp(v, "default")) {
		bad(l, s, "name: \"default\" is what no rule matches; expected another name");
		return;
	}
	*(char **)field = duplicate(l, v);
}

#define RULE_KEY(name, read, member, arg) \
	{ name, read, offsetof(struct policy_rule, member), 0, 0, arg }
static const struct key rule_keys[] = {
	RULE_KEY("name", read_rule_name, name, NULL),
	RULE_KEY("client", read_prefixes, client, NULL),
	RULE_KEY("server", read_prefixes, server, NULL),
	RULE_KEY("client_port", read_ports, client_port, NULL),
	RULE_KEY("server_port", read_ports, server_port, NULL),
	RULE_KEY("sni", read_hosts, sni, NULL),
	RULE_KEY("alpn", read_alpn, alpn, NULL),
	RULE_KEY("host", read_http_hosts, host, NULL),
	RULE_KEY("unrecognised", read_want, unrecognised, NULL),
	RULE_KEY("server_first", read_want, server_first, NULL),
	RULE_KEY("action", read_choice, action, policy_actions),
	RULE_KEY("inspectors", read_inspectors, inspectors, NULL),
	RULE_KEY("patterns", read_patterns, setup.patterns, NULL),
	RULE_KEY("replace", read_replacements, setup.replacements, NULL),
	RULE_KEY("proxy", read_choice, setup.proxy, policy_proxy_versions),
	RULE_KEY("request", read_header_edits, setup.request, NULL),
	RULE_KEY("response", read_header_edits, setup.response, NULL),
	RULE_KEY("after", read_group, after, after_keys),
	RULE_KEY("until", read_group, until, until_keys),
	RULE_KEY("relay", read_choice, relay, policy_relays),
	RULE_KEY("with", read_either, block_rst, block_ways),
	RULE_KEY("fail", read_either, fail_block, policy_answers),
	{ NULL, NULL, 0, 0, 0, NULL },
};

/* Settings that make sense with one action only. */
static void check_action(struct load *l, const config_setting_t *s, const struct policy_rule *rule)
{
	static const struct {
		const char *key, *name;
		enum rule_action action;
	} only[] = {
		{ "inspectors", "inspect", RULE_INSPECT },
		{ "patterns", "inspect", RULE_INSPECT },
		{ "replace", "inspect", RULE_INSPECT },
		{ "proxy", "inspect", RULE_INSPECT },
		{ "request", "inspect", RULE_INSPECT },
		{ "response", "inspect", RULE_INSPECT },
		{ "after", "inspect", RULE_INSPECT },
		{ "until", "inspect", RULE_INSPECT },
		{ "relay", "inspect", RULE_INSPECT },
		{ "with", "block", RULE_BLOCK },
	};

	for (size_t i = 0; i < sizeof(only) / sizeof(only[0]); i++) {
		const config_setting_t *m = config_setting_get_member(s, only[i].key);

		if (m && rule->action != only[i].action)
			bad(l, m, "\"%s\" says nothing about action \"%s\"; expected it with "
			    "action = \"%s\" only", only[i].key, policy_action_name(rule->action),
			    only[i].name);
	}
}

bool rule_uses(const struct policy_rule *rule, const struct inspector *inspector)
{
	for (size_t i = 0; rule->inspectors[i]; i++) {
		if (rule->inspectors[i] == inspector)
			return true;
	}
	return false;
}

static bool said_verdict(const config_setting_t *s)
{
	const config_setting_t *until = config_setting_get_member(s, "until");

	return until && config_setting_get_member(until, "verdict");
}

/* An inspect rule must have what its inspectors need, and come to an end. */
static void check_inspect(struct load *l, const config_setting_t *s,
			  const struct policy_rule *rule)
{
	const struct policy_until *until = &rule->until;
	const config_setting_t *patterns = config_setting_get_member(s, "patterns");
	const config_setting_t *replace = config_setting_get_member(s, "replace");
	bool limited = until->bytes || until->time_ns || until->messages;

	if (rule_uses(rule, &inspector_pattern) && !patterns)
		bad(l, s, "inspector \"pattern\" has nothing to look for; expected patterns = "
		    "( { name, regex, action }, ... )");
	if (patterns && !rule_uses(rule, &inspector_pattern))
		bad(l, patterns, "nobody looks for these patterns; expected \"pattern\" among the "
		    "inspectors");
	if (rule_uses(rule, &inspector_replace) && rule_uses(rule, &inspector_headers))
		bad(l, s, "inspectors \"replace\" and \"headers\" might want the same bytes changed; "
		    "expected one of them");
	if (rule_uses(rule, &inspector_replace) && !replace)
		bad(l, s, "inspector \"replace\" has nothing to replace; expected replace = "
		    "( { find, with }, ... )");
	if (replace && !rule_uses(rule, &inspector_replace))
		bad(l, replace, "nobody replaces these; expected \"replace\" among the inspectors");
	check_edits(l, s, rule);
	if (until->messages && !rule_uses(rule, &inspector_headers))
		bad(l, config_setting_get_member(s, "until"), "nobody counts messages%s; expected \"headers\" "
		    "among the inspectors, or until without \"message\"",
		    rule_uses(rule, &inspector_http) ? " beyond the first answer" : "");
	if (limited)
		return;
	if (!until->verdict)
		bad(l, s, "this rule would never let go: verdict = false and no limit; expected "
		    "bytes, time or message in until");
	else if (rule_uses(rule, &inspector_count))
		bad(l, s, "this rule would never let go: inspector \"count\" gives no verdict; "
		    "expected bytes or time in until");
	else if (rule_uses(rule, &inspector_headers) && !said_verdict(s))
		bad(l, s, "this rule would let go of hardly any flow: inspector \"headers\" has not "
		    "seen enough as long as requests may come; expected bytes, time or message in "
		    "until, or verdict = true there if that is meant");
}

/* A later moment must be one that comes, and inspectors must still see then what they read. */
static void check_after(struct load *l, const config_setting_t *s, const struct policy_rule *rule)
{
	const config_setting_t *m = config_setting_get_member(s, "after");
	const struct policy_after *a = &rule->after;
	bool middle = (a->bytes && a->bytes != AFTER_NEVER) || a->time_ns;

	if (!m)
		return;
	if (!policy_rule_later(rule)) {
		bad(l, m, "after says no moment; expected bytes, time or request in it");
		return;
	}
	if (!a->bytes && policy_rule_asks(rule))
		bad(l, m, "after = { bytes = 0; } is before any payload, and this rule has conditions "
		    "that the first payload decides; expected conditions on addresses and ports only");
	if (a->again && !a->bytes && !a->time_ns && !a->request)
		bad(l, m, "a flow is new only once; expected again = true with time or request, or "
		    "with more than 0 bytes");
	if (rule_uses(rule, &inspector_tls) && (middle || a->again))
		bad(l, m, "inspector \"tls\" reads a ClientHello, which is not to be expected %s; "
		    "expected request, or bytes = 0, alone, or other inspectors",
		    middle ? "in mid-stream" : "again");
	/* If the SYN decides, bytes = 0 is the only moment before all payload. */
	if (rule_uses(rule, &inspector_proxy) && (a->bytes || a->again))
		bad(l, m, "inspector \"proxy\" writes in front of the client's first byte, which may "
		    "have passed by then; expected bytes = 0 alone, or no after");
	if (rule_uses(rule, &inspector_headers) && middle)
		bad(l, m, "inspector \"headers\" has to begin where a message does; expected request, "
		    "or bytes = 0");
}

/* `whole`: all its settings could be read. */
static void check_rule(struct load *l, const config_setting_t *s, const struct policy_rule *rule,
		       bool whole)
{
	char available[128];

	require(l, s, "name", "rule", "a name, for counters and the log");
	require(l, s, "action", "rule", "\"pass\", \"inspect\" or \"block\"");
	if (rule->action == RULE_ASK)
		return;
	check_action(l, s, rule);
	if (rule->action != RULE_INSPECT)
		return;
	if (config_setting_get_member(s, "inspectors")) {
		if (whole) {
			check_inspect(l, s, rule);
			check_after(l, s, rule);
		}
		return;
	}
	list_inspectors(available, sizeof(available));
	bad(l, s, "rule has action \"inspect\" and no \"inspectors\"; expected any of %s",
	    available);
}

/* The kernel's table holds the lines of all rules and the default. */
static void check_width(struct load *l)
{
	const struct policy_rule *widest = NULL;
	size_t lines = 1;

	for (size_t i = 0; i < l->p->n_rules; i++) {
		const struct policy_rule *rule = &l->p->rules[i];

		lines += policy_rule_lines(rule);
		if (!widest || policy_rule_lines(rule) > policy_rule_lines(widest))
			widest = rule;
	}
	if (lines > SEAM_RULES_MAX)
		report(l, widest->line, "rule \"%s\" is too wide: its addresses times ports make "
		       "%zu lines of the kernel's table, all rules %zu; expected at most %d in all",
		       widest->name, policy_rule_lines(widest), lines, SEAM_RULES_MAX);
}

void read_rules(struct load *l)
{
	const config_setting_t *list = l->rules;
	struct policy *p = l->p;
	unsigned int before = l->errors, before_rule;
	size_t n;

	if (!list || !is_list(l, list, "rules"))
		return;
	n = config_setting_length(list);
	if (n >= SEAM_POLICY_RULES_MAX) {
		bad(l, config_setting_get_elem(list, SEAM_POLICY_RULES_MAX - 1),
		    "there are %zu rules; expected at most %d", n, SEAM_POLICY_RULES_MAX - 1);
		return;
	}
	p->rules = n ? allocate(l, n, sizeof(*p->rules)) : NULL;
	if (!p->rules)
		return;
	p->n_rules = n;
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *s = config_setting_get_elem(list, i);
		struct policy_rule *rule = &p->rules[i];

		if (!is_group_in(l, s, "rules"))
			continue;
		rule->line = config_setting_source_line(s);
		rule->number = i + 1;
		rule->block_rst = true;
		rule->fail_block = p->fail_block;
		rule->relay = p->relay;
		rule->until.verdict = true;
		rule->after.bytes = AFTER_NEVER;
		rule->action = RULE_ASK; /* until one has been read */
		before_rule = l->errors;
		read_keys(l, s, rule, rule_keys);
		rule->setup.fail_block = rule->fail_block;
		check_rule(l, s, rule, l->errors == before_rule);
		for (size_t j = 0; j < i && rule->name; j++) {
			if (p->rules[j].name && !strcmp(rule->name, p->rules[j].name))
				bad(l, s, "rule \"%s\" is there twice, first in line %u; expected "
				    "names to differ", rule->name, p->rules[j].line);
		}
	}
	if (l->errors == before)
		check_width(l);
}
