// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * seam check: is a policy valid, and what would it do with a flow?
 */
#include "address.h"
#include "cmd.h"
#include "header_edits.h"
#include "policy.h"
#include "policy_value.h"
#include "show.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void usage(FILE *out)
{
	fputs("usage: seam check [-j] [--explain FACTS] FILE\n"
	      "\n"
	      "Reads a policy as the daemon would and reports every error in it. FILE may be\n"
	      "\"-\" for standard input.\n"
	      "\n"
	      "  -e, --explain FACTS  show which rule decides a flow, and why\n"
	      "  -j, --json           write JSON\n"
	      "  -h, --help           this text\n"
	      "\n"
	      "FACTS are NAME=VALUE, separated by spaces; what is left out is not known, but for\n"
	      "what a client can only have sent or not:\n"
	      "  client=ADDRESS server=ADDRESS client_port=PORT server_port=PORT (or port=PORT)\n"
	      "  proto=tls|http|other server_first=yes|no\n"
	      "  sni=NAME alpn=PROTOCOL,... (a TLS client: without sni=, it sent no name; an empty alpn=:\n"
	      "                              it offered no protocol; without alpn=, that is not known)\n"
	      "  host=NAME (an HTTP/1 client; without host= it sent none)\n"
	      "\n"
	      "Exit status: 0 the policy is valid, 1 it has errors or cannot be read, 2 usage.\n",
	      out);
}

/* ---- facts ---- */

struct scenario {
	struct policy_facts facts;
	struct flow_record rec;
};

static bool fact_address(const char *v, __u32 addr[4], struct policy_facts *f, unsigned int bit)
{
	struct policy_prefix prefix;

	if (strchr(v, '/') || value_prefix(v, &prefix))
		return false;
	memcpy(addr, prefix.addr, sizeof(prefix.addr));
	f->missing &= ~bit;
	return true;
}

static bool fact_port(const char *v, __u16 *port, struct policy_facts *f, unsigned int bit)
{
	struct policy_ports ports;

	if (value_ports(v, &ports) || ports.lo != ports.hi)
		return false;
	*port = htons(ports.lo);
	f->missing &= ~bit;
	return true;
}

/* A second fact must not name another protocol than the first. */
static bool fact_protocol(const char *v, struct policy_facts *f)
{
	bool tls = !strcmp(v, "tls"), http = !strcmp(v, "http");

	if ((f->tls_known && tls != (f->tls == CLASSIFY_YES)) ||
	    (f->http_known && http != (f->http == CLASSIFY_YES)))
		return false;
	f->tls_known = true;
	f->http_known = true;
	f->tls = tls ? CLASSIFY_YES : CLASSIFY_NO;
	f->http = http ? CLASSIFY_YES : CLASSIFY_NO;
	return true;
}

static bool fact_server_first(const char *v, struct policy_facts *f)
{
	f->server_first_known = true;
	f->server_first = !strcmp(v, "yes");
	return f->server_first || !strcmp(v, "no");
}

/* NULL, or why NAME=VALUE is not a fact: text to put after it. */
static const char *set_fact(struct scenario *sc, const char *name, const char *v)
{
	static const char address[] = "is not one IPv4 or IPv6 address",
			  port[] = "is not one port, 1 to 65535",
			  other[] = "says another protocol than a fact before it";
	struct policy_facts *f = &sc->facts;
	const char *why;

	if (!strcmp(name, "client"))
		return fact_address(v, f->key.client, f, FACT_NO_CLIENT) ? NULL : address;
	if (!strcmp(name, "server"))
		return fact_address(v, f->key.server, f, FACT_NO_SERVER) ? NULL : address;
	if (!strcmp(name, "client_port"))
		return fact_port(v, &f->key.client_port, f, FACT_NO_CLIENT_PORT) ? NULL : port;
	if (!strcmp(name, "port") || !strcmp(name, "server_port"))
		return fact_port(v, &f->key.server_port, f, FACT_NO_SERVER_PORT) ? NULL : port;
	if (!strcmp(name, "proto")) {
		if (strcmp(v, "tls") && strcmp(v, "http") && strcmp(v, "other"))
			return "is none of tls, http, other";
		return fact_protocol(v, f) ? NULL : other;
	}
	if (!strcmp(name, "server_first"))
		return fact_server_first(v, f) ? NULL : "is neither yes nor no";
	if (!strcmp(name, "sni")) {
		why = *v == '*' ? "is not one name" : value_host(v, sc->rec.tls.sni);
		if (why)
			return why;
		return fact_protocol("tls", f) ? NULL : other;
	}
	if (!strcmp(name, "host")) {
		why = *v == '*' ? "is not one name or address" : value_http_host(v, sc->rec.http.host);
		if (why)
			return why;
		return fact_protocol("http", f) ? NULL : other;
	}
	if (!strcmp(name, "alpn")) {
		if (strlen(v) >= sizeof(sc->rec.tls.alpn))
			return "is longer than any list of protocols";
		strcpy(sc->rec.tls.alpn, v);
		f->missing &= ~FACT_NO_ALPN;
		return fact_protocol("tls", f) ? NULL : other;
	}
	return "is no fact; `seam check --help` lists them";
}

