// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Reads seam.conf(5): the file, its syntax, which is libconfig's, and the settings outside the
 * rules.
 */
#include "policy_read.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

#define FILE_MAX (1U << 20)

static const struct choice modes[] = {
	{ "route", MODE_ROUTE }, { "wire", MODE_WIRE }, { NULL, 0 }
};
static const struct choice xdp_modes[] = {
	{ "auto", POLICY_XDP_AUTO }, { "native", POLICY_XDP_NATIVE },
	{ "generic", POLICY_XDP_GENERIC }, { "off", POLICY_XDP_OFF }, { NULL, 0 }
};
const struct choice policy_relays[] = {
	{ "auto", POLICY_RELAY_AUTO }, { "userspace", POLICY_RELAY_USERSPACE },
	{ "kernel", POLICY_RELAY_KERNEL }, { NULL, 0 }
};
static const struct choice deciders[] = {
	{ "kernel", DECIDE_KERNEL }, { "daemon", DECIDE_DAEMON }, { "split", DECIDE_SPLIT }, { NULL, 0 }
};

static const struct choice hold_answers[] = {
	{ "fail", HOLD_FAIL }, { "pass", HOLD_PASS }, { "block", HOLD_BLOCK }, { NULL, 0 }
};

static const struct choice log_levels[] = {
	{ "error", LOG_ERR }, { "warning", LOG_WARNING }, { "info", LOG_INFO },
	{ "debug", LOG_DEBUG }, { NULL, 0 }
};

bool policy_relay_named(const char *name, enum policy_relay *relay)
{
	const struct choice *c = policy_relays;

	while (c->name && strcmp(c->name, name))
		c++;
	*relay = c->value;
	return c->name;
}

#define KEY(name, read, member, min, max, arg) \
	{ name, read, offsetof(struct policy, member), min, max, arg }

static const struct key hold_keys[] = {
	KEY("time", read_duration, hold.time_ns, 1000000, DAY, NULL),
	KEY("bytes", read_size, hold.bytes, 1, 1ULL << 30, NULL),
	KEY("answer", read_choice, hold.answer, 0, 0, hold_answers),
	{ NULL, NULL, 0, 0, 0, NULL },
};

#define TIMEOUT(name, state) KEY(name, read_duration, timeout_ns[state], 1000000, 365 * DAY, NULL)
static const struct key timeout_keys[] = {
	TIMEOUT("handshake", FLOW_HANDSHAKE),
	TIMEOUT("established", FLOW_MONITORED),
	TIMEOUT("split", FLOW_SPLIT),
	TIMEOUT("merged", FLOW_MERGED),
	TIMEOUT("passed", FLOW_PASSED),
	TIMEOUT("blocked", FLOW_BLOCKED),
	TIMEOUT("closing", FLOW_CLOSING),
	{ NULL, NULL, 0, 0, 0, NULL },
};

/* Rules inherit from settings that may come after them. */
static void defer_rules(struct load *l, const config_setting_t *s, void *field,
			const struct key *k)
{
	(void)field;
	(void)k;
	l->rules = s;
}

static const struct key top_keys[] = {
	KEY("client", read_interfaces, client, 0, 0, NULL),
	KEY("server", read_interfaces, server, 0, 0, NULL),
	KEY("mode", read_choice, mode, 0, 0, modes),
	KEY("mirror_link", read_bool, mirror_link, 0, 0, NULL),
	KEY("instance", read_name, instance, 0, POLICY_NAME_MAX, NULL),
	KEY("xdp", read_choice, xdp, 0, 0, xdp_modes),
	KEY("bypass", read_bool, bypass, 0, 0, NULL),
	KEY("fail", read_either, fail_block, 0, 0, policy_answers),
	KEY("untracked", read_either, block_untracked, 0, 0, policy_answers),
	{ "hold", read_group, 0, 0, 0, hold_keys },
	KEY("backlog", read_size, backlog, 64 << 10, 1 << 30, NULL),
	KEY("workers", read_number, workers, 0, 64, NULL),
	KEY("max_flows", read_number, max_flows, 1, 1 << 24, NULL),
	KEY("max_embryos", read_number, max_embryos, 1, 1 << 24, NULL),
	{ "timeouts", read_group, 0, 0, 0, timeout_keys },
	KEY("grace", read_duration, grace_ns, 0, DAY, NULL),
	KEY("relay", read_choice, relay, 0, 0, policy_relays),
	KEY("decide", read_choice, decide, 0, 0, deciders),
	KEY("congestion", read_congestion, congestion, 0, 16, NULL),
	KEY("log", read_choice, log, 0, 0, log_levels),
	KEY("default", read_choice, default_rule.action, 0, 0, policy_actions),
	{ "rules", defer_rules, 0, 0, 0, NULL },
	{ NULL, NULL, 0, 0, 0, NULL },
};

