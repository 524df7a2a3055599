// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Mutated packets of connections in every state, and random bytes, through every
 * packet program by BPF_PROG_TEST_RUN: the answer is one of those the program may
 * give; what passes to the stack leaves as it came; nothing with SYN, FIN or RST
 * leaves a leg unless the flow's entry says so; no promised window is taken back.
 *
 *	fuzz_bpf [SECONDS [SEED]]
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "random.h"

static void mutate(struct packet *p)
{
	__u32 n = rnd(4), i;

	for (i = 0; i < n && p->len > 12; i++) {
		/* Mostly headers; sometimes to a value at the edge of its field. */
		__u32 at = 12 + rnd(rnd(4) && p->len > 100 ? 88 : p->len - 12);
		static const __u8 edges[] = { 0, 1, 4, 5, 6, 0x0f, 0x44, 0x4f, 0x50, 0x7f, 0x80, 0xf0, 0xff };

		p->data[at] = rnd(2) ? rnd(256) : edges[rnd(sizeof(edges))];
	}
	if (!rnd(6))
		p->len = 14 + rnd(p->len - 13);
	if (!rnd(20)) {
		for (i = 0; i < p->len; i++)
			p->data[i] = rnd(256);
		p->data[12] = rnd(2) ? 8 : 0x86;
		p->data[13] = p->data[12] == 8 ? 0 : 0xdd;
		p->data[14] = p->data[12] == 8 ? 0x45 : 0x60;
	}
}

/* Of any connection, or of the one that `conn` is. */
static void random_packet(struct packet *p, bool any)
{
	static const char *const flags[] = { "S", "SA", "A", "PA", "FA", "R", "RA", "AU", "SF", "", "SEC", "AEC" };
	static const char *const opts[] = {
		"", LINUX_SYN, LINUX_SYNACK, LINUX_TS, "ts=1:2", "raw=1e0300", "raw=0200", "raw=0800",
		"nop nop sack=1:2", "raw=0101010101010101010101010101010101010108",
	};
	struct spec s = {
		.dir = rnd(2), .flags = flags[rnd(12)], .seq = rnd(4) ? 1 : rnd(~0U), .ack = rnd(4) ? 1 : rnd(~0U),
		.wnd = rnd(65536), .len = rnd(3) ? 0 : rnd(1400), .opts = opts[rnd(10)], .ttl = rnd(20) ? 0 : 1,
		.tos = rnd(256), .ip_opts = rnd(8) ? 0 : rnd(4), .pad = rnd(8) ? 0 : rnd(60),
		.frag = rnd(20) ? 0 : rnd(65536), .tot = rnd(20) ? 0 : (int)rnd(64) - 32, .doff = rnd(20) ? 0 : rnd(16),
	};

	if (any) {
		conn.v6 = rnd(2);
		conn.cport = 40000 + rnd(8);
	}
	if (!any && rnd(2)) {
		s.flags = "A";
		s.opts = LINUX_TS;
		build(&s, p);
		return;
	}
	build(&s, p);
	mutate(p);
}

/* Answers of an XDP program. */
enum { X_DROP = 1, X_PASS = 2, X_REDIRECT = 4 };

/* What comes out of each program, a bit per answer; PASS is the top one. */
#define BIT(rc) (1U << ((rc) == PASS ? 31 : (rc)))
static const __u32 may[N_PROGS] = {
	[CLIENT] = BIT(PASS) | BIT(DROP) | BIT(REDIRECT),
	[SERVER] = BIT(PASS) | BIT(DROP) | BIT(REDIRECT),
	[HOLD] = BIT(PASS) | BIT(DROP) | BIT(REDIRECT),
	[LEG_OUT] = BIT(DROP) | BIT(REDIRECT),
	[LEG_IN] = BIT(OK) | BIT(DROP),
	[XDP_CLIENT] = BIT(X_DROP) | BIT(X_PASS) | BIT(X_REDIRECT),
	[XDP_SERVER] = BIT(X_DROP) | BIT(X_PASS) | BIT(X_REDIRECT),
};
static const char *const names[N_PROGS] = {
	"client", "server", "hold", "leg out", "leg in", "xdp client", "xdp server",
};

/* Brings a connection into some state, as if it had lived; true if that was long ago. */
static bool live(void)
{
	static const char *const states[] = {
		"state=monitored +want_up +want_down",
		"state=held +bypass",
		"state=held +bypass +release held_in=2 held_out=1",
		"state=splitting +bypass",
		"state=split +bypass c.told_nxt=51 c.told_ack=101 c.told_edge=65261 s.told_nxt=101 s.told_ack=51 s.told_edge=64307",
		"state=split +bypass c+clamped s+clamped c+fin c.fin=101 s+rst_ok c.told_edge=1",
		"state=merging +bypass c.nxt=1 s.nxt=1 c.told_nxt=1 s.told_nxt=1",
		"state=merged +bypass",
		"state=merged +bypass +tsdelta c.ts_delta=5 s.ts_delta=-7",
		"state=passed",
		"state=passed +bypass",
		"state=blocked +bypass +block_rst +rst_both",
		"state=blocked +bypass +aborted",
		"state=blocked",
		"state=closing +bypass",
	};
	struct flow f;

	conn.v6 = rnd(2);
	conn.cport = 40000 + rnd(8);
	if (flow_get(&f)) {
		establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
		if (flow_get(&f))
			return false;
	}
	flow_set(states[rnd(sizeof(states) / sizeof(states[0]))]);
	if (rnd(2) || flow_get(&f))
		return false;
	f.tc_at[0] = f.tc_at[1] = 0;
	f.changed_ns = f.released_ns = 0;
	f.held_out = f.held_in;
	if (rnd(4)) {
		f.state = FLOW_MERGED;
		f.flags |= FLOW_F_BYPASS;
	}
	flow_put(&f);
	flow_set(XDP_PORT);
	return true;
}

