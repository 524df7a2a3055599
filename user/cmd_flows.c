// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* seam flows: lists flows. */
#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "cmd.h"
#include "policy_value.h"
#include "show.h"

static const char help[] =
	"usage: seam flows [OPTIONS]\n"
	"\n"
	"Lists the flows of an instance, one per line.\n"
	"\n"
	"  -s, --state STATE    only flows in this state (may be repeated)\n"
	"  -a, --addr ADDR      only flows with an end in this address or prefix; with\n"
	"                       a port, that end's: 10.1.0.0/16, 10.1.2.3:80, [fd00::1]:80\n"
	"  -p, --port N         only flows with this port at either end\n"
	"  -r, --rule N|NAME    only flows this rule decided; 0 is the default\n"
	"      --all            with connections whose handshake is not complete\n"
	"      --sort KEY       id (the default), age, idle or bytes; largest first but for id\n"
	"  -n, --number MAX     at most so many, after sorting\n"
	"  -i, --instance NAME  the instance (default: default)\n"
	"  -j, --json           write JSON, an array\n"
	"  -h, --help           this text\n"
	"\n"
	"Exit status: 0 listed, 1 not permitted or broken, 2 wrong usage, 3 no such instance.\n";

#define NO_RULE (~0U)

enum sort_key {
	SORT_ID,
	SORT_AGE,
	SORT_IDLE,
	SORT_BYTES,
};

/* What is listed of a flow, whether it has completed its handshake or not. */
struct row {
	struct flow_key key;
	__u64 id, created_ns, seen_ns;
	__u64 packets[2], bytes[2];
	__u16 rule, policy;
	__u8 state, reason;
};

struct query {
	const char *instance;
	bool json, all;
	__u32 states;		 /* bits 1 << enum flow_state, 0: any */
	bool by_addr;
	struct policy_prefix addr;
	__u16 addr_port;	 /* host order, 0: any */
	__u16 port;
	const char *rule;	 /* NULL: any */
	enum sort_key sort;
	unsigned long long max;	 /* 0: no limit */
};

struct list {
	const struct query *q;
	const json_t *status;
	unsigned int rule;	 /* number asked for; NO_RULE: any, or by name */
	struct row *v;
	size_t n, room;
	bool no_memory;
};

static bool in_prefix(const __u32 addr[4], const struct policy_prefix *p)
{
	for (int i = 0; i < 4; i++)
		if ((addr[i] & p->mask[i]) != p->addr[i])
			return false;
	return true;
}

static bool end_matches(const struct query *q, const __u32 addr[4], __u16 port)
{
	return in_prefix(addr, &q->addr) && (!q->addr_port || ntohs(port) == q->addr_port);
}

static bool rule_matches(const struct list *l, const struct row *r)
{
	const char *name;

	if (!l->q->rule)
		return true;
	if (l->rule != NO_RULE)
		return r->rule == l->rule;
	name = client_rule_name(l->status, r->rule, r->policy);
	return name && !strcmp(name, l->q->rule);
}

static bool wanted(const struct list *l, const struct row *r)
{
	const struct query *q = l->q;

	if (q->states && !(q->states & (1U << r->state)))
		return false;
	if (q->by_addr && !end_matches(q, r->key.client, r->key.client_port) &&
	    !end_matches(q, r->key.server, r->key.server_port))
		return false;
	if (q->port && ntohs(r->key.client_port) != q->port &&
	    ntohs(r->key.server_port) != q->port)
		return false;
	return rule_matches(l, r);
}

/* True to stop: no memory. */
static bool add(struct list *l, const struct row *r)
{
	struct row *v;

	if (!wanted(l, r))
		return false;
	if (l->n == l->room) {
		l->room = l->room ? l->room * 2 : 1024;
		v = realloc(l->v, l->room * sizeof(*v));
		if (!v) {
			l->no_memory = true;
			return true;
		}
		l->v = v;
	}
	l->v[l->n++] = *r;
	return false;
}

