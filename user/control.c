// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The control socket: one JSON object per line each way. Requests are answered
 * in order; {"cmd":"monitor"} turns a connection into a stream of events. A
 * client that does not read costs a bounded buffer and never stops the daemon:
 * it loses events, and is told how many.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <jansson.h>

#include "daemon.h"
#include "leg.h"
#include "log.h"
#include "record.h"
#include "show.h"

#define CLIENTS_MAX 64
#define REQUEST_MAX 4096
#define ANSWERS_MAX (1 << 20)	/* unread answers; beyond, the client is dropped */
#define EVENTS_MAX (256 << 10)	/* unread events; beyond, they are lost */

/* A client of the control socket. */
struct client {
	struct watch watch;
	struct client *next;
	bool monitors;		/* wants events */
	bool finished;		/* drop it; freed at its own next epoll event */
	uint32_t wanted;	/* events waited for, EPOLLIN and EPOLLOUT */
	uint32_t reload;	/* number of the reload it waits for, 0: none */
	uint64_t lost;		/* events since the last one it got */
	size_t in_len, out_len, out_room;
	char *out;
	char in[REQUEST_MAX];
};

static uint64_t started_ns;

static struct client *client_of(struct watch *w)
{
	return (struct client *)((char *)w - offsetof(struct client, watch));
}

/* The kernel reports flows that it decides alone, but only while someone listens. */
static void update_verbose(struct daemon *d)
{
	struct client *cl;
	__u32 verbose = 0;

	for (cl = d->clients; cl; cl = cl->next)
		verbose |= cl->monitors && !cl->finished;
	if (d->kern.control)
		d->kern.control->verbose = verbose;
}

static void client_free(struct daemon *d, struct client *cl)
{
	struct client **at;

	for (at = &d->clients; *at && *at != cl; at = &(*at)->next)
		;
	if (*at)
		*at = cl->next;
	watch_end(d->epoll, &cl->watch);
	close(cl->watch.fd);
	free(cl->out);
	free(cl);
	update_verbose(d);
}

/*
 * Gives up on a client. It may be in the batch of events being handled, so it is freed at its
 * own next event, which this causes.
 */
static void client_finish(struct daemon *d, struct client *cl)
{
	cl->finished = true;
	cl->out_len = 0;
	shutdown(cl->watch.fd, SHUT_RDWR);
	update_verbose(d);
}

static void client_flush(struct daemon *d, struct client *cl)
{
	size_t done = 0;
	uint32_t wanted;
	ssize_t n;

	while (done < cl->out_len) {
		n = send(cl->watch.fd, cl->out + done, cl->out_len - done,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			client_finish(d, cl);
			return;
		}
		if (n < 0)
			break;
		done += n;
	}
	if (done) {
		memmove(cl->out, cl->out + done, cl->out_len - done);
		cl->out_len -= done;
	}
	/* What the client asks meanwhile stays in the socket. */
	wanted = (cl->reload ? 0 : EPOLLIN) | (cl->out_len || cl->lost ? EPOLLOUT : 0);
	if (wanted != cl->wanted) {
		watch_again(d->epoll, &cl->watch, wanted);
		cl->wanted = wanted;
	}
}

/* Queues one line; -ENOBUFS if that would exceed `max` bytes. */
static int client_queue(struct client *cl, const char *line, size_t len, size_t max)
{
	size_t room = cl->out_len + len + 1;
	char *out;

	if (room > max)
		return -ENOBUFS;
	if (room > cl->out_room) {
		room = room < 4096 ? 4096 : room * 2;
		out = realloc(cl->out, room);
		if (!out)
			return -ENOMEM;
		cl->out = out;
		cl->out_room = room;
	}
	memcpy(cl->out + cl->out_len, line, len);
	cl->out_len += len;
	cl->out[cl->out_len++] = '\n';
	return 0;
}

/* Tells a monitor that has caught up how many events it has missed. */
static void monitor_lost(struct client *cl)
{
	char line[160], when[SHOW_TIME_LEN];
	int n;

	n = snprintf(line, sizeof(line),
		     "{\"timestamp\":\"%s\",\"event_type\":\"lost\",\"lost\":%llu}",
		     show_time(kern_now(), when), (unsigned long long)cl->lost);
	if (!client_queue(cl, line, n, EVENTS_MAX))
		cl->lost = 0;
}

