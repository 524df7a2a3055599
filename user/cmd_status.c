// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * seam status: what is attached, and how. The pins alone answer most of it, so it also works
 * when the daemon is gone.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>

#include "client.h"
#include "cmd.h"
#include "show.h"

static const char help[] =
	"usage: seam status [-j] [-i NAME]\n"
	"\n"
	"Shows the daemon, the interfaces, the policy in force and how many flows there are.\n"
	"\n"
	"  -i, --instance NAME  the instance (default: default)\n"
	"  -j, --json           write JSON\n"
	"  -h, --help           this text\n"
	"\n"
	"Exit status: 0 shown, 1 not permitted or broken, 2 wrong usage, 3 no such instance.\n"
	"A daemon that is not running is no error; with -j, \"daemon\" is then null;\n"
	"\"starting\" says whether one is about to run.\n";

struct tally {
	unsigned long long all, state[FLOW_STATE_MAX];
	__u32 max;		/* room in the table */
	__u32 backlog_max;	/* the most of one flow, one way */
};

static bool tally_flow(const void *key, const void *value, void *arg)
{
	const struct flow *f = value;
	struct tally *t = arg;
	int end;

	(void)key;
	t->all++;
	if (f->state < FLOW_STATE_MAX)
		t->state[f->state]++;
	for (end = 0; end < 2; end++)
		if (f->end[end].backlog_max > t->backlog_max)
			t->backlog_max = f->end[end].backlog_max;
	return false;
}

/* The entry for an interface in the daemon's list, which also has the reason. */
static const json_t *port_of(const json_t *status, __u32 ifindex)
{
	json_t *ports = json_object_get(status, "ports"), *port;
	size_t i;

	json_array_foreach(ports, i, port)
		if (client_integer(port, "ifindex") == (json_int_t)ifindex)
			return port;
	return NULL;
}

/* The name of a port; the daemon may be in another namespace than we are. */
static const char *port_name(const json_t *status, __u32 ifindex, char name[IF_NAMESIZE])
{
	const char *told = json_string_value(json_object_get(port_of(status, ifindex), "name"));

	return told ?: if_indextoname(ifindex, name);
}

static json_t *name_json(const char *name)
{
	return name ? show_text(name) : NULL;
}

/* Adds what the daemon says of ports that are gone: nothing is pinned for them. */
static void add_gone(json_t *list, const json_t *status)
{
	json_t *ports = json_object_get(status, "ports"), *port;
	size_t i;

	json_array_foreach(ports, i, port)
		if (!client_integer(port, "ifindex"))
			json_array_append_new(list, json_pack("{s:O, s:i, s:O, s:s, s:s}", "name",
							      json_object_get(port, "name"), "ifindex", 0,
							      "side", json_object_get(port, "side"),
							      "xdp", show_xdp(PORT_XDP_OFF), "link", "gone"));
}

static json_t *ports_from_pins(const struct kern *k, const json_t *status)
{
	json_t *list = json_array();
	__u32 key, *prev = NULL;
	struct port port;
	char name[IF_NAMESIZE], other[IF_NAMESIZE];
	json_t *attached;

	while (!bpf_map_get_next_key(k->maps.ports, prev, &key)) {
		const json_t *known = port_of(status, key);
		const char *why = json_string_value(json_object_get(known, "xdp_why"));

		prev = &key;
		if (bpf_map_lookup_elem(k->maps.ports, &key, &port))
			continue;
		/* Of one in another network namespace only its daemon could say. */
		attached = kern_is_here(k->control) ? json_boolean(kern_attached(key)) : NULL;
		json_array_append_new(
			list,
			json_pack("{s:o?, s:i, s:s, s:o*, s:s, s:s*, s:o*, s:s*}", "name",
				  name_json(port_name(status, key, name)), "ifindex", (int)key, "side",
				  port.end == SEAM_CLIENT ? "client" : "server", "tc", attached, "xdp",
				  show_xdp(port.xdp), "xdp_why", why, "partner", port.partner ?
				  name_json(port_name(status, port.partner, other)) : NULL, "link",
				  json_string_value(json_object_get(known, "link"))));
	}
	add_gone(list, status);
	return list;
}