static bool add_flow(const void *key, const void *value, void *arg)
{
	const struct flow *f = value;
	struct row r = {
		.id = f->id, .created_ns = f->created_ns, .seen_ns = f->seen_ns,
		.rule = f->rule, .policy = f->policy,
		.state = f->state < FLOW_STATE_MAX ? f->state : FLOW_NONE, .reason = f->reason,
		.packets = { f->end[0].packets, f->end[1].packets },
		.bytes = { f->end[0].bytes, f->end[1].bytes },
	};

	memcpy(&r.key, key, sizeof(r.key));
	return add(arg, &r);
}

static bool add_embryo(const void *key, const void *value, void *arg)
{
	const struct embryo *e = value;
	struct row r = {
		.id = e->id, .created_ns = e->created_ns, .rule = e->rule, .policy = e->policy,
		.state = FLOW_HANDSHAKE, .reason = e->why_not ? e->why_not : SEAM_R_NEW,
		.packets = { !!e->end[0].seen_ns, !!e->end[1].seen_ns },
	};

	memcpy(&r.key, key, sizeof(r.key));
	r.seen_ns = e->end[0].seen_ns > e->end[1].seen_ns ? e->end[0].seen_ns : e->end[1].seen_ns;
	return add(arg, &r);
}

static int compare(__u64 a, __u64 b)
{
	return a < b ? -1 : a > b;
}

static int by_id(const void *a, const void *b)
{
	return compare(((const struct row *)a)->id, ((const struct row *)b)->id);
}

static int by_age(const void *a, const void *b)
{
	return compare(((const struct row *)a)->created_ns, ((const struct row *)b)->created_ns);
}

static int by_idle(const void *a, const void *b)
{
	return compare(((const struct row *)a)->seen_ns, ((const struct row *)b)->seen_ns);
}

static int by_bytes(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return compare(y->bytes[0] + y->bytes[1], x->bytes[0] + x->bytes[1]);
}

static __u64 since(__u64 now, __u64 then)
{
	return then && now > then ? now - then : 0;
}

static json_t *row_json(const struct list *l, const struct row *r, __u64 now)
{
	char start[SHOW_TIME_LEN];
	json_t *out = json_object();

	show_tuple_json(out, r->id, &r->key);
	json_object_set_new(out, "flow",
			    json_pack("{s:I, s:I, s:I, s:I, s:s, s:f, s:f, s:s, s:s}",
				      "pkts_toserver", (json_int_t)r->packets[SEAM_UP],
				      "pkts_toclient", (json_int_t)r->packets[SEAM_DOWN],
				      "bytes_toserver", (json_int_t)r->bytes[SEAM_UP],
				      "bytes_toclient", (json_int_t)r->bytes[SEAM_DOWN], "start",
				      show_time(r->created_ns, start), "age",
				      since(now, r->created_ns) / 1e9, "idle",
				      since(now, r->seen_ns) / 1e9, "state", show_state(r->state),
				      "reason", show_reason(r->reason)));
	json_object_set_new(out, "seam",
			    json_pack("{s:i, s:s*, s:i}", "rule", r->rule, "rule_name",
				      client_rule_name(l->status, r->rule, r->policy), "generation",
				      r->policy));
	return out;
}