/* Takes over the reference to `reply`. */
static void client_reply(struct daemon *d, struct client *cl, json_t *reply)
{
	char *line = reply ? json_dumps(reply, JSON_COMPACT | SHOW_JSON) : NULL;

	json_decref(reply);
	if (!line || client_queue(cl, line, strlen(line), ANSWERS_MAX))
		client_finish(d, cl);
	free(line);
}

static json_t *failure(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static json_t *failure(const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	json_t *out;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	/* The text may quote what was sent, which need not be UTF-8, or cut a character in two. */
	out = json_pack("{s:b, s:o}", "ok", 0, "error", show_text(text ?: "out of memory"));
	free(text);
	return out;
}

/* A path need not be UTF-8, and then cannot be JSON. */
static json_t *path_json(const char *path)
{
	json_t *out = path ? json_string(path) : json_null();

	return out ? out : json_string("(a path that is not UTF-8)");
}

/* ---- requests ---- */

/* NULL: the answer comes with control_reloaded(). */
static json_t *reply_reload(struct daemon *d, struct client *cl)
{
	int err;

	if (!d->config)
		return failure(RELOAD_NO_CONFIG);
	err = reload_ask(d, &cl->reload);
	if (!err)
		return NULL;
	cl->reload = 0;
	return failure("%s", strerror(-err));
}

/* The names of our own devices, which are in the host's namespace. */
static void device_names(struct daemon *d, char hold[IF_NAMESIZE], char veth[IF_NAMESIZE])
{
	int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	*hold = *veth = '\0';
	if (here < 0)
		return;
	if (!setns(d->host_ns, CLONE_NEWNET)) {
		if (!if_indextoname(d->hold_ifindex, hold))
			*hold = '\0';
		if (!if_indextoname(d->veth_ifindex, veth))
			*veth = '\0';
		if (setns(here, CLONE_NEWNET))
			log_err("returning to the inner namespace: %s", strerror(errno));
	}
	close(here);
}

static json_t *rules_json(const struct policy *p)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < p->n_rules; i++)
		json_array_append_new(list, json_pack("{s:i, s:s, s:s}", "rule", p->rules[i].number,
						      "name", p->rules[i].name, "action",
						      policy_action_name(p->rules[i].action)));
	return list;
}

static json_t *ports_json(const struct kern *k)
{
	json_t *list = json_array();
	int i;

	for (i = 0; i < k->n_ports; i++) {
		const struct kern_port *p = &k->ports[i];

		json_array_append_new(list, json_pack("{s:o, s:i, s:s, s:s, s:s*, s:i}", "name",
						      show_text(p->name), "ifindex", p->ifindex, "side",
						      p->end == SEAM_CLIENT ? "client" : "server",
						      "xdp", show_xdp(p->xdp), "xdp_why",
						      *p->xdp_why ? p->xdp_why : NULL, "mtu", p->mtu));
		if (!p->ifindex || k->control->mode == MODE_WIRE)
			json_object_set_new(json_array_get(list, i), "link",
					    json_string(!p->ifindex ? "gone" :
							p->held_down ? "held down" :
							p->link ? "up" : "lost"));
	}
	return list;
}

/* Kernel memory of a flow's legs. */
static json_int_t legs_memory(const struct conn *c)
{
	json_int_t memory = 0;
	int end;

	for (end = 0; end < 2; end++)
		if (c->leg[end].watch.fd >= 0)
			memory += leg_memory(c->leg[end].watch.fd);
	return memory;
}

static json_t *conns_json(struct daemon *d)
{
	static const char *const names[] = {
		[CONN_HELD] = "held", [CONN_SPLIT] = "split",
		[CONN_MERGING] = "merging", [CONN_ABORTING] = "aborting",
	};
	json_int_t n[sizeof(names) / sizeof(names[0])] = {}, memory = 0, legs = 0, most = 0, some;
	json_t *out = json_object();
	struct conn *c, *next;
	size_t i;

	HASH_ITER(hh, d->conns, c, next) {
		if (c->phase < sizeof(names) / sizeof(names[0]))
			n[c->phase]++;
		memory += c->memory;
		some = legs_memory(c);
		legs += some;
		most = some > most ? some : most;
	}
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		json_object_set_new(out, names[i], json_integer(n[i]));
	json_object_set_new(out, "inspector_memory", json_integer(memory));
	json_object_set_new(out, "leg_memory", json_integer(legs));
	json_object_set_new(out, "leg_memory_max", json_integer(most));
	return out;
}