static int parse_facts(const char *text, struct scenario *sc)
{
	char *copy = strdup(text), *rest = copy, *word;
	struct policy_facts *f = &sc->facts;
	int ret = -EINVAL;

	if (!copy)
		return -ENOMEM;
	memset(sc, 0, sizeof(*sc));
	f->rec = &sc->rec;
	f->missing = FACT_NO_CLIENT | FACT_NO_SERVER | FACT_NO_CLIENT_PORT | FACT_NO_SERVER_PORT |
		     FACT_NO_ALPN;
	while ((word = strsep(&rest, " \t\n"))) {
		char *value = strchr(word, '=');
		const char *why;

		if (!*word)
			continue;
		if (value)
			*value++ = '\0';
		why = value ? set_fact(sc, word, value) : "is not NAME=VALUE";
		if (why) {
			fprintf(stderr, "seam check: --explain: \"%s%s%s\" %s\n", word, value ? "=" : "",
				value ?: "", why);
			goto out;
		}
	}
	if (f->tls_known && !f->server_first_known)
		f->server_first_known = true; /* then the client's bytes came first */
	if (f->server_first && (f->tls == CLASSIFY_YES || f->http == CLASSIFY_YES)) {
		fputs("seam check: --explain: with server_first=yes there is no TLS or HTTP/1: "
		      "their clients speak first\n", stderr);
		goto out;
	}
	ret = 0;
out:
	free(copy);
	return ret;
}

/* What the flow has for a condition, as part of a sentence. */
static void describe_fact(enum policy_condition cond, const struct policy_facts *f, char *out,
			  size_t size)
{
	const __u32 *addr = cond == COND_CLIENT ? f->key.client : f->key.server;
	char text[ADDRESS_LEN];
	const char *name = "";

	switch (cond) {
	case COND_CLIENT:
	case COND_SERVER:
		snprintf(out, size, "%s is %s", policy_condition_name(cond), address_text(addr, text));
		return;
	case COND_CLIENT_PORT:
		snprintf(out, size, "client_port is %u", ntohs(f->key.client_port));
		return;
	case COND_SERVER_PORT:
		snprintf(out, size, "server_port is %u", ntohs(f->key.server_port));
		return;
	case COND_SERVER_FIRST:
		snprintf(out, size, "the %s speaks first", f->server_first ? "server" : "client");
		return;
	case COND_UNRECOGNISED:
		snprintf(out, size, "the protocol is %s",
			 f->tls == CLASSIFY_YES	 ? "TLS" :
			 f->http == CLASSIFY_YES ? "HTTP/1" :
						   "neither TLS nor HTTP/1");
		return;
	case COND_SNI:
		name = f->rec->tls.sni;
		break;
	case COND_ALPN:
		name = f->rec->tls.alpn;
		break;
	case COND_HOST:
		name = f->rec->http.host;
		break;
	case COND_NONE:
		break;
	}
	if (*name)
		snprintf(out, size, "%s is \"%s\"", policy_condition_name(cond), name);
	else
		snprintf(out, size, "there is no %s", policy_condition_name(cond));
}

/* ---- explaining ---- */

static json_t *walk_rules(const struct policy *p, const struct policy_facts *f, bool json)
{
	json_t *walk = json_array();

	for (size_t i = 0; i < p->n_rules; i++) {
		const struct policy_rule *r = &p->rules[i];
		enum policy_condition why;
		enum policy_match m = policy_rule_match(r, f, &why);
		static const char *const results[][2] = {
			[MATCH_NO] = { "not matched", "not_matched" },
			[MATCH_YES] = { "matched", "matched" },
			[MATCH_UNKNOWN] = { "needs", "needs" },
		};
		char fact[320] = "";

		if (m == MATCH_NO)
			describe_fact(why, f, fact, sizeof(fact));
		json_array_append_new(walk, json_pack("{s:i, s:s, s:i, s:s, s:s*, s:o*}", "rule",
						      r->number, "name", r->name, "line", r->line,
						      "result", results[m][1], "condition",
						      why ? policy_condition_name(why) : NULL,
						      "because", *fact ? show_text(fact) : NULL));
		if (!json)
			printf("rule %u \"%s\" (%s:%u): %s%s%s\n", r->number, r->name, p->path,
			       r->line, results[m][0],
			       m == MATCH_NO ? " because " : m == MATCH_UNKNOWN ? " " : "",
			       m == MATCH_NO ? fact : policy_condition_name(why));
		if (m != MATCH_NO)
			break;
	}
	return walk;
}

