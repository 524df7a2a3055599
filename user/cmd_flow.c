// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* seam flow: everything about one flow, even after it has ended. */
#include <arpa/inet.h>
#include <getopt.h>
#include <net/if.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>

#include "client.h"
#include "cmd.h"
#include "record.h"
#include "seam/tsval.h"
#include "show.h"

static const char help[] =
	"usage: seam flow [-j] [-i NAME] ID\n"
	"\n"
	"Shows everything that is known of one flow: its state and why, what its ends agreed\n"
	"on, what the trackers saw, its last transitions and what inspectors found out. `seam\n"
	"flows` lists the IDs. Of a flow that has ended the last part may still be there.\n"
	"\n"
	"  -i, --instance NAME  the instance (default: default)\n"
	"  -j, --json           write JSON\n"
	"  -h, --help           this text\n"
	"\n"
	"Exit status: 0 shown, 1 not permitted or broken, 2 wrong usage, 3 no such instance or\n"
	"flow.\n";

/* Everything that was found. */
struct found {
	__u64 id;
	bool flow, embryo, history, record;
	struct flow_key key;
	struct flow f;
	struct embryo e;
	struct history h;
	struct seam_record rec;
	json_t *status, *record_reply;
};

static int find(const char *instance, const struct kern *k, struct found *o)
{
	int err = client_find_flow(k, o->id, &o->key, &o->f);

	o->flow = !err;
	if (err == -ENOENT) {
		err = client_find_embryo(k, o->id, &o->key, &o->e);
		o->embryo = !err;
	}
	if (err && err != -ENOENT)
		return err;
	o->history = !bpf_map_lookup_elem(k->maps.history, &o->id, &o->h);
	o->status = client_status(instance);
	if (o->status && o->flow)
		o->record_reply = client_request(instance, json_pack("{s:s, s:I}", "cmd", "record",
								     "id", (json_int_t)o->id));
	/* Only after asking the daemon, which puts it there when it has done with the flow. */
	o->record = !bpf_map_lookup_elem(k->maps.records, &o->id, &o->rec);
	return 0;
}

/* The inspectors' findings: from the live connection, or what was kept of an earlier split. */
static json_t *record_of(const struct found *o)
{
	json_t *out = json_object_get(o->record_reply, "record");

	if (!o->record || json_object_size(out))
		return json_incref(out);
	out = json_object();
	record_json(&o->rec, o->flow && o->f.state == FLOW_BLOCKED, out);
	return out;
}

/* The i-th transition that is kept, oldest first. */
static const struct transition *history_at(const struct history *h, __u32 i)
{
	__u32 first = h->count > HISTORY_MAX ? h->count - HISTORY_MAX : 0;

	return first + i < h->count ? &h->at[(first + i) % HISTORY_MAX] : NULL;
}

static const char *iface(const struct found *o, __u32 ifindex, char name[IF_NAMESIZE])
{
	json_t *ports = json_object_get(o->status, "ports"), *port;
	size_t i;

	json_array_foreach(ports, i, port)
		if (json_integer_value(json_object_get(port, "ifindex")) == (json_int_t)ifindex)
			return json_string_value(json_object_get(port, "name"));
	if (!if_indextoname(ifindex, name))
		snprintf(name, IF_NAMESIZE, "index %u", ifindex);
	return name;
}

/* ---- JSON ---- */

static bool is_split(__u8 state)
{
	return state >= FLOW_SPLITTING && state <= FLOW_MERGING;
}

/* Bytes of an end that its leg has acknowledged and the other end has not. */
static __u32 backlog(const struct flow *f, int end)
{
	const struct flow_end *from = &f->end[end], *to = &f->end[!end];
	__s32 bytes = from->leg_ack + from->seq_delta - to->ack;

	return is_split(f->state) && bytes > 0 ? bytes : 0;
}