static json_int_t bytes_moved(const struct daemon *d)
{
	json_int_t sum = 0;
	unsigned int i;

	for (i = 0; i < d->n_workers; i++)
		sum += d->workers[i].bytes;
	return sum;
}

/*
 * Flows that each worker has at the moment, and bytes it has moved. Without threads, the only
 * worker stands for the loop.
 */
static json_t *workers_json(const struct daemon *d)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < d->n_workers; i++)
		json_array_append_new(list, json_pack("{s:I, s:I}", "conns",
						      (json_int_t)d->workers[i].conns, "bytes",
						      (json_int_t)d->workers[i].bytes));
	return list;
}

static json_t *reply_status(struct daemon *d)
{
	char hold[IF_NAMESIZE], veth[IF_NAMESIZE];
	json_int_t monitors = 0;
	struct client *cl;
	json_t *reply;

	for (cl = d->clients; cl; cl = cl->next)
		monitors += cl->monitors;
	device_names(d, hold, veth);
	reply = json_pack("{s:b, s:s, s:s, s:i, s:f, s:o, s:i, s:b, s:f}", "ok", 1, "version",
			  SEAM_VERSION, "instance", d->started->instance, "pid", (int)getpid(),
			  "uptime", (double)(kern_now() - started_ns) / 1e9, "file", path_json(d->config),
			  "generation", d->generation, "stopping", d->stopping, "grace",
			  (double)d->policy->grace_ns / 1e9);
	if (!reply)
		return failure("out of memory");
	json_object_set_new(reply, "rules", rules_json(d->policy));
	json_object_set_new(reply, "default_action",
			    json_string(policy_action_name(d->policy->default_rule.action)));
	json_object_set_new(reply, "ports", ports_json(&d->kern));
	json_object_set_new(reply, "hold_device",
			    json_pack("{s:s, s:i}", "name", hold, "ifindex", d->hold_ifindex));
	json_object_set_new(reply, "veth",
			    json_pack("{s:s, s:i}", "name", veth, "ifindex", d->veth_ifindex));
	json_object_set_new(reply, "conns", conns_json(d));
	json_object_set_new(reply, "threads", json_integer(d->threads));
	json_object_set_new(reply, "workers", workers_json(d));
	json_object_set_new(reply, "stats",
			    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "splits",
				      (json_int_t)d->stats.splits, "merges",
				      (json_int_t)d->stats.merges, "closing_ns",
				      (json_int_t)d->stats.closing_ns, "bytes",
				      bytes_moved(d), "kernel_bytes",
				      (json_int_t)relay_kernel_bytes(d), "held_packets",
				      (json_int_t)d->stats.held_packets, "hold_behind",
				      (json_int_t)d->stats.hold_behind));
	json_object_set_new(reply, "monitors", json_integer(monitors));
	return reply;
}

static json_t *reply_record(struct daemon *d, const json_t *request)
{
	json_int_t id = json_integer_value(json_object_get(request, "id"));
	struct seam_record rec;
	struct conn *c, *next;
	json_t *reply, *record;

	if (id <= 0)
		return failure("`record` needs \"id\", the number of a flow");
	HASH_ITER(hh, d->conns, c, next) {
		if (c->id != (uint64_t)id)
			continue;
		record_from(&c->rec, &rec);
		record = json_object();
		record_json(&rec, false, record);
		reply = json_pack("{s:b, s:o, s:I, s:I, s:b}", "ok", 1, "record", record,
				  "inspector_memory", (json_int_t)c->memory, "leg_memory",
				  legs_memory(c), "let_go", c->let_go);
		if (reply && c->rule)
			json_object_set_new(reply, "rule_name", json_string(c->rule->name));
		return reply;
	}
	return failure("flow %lld is neither held nor split", (long long)id);
}

