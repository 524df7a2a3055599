// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a packet costs: cost [ROUNDS]. Each path is run over and over on one
 * packet by BPF_PROG_TEST_RUN, the paths in turn within a round, beside programs
 * that do nothing. Only paths that change nothing the next run would trip over:
 * a merged packet loses one TTL each time, so it starts with 255 and runs 200 times.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <net/if.h>

#include "harness.h"
#include "xdp.skel.h"

#define REPEAT 200
#define BATCHES 1000
#define BATCHES_XDP 50 /* each waits for an RCU grace period, or two */
#define ROUNDS_MAX 100

#define ACK(...) { .flags = "A", .wnd = 502, .opts = "nop nop ts=110:905", .seq = 1, .ack = 1, .ttl = 255, __VA_ARGS__ }

static struct xdp_bpf *xdp;
static int empty_tc, empty_xdp;

/* Readies the maps for a path; a flow that the packet belongs to, or none. */
static void untracked(void)
{
	fresh(NULL);
}

static void monitored(void)
{
	fresh(NULL);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
}

static void merged(void)
{
	monitored();
	flow_set("state=merged +bypass -want_up -want_down");
	usleep(2000); /* XDP takes over only after a gap */
}

static void merged_delta(void)
{
	merged();
	flow_set("+tsdelta c.ts_delta=1000 s.ts_delta=-50");
}

static const struct path {
	const char *name;
	void (*ready)(void);
	enum prog prog;
	bool xdp, empty;
	struct spec in;
	int rc;
} paths[] = {
	{ "TC, empty", untracked, CLIENT, false, true, ACK(), PASS },
	{ "TC, untracked ack", untracked, CLIENT, false, false, ACK(), PASS },
	{ "TC, monitored bare ack", monitored, CLIENT, false, false, ACK(), PASS },
	{ "TC, monitored bare ack of the server", monitored, SERVER, false, false, ACK(.dir = SEAM_DOWN), PASS },
	{ "TC, merged bare ack, forwarded", merged, CLIENT, false, false, ACK(), REDIRECT },
	{ "TC, merged 1448 bytes, forwarded", merged, CLIENT, false, false, ACK(.len = 1448), REDIRECT },
	{ "TC, merged bare ack, timestamp delta", merged_delta, CLIENT, false, false, ACK(), REDIRECT },
	{ "XDP, empty", untracked, CLIENT, true, true, ACK(), 2 },
	{ "XDP, untracked ack", untracked, CLIENT, true, false, ACK(), 2 },
	{ "XDP, monitored bare ack", monitored, CLIENT, true, false, ACK(), 2 },
	{ "XDP, merged bare ack, forwarded", merged, CLIENT, true, false, ACK(), 4 },
	{ "XDP, merged 1448 bytes, forwarded", merged, CLIENT, true, false, ACK(.len = 1448), 4 },
};
#define N_PATHS (sizeof(paths) / sizeof(paths[0]))

static __attribute__((noreturn)) void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int empty(enum bpf_prog_type type, int rc)
{
	struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = rc },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(type, "empty", "GPL", insns, 2, NULL);

	if (fd < 0)
		fail("empty program");
	return fd;
}

static void xdp_ready(void)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = harness_pins());
	__u32 port = if_nametoindex("s0");

	xdp = xdp_bpf__open_opts(&opts);
	if (!xdp || xdp_bpf__load(xdp) ||
	    bpf_map_update_elem(bpf_map__fd(xdp->maps.xdp_ports), &port, &port, BPF_ANY))
		fail("XDP programs");
}

static int order(const void *a, const void *b)
{
	const __u32 *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* One path, nanoseconds: the median of its batches. */
static __u32 run(const struct path *path)
{
	struct __sk_buff ctx = { .ifindex = if_nametoindex(path->prog == SERVER ? "s0" : "c0") };
	struct packet p, out;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p.data, .data_out = out.data,
		    .repeat = REPEAT);
	int n = path->xdp ? BATCHES_XDP : BATCHES, fd, i;
	static __u32 took[BATCHES];

	path->ready();
	build(&path->in, &p);
	if (path->xdp) {
		fd = path->empty ? empty_xdp : bpf_program__fd(xdp->progs.seam_xdp_client);
	} else {
		fd = path->empty ? empty_tc : prog_fd(path->prog);
		opts.ctx_in = &ctx;
		opts.ctx_size_in = sizeof(ctx);
	}
	for (i = 0; i < n; i++) {
		opts.data_size_in = p.len;
		opts.data_size_out = sizeof(out.data);
		if (bpf_prog_test_run_opts(fd, &opts))
			fail(path->name);
		if ((int)opts.retval != path->rc) {
			fprintf(stderr, "%s: returned %d, not %d\n", path->name, opts.retval, path->rc);
			exit(1);
		}
		took[i] = opts.duration;
	}
	qsort(took, n, sizeof(*took), order);
	return took[n / 2];
}

int main(int argc, char **argv)
{
	static __u32 ns[N_PATHS][ROUNDS_MAX];
	int rounds = argc > 1 ? atoi(argv[1]) : 5, r;
	__u32 floor[2] = {};
	cpu_set_t cpu;
	size_t i;

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "cost: 1 to %d rounds\n", ROUNDS_MAX);
		return 2;
	}
	CPU_ZERO(&cpu);
	CPU_SET(sched_getcpu(), &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	harness_start("cost");
	empty_tc = empty(BPF_PROG_TYPE_SCHED_CLS, PASS);
	empty_xdp = empty(BPF_PROG_TYPE_XDP, 2);
	xdp_ready();
	for (r = 0; r < rounds; r++)
		for (i = 0; i < N_PATHS; i++)
			ns[i][r] = run(&paths[i]);
	for (i = 0; i < N_PATHS; i++) {
		__u32 *v = ns[i];

		qsort(v, rounds, sizeof(*v), order);
		if (paths[i].empty)
			floor[paths[i].xdp] = v[rounds / 2];
		printf("%s\t%u\t%u\t%u\t%+d\n", paths[i].name, v[rounds / 2], v[0],
		       v[rounds - 1], (int)(v[rounds / 2] - floor[paths[i].xdp]));
	}
	xdp_bpf__destroy(xdp);
	return 0;
}