static json_t *end_json(const struct found *o, int i)
{
	const struct flow_end *e = &o->f.end[i];
	char name[IF_NAMESIZE], flags[SHOW_FLAGS_LEN];
	json_t *out = json_object();
	const struct {
		const char *name;
		json_int_t value;
	} fields[] = {
		{ "isn", e->isn },	       { "nxt", e->nxt },
		{ "ack", e->ack },	       { "edge", e->edge },
		{ "told_nxt", e->told_nxt },   { "told_ack", e->told_ack },
		{ "told_edge", e->told_edge }, { "tsval", e->tsval },
		{ "told_tsval", e->told_tsval }, { "ts_delta", (__s32)e->ts_delta },
		{ "seq_delta", (__s32)e->seq_delta },
		{ "flight", e->flight },       { "backlog", backlog(&o->f, i) },
		{ "backlog_max", e->backlog_max },
		{ "mss", e->mss },	       { "seg_max", e->seg_max },
		{ "wscale", e->wscale },       { "ttl", e->ttl },
		{ "tos", e->tos },	       { "flow_label", ntohl(e->flow_label) },
		{ "keepalive_s", e->keepalive_s }, { "packets", (json_int_t)e->packets },
		{ "bytes", (json_int_t)e->bytes },
	};

	for (size_t n = 0; n < sizeof(fields) / sizeof(fields[0]); n++)
		json_object_set_new(out, fields[n].name, json_integer(fields[n].value));
	if (e->flags & END_F_FIN)
		json_object_set_new(out, "fin", json_integer(e->fin));
	json_object_set_new(out, "iface", json_string(iface(o, e->ifindex, name)));
	json_object_set_new(out, "flags",
			    show_words_json(show_end_flags(e->flags, flags)));
	return out;
}

/* Whether it is still to be split, as `after` of its rule says. */
static bool is_armed(const struct flow *f)
{
	return (f->flags & FLOW_F_ARMED) &&
	       (f->state == FLOW_MONITORED || f->state == FLOW_MERGED);
}

/* Bytes, nanoseconds left until then; 0: it is due with the next payload. */
static __u64 bytes_left(const struct flow *f)
{
	__u64 now = f->end[SEAM_CLIENT].bytes + f->end[SEAM_SERVER].bytes;

	return f->due_bytes > now ? f->due_bytes - now : 0;
}

static __u64 time_left(const struct flow *f)
{
	__u64 since = f->state == FLOW_MERGED ? f->changed_ns : f->created_ns;
	__u64 due = since + f->after_ms * 1000000ULL, now = kern_now();

	return due > now ? due - now : 0;
}

static json_t *armed_json(const struct flow *f)
{
	json_t *out = json_pack("{s:b}", "again", !!(f->flags & FLOW_F_AGAIN));

	if (f->due_bytes != DUE_NEVER)
		json_object_set_new(out, "bytes", json_integer(bytes_left(f)));
	if (f->after_ms)
		json_object_set_new(out, "time", json_real(time_left(f) / 1e9));
	if (f->after_request)
		json_object_set_new(out, "request", json_integer(f->after_request));
	return out;
}