static json_t *flows_json(const struct tally *t)
{
	json_t *out = json_object();
	int i;

	json_object_set_new(out, "total", json_integer((json_int_t)t->all));
	json_object_set_new(out, "max", json_integer((json_int_t)t->max));
	for (i = FLOW_MONITORED; i < FLOW_STATE_MAX; i++)
		json_object_set_new(out, show_state(i), json_integer((json_int_t)t->state[i]));
	return out;
}

static void print_ports(const json_t *ports)
{
	json_t *port;
	size_t i;

	json_array_foreach(ports, i, port) {
		const char *name = json_string_value(json_object_get(port, "name"));
		const char *why = json_string_value(json_object_get(port, "xdp_why"));
		const char *partner = json_string_value(json_object_get(port, "partner"));
		const char *link = json_string_value(json_object_get(port, "link"));

		if (!client_integer(port, "ifindex")) {
			printf("interface: %s, %s side, gone; what gets its name takes its place\n", name,
			       json_string_value(json_object_get(port, "side")));
			continue;
		}
		printf("interface: %s (index %lld), %s side, ", name ? name : "(not in this namespace)",
		       client_integer(port, "ifindex"), json_string_value(json_object_get(port, "side")));
		if (partner)
			printf("wire to %s, ", partner);
		if (link)
			printf("link %s, ", link);
		printf("TC%s, XDP %s%s%s%s\n", json_is_false(json_object_get(port, "tc")) ?
		       " missing: nothing is inspected there" : "", json_string_value(json_object_get(port, "xdp")),
		       why ? " (" : "", why ? why : "", why ? ")" : "");
	}
}

static void print_workers(const json_t *status)
{
	const json_t *workers = json_object_get(status, "workers");
	const char *sep = ", with ";
	json_t *one;
	size_t i;

	if (!client_integer(status, "threads")) {
		puts("workers: none; the daemon's main thread moves the bytes");
		return;
	}
	printf("workers: %zu", json_array_size(workers));
	json_array_foreach(workers, i, one) {
		printf("%s%lld", sep, client_integer(one, "conns"));
		sep = " + ";
	}
	puts(" connections");
}

static void print_daemon(const json_t *status)
{
	const json_t *conns = json_object_get(status, "conns");
	const json_t *stats = json_object_get(status, "stats");
	const json_t *hold = json_object_get(status, "hold_device");
	const json_t *veth = json_object_get(status, "veth");
	const char *config = json_string_value(json_object_get(status, "file"));
	char a[SHOW_SHORT_LEN], b[SHOW_SHORT_LEN];

	printf("daemon: running, pid %lld, version %s, up %s%s\n", client_integer(status, "pid"),
	       json_string_value(json_object_get(status, "version")),
	       show_duration(json_number_value(json_object_get(status, "uptime")) * 1e9, a),
	       json_is_true(json_object_get(status, "stopping")) ? ", stopping" : "");
	printf("policy: %s, generation %lld, %zu rules, default %s\n",
	       config ? config : "(command line)", client_integer(status, "generation"),
	       json_array_size(json_object_get(status, "rules")),
	       json_string_value(json_object_get(status, "default_action")));
	printf("devices: hold %s (index %lld), veth %s (index %lld)\n",
	       json_string_value(json_object_get(hold, "name")), client_integer(hold, "ifindex"),
	       json_string_value(json_object_get(veth, "name")), client_integer(veth, "ifindex"));
	printf("connections: %lld held, %lld split, %lld merging, %lld aborting; inspectors use %s\n",
	       client_integer(conns, "held"), client_integer(conns, "split"),
	       client_integer(conns, "merging"), client_integer(conns, "aborting"),
	       show_bytes(client_integer(conns, "inspector_memory"), a));
	print_workers(status);
	printf("legs: their queues take %s, of one flow at most ",
	       show_bytes(client_integer(conns, "leg_memory"), a));
	printf("%s\n", show_bytes(client_integer(conns, "leg_memory_max"), a));
	printf("so far: %lld splits, %lld merges, %s bytes through legs by the daemon, %s by the kernel, "
	       "%lld packets held", client_integer(stats, "splits"), client_integer(stats, "merges"),
	       show_bytes(client_integer(stats, "bytes"), b), show_bytes(client_integer(stats, "kernel_bytes"), a),
	       client_integer(stats, "held_packets"));
	if (client_integer(stats, "hold_behind"))
		printf(" (behind with them %lld times)", client_integer(stats, "hold_behind"));
	printf("\nmonitors: %lld\n", client_integer(status, "monitors"));
}

