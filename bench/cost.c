// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a packet costs on one CPU, by BPF_PROG_TEST_RUN, beside programs that do nothing, or
 * only what cannot be left out (again.bpf.c):
 *
 *	cost ROUNDS		every path, one flow
 *	cost ROUNDS FLOWS	the merged paths, each run in one of so many flows (a power of 2,
 *				65536 or fewer for each of 16 clients)
 *
 * The paths take turns within a round. A line: path, what became of the packet, IP version,
 * median, least, most of the rounds, and median and least over the empty program's.
 * A round's figure is itself the median of many runs; again.bpf.c says what a run is. With
 * FLOWS, two more lines give the bytes of one flow: by the map's own account, and by how much
 * the machine's memory decreased, which is exact only for very many flows.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <net/if.h>

#include "bench/again.skel.h"
#include "harness.h"

#define REPEAT 2000
#define BATCHES 41
#define REPEAT_XDP 8000
#define BATCHES_XDP 9 /* each waits for an RCU grace period, or two */
#define ROUNDS_MAX 100
#define FLOWS_MAX (1U << 22)

#define TS "nop nop ts=110:905"
#define SACK "sack=5010075:5010175,5010275:5010375,5010475:5010575"
#define ACK(...) { .flags = "A", .wnd = 502, .opts = TS, .seq = 201, .ack = 53, __VA_ARGS__ }
#define FULL 1428 /* fits IPv4 and IPv6 */

/* Readies the maps for a path: a flow that the packet belongs to, or none. */
static void untracked(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 1000000, .sisn = 5000000 });
}

static void monitored(bool v6)
{
	untracked(v6);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("-want_up -want_down"); /* or data is held */
}

static void passed(bool v6)
{
	monitored(v6);
	flow_set("state=passed -bypass");
}

static bool at_xdp; /* the path is measured there */

/* XDP takes a flow over only after a gap. */
static void let_go(bool v6, const char *set)
{
	monitored(v6);
	flow_set(at_xdp ? XDP_PORT : "");
	flow_set("+bypass c.nxt=201 c.ack=53 s.nxt=20000 s.ack=201");
	flow_set(set);
	usleep(2000);
}

static void passed_bypass(bool v6)
{
	let_go(v6, "state=passed");
}

static void merged(bool v6)
{
	let_go(v6, "state=merged");
}

static void merged_ts(bool v6)
{
	let_go(v6, "state=merged +tsdelta c.ts_delta=1000 s.ts_delta=-50");
}

static void merged_seq(bool v6)
{
	let_go(v6, "state=merged +edited c.seq_delta=30 s.seq_delta=-5 c.seq_pos=101 s.seq_pos=51");
}

static void merged_all(bool v6)
{
	let_go(v6, "state=merged +edited c.seq_delta=30 s.seq_delta=-5 c.seq_pos=101 s.seq_pos=51 "
		   "+tsdelta c.ts_delta=1000 s.ts_delta=-50");
}

enum target { SEAM, EMPTY, LOOKUP, FLOOR };

static const struct path {
	const char *name;
	enum target target;
	void (*ready)(bool v6);
	struct spec in;
	bool flows, udp;
} paths[] = {
	{ "empty program", EMPTY, untracked, ACK(), .flows = true },
	{ "lookup alone", LOOKUP, merged, ACK(), .flows = true },
	{ "lookup, account and forwarding alone", FLOOR, merged, ACK(), .flows = true },
	{ "not TCP", SEAM, untracked, ACK(), .udp = true },
	{ "untracked, ack", SEAM, untracked, ACK() },
	{ "monitored, ack", SEAM, monitored, ACK() },
	{ "monitored, data", SEAM, monitored, ACK(.len = FULL) },
	{ "passed, ack", SEAM, passed, ACK() },
	{ "passed after a hold, ack", SEAM, passed_bypass, ACK() },
	{ "merged, ack", SEAM, merged, ACK(), .flows = true },
	{ "merged, data", SEAM, merged, ACK(.len = FULL) },
	{ "merged, three SACK blocks", SEAM, merged, ACK(.opts = TS " nop nop " SACK) },
	{ "merged, odd options", SEAM, merged, ACK(.opts = "nop ts=110:905 nop") },
	{ "timestamp delta, ack", SEAM, merged_ts, ACK() },
	{ "seq and ack delta, ack", SEAM, merged_seq, ACK() },
	{ "all deltas, ack", SEAM, merged_all, ACK(), .flows = true },
	{ "all deltas, data", SEAM, merged_all, ACK(.len = FULL) },
	{ "all deltas, three SACK blocks", SEAM, merged_all, ACK(.opts = TS " nop nop " SACK) },
	{ "all deltas, odd options", SEAM, merged_all, ACK(.opts = "nop ts=110:905 nop") },
	{ "all deltas, three odd SACK blocks", SEAM, merged_all, ACK(.opts = "nop ts=110:905 " SACK) },
};
#define N_PATHS (sizeof(paths) / sizeof(paths[0]))