static json_t *flow_json(const struct found *o)
{
	const struct flow *f = &o->f;
	char when[SHOW_TIME_LEN], flags[SHOW_FLAGS_LEN];
	const char *name = client_rule_name(o->status, f->rule, f->policy);
	__u64 now = kern_now();
	json_t *out = json_object();

	show_tuple_json(out, o->id, &o->key);
	json_object_set_new(out, "state", json_string(show_state(f->state)));
	json_object_set_new(out, "reason", json_string(show_reason(f->reason)));
	json_object_set_new(out, "reason_text", json_string(show_reason_text(f->reason)));
	if (f->why_not)
		json_object_set_new(out, "why_not_split", json_string(show_reason(f->why_not)));
	json_object_set_new(out, "rule", json_integer(f->rule));
	if (name)
		json_object_set_new(out, "rule_name", json_string(name));
	json_object_set_new(out, "generation", json_integer(f->policy));
	json_object_set_new(out, "start", json_string(show_time(f->created_ns, when)));
	json_object_set_new(out, "changed", json_string(show_time(f->changed_ns, when)));
	json_object_set_new(out, "age", json_real((now - f->created_ns) / 1e9));
	json_object_set_new(out, "idle", json_real((now - f->seen_ns) / 1e9));
	json_object_set_new(out, "rtt_us", json_integer(flow_rtt_us(f)));
	json_object_set_new(out, "flags",
			    show_words_json(show_flow_flags(f->flags, flags)));
	json_object_set_new(out, "hold",
			    json_pack("{s:I, s:I, s:I}", "packets_in", (json_int_t)f->held_in,
				      "packets_out", (json_int_t)f->held_out, "bytes",
				      (json_int_t)f->held_bytes));
	if (is_armed(f))
		json_object_set_new(out, "armed", armed_json(f));
	json_object_set_new(out, "client", end_json(o, SEAM_CLIENT));
	json_object_set_new(out, "server", end_json(o, SEAM_SERVER));
	return out;
}

static json_t *embryo_json(const struct found *o)
{
	char when[SHOW_TIME_LEN];
	json_t *out = json_object();

	show_tuple_json(out, o->id, &o->key);
	json_object_set_new(out, "state", json_string(show_state(FLOW_HANDSHAKE)));
	json_object_set_new(out, "rule", json_integer(o->e.rule));
	json_object_set_new(out, "generation", json_integer(o->e.policy));
	json_object_set_new(out, "action", json_string(policy_action_name(o->e.action)));
	json_object_set_new(out, "start", json_string(show_time(o->e.created_ns, when)));
	if (o->e.why_not)
		json_object_set_new(out, "why_not_split", json_string(show_reason(o->e.why_not)));
	json_object_set_new(out, "answered", json_boolean(o->e.end[SEAM_SERVER].seen_ns));
	return out;
}

static void print_json(const struct found *o)
{
	json_t *out = o->flow	? flow_json(o) :
		      o->embryo ? embryo_json(o) :
				  json_pack("{s:I, s:s}", "flow_id", (json_int_t)o->id, "state",
					    show_state(FLOW_NONE));
	json_t *history = json_array(), *record = record_of(o);
	json_t *memory = json_object_get(o->record_reply, "leg_memory");
	const struct transition *t;
	__u32 i;

	for (i = 0; o->history && (t = history_at(&o->h, i)); i++)
		json_array_append_new(history, show_transition_json(t));
	json_object_set_new(out, "history", history);
	json_object_set_new(out, "transitions", json_integer(o->history ? o->h.count : 0));
	if (record)
		json_object_set_new(out, "record", record);
	if (memory)
		json_object_set(out, "leg_memory", memory);
	show_print(out);
}

/* ---- text ---- */

/* A sequence number: relative to the initial one, and absolute. */
static const char *seq(__u32 value, __u32 isn, char buf[40])
{
	snprintf(buf, 40, "%u (%u)", value - isn, value);
	return buf;
}

static void print_pair(const char *what, const char *client, const char *server)
{
	printf("  %-24s %-28s %s\n", what, client, server);
}

static void print_seq(const char *what, __u32 c, __u32 c_isn, __u32 s, __u32 s_isn)
{
	char a[40], b[40];

	print_pair(what, seq(c, c_isn, a), seq(s, s_isn, b));
}

static void print_num(const char *what, long long c, long long s)
{
	char a[24], b[24];

	snprintf(a, sizeof(a), "%lld", c);
	snprintf(b, sizeof(b), "%lld", s);
	print_pair(what, a, b);
}