static void set_defaults(struct policy *p)
{
	strcpy(p->instance, "default");
	p->log = LOG_INFO;
	p->hold.time_ns = 5 * SECOND;
	p->hold.bytes = 64 << 10;
	p->backlog = SEAM_BACKLOG;
	p->max_flows = 262144;
	p->max_embryos = 65536;
	p->grace_ns = 5 * SECOND;
	p->timeout_ns[FLOW_HANDSHAKE] = 60 * SECOND;
	p->timeout_ns[FLOW_MONITORED] = 5 * DAY;
	p->timeout_ns[FLOW_SPLIT] = 5 * DAY;
	p->timeout_ns[FLOW_MERGED] = 5 * DAY;
	p->timeout_ns[FLOW_PASSED] = 5 * DAY;
	p->timeout_ns[FLOW_BLOCKED] = 300 * SECOND;
	p->timeout_ns[FLOW_CLOSING] = 10 * SECOND;
	p->default_rule.action = RULE_PASS;
	p->default_rule.after.bytes = AFTER_NEVER;
}

/* Wires are pairs of ports; some settings are for wires only, or not for them. */
static void check_wires(struct load *l, const config_setting_t *root)
{
	const config_setting_t *server = config_setting_get_member(root, "server");
	const struct policy *p = l->p;

	if (p->mode != MODE_WIRE) {
		if (p->mirror_link)
			bad(l, config_setting_get_member(root, "mirror_link"),
			    "\"mirror_link\" is for wires; expected mode = \"wire\" with it");
		return;
	}
	if (server && p->client.n && p->server.n && p->client.n != p->server.n)
		bad(l, server, "server: %zu interfaces, and %zu in \"client\"; expected as many, for "
		    "the first of each is a wire, the second of each, and so on",
		    p->server.n, p->client.n);
}

/* What follows from several settings together. */
static void finish(struct load *l, const config_setting_t *root)
{
	const config_setting_t *s = config_setting_get_member(root, "default");
	struct policy_rule *def = &l->p->default_rule;
	struct policy *p = l->p;

	if (!config_setting_get_member(root, "client"))
		report(l, 0, "there is no \"client\"; expected the interfaces that face the clients");
	if (!config_setting_get_member(root, "server"))
		report(l, 0, "there is no \"server\"; expected the interfaces that face the servers");
	for (size_t i = 0; i < p->client.n; i++) {
		for (size_t j = 0; j < p->server.n; j++) {
			if (!strcmp(p->client.v[i], p->server.v[j]))
				bad(l, config_setting_get_member(root, "server"),
				    "server: \"%s\" faces the clients already; expected another "
				    "interface", p->server.v[j]);
		}
	}
	check_wires(l, root);
	p->timeout_ns[FLOW_HELD] = p->timeout_ns[FLOW_SPLIT];
	p->timeout_ns[FLOW_SPLITTING] = p->timeout_ns[FLOW_SPLIT];
	p->timeout_ns[FLOW_RELAYED] = p->timeout_ns[FLOW_SPLIT];
	p->timeout_ns[FLOW_MERGING] = p->timeout_ns[FLOW_SPLIT];

	def->name = duplicate(l, "default");
	def->line = s ? config_setting_source_line(s) : 0;
	def->fail_block = p->fail_block;
	def->block_rst = true;
	def->relay = p->relay;
	def->until.verdict = true;
	if (def->action == RULE_INSPECT) {
		def->inspectors[0] = &inspector_tls;
		def->inspectors[1] = &inspector_http;
	}
}

/* Reports an escape that libconfig does not take as it was written. `c` is after the backslash. */
static void check_escape(struct load *l, unsigned int line, const char *c)
{
	if (!strncasecmp(c, "x00", 3))
		report(l, line, "a string cannot have the byte \\x00; in a regular expression write \\\\x00");
	else if (*c && strchr("abv", *c)) /* since libconfig 1.8; before, it stands for itself */
		report(l, line, "\\%c is not the same in every version of libconfig; expected \\\\%c in a "
		       "regular expression, else \\x07, \\x08 or \\x0b", *c, *c);
}

/* Reports a number at `c` that libconfig cuts to 32 bits without an L, or takes for octal. */
static void check_number(struct load *l, unsigned int line, const char *c)
{
	size_t n = strspn(c, "0123456789");

	if (*c == '0' && n > 1)
		report(l, line, "a number that begins with 0 is not the same in every version of libconfig; "
		       "expected it without");
	else if (n > 9 && c[n] != 'L')
		report(l, line, "a number of more than 9 digits would be cut; expected %.*sL, or a size as "
		       "in \"5G\"", (int)n, c);
}

/*
 * Reports what libconfig silently takes for something else than was meant: the end of the file
 * for the end of a comment or string; two strings, where a comma was forgotten, for one;
 * escapes; numbers. It does not look into lists nested deeper than in any policy.
 */