static void print_rows(const struct list *l, size_t n, __u64 now)
{
	int client = 6, server = 6, len;
	char a[SHOW_ENDPOINT_LEN], b[SHOW_ENDPOINT_LEN];
	char age[SHOW_SHORT_LEN], idle[SHOW_SHORT_LEN], up[SHOW_SHORT_LEN], down[SHOW_SHORT_LEN];
	const char *name;
	size_t i;

	for (i = 0; i < n; i++) {
		len = strlen(show_endpoint(l->v[i].key.client, l->v[i].key.client_port, a));
		client = len > client ? len : client;
		len = strlen(show_endpoint(l->v[i].key.server, l->v[i].key.server_port, b));
		server = len > server ? len : server;
	}
	printf("%-10s %-9s %-*s %-*s %7s %7s %6s %6s  %-16s %s\n", "ID", "STATE", client, "CLIENT",
	       server, "SERVER", "AGE", "IDLE", "UP", "DOWN", "RULE", "REASON");
	for (i = 0; i < n; i++) {
		const struct row *r = &l->v[i];
		char number[16];

		snprintf(number, sizeof(number), "%u", r->rule);
		name = client_rule_name(l->status, r->rule, r->policy);
		printf("%-10llu %-9s %-*s %-*s %7s %7s %6s %6s  %-16s %s\n",
		       (unsigned long long)r->id, show_state(r->state), client,
		       show_endpoint(r->key.client, r->key.client_port, a), server,
		       show_endpoint(r->key.server, r->key.server_port, b),
		       show_duration(since(now, r->created_ns), age),
		       show_duration(since(now, r->seen_ns), idle),
		       show_bytes(r->bytes[SEAM_UP], up), show_bytes(r->bytes[SEAM_DOWN], down),
		       name ? name : number, show_reason(r->reason));
	}
}

/*
 * An array, one flow per line and one at a time: for a million of them jansson would
 * take gigabytes.
 */
static void print_json(const struct list *l, size_t n, __u64 now)
{
	size_t i;

	putchar('[');
	for (i = 0; i < n; i++) {
		json_t *row = row_json(l, &l->v[i], now);
		char *line = row ? json_dumps(row, JSON_COMPACT | SHOW_JSON) : NULL;

		if (!line) {
			fputs("\nseam flows: out of memory\n", stderr);
			exit(EXIT_FAILED);
		}
		printf("%s\n%s", i ? "," : "", line);
		free(line);
		json_decref(row);
	}
	puts("\n]");
}

static void output(struct list *l)
{
	static int (*const orders[])(const void *, const void *) = {
		[SORT_ID] = by_id, [SORT_AGE] = by_age,
		[SORT_IDLE] = by_idle, [SORT_BYTES] = by_bytes,
	};
	size_t n = l->q->max && l->q->max < l->n ? l->q->max : l->n;
	__u64 now = kern_now();

	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), orders[l->q->sort]);
	if (l->q->json) {
		print_json(l, n, now);
		return;
	}
	print_rows(l, n, now);
	if (n < l->n)
		fprintf(stderr, "seam flows: the first %zu of %zu\n", n, l->n);
}

static bool has_rule(const json_t *status, const char *name)
{
	const char *other;
	json_t *rule;
	size_t i;

	json_array_foreach(json_object_get(status, "rules"), i, rule) {
		other = json_string_value(json_object_get(rule, "name"));
		if (other && !strcmp(other, name))
			return true;
	}
	return false;
}

/* Looks up what --rule asks for; false: no such rule, and the user was told. */
static bool wanted_rule(struct list *l)
{
	unsigned long long number;
	const char *rule = l->q->rule;

	if (!rule)
		return true;
	if (client_number(rule, 0, 0xffff, &number)) {
		l->rule = number;
		return true;
	}
	if (!strcmp(rule, "default")) {
		l->rule = 0;
		return true;
	}
	if (l->status && has_rule(l->status, rule))
		return true;
	fprintf(stderr, l->status ? "seam flows: --rule %s: the policy in force has no such rule; "
				    "`seam status -j` lists them\n" :
				    "seam flows: --rule %s: names are known to a running daemon only; "
				    "give the rule's number\n", rule);
	return false;
}

static int list_flows(const struct query *q)
{
	struct list l = { .q = q, .rule = NO_RULE };
	json_t *status;
	struct kern k;
	int rc, err = 0;

	rc = client_open("flows", q->instance, &k);
	if (rc)
		return rc;
	l.status = status = client_status(q->instance);
	if (!wanted_rule(&l)) {
		kern_close(&k);
		json_decref(status);
		return EXIT_FAILED;
	}
	if (!q->states || q->states & ~(1U << FLOW_HANDSHAKE))
		err = client_each(k.maps.flows, sizeof(struct flow_key), sizeof(struct flow),
				  add_flow, &l);
	if (!err && (q->all || q->states & (1U << FLOW_HANDSHAKE)))
		err = client_each(k.maps.embryos, sizeof(struct flow_key), sizeof(struct embryo),
				  add_embryo, &l);
	kern_close(&k);
	if (err || l.no_memory) {
		fprintf(stderr, "seam flows: reading the flows: %s\n",
			err ? strerror(-err) : "out of memory");
		rc = EXIT_FAILED;
	} else {
		output(&l);
	}
	json_decref(status);
	free(l.v);
	return rc;
}