/* The rule at whose line of the kernel's table the SYN stops, as far as can be told. */
static const struct policy_rule *syn_rule(const struct policy *p, const struct policy_facts *f,
					  enum policy_condition *unknown)
{
	*unknown = COND_NONE;
	for (size_t i = 0; i < p->n_rules; i++) {
		if (policy_rule_match_syn(&p->rules[i], f, unknown) != MATCH_NO)
			return &p->rules[i];
	}
	*unknown = COND_NONE;
	return &p->default_rule;
}

/* What becomes of the message heads of one direction; NULL: they stay as they are. */
static json_t *explain_heads(const struct header_edits *e, const char *which, bool json)
{
	json_t *without = json_array(), *with = json_array();

	for (size_t i = 0; e && i < e->n_remove; i++) {
		json_array_append_new(without, json_string(e->remove[i]));
		if (!json)
			printf("edits: %s without %s\n", which, e->remove[i]);
	}
	for (size_t i = 0; e && i < e->n_add; i++) {
		json_array_append_new(with, json_pack("{s:s, s:o}", "name", e->add[i].name, "value",
						      show_text(e->add[i].value)));
		if (!json)
			printf("edits: %s with %s: %s\n", which, e->add[i].name, e->add[i].value);
	}
	if (e)
		return json_pack("{s:o, s:o}", "without", without, "with", with);
	json_decref(without);
	json_decref(with);
	return NULL;
}

/* What becomes of bytes that a rule replaces; NULL: it replaces none. */
static json_t *explain_replacements(const struct replacements *all, bool json)
{
	static const char *const directions[] = {
		[1 << SEAM_UP] = "up", [1 << SEAM_DOWN] = "down", [1 << SEAM_UP | 1 << SEAM_DOWN] = "both",
	};
	json_t *list = all ? json_array() : NULL;

	for (size_t i = 0; all && i < all->n; i++) {
		const struct replacement *r = &all->at[i];

		json_array_append_new(list, json_pack("{s:o, s:o, s:s}", "find", show_text(r->find), "with",
						      show_text(r->with), "direction", directions[r->dirs]));
		if (!json)
			printf("edits: %zu other bytes for each \"%s\", %s\n", r->with_len, r->find,
			       r->dirs == 1 << SEAM_UP	 ? "to the server" :
			       r->dirs == 1 << SEAM_DOWN ? "to the client" :
							   "both ways");
	}
	return list;
}

/* What the rule changes in a flow; NULL: nothing. */
static json_t *explain_edits(const struct policy_rule *r, bool json)
{
	static const char *const versions[] = { [PROXY_NONE] = NULL, [PROXY_V1] = "v1", [PROXY_V2] = "v2" };
	const char *proxy = versions[r->setup.proxy];

	if (!proxy && !r->setup.replacements && !r->setup.request && !r->setup.response)
		return NULL;
	if (proxy && !json)
		printf("edits: a PROXY protocol header, %s, in front of what the client sends\n", proxy);
	return json_pack("{s:s*, s:o*, s:o*, s:o*}", "proxy", proxy, "replace",
			 explain_replacements(r->setup.replacements, json), "request",
			 explain_heads(r->setup.request, "requests", json), "response",
			 explain_heads(r->setup.response, "responses", json));
}

/* "after 10485760 bytes, 30000 ms or at request 3, and again after each merge" */
static void describe_after(const struct policy_after *a, char *out, size_t size)
{
	const char *sep = " after ";
	size_t n = 0;

	*out = '\0';
	if (!a->bytes)
		n += snprintf(out + n, size - n, " as soon as the handshake is complete");
	else if (a->bytes != AFTER_NEVER)
		n += snprintf(out + n, size - n, " after %llu bytes", (unsigned long long)a->bytes);
	if (n)
		sep = " or after ";
	if (a->time_ns)
		n += snprintf(out + n, size - n, "%s%llu ms", sep,
			      (unsigned long long)a->time_ns / 1000000);
	if (a->request)
		n += snprintf(out + n, size - n, "%s at the client's request %u", n ? " or" : "",
			      a->request);
	snprintf(out + n, size - n, "%s", a->again ? ", and again after each merge" : "");
}

static json_t *after_json(const struct policy_after *a)
{
	json_t *out = json_pack("{s:b}", "again", a->again);

	if (a->bytes != AFTER_NEVER)
		json_object_set_new(out, "bytes", json_integer((json_int_t)a->bytes));
	if (a->time_ns)
		json_object_set_new(out, "time", json_real(a->time_ns / 1e9));
	if (a->request)
		json_object_set_new(out, "request", json_integer(a->request));
	return out;
}