static bool after(__u32 a, __u32 b)
{
	return (__s32)(b - a) < 0;
}

/* Where the TCP header is, 0 if that cannot be told. */
static __u32 tcp_at(const struct packet *p)
{
	__u32 at = 14 + 4 * (p->data[14] & 15);
	__u8 next = p->data[23];

	if (p->data[12] != 8)
		for (at = 54, next = p->data[20]; (next == 0 || next == 43 || next == 60) && at + 8 < p->len;
		     at += 8 + 8 * p->data[at + 1])
			next = p->data[at];
	return next == 6 && at + 20 <= p->len ? at : 0;
}

/* The flow a packet belongs to by its ports, and the end it is from. */
static int flow_of(const struct packet *p, struct flow *f, int *end)
{
	__u32 at = tcp_at(p);
	__u16 sport = p->data[at] << 8 | p->data[at + 1], dport = p->data[at + 2] << 8 | p->data[at + 3];

	conn.v6 = p->data[12] != 8;
	*end = dport == conn.sport ? SEAM_CLIENT : SEAM_SERVER;
	conn.cport = *end == SEAM_CLIENT ? sport : dport;
	return at ? flow_get(f) : -1;
}

/* Whether packets of the flow are rewritten: it has legs, or had them and their clocks differ. */
static bool retold(const struct flow *f)
{
	return f->id && ((f->state >= FLOW_SPLITTING && f->state <= FLOW_MERGING) ||
			 (f->flags & (FLOW_F_TSDELTA | FLOW_F_TSCATCHUP)));
}

/* What a leg may say, by what the entry of its flow says before and after. */
static bool leg_may(const struct packet *out, const struct flow *before)
{
	__u32 at = tcp_at(out), seq;
	const struct flow_end *from, *to;
	struct flow now;
	__u8 flags;
	int end;

	if (flow_of(out, &now, &end) || now.id != before->id)
		return true;
	from = &now.end[end];
	to = &now.end[!end];
	flags = out->data[at + 13];
	seq = (__u32)out->data[at + 4] << 24 | out->data[at + 5] << 16 | out->data[at + 6] << 8 | out->data[at + 7];
	if (flags & 2)
		return false;
	if ((flags & 4) && !(to->flags & END_F_RST_SENT))
		return false;
	if ((flags & 5) == 1 && (!(from->flags & END_F_FIN) || after(seq, from->fin)))
		return false;
	return !after(before->end[!end].told_edge, to->told_edge);
}

int main(int argc, char **argv)
{
	int seconds = argc > 1 ? atoi(argv[1]) : 3, rc = 0, end;
	__u64 seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, n = 0, refused = 0, by_rc[N_PROGS][8] = {}, passed[N_PROGS] = {};
	static struct packet in, out;
	time_t stop;
	enum prog prog = CLIENT;
	struct flow before;
	bool good = true, idle;
	__u32 i;

	harness_start("fuzz");
	rnd_seed(seed);
	fresh(NULL);
	stop = time(NULL) + seconds; /* loading may take as long */
	while (good && time(NULL) < stop) {
		if (!(n++ % 1000)) {
			daemon_beat();
			policy_all(rnd(4), rnd(8) & ~RULE_F_LAST);
		}
		idle = !rnd(8) && live();
		if (!rnd(500)) /* a transition somebody asks for, of whatever flow */
			ctl(1 + rnd(CTL_SNAPSHOT), 0, 0);
		/* XDP takes a flow over when nobody else has it. */
		random_packet(&in, !idle);
		prog = idle ? XDP_CLIENT + rnd(2) : rnd(N_PROGS);
		if (flow_of(&in, &before, &end))
			before.id = before.flags = 0;
		rc = run_packet(prog, &in, &out, 0);
		if (rc < -1000) { /* the kernel does not run a packet without its IP header */
			refused++;
			good = rc == -1000 - EINVAL;
			continue;
		}
		good = (rc == PASS || (rc >= 0 && rc < 8)) && (may[prog] & BIT(rc));
		/* What is told otherwise than it came has been before it shows that the host must answer. */
		if (good && rc == (prog >= XDP_CLIENT ? X_PASS : PASS) && !retold(&before))
			good = packet_is("fuzz", &in, &in, &out);
		if (good && prog == LEG_OUT && rc == REDIRECT && before.id)
			good = leg_may(&out, &before);
		if (rc == PASS)
			passed[prog]++;
		else if (good)
			by_rc[prog][rc]++;
	}
	if (!good) {
		note("packet %llu of seed %llu in \"%s\" returned %d", n, seed, names[prog], rc);
		packet_save("fuzz", (const struct packet *[]){ &in, &out }, rc > -1000 ? 2 : 1);
	}
	note("seed %llu: %llu packets, %llu refused by test_run", seed, n, refused);
	for (i = 0; i < N_PROGS; i++) {
		if (i >= XDP_CLIENT)
			note("%-10s %7llu pass %7llu drop %7llu redirect", names[i], by_rc[i][X_PASS],
			     by_rc[i][X_DROP], by_rc[i][X_REDIRECT]);
		else
			note("%-10s %7llu pass %7llu drop %7llu redirect", names[i], passed[i] + by_rc[i][OK],
			     by_rc[i][DROP], by_rc[i][REDIRECT]);
	}
	check(by_rc[XDP_CLIENT][X_REDIRECT] && by_rc[CLIENT][REDIRECT], "some were forwarded");
	check(good, "every packet got an answer it may get, and left as it may leave");
	return harness_end();
}
