// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Mutated packets of a connection, and random bytes, through seam_client and
 * seam_server by BPF_PROG_TEST_RUN: the answer is one of those there are, and
 * what passes to the stack leaves as it came.
 *
 *	fuzz_bpf [SECONDS [SEED]]
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"

static __u64 state;

static __u32 rnd(__u32 n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 16) % n;
}

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

static void random_packet(struct packet *p)
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

	conn.v6 = rnd(2);
	conn.cport = 40000 + rnd(8);
	build(&s, p);
	mutate(p);
}

int main(int argc, char **argv)
{
	int seconds = argc > 1 ? atoi(argv[1]) : 5, rc, by_rc[16] = { 0 };
	__u64 seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, n = 0, refused = 0;
	static struct packet in, out;
	time_t end = time(NULL) + seconds;
	bool good = true;

	harness_start("fuzz");
	state = seed * 0x9e3779b97f4a7c15ULL | 1;
	fresh(NULL);
	policy_all(RULE_ASK, 0);
	while (good && time(NULL) < end) {
		random_packet(&in);
		if (!(n++ % 1000)) {
			daemon_beat();
			policy_all(rnd(4), rnd(8) & ~RULE_F_LAST);
		}
		if (!rnd(500)) { /* a transition somebody asks for, of whatever flow */
			ctl(1 + rnd(CTL_SNAPSHOT), 0, 0);
		}
		rc = run_packet(rnd(2) ? CLIENT : SERVER, &in, &out, 0);
		if (rc < -1000) { /* the kernel does not run a packet without its IP header */
			refused++;
			good = rc == -1000 - EINVAL;
		} else if (rc == PASS) {
			good = packet_is("fuzz", &in, &in, &out);
		} else {
			good = rc == DROP || rc == REDIRECT;
		}
		if (!good)
			note("packet %llu of seed %llu returned %d", n, seed, rc);
		by_rc[rc < -1000 ? 9 : rc + 1]++;
	}
	note("seed %llu: %llu packets; %d pass, %d drop, %d redirect, %llu refused by test_run", seed, n,
	     by_rc[0], by_rc[3], by_rc[8], refused);
	check(good, "every packet got an answer, and what passed was not changed");
	return harness_end();
}