static const char *clock_of(const struct flow_end *e, char buf[64])
{
	__u64 span = e->tsval_ns - e->tsval0_ns;

	if (span / 1000 < TSVAL_MEASURE_US)
		snprintf(buf, 64, "not measured yet");
	else
		snprintf(buf, 64, "%.1f ticks/s", (__u32)(e->tsval - e->tsval0) * 1e9 / span);
	return buf;
}

static void print_ends(const struct found *o)
{
	const struct flow *f = &o->f;
	const struct flow_end *c = &f->end[SEAM_CLIENT], *s = &f->end[SEAM_SERVER];
	char a[SHOW_FLAGS_LEN], b[SHOW_FLAGS_LEN], name_a[IF_NAMESIZE], name_b[IF_NAMESIZE];

	print_pair("", "client", "server");
	print_pair("interface", iface(o, c->ifindex, name_a), iface(o, s->ifindex, name_b));
	print_num("packets", c->packets, s->packets);
	print_num("bytes", c->bytes, s->bytes);
	print_num("initial sequence", c->isn, s->isn);
	print_seq("sent up to", c->nxt, c->isn, s->nxt, s->isn);
	print_seq("acknowledges", c->ack, s->isn, s->ack, c->isn);
	print_seq("window reaches", c->edge, s->isn, s->edge, c->isn);
	print_num("window", (__u32)(c->edge - c->ack), (__u32)(s->edge - s->ack));
	if (f->flags & FLOW_F_EDITED)
		print_num("sequence delta", (__s32)c->seq_delta, (__s32)s->seq_delta);
	if (is_split(f->state) || f->flags & FLOW_F_TSDELTA) {
		print_seq("was sent up to", c->told_nxt, s->isn, s->told_nxt, c->isn);
		print_seq("was told ack", c->told_ack, c->isn, s->told_ack, s->isn);
		print_seq("was told window to", c->told_edge, c->isn, s->told_edge, s->isn);
		print_num("was told TSval", c->told_tsval, s->told_tsval);
	}
	print_num("lately in flight, at most", c->flight, s->flight);
	if (c->backlog_max || s->backlog_max) {
		print_num("in the legs", backlog(f, SEAM_CLIENT), backlog(f, SEAM_SERVER));
		print_num("at most", c->backlog_max, s->backlog_max);
	}
	if (c->flags & END_F_FIN || s->flags & END_F_FIN)
		print_pair("FIN at", c->flags & END_F_FIN ? seq(c->fin, c->isn, a) : "-",
			   s->flags & END_F_FIN ? seq(s->fin, s->isn, b) : "-");
	if (f->flags & FLOW_F_TSTAMP) {
		print_num("TSval", c->tsval, s->tsval);
		print_pair("timestamp clock", clock_of(c, a), clock_of(s, b));
	}
	print_num("timestamp delta", (__s32)c->ts_delta, (__s32)s->ts_delta);
	print_num("MSS", c->mss, s->mss);
	print_num("largest segment", c->seg_max, s->seg_max);
	if (f->flags & FLOW_F_WSCALE)
		print_num("window scale", c->wscale, s->wscale);
	print_num("TTL", c->ttl, s->ttl);
	print_num("TOS", c->tos, s->tos);
	if (!(f->flags & FLOW_F_IPV4))
		print_num("flow label", ntohl(c->flow_label), ntohl(s->flow_label));
	if (c->keepalive_s || s->keepalive_s)
		print_num("keepalive, seconds", c->keepalive_s, s->keepalive_s);
	print_pair("flags", show_end_flags(c->flags, a), show_end_flags(s->flags, b));
}

static void print_rule(const struct found *o, unsigned int rule, unsigned int policy)
{
	const char *name = client_rule_name(o->status, rule, policy);

	printf("  rule %u%s%s%s, policy %u\n", rule, name ? " \"" : "", name ? name : "",
	       name ? "\"" : "", policy);
}

static void print_tuple(const struct found *o)
{
	char a[SHOW_ENDPOINT_LEN], b[SHOW_ENDPOINT_LEN];

	printf("flow %llu: %s > %s\n", (unsigned long long)o->id,
	       show_endpoint(o->key.client, o->key.client_port, a),
	       show_endpoint(o->key.server, o->key.server_port, b));
}

