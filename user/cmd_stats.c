// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* seam stats: counters by state, rule and reason; sizes of the tables. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "cmd.h"
#include "show.h"

static const char help[] =
	"usage: seam stats [-j] [-i NAME]\n"
	"\n"
	"Shows flows by state, flows by the rule that decided, transitions and packets by\n"
	"reason, how full the tables are, and what the daemon has done since it started.\n"
	"The other counters live as long as the instance's maps, and survive a new daemon.\n"
	"JSON has every reason there is; otherwise those are shown that have occurred.\n"
	"\n"
	"  -i, --instance NAME  the instance (default: default)\n"
	"  -j, --json           write JSON\n"
	"  -h, --help           this text\n"
	"\n"
	"Exit status: 0 shown, 1 not permitted or broken, 2 wrong usage, 3 no such instance.\n";

static json_t *by_state(const struct kern *k)
{
	json_t *out = json_object();
	int i;

	for (i = FLOW_MONITORED; i < FLOW_STATE_MAX; i++)
		json_object_set_new(out, show_state(i),
				    json_integer(kern_counter(k->maps.states, i)));
	return out;
}

static json_t *by_rule(const struct kern *k, const json_t *status)
{
	json_t *list = json_array();
	size_t rules = json_array_size(json_object_get(status, "rules"));
	unsigned int i, policy = (__u16)k->control->policy;
	json_int_t n;

	for (i = 0; i <= SEAM_POLICY_RULES_MAX; i++) {
		n = kern_counter(k->maps.rule_hits, i);
		/* A rule that no flow has met is worth knowing, too. */
		if (n || !i || (status && i <= rules))
			json_array_append_new(list, json_pack("{s:i, s:s*, s:I}", "rule", i, "name",
							      client_rule_name(status, i, policy),
							      "flows", n));
	}
	return list;
}

static json_t *by_reason(const struct kern *k)
{
	static const enum seam_reason all[] = {
#define X(sym, num, name, text) SEAM_R_##sym,
		SEAM_REASONS(X)
#undef X
	};
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		json_array_append_new(list,
			json_pack("{s:s, s:I, s:s}", "reason", show_reason(all[i]), "count",
				  (json_int_t)kern_counter(k->maps.reasons, all[i]), "reason_text",
				  show_reason_text(all[i])));
	return list;
}

static bool count_one(const void *key, const void *value, void *arg)
{
	(void)key;
	(void)value;
	++*(size_t *)arg;
	return false;
}

static json_t *tables(const struct kern *k)
{
	const struct {
		const char *name;
		int map;
		size_t key, value; /* value 0: not readable in batches */
	} all[] = {
		{ "flows", k->maps.flows, sizeof(struct flow_key), sizeof(struct flow) },
		{ "embryos", k->maps.embryos, sizeof(struct flow_key), sizeof(struct embryo) },
		{ "holds", k->maps.holds, sizeof(struct flow_key), 0 },
		{ "legs", k->maps.legs, sizeof(struct flow_key), 0 },
		{ "history", k->maps.history, sizeof(__u64), sizeof(struct history) },
		{ "records", k->maps.records, sizeof(__u64), 0 },
	};
	json_t *list = json_array();
	unsigned long long bytes;
	__u32 size;
	size_t i, n;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		n = 0;
		if (!all[i].value ||
		    client_each(all[i].map, all[i].key, all[i].value, count_one, &n))
			n = client_count(all[i].map, all[i].key);
		size = 0;
		bytes = 0;
		client_map_size(all[i].map, &size, &bytes);
		json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I}", "name", all[i].name,
						      "entries", (json_int_t)n, "size",
						      (json_int_t)size, "memory",
						      (json_int_t)bytes));
	}
	return list;
}

/* `why`: an errno, of a daemon that may be there all the same; 0. */
static void print(json_t *out, int why)
{
	json_t *part, *at;
	char bytes[SHOW_SHORT_LEN];
	const char *name;
	size_t i;

	puts("flows by state");
	part = json_object_get(out, "states");
	json_object_foreach(part, name, at)
		printf("  %-20s %12lld\n", name, (long long)json_integer_value(at));
	puts("flows by rule");
	json_array_foreach(json_object_get(out, "rules"), i, at)
		printf("  %-4lld %-15s %12lld\n", client_integer(at, "rule"), client_text(at, "name"),
		       client_integer(at, "flows"));
	puts("transitions and packets by reason");
	json_array_foreach(json_object_get(out, "reasons"), i, at) {
		if (client_integer(at, "count"))
			printf("  %-20s %12lld  %s\n", client_text(at, "reason"),
			       client_integer(at, "count"), client_text(at, "reason_text"));
	}
	puts("tables");
	json_array_foreach(json_object_get(out, "tables"), i, at)
		printf("  %-20s %12lld  of %lld, %s of memory\n", client_text(at, "name"),
		       client_integer(at, "entries"), client_integer(at, "size"),
		       show_bytes(client_integer(at, "memory"), bytes));
	part = json_object_get(out, "daemon");
	if (!json_is_object(part)) {
		if (why)
			printf("daemon: its control socket does not answer: %s\n", strerror(why));
		else
			puts("daemon: not running");
		return;
	}
	puts("daemon");
	json_object_foreach(part, name, at)
		printf("  %-20s %12lld\n", name, (long long)json_integer_value(at));
}

static int stats_of(const char *instance, bool json)
{
	json_t *status, *daemon, *out;
	struct kern k;
	int rc, why;

	rc = client_open("stats", instance, &k);
	if (rc)
		return rc;
	status = client_status(instance);
	why = status || errno == ENOENT || errno == ECONNREFUSED ? 0 : errno;
	daemon = json_object_get(status, "stats");
	out = json_pack("{s:s, s:o, s:o, s:o, s:o, s:O?}", "instance", instance, "states",
			by_state(&k), "rules", by_rule(&k, status), "reasons", by_reason(&k),
			"tables", tables(&k), "daemon", daemon);
	kern_close(&k);
	json_decref(status);
	if (!out) {
		fputs("seam stats: out of memory\n", stderr);
		return EXIT_FAILED;
	}
	if (json) {
		show_print(out);
		return EXIT_OK;
	}
	print(out, why);
	json_decref(out);
	return EXIT_OK;
}

int cmd_stats(int argc, char **argv)
{
	struct client_options o;
	int rc = client_options(argc, argv, help, 0, &o);

	if (rc >= 0)
		return rc;
	return stats_of(o.instance, o.json);
}