static bool from_hex(const char *hex, void *to, size_t len)
{
	unsigned int byte;
	size_t i;
	int n;

	for (i = 0; i < len; i++) {
		if (sscanf(hex + 2 * i, "%2x%n", &byte, &n) != 1 || n != 2)
			return false;
		((uint8_t *)to)[i] = byte;
	}
	return !hex[2 * len];
}

/* "split", "merge", or "relay" with "how". Negative errno and `why`. */
static int transition(struct daemon *d, const json_t *request, const struct flow_key *key, json_int_t id,
		      char *why, size_t len)
{
	const char *cmd = json_string_value(json_object_get(request, "cmd"));
	const char *how = json_string_value(json_object_get(request, "how"));
	enum policy_relay relay;

	if (*cmd == 's')
		return operator_split(d, key, id, why, len);
	if (*cmd == 'm')
		return operator_merge(d, key, id, why, len);
	if (how && policy_relay_named(how, &relay))
		return operator_relay(d, key, id, relay, why, len);
	snprintf(why, len, "`relay` needs \"how\": auto, kernel or userspace");
	return -EINVAL;
}

static json_t *reply_transition(struct daemon *d, const json_t *request)
{
	json_int_t id = json_integer_value(json_object_get(request, "id"));
	const char *hex = json_string_value(json_object_get(request, "key"));
	struct flow_key key;
	char why[128];
	struct flow f;

	if (id <= 0 || !hex || !from_hex(hex, &key, sizeof(key)))
		return failure("a transition needs \"id\", the number of a flow, and \"key\", its "
			       "key in hexadecimal");
	if (transition(d, request, &key, id, why, sizeof(why)))
		return failure("%s", why);
	if (kern_flow(&d->kern, &key, &f) || f.id != (__u64)id)
		return json_pack("{s:b, s:s}", "ok", 1, "state", show_state(FLOW_NONE));
	return json_pack("{s:b, s:s, s:s, s:s}", "ok", 1, "state", show_state(f.state), "reason",
			 show_reason(f.reason), "reason_text", show_reason_text(f.reason));
}

static void client_request(struct daemon *d, struct client *cl, const char *line, size_t len)
{
	json_error_t error;
	json_t *request = json_loadb(line, len, 0, &error);
	const char *cmd = json_string_value(json_object_get(request, "cmd"));
	json_t *reply;

	if (!request) {
		reply = failure("not JSON: %s", error.text);
	} else if (!cmd) {
		reply = failure("a request is {\"cmd\":\"status\"} or the like");
	} else if (!strcmp(cmd, "reload")) {
		reply = reply_reload(d, cl);
	} else if (!strcmp(cmd, "status")) {
		reply = reply_status(d);
	} else if (!strcmp(cmd, "record")) {
		reply = reply_record(d, request);
	} else if (!strcmp(cmd, "split") || !strcmp(cmd, "merge") || !strcmp(cmd, "relay")) {
		reply = reply_transition(d, request);
	} else if (!strcmp(cmd, "monitor")) {
		cl->monitors = true;
		update_verbose(d);
		reply = json_pack("{s:b}", "ok", 1);
	} else {
		reply = failure("no request `%s`; there are reload, status, record, split, merge, relay, monitor", cmd);
	}
	if (!cl->reload)
		client_reply(d, cl, reply);
	json_decref(request);
}

/* Answers every whole line there is, up to one that is answered later. */
static void client_lines(struct daemon *d, struct client *cl)
{
	char *line = cl->in, *end;

	while (!cl->finished && !cl->reload &&
	       (end = memchr(line, '\n', cl->in + cl->in_len - line))) {
		if (end > line)
			client_request(d, cl, line, end - line);
		daemon_beat(d); /* many requests may have come at once */
		line = end + 1;
	}
	cl->in_len -= line - cl->in;
	memmove(cl->in, line, cl->in_len);
	if (cl->in_len == sizeof(cl->in))
		client_finish(d, cl);
}