/* A path at a hook, and its figures. */
struct line {
	const struct path *path;
	bool xdp, v6;
	struct flow flow; /* with many flows, each begins as this */
	int rc;
	__u32 ns[ROUNDS_MAX], median, most;
};

static struct line lines[4 * N_PATHS];
static int n_lines;
static struct again_bpf *again;
static int flows_fd;
static __u32 n_flows = 1;
static long long taken; /* bytes taken by many flows */

static __attribute__((noreturn)) void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void load(void)
{
	__u32 lo = if_nametoindex("lo"); /* the interface of XDP's test runs */
	char path[128];

	snprintf(path, sizeof(path), "%s/flows", harness_pins());
	flows_fd = bpf_obj_get(path);
	again = again_bpf__open();
	if (flows_fd < 0 || !again || bpf_map__reuse_fd(again->maps.flows, flows_fd) ||
	    again_bpf__load(again) ||
	    bpf_map_update_elem(bpf_map__fd(again->maps.xdp_ports), &lo, &lo, BPF_ANY))
		fail("again.bpf.c");
}

/* The key of the n-th of many flows. */
static struct flow_key flow_number(__u32 n)
{
	struct flow_key k = flow_key();

	((__u8 *)&k.client[3])[2] = n >> 16;
	((__u8 *)&k.client_port)[0] = n >> 8;
	((__u8 *)&k.client_port)[1] = n;
	return k;
}

/* Makes many flows like this one; each time anew, as the last path has changed them. */
static void multiply(const struct flow *f)
{
	struct flow own = *f;
	struct flow_key k;
	__u32 i;

	for (i = 0; i < n_flows; i++) {
		k = flow_number(i);
		own.id = (i + 1ULL) << 6; /* as id_next() gives them out */
		if (bpf_map_update_elem(flows_fd, &k, &own, BPF_ANY))
			fail("filling the map");
	}
}

/* A number that follows a name in a file of /proc. */
static long long number_in(const char *path, const char *format)
{
	long long n = 0;
	char text[128];
	FILE *f = fopen(path, "r");

	while (f && fgets(text, sizeof(text), f))
		sscanf(text, format, &n);
	if (f)
		fclose(f);
	return n;
}

/* Bytes of unused memory; whatever else runs on the machine changes it, too. */
static long long available(void)
{
	return number_in("/proc/meminfo", "MemAvailable: %lld") * 1024;
}

static int order(const void *a, const void *b)
{
	const __u32 *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int target_fd(const struct line *l)
{
	switch (l->path->target) {
	case EMPTY:
		return bpf_program__fd(l->xdp ? again->progs.empty_xdp : again->progs.empty_tc);
	case LOOKUP:
		return bpf_program__fd(l->xdp ? again->progs.lookup_xdp : again->progs.lookup_tc);
	case FLOOR:
		return bpf_program__fd(l->xdp ? again->progs.floor_xdp : again->progs.floor_tc);
	default:
		return prog_fd(l->xdp ? XDP_CLIENT : CLIENT);
	}
}

/* Nanoseconds of one run; ends the program unless the same became of every packet. */
static __u32 measure(struct line *l)
{
	int n = l->xdp ? BATCHES_XDP : BATCHES, slot = 0, fd = target_fd(l), i;
	struct __sk_buff ctx = { .ifindex = if_nametoindex("c0") };
	static struct packet p, out;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p.data, .data_out = out.data);
	static __u32 took[BATCHES];
	const struct path *path = l->path;

	at_xdp = l->xdp;
	if (n_flows == 1)
		path->ready(l->v6);
	else if (path->target != EMPTY)
		multiply(&l->flow);
	build(&path->in, &p);
	if (path->udp)
		p.data[l->v6 ? 20 : 23] = 17;
	again->bss->head_len = p.len < sizeof(again->bss->head) ? p.len : sizeof(again->bss->head);
	memcpy(again->bss->head, p.data, again->bss->head_len);
	again->data->spread = n_flows;
	if (bpf_map_update_elem(bpf_map__fd(l->xdp ? again->maps.xdp_path : again->maps.tc_path),
				&slot, &fd, BPF_ANY))
		fail(path->name);
	fd = bpf_program__fd(l->xdp ? again->progs.again_xdp : again->progs.again_tc);
	opts.repeat = l->xdp ? REPEAT_XDP : REPEAT;
	if (!l->xdp) {
		opts.ctx_in = &ctx;
		opts.ctx_size_in = sizeof(ctx);
	}
	for (i = 0; i < n; i++) {
		opts.data_size_in = p.len;
		opts.data_size_out = sizeof(out.data);
		if (bpf_prog_test_run_opts(fd, &opts))
			fail(path->name);
		if (i && (int)opts.retval != l->rc) {
			fprintf(stderr, "%s: returned %d, and then %d\n", path->name, l->rc, opts.retval);
			exit(1);
		}
		l->rc = opts.retval;
		took[i] = opts.duration;
	}
	qsort(took, n, sizeof(*took), order);
	return took[n / 2];
}