/* PREFIX, ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT; false if it is none of them. */
static bool parse_addr(const char *arg, struct query *q)
{
	unsigned long long port = 0;
	char text[96], *end, *colon = NULL;

	if (strlen(arg) >= sizeof(text))
		return false;
	strcpy(text, *arg == '[' ? arg + 1 : arg);
	if (*arg == '[') {
		end = strchr(text, ']');
		if (!end)
			return false;
		*end++ = '\0';
		if (*end && *end != ':')
			return false;
		colon = *end ? end : NULL;
	} else if (strchr(text, ':') == strrchr(text, ':')) {
		/* More than one colon is an IPv6 address, which needs brackets for a port. */
		colon = strchr(text, ':');
		if (colon)
			*colon = '\0';
	}
	if (colon && !client_number(colon + 1, 1, 65535, &port))
		return false;
	q->by_addr = true;
	q->addr_port = port;
	return !value_prefix(text, &q->addr);
}

static int bad(const char *option, const char *value, const char *expected)
{
	fprintf(stderr, "seam flows: %s \"%s\": expected %s\n", option, value, expected);
	return EXIT_USAGE;
}

int cmd_flows(int argc, char **argv)
{
	enum { OPT_ALL = 256, OPT_SORT };
	static const struct option options[] = {
		{ "state", required_argument, NULL, 's' },
		{ "addr", required_argument, NULL, 'a' },
		{ "port", required_argument, NULL, 'p' },
		{ "rule", required_argument, NULL, 'r' },
		{ "all", no_argument, NULL, OPT_ALL },
		{ "sort", required_argument, NULL, OPT_SORT },
		{ "number", required_argument, NULL, 'n' },
		{ "instance", required_argument, NULL, 'i' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	static const char *const keys[] = {
		[SORT_ID] = "id", [SORT_AGE] = "age",
		[SORT_IDLE] = "idle", [SORT_BYTES] = "bytes",
	};
	struct query q = { .instance = CLIENT_INSTANCE };
	unsigned long long n;
	size_t i;
	int opt;

	while ((opt = getopt_long(argc, argv, "s:a:p:r:n:i:jh", options, NULL)) != -1) {
		switch (opt) {
		case 's':
			if (show_state_find(optarg) < 0)
				return bad("--state", optarg, show_states());
			q.states |= 1U << show_state_find(optarg);
			break;
		case 'a':
			if (!parse_addr(optarg, &q))
				return bad("--addr", optarg,
					   "10.1.2.3, 10.1.0.0/16, 10.1.2.3:80, fd00::/8 or [fd00::1]:80");
			break;
		case 'p':
			if (!client_number(optarg, 1, 65535, &n))
				return bad("--port", optarg, "a number from 1 to 65535");
			q.port = n;
			break;
		case 'r':
			q.rule = optarg;
			break;
		case OPT_ALL:
			q.all = true;
			break;
		case OPT_SORT:
			for (i = 0; i < sizeof(keys) / sizeof(keys[0]) && strcmp(keys[i], optarg);)
				i++;
			if (i == sizeof(keys) / sizeof(keys[0]))
				return bad("--sort", optarg, "id, age, idle or bytes");
			q.sort = i;
			break;
		case 'n':
			if (!client_number(optarg, 1, ~0ULL, &q.max))
				return bad("-n", optarg, "a number from 1");
			break;
		case 'i':
			q.instance = optarg;
			break;
		case 'j':
			q.json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_OK;
		default:
			fputs(help, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fputs(help, stderr);
		return EXIT_USAGE;
	}
	return list_flows(&q);
}