static json_t *reloaded_json(const struct daemon *d)
{
	const char *fixed[POLICY_FIXED_MAX];
	size_t i, n = policy_fixed(d->policy, d->started, fixed);
	json_t *restart = json_array();

	for (i = 0; i < n; i++)
		json_array_append_new(restart, json_string(fixed[i]));
	return json_pack("{s:b, s:o, s:I, s:i, s:o}", "ok", 1, "file", path_json(d->config), "rules",
			 (json_int_t)d->policy->n_rules, "generation", d->generation, "restart",
			 restart);
}

void control_reloaded(struct daemon *d, uint32_t number, const char *why)
{
	int n = why ? strlen(why) : 0;
	struct client *cl;

	while (n && why[n - 1] == '\n')
		n--;
	for (cl = d->clients; cl; cl = cl->next) {
		if (cl->reload != number || cl->finished)
			continue;
		cl->reload = 0;
		client_reply(d, cl, why ? failure("%.*s", n, why) :
				   reloaded_json(d));
		/* Then what the client asked after that. */
		if (!cl->finished)
			client_lines(d, cl);
		if (!cl->finished)
			client_flush(d, cl);
	}
}

static void client_ready(struct daemon *d, struct watch *w, uint32_t events)
{
	struct client *cl = client_of(w);
	bool gone = cl->finished || (events & EPOLLERR);
	ssize_t n;

	if (!gone && (events & EPOLLIN)) {
		n = recv(w->fd, cl->in + cl->in_len, sizeof(cl->in) - cl->in_len, MSG_DONTWAIT);
		if (n > 0) {
			cl->in_len += n;
			client_lines(d, cl);
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			gone = true;
		}
	} else if (events & EPOLLHUP) {
		gone = true;
	}
	if (!cl->finished)
		client_flush(d, cl);
	if (!cl->finished && cl->lost && !cl->out_len) {
		monitor_lost(cl);
		client_flush(d, cl);
	}
	if (gone || cl->finished)
		client_free(d, cl);
}