static const char *became(const struct line *l)
{
	if (l->xdp)
		return l->rc == 2 ? "on to TC" : l->rc == 4 ? "forwarded" : "dropped";
	return l->rc == PASS ? "the stack's" : l->rc == REDIRECT ? "forwarded" : "dropped";
}

static void print(void)
{
	const struct line *empty = lines, *l;
	char path[64];

	for (l = lines; l < lines + n_lines; l++) {
		if (l->path->target == EMPTY)
			empty = l;
		printf("%s, %s\t%s\t%d\t%u\t%u\t%u\t%d\t%d\n", l->xdp ? "XDP" : "TC", l->path->name,
		       became(l), l->v6 ? 6 : 4, l->median, l->ns[0], l->most,
		       (int)(l->median - empty->median), (int)(l->ns[0] - empty->ns[0]));
	}
	if (n_flows == 1)
		return;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", flows_fd);
	printf("accounted\t%lld\n", number_in(path, "memlock: %lld") / n_flows);
	printf("taken\t%lld\n", taken / n_flows);
}

/* What other programs do with the flow of an IPv4 packet. */
static bool alone(const struct path *p)
{
	return p->target == LOOKUP || p->target == FLOOR;
}

/* The paths to measure, at each hook and with each IP version. */
static void choose(void)
{
	const struct path *p;
	struct line *l;
	int i;

	for (i = 0; i < 4; i++) {
		if (n_flows > 1 && i & 1)
			continue;
		for (p = paths; p < paths + N_PATHS; p++) {
			if (n_flows > 1 ? !p->flows : i & 1 && alone(p))
				continue;
			l = &lines[n_lines++];
			*l = (struct line){ .path = p, .xdp = i & 2, .v6 = i & 1 };
			if (n_flows == 1 || p->target == EMPTY)
				continue;
			at_xdp = l->xdp;
			p->ready(false);
			if (flow_get(&l->flow))
				fail("the flow");
		}
	}
	untracked(false); /* leaves room for all of many */
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 5, r, i;
	struct line *l;
	cpu_set_t cpu;

	if (argc > 2)
		n_flows = strtoul(argv[2], NULL, 0);
	if (rounds < 1 || rounds > ROUNDS_MAX || !n_flows || n_flows > FLOWS_MAX ||
	    n_flows & (n_flows - 1)) {
		fprintf(stderr, "cost: 1 to %d rounds; flows: a power of 2, up to %u\n", ROUNDS_MAX,
			FLOWS_MAX);
		return 2;
	}
	CPU_ZERO(&cpu);
	CPU_SET(sched_getcpu(), &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	harness_start("cost");
	if (n_flows > 1)
		harness_load(&(struct sizes){ .flows = n_flows });
	load();
	choose();
	if (n_flows > 1) {
		taken = available();
		multiply(&lines[1].flow);
		taken -= available();
	}
	for (r = 0; r < rounds; r++)
		for (i = 0; i < n_lines; i++)
			lines[(i + r) % n_lines].ns[r] = measure(&lines[(i + r) % n_lines]);
	for (l = lines; l < lines + n_lines; l++) {
		qsort(l->ns, rounds, sizeof(*l->ns), order);
		l->median = l->ns[rounds / 2];
		l->most = l->ns[rounds - 1];
	}
	print();
	again_bpf__destroy(again);
	return 0;
}