static void print_armed(const struct flow *f)
{
	char buf[SHOW_SHORT_LEN];
	const char *sep = "";

	printf("  will be split");
	if (f->due_bytes != DUE_NEVER) {
		printf(" after %s more", show_bytes(bytes_left(f), buf));
		sep = ",";
	}
	if (f->after_ms) {
		printf("%s in %s", sep, show_duration(time_left(f), buf));
		sep = ",";
	}
	if (f->after_request == 1)
		printf("%s with the client's next request", sep);
	else if (f->after_request)
		printf("%s with the client's request after %u more", sep, f->after_request - 1);
	printf("%s\n", f->flags & FLOW_F_AGAIN ? "; and again after it was merged" : "");
}

static void print_flow(const struct found *o)
{
	const struct flow *f = &o->f;
	char a[SHOW_SHORT_LEN], b[SHOW_SHORT_LEN], c[SHOW_SHORT_LEN], d[SHOW_SHORT_LEN];
	char flags[SHOW_FLAGS_LEN];
	__u64 now = kern_now();

	print_tuple(o);
	printf("  %s for %s: %s (%s)\n", show_state(f->state),
	       show_duration(now - f->changed_ns, a), show_reason_text(f->reason),
	       show_reason(f->reason));
	print_rule(o, f->rule, f->policy);
	printf("  age %s, idle %s, round trip in the handshake %s\n",
	       show_duration(now - f->created_ns, b), show_duration(now - f->seen_ns, c),
	       show_duration(flow_rtt_us(f) * 1000ULL, d));
	if (f->flags & FLOW_F_NO_SPLIT)
		printf("  cannot be split: %s (%s)\n", show_reason_text(f->why_not),
		       show_reason(f->why_not));
	printf("  agreed on:%s%s%s%s%s\n", f->flags & FLOW_F_TSTAMP ? " timestamps" : "",
	       f->flags & FLOW_F_SACK ? " SACK" : "",
	       f->flags & FLOW_F_WSCALE ? " window-scaling" : "",
	       f->flags & FLOW_F_ECN ? " ECN" : "",
	       f->flags & (FLOW_F_TSTAMP | FLOW_F_SACK | FLOW_F_WSCALE | FLOW_F_ECN) ? "" : " nothing");
	printf("  flags: %s\n", show_flow_flags(f->flags, flags));
	if (is_armed(f))
		print_armed(f);
	if (f->held_in)
		printf("  hold queue: %u packets in, %u out, %u bytes in it\n", f->held_in,
		       f->held_out, f->held_bytes);
	print_ends(o);
}

static void print_embryo(const struct found *o)
{
	char age[SHOW_SHORT_LEN];

	print_tuple(o);
	printf("  handshake for %s, %s by the server\n",
	       show_duration(kern_now() - o->e.created_ns, age),
	       o->e.end[SEAM_SERVER].seen_ns ? "answered" : "not answered");
	print_rule(o, o->e.rule, o->e.policy);
	printf("  will %s\n", o->e.action == RULE_ASK ? "ask for the first payload" :
						       policy_action_name(o->e.action));
	if (o->e.why_not)
		printf("  cannot be split: %s (%s)\n", show_reason_text(o->e.why_not),
		       show_reason(o->e.why_not));
}