static json_t *explain(const struct policy *p, const struct policy_facts *f, bool json)
{
	json_t *walk = walk_rules(p, f, json), *decision = NULL;
	enum policy_condition unknown;
	const struct policy_rule *at_syn = syn_rule(p, f, &unknown);
	const struct policy_rule *r;
	char after[160];
	const char *when;
	json_t *edits;
	bool need_more, in_kernel = policy_kernel_decides(p, f);

	r = policy_decide(p, f, &need_more);
	if (r)
		decision = json_pack("{s:i, s:s, s:s}", "rule", r->number, "name", r->name,
				     "action", policy_action_name(r->action));
	if (r && policy_rule_later(r))
		json_object_set_new(decision, "after", after_json(&r->after));
	if (!json && !r)
		puts("decision: none yet");
	else if (!json && r->number)
		printf("decision: %s, by rule %u \"%s\"\n", policy_action_name(r->action), r->number,
		       r->name);
	else if (!json)
		printf("decision: %s, the default\n", policy_action_name(r->action));
	edits = r ? explain_edits(r, json) : NULL;
	if (edits)
		json_object_set_new(decision, "edits", edits);
	if (!json && r && policy_rule_later(r)) {
		describe_after(&r->after, after, sizeof(after));
		printf("inspected:%s\n", after);
	}

	if (unknown) {
		when = "unknown";
		if (!json)
			printf("decided: cannot be told without %s\n",
			       policy_condition_name(unknown));
	} else if (policy_rule_asks(at_syn)) {
		when = "first_payload";
		if (!json)
			printf("decided: the first payload is needed, for rule %u \"%s\"%s\n",
			       at_syn->number, at_syn->name,
			       in_kernel ? "; in the kernel, if it comes in one packet, else by the daemon" :
					   "; by the daemon");
	} else {
		when = "syn";
		if (!json)
			puts("decided: in the kernel, at the SYN");
	}
	return json_pack("{s:o, s:o, s:s, s:s}", "walk", walk, "decision",
			 decision ? decision : json_null(), "decided_at", when, "decided_by",
			 unknown ? "unknown" :
			 in_kernel || !policy_rule_asks(at_syn) ? "kernel" :
								  "daemon");
}

/* ---- the verb ---- */

/* The messages of a failed policy_load(), one string a line. */
static void print_json_errors(const char *file, char *messages)
{
	json_t *list = json_array();
	char *line;

	while ((line = strsep(&messages, "\n"))) {
		if (*line)
			json_array_append_new(list, show_text(line));
	}
	/* As the messages and the policy itself name standard input. */
	show_print(json_pack("{s:o, s:b, s:o}", "file", show_text(strcmp(file, "-") ? file : "<stdin>"), "ok", 0,
			     "errors", list));
}

static int check(const char *file, const struct scenario *sc, bool json)
{
	static struct seam_rule lines[SEAM_RULES_MAX];
	char *messages = NULL;
	size_t size;
	FILE *err = json ? open_memstream(&messages, &size) : stderr;
	struct policy *p;
	json_t *explained = NULL;
	int ret, n;
	size_t i;

	if (!err) {
		fprintf(stderr, "seam check: out of memory\n");
		return EXIT_FAILED;
	}
	ret = policy_load(file, &p, err);
	if (json)
		fclose(err);
	if (ret) {
		if (json)
			print_json_errors(file, messages);
		free(messages);
		return EXIT_FAILED;
	}
	free(messages);

	n = policy_compile(p, lines, SEAM_RULES_MAX, 0);
	if (!json && p->mode == MODE_WIRE)
		for (i = 0; i < p->client.n; i++)
			printf("wire: %s to %s\n", p->client.v[i], p->server.v[i]);
	if (!json)
		printf("%s: ok, %zu rules, %d kernel lines\n", p->path, p->n_rules, n);
	if (sc)
		explained = explain(p, &sc->facts, json);
	if (json)
		show_print(json_pack("{s:o, s:b, s:s, s:i, s:i, s:o*}", "file", show_text(p->path), "ok", 1,
				     "mode", policy_mode_name(p->mode), "rules", (int)p->n_rules,
				     "kernel_lines", n, "explain", explained));
	else
		json_decref(explained);
	policy_put(p);
	return EXIT_OK;
}

int cmd_check(int argc, char **argv)
{
	static const struct option options[] = {
		{ "explain", required_argument, NULL, 'e' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *facts = NULL;
	struct scenario sc;
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "e:jh", options, NULL)) != -1) {
		switch (c) {
		case 'e':
			facts = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			usage(stdout);
			return EXIT_OK;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 1) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (facts && parse_facts(facts, &sc))
		return EXIT_USAGE;
	return check(argv[optind], facts ? &sc : NULL, json);
}