static void check_text(struct load *l, const char *text)
{
	unsigned int line = 1, opened = 0, depth = 0;
	enum { CODE, LINE_COMMENT, COMMENT, STRING } in = CODE;
	char within[16] = "", last = 0;

	for (const char *c = text; *c; c++) {
		line += *c == '\n';
		switch (in) {
		case CODE:
			if (*c == '"' || !strncmp(c, "/*", 2)) {
				in = *c == '"' ? STRING : COMMENT;
				c += *c == '/';
				opened = line;
			} else if (*c == '#' || !strncmp(c, "//", 2)) {
				in = LINE_COMMENT;
			} else if (isdigit((unsigned char)*c) && last && strchr("=:,[(+-", last)) {
				check_number(l, line, c);
			} else if (strchr("[({", *c)) {
				if (++depth < sizeof(within))
					within[depth] = *c;
			} else if (strchr("])}", *c) && depth) {
				depth--;
			}
			if (in == STRING && last == '"' && depth < sizeof(within) &&
			    (within[depth] == '[' || within[depth] == '('))
				report(l, line, "two strings in a list; expected a comma between them");
			if (in == STRING || (in == CODE && !isspace((unsigned char)*c)))
				last = *c;
			break;
		case LINE_COMMENT:
			if (*c == '\n')
				in = CODE;
			break;
		case COMMENT:
			if (!strncmp(c, "*/", 2)) {
				c++;
				in = CODE;
			}
			break;
		case STRING:
			if (*c == '"') {
				in = CODE;
			} else if (*c == '\\') {
				check_escape(l, line, c + 1);
				c += c[1] == '"' || c[1] == '\\';
			}
			break;
		}
	}
	if (in == COMMENT)
		report(l, opened, "this comment is never closed; expected \"*/\" after it");
	else if (in == STRING)
		report(l, opened, "this string is never closed; expected '\"' after it");
}

/* libconfig says what is wrong in a few words; this adds what to do about it. */
static void report_syntax(struct load *l, const config_t *config)
{
	const char *text = config_error_text(config);
	unsigned int line = config_error_line(config);

	if (!strcmp(text, "cannot open include file"))
		report(l, line, "@include is not supported; expected the whole policy in one file");
	else if (!strcmp(text, "duplicate setting name"))
		report(l, line, "this setting is given twice in its group; expected it once");
	else if (!strcmp(text, "mismatched element type in array"))
		report(l, line, "a list in [ ] has values of different types; expected ( ) around "
		       "such a list");
	else
		report(l, line, "%s; expected name = value; with strings in \"\", lists in [ ] or "
		       "( ) and groups in { }", text);
}

static void read_config(struct load *l, const char *text)
{
	config_t config;

	config_init(&config);
	/*
	 * One file is one policy. (An @include of something unreadable would end
	 * the process from inside libconfig; below /dev/null nothing opens.)
	 */
	config_set_include_dir(&config, "/dev/null");
	if (config_read_string(&config, text)) {
		read_keys(l, config_root_setting(&config), l->p, top_keys);
		finish(l, config_root_setting(&config));
		read_rules(l);
	} else {
		report_syntax(l, &config);
	}
	config_destroy(&config);
}

int policy_load_text(const char *name, const char *text, size_t len, struct policy **out,
		     FILE *err)
{
	struct load l = { .err = err };
	char *copy = NULL;
	int ret = -ENOMEM;

	l.p = calloc(1, sizeof(*l.p));
	if (!l.p)
		goto out;
	l.p->refs = 1;
	l.p->path = strdup(name);
	copy = malloc(len + 1);
	if (!l.p->path || !copy)
		goto out;
	memcpy(copy, text, len);
	copy[len] = '\0';

	set_defaults(l.p);
	if (strlen(copy) < len)
		report(&l, 0, "has a NUL byte; expected text");
	else
		check_text(&l, copy);
	if (!l.errors)
		read_config(&l, copy);
	ret = l.no_memory ? -ENOMEM : l.errors ? -EINVAL : 0;
out:
	free(copy);
	if (ret == -ENOMEM && err)
		fprintf(err, "%s: out of memory\n", name);
	if (ret)
		policy_put(l.p);
	else
		*out = l.p;
	return ret;
}

/* The contents of a stream, up to `max` bytes and one more; NULL and errno on error. */
static char *slurp(FILE *in, size_t max, size_t *len)
{
	char *text = malloc(max + 1);

	if (!text)
		return NULL;
	*len = fread(text, 1, max + 1, in);
	if (ferror(in)) {
		free(text);
		return NULL;
	}
	return text;
}

int policy_load(const char *path, struct policy **out, FILE *err)
{
	bool is_stdin = !strcmp(path, "-");
	FILE *in = is_stdin ? stdin : fopen(path, "re");
	const char *name = is_stdin ? "<stdin>" : path;
	char *text = NULL;
	size_t len;
	int ret;

	if (in)
		text = slurp(in, FILE_MAX, &len);
	if (!text) {
		ret = errno ? -errno : -EIO;
		if (err)
			fprintf(err, "%s: cannot read the policy: %s; expected a readable file\n",
				name, strerror(-ret));
	} else if (len > FILE_MAX) {
		ret = -EINVAL;
		if (err)
			fprintf(err, "%s: larger than a policy may be; expected at most %u bytes\n",
				name, FILE_MAX);
	} else {
		ret = policy_load_text(name, text, len, out, err);
	}
	free(text);
	if (in && !is_stdin)
		fclose(in);
	return ret;
}