static void print_history(const struct found *o)
{
	const struct transition *t = history_at(&o->h, 0);
	__u64 start = o->flow ? o->f.created_ns : t ? t->time_ns : 0;
	char c_seq[40], c_ack[40], s_seq[40], s_ack[40];
	__u32 c_isn = o->flow ? o->f.end[SEAM_CLIENT].isn : 0;
	__u32 s_isn = o->flow ? o->f.end[SEAM_SERVER].isn : 0;
	__u32 i;

	printf("history: %u transitions%s\n", o->h.count,
	       o->h.count > HISTORY_MAX ? ", the last of them" : "");
	for (i = 0; (t = history_at(&o->h, i)); i++) {
		printf("  %+12.6fs %s -> %s: %s (%s)\n", (double)(__s64)(t->time_ns - start) / 1e9,
		       show_state(t->from), show_state(t->to), show_reason_text(t->reason),
		       show_reason(t->reason));
		printf("  %13s client seq %s ack %s, server seq %s ack %s\n", "",
		       seq(t->nxt[SEAM_CLIENT], c_isn, c_seq), seq(t->ack[SEAM_CLIENT], s_isn, c_ack),
		       seq(t->nxt[SEAM_SERVER], s_isn, s_seq), seq(t->ack[SEAM_SERVER], c_isn, s_ack));
		if (t->held || t->seq_delta[SEAM_CLIENT] || t->seq_delta[SEAM_SERVER])
			printf("  %13s packets held so far %u, sequence delta client %d, server %d\n", "",
			       t->held, (__s32)t->seq_delta[SEAM_CLIENT],
			       (__s32)t->seq_delta[SEAM_SERVER]);
	}
}

static void print_record(const struct found *o)
{
	json_t *rec = record_of(o), *part, *at, *item;
	const char *what, *name;
	size_t i;

	if (!json_object_size(rec)) {
		json_decref(rec);
		return;
	}
	printf("inspectors%s:\n", json_object_get(o->record_reply, "record") ? ", so far" : "");
	json_object_foreach(rec, what, part) {
		printf("  %s:", what);
		json_object_foreach(part, name, at) {
			if (json_is_string(at))
				printf(" %s=%s", name, json_string_value(at));
			else if (json_is_integer(at))
				printf(" %s=%lld", name, (long long)json_integer_value(at));
			else if (json_is_boolean(at))
				printf(" %s=%s", name, json_is_true(at) ? "yes" : "no");
			json_array_foreach(at, i, item)
				printf("%s%s%s%s", i ? "," : " ", i ? "" : name, i ? "" : "=",
				       json_string_value(item));
		}
		putchar('\n');
	}
	json_decref(rec);
}

static void print_text(const struct found *o)
{
	if (o->flow)
		print_flow(o);
	else if (o->embryo)
		print_embryo(o);
	else
		printf("flow %llu has ended\n", (unsigned long long)o->id);
	if (o->history)
		print_history(o);
	print_record(o);
}

static int show_flow(const char *instance, __u64 id, bool json)
{
	static struct found o;
	struct kern k;
	int rc;

	rc = client_open("flow", instance, &k);
	if (rc)
		return rc;
	o.id = id;
	rc = find(instance, &k, &o);
	kern_close(&k);
	if (rc) {
		fprintf(stderr, "seam flow: reading the flows: %s\n", strerror(-rc));
		rc = EXIT_FAILED;
	} else if (!o.flow && !o.embryo && !o.history && !o.record) {
		fprintf(stderr, "seam flow: instance `%s` has no flow %llu (any more); `seam flows` "
				"lists them\n",
			instance, (unsigned long long)id);
		rc = EXIT_NOT_RUNNING;
	} else if (json) {
		print_json(&o);
	} else {
		print_text(&o);
	}
	json_decref(o.status);
	json_decref(o.record_reply);
	return rc;
}

int cmd_flow(int argc, char **argv)
{
	struct client_options o;
	unsigned long long id;
	int rc = client_options(argc, argv, help, 1, &o);

	if (rc >= 0)
		return rc;
	if (!client_number(argv[optind], 1, ~0ULL, &id)) {
		fprintf(stderr, "seam flow: \"%s\" is not a flow's ID; `seam flows` lists them\n",
			argv[optind]);
		return EXIT_USAGE;
	}
	return show_flow(o.instance, id, o.json);
}