static void print_flows(const struct tally *t)
{
	const char *sep = ": ";
	int i;

	printf("flows: %llu of %u", t->all, t->max);
	for (i = FLOW_MONITORED; i < FLOW_STATE_MAX; i++) {
		if (!t->state[i])
			continue;
		printf("%s%llu %s", sep, t->state[i], show_state(i));
		sep = ", ";
	}
	putchar('\n');
	printf("backlog: at most %u bytes of one flow have waited in its legs\n", t->backlog_max);
}

static int status_of(const char *instance, bool json)
{
	struct tally tally = {};
	json_t *status, *ports;
	struct kern k;
	unsigned long long bytes;
	__u64 beat, now;
	bool fresh, starting, silent;
	int rc, err;

	rc = client_open("status", instance, &k);
	if (rc)
		return rc;
	status = client_status(instance);
	err = errno;
	/* Nobody listens, whatever the heartbeat says. */
	starting = !status && (err == ENOENT || err == ECONNREFUSED) && client_starting(instance);
	silent = !status && err != ENOENT && err != ECONNREFUSED;
	ports = ports_from_pins(&k, status);
	client_map_size(k.maps.flows, &tally.max, &bytes);
	rc = client_each(k.maps.flows, sizeof(struct flow_key), sizeof(struct flow), tally_flow,
			 &tally);
	if (rc) {
		fprintf(stderr, "seam status: reading the flows: %s\n", strerror(-rc));
		json_decref(status);
		json_decref(ports);
		kern_close(&k);
		return EXIT_FAILED;
	}
	beat = k.control->heartbeat_ns;
	now = kern_now();
	fresh = beat && (now < beat || now - beat < k.control->patience_ms * 1000000ULL);
	if (json) {
		json_t *out = json_pack("{s:s, s:s, s:s, s:o?, s:s*, s:b, s:b, s:i, s:o, s:o, s:I}", "instance",
					instance, "mode", policy_mode_name(k.control->mode), "pins", k.dir,
					"daemon", status, "daemon_error", silent ? strerror(err) : NULL,
					"starting", starting, "heartbeat", fresh, "generation",
					(int)(__u16)k.control->policy, "ports", ports, "flows",
					flows_json(&tally), "backlog_max", (json_int_t)tally.backlog_max);

		show_print(out);
		kern_close(&k);
		return EXIT_OK;
	}
	printf("instance: %s, mode %s, pinned in %s\n", instance,
	       policy_mode_name(k.control->mode), k.dir);
	if (status)
		print_daemon(status);
	else if (starting)
		puts("daemon: starting");
	else if (err == EPROTO)
		puts("daemon: running, but it does not tell more");
	else if (silent)
		printf("daemon: %s, but its control socket does not answer: %s\n",
		       fresh ? "running" : "stopped or hanging", strerror(err));
	else
		printf("daemon: not running (flows still forwarded: %llu)\n",
		       tally.all - tally.state[FLOW_BLOCKED] - tally.state[FLOW_CLOSING]);
	print_ports(ports);
	print_flows(&tally);
	json_decref(status);
	json_decref(ports);
	kern_close(&k);
	return EXIT_OK;
}

int cmd_status(int argc, char **argv)
{
	struct client_options o;
	int rc = client_options(argc, argv, help, 0, &o);

	if (rc >= 0)
		return rc;
	return status_of(o.instance, o.json);
}