static void listener_ready(struct daemon *d, struct watch *w, uint32_t events)
{
	struct client *cl;
	char busy[160];
	int fd, n;

	(void)events;
	/* Edge-triggered: if descriptors run out, the rest waits for the next edge. */
	while ((fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		for (n = 0, cl = d->clients; cl; cl = cl->next)
			n++;
		cl = n < CLIENTS_MAX ? calloc(1, sizeof(*cl)) : NULL;
		if (!cl) {
			n = snprintf(busy, sizeof(busy), "{\"ok\":false,\"error\":\"too many are connected to "
				     "the control socket, monitors perhaps\",\"grace\":%llu}\n",
				     (unsigned long long)(d->policy->grace_ns / 1000000000) + 1);
			send(fd, busy, n, MSG_DONTWAIT | MSG_NOSIGNAL);
			close(fd);
			continue;
		}
		cl->watch.fd = fd;
		cl->watch.ready = client_ready;
		cl->wanted = EPOLLIN;
		if (watch_begin(d->epoll, &cl->watch, cl->wanted)) {
			close(fd);
			free(cl);
			continue;
		}
		cl->next = d->clients;
		d->clients = cl;
	}
}

/* ---- events ---- */

static const char *rule_name(struct daemon *d, const struct conn *c, const struct seam_event *ev)
{
	if (!ev->rule)
		return "default";
	if (c && c->rule && c->rule->number == ev->rule)
		return c->rule->name;
	/* Rule numbers of an older policy say nothing about this one. */
	if (ev->policy == d->generation && ev->rule <= d->policy->n_rules)
		return d->policy->rules[ev->rule - 1].name;
	return NULL;
}

static void add_record(struct daemon *d, const struct conn *c, const struct seam_event *ev,
		       json_t *to)
{
	struct seam_record rec;
	__u64 id = ev->id;

	if (c)
		record_from(&c->rec, &rec);
	else if (d->kern.maps.records < 0 ||
		 bpf_map_lookup_elem(d->kern.maps.records, &id, &rec))
		return;
	record_json(&rec, ev->to == FLOW_BLOCKED, to);
}

static json_t *event_json(struct daemon *d, const struct seam_event *ev)
{
	struct conn *c = conn_find(d, &ev->key);
	const struct kern_port *port;
	char when[SHOW_TIME_LEN];
	struct flow f;
	json_t *flow, *seam, *out;

	if (c && c->id != ev->id)
		c = NULL;
	out = json_pack("{s:s}", "timestamp", show_time(ev->time_ns, when));
	if (!out)
		return NULL;
	flow = json_pack("{s:I, s:I, s:I, s:I, s:s, s:s}", "pkts_toserver",
			 (json_int_t)ev->packets[SEAM_CLIENT], "pkts_toclient",
			 (json_int_t)ev->packets[SEAM_SERVER], "bytes_toserver",
			 (json_int_t)ev->bytes[SEAM_CLIENT], "bytes_toclient",
			 (json_int_t)ev->bytes[SEAM_SERVER], "state", show_state(ev->to), "reason",
			 show_reason(ev->reason));
	if (!kern_flow(&d->kern, &ev->key, &f) && f.id == ev->id) {
		json_object_set_new(flow, "start", json_string(show_time(f.created_ns, when)));
		port = kern_port(&d->kern, f.end[SEAM_CLIENT].ifindex);
		if (port)
			json_object_set_new(out, "in_iface", show_text(port->name));
	}
	json_object_set_new(out, "event_type", json_string("flow"));
	show_tuple_json(out, ev->id, &ev->key);
	json_object_set_new(out, "flow", flow);
	seam = json_pack("{s:s, s:s, s:s, s:s, s:i, s:s*, s:i, s:{s:I, s:I}, s:{s:I, s:I}}",
			 "instance", d->started->instance, "from", show_state(ev->from), "to",
			 show_state(ev->to), "reason", show_reason(ev->reason), "rule", ev->rule,
			 "rule_name", rule_name(d, c, ev), "generation", ev->policy, "seq", "client",
			 (json_int_t)ev->nxt[SEAM_CLIENT], "server",
			 (json_int_t)ev->nxt[SEAM_SERVER], "ack", "client",
			 (json_int_t)ev->ack[SEAM_CLIENT], "server",
			 (json_int_t)ev->ack[SEAM_SERVER]);
	json_object_set_new(out, "seam", seam);
	add_record(d, c, ev, out);
	return out;
}

void control_event(struct daemon *d, const struct seam_event *ev)
{
	struct client *cl;
	char *line = NULL;
	json_t *json;

	if (ev->type != EVENT_STATE)
		return;
	for (cl = d->clients; cl; cl = cl->next) {
		if (!cl->monitors || cl->finished)
			continue;
		if (cl->lost) { /* until it has read the rest: the count goes where the gap is */
			cl->lost++;
			continue;
		}
		if (!line) {
			json = event_json(d, ev);
			line = json ? json_dumps(json, JSON_COMPACT | SHOW_JSON) : NULL;
			json_decref(json);
			if (!line)
				return;
		}
		if (client_queue(cl, line, strlen(line), EVENTS_MAX))
			cl->lost++;
		client_flush(d, cl);
	}
	free(line);
}

/* ---- life ---- */

int control_open(struct daemon *d)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	mode_t mask;
	int err;

	started_ns = kern_now();
	snprintf(d->socket_path, sizeof(d->socket_path), "%s/%s.sock", KERN_RUN_DIR,
		 d->started->instance);
	if (strlen(d->socket_path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, d->socket_path);
	d->listener.ready = listener_ready;
	d->listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (d->listener.fd < 0)
		return -errno;
	/* Whoever left it there is dead, as the lock is ours. */
	unlink(d->socket_path);
	mask = umask(0177);
	err = bind(d->listener.fd, (struct sockaddr *)&sun, sizeof(sun)) ? -errno : 0;
	umask(mask);
	if (!err && listen(d->listener.fd, 16))
		err = -errno;
	if (!err)
		err = watch_begin(d->epoll, &d->listener, EPOLLIN | EPOLLET);
	if (err) {
		log_err("opening the control socket %s: %s", d->socket_path, strerror(-err));
		control_close(d);
	}
	return err;
}

void control_close(struct daemon *d)
{
	while (d->clients) {
		client_flush(d, d->clients);
		client_free(d, d->clients);
	}
	if (d->listener.fd < 0)
		return;
	watch_end(d->epoll, &d->listener);
	close(d->listener.fd);
	d->listener.fd = -1;
	unlink(d->socket_path);
}
