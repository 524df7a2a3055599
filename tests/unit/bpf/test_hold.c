// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* First payload is held; a verdict, a timer or the fail answer ends it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define UP(...) { .flags = "A", .wnd = 502, .opts = "nop nop ts=110:905", __VA_ARGS__ }
#define DOWN(...) { .dir = SEAM_DOWN, .flags = "A", .wnd = 509, .opts = "nop nop ts=910:108", __VA_ARGS__ }

static void asked(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xffffff00, .sisn = 99 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("c.rtt_us=50000000"); /* the timer comes when a test asks for it */
}

static void passes(bool v6)
{
	asked(v6);
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .counts = "first_payload",
		.flow = "state=held reason=first_payload held_in=1 held_out=0 held_bytes=300 c.nxt=1 +bypass +want_up +history" },
	      { "more", CLIENT, UP(.seq = 301, .ack = 1, .len = 200), REDIRECT, .counts = "",
		.flow = "state=held held_in=2 held_bytes=500 c.nxt=1" },
	      { "a bare ack goes on by itself", SERVER, DOWN(.seq = 1, .ack = 1), REDIRECT, .wire = true, .counts = "",
		.flow = "held_in=2" },
	      { "a window update too", CLIENT, UP(.seq = 1, .ack = 1), REDIRECT, .wire = true, .counts = "" },
	      { "payload of the server waits as well", SERVER, DOWN(.seq = 1, .ack = 1, .len = 50), REDIRECT,
		.flow = "held_in=3 held_bytes=550 s.nxt=1" },
	      { "without a verdict nothing comes out", HOLD, UP(.seq = 1, .ack = 1, .len = 300), DROP,
		.flow = "state=held held_out=1 c.nxt=1" });
	flow_set("held_out=0 held_bytes=550");
	ctl_is("pass: what is held comes out first", CTL_PASS, SEAM_R_RULE, 0, 0, "state=held +release held_in=3 held_out=0");
	STEPS({ "the first comes out", HOLD, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .wire = true, .counts = "",
		.flow = "state=held held_out=1 held_bytes=250 c.nxt=301" },
	      { "what arrives meanwhile queues behind", CLIENT, UP(.seq = 501, .ack = 1, .len = 100), REDIRECT,
		.flow = "state=held held_in=4 held_bytes=350" },
	      { "the second", HOLD, UP(.seq = 301, .ack = 1, .len = 200), REDIRECT, .wire = true, .flow = "c.nxt=501" },
	      { "the server's", HOLD, DOWN(.seq = 1, .ack = 1, .len = 50), REDIRECT, .wire = true, .flow = "s.nxt=51 state=held" },
	      { "the last", HOLD, UP(.seq = 501, .ack = 1, .len = 100), REDIRECT, .wire = true, .counts = "rule",
		.flow = "state=passed reason=rule held_in=4 held_out=4 held_bytes=0 c.nxt=601 -want_up -want_down -release +bypass" });
	/* Real time: 50 us after the last release another must not overtake it. */
	usleep(1000);
	STEPS({ "from then on straight through", CLIENT, UP(.seq = 601, .ack = 51, .len = 10), REDIRECT, .wire = true,
		.counts = "", .flow = "state=passed held_in=4 c.nxt=611" });
}

/* As if the last packet were out of the queue in a second from now, and the transition so many seconds old. */
static void out_soon(unsigned int age)
{
	long long now;
	struct timespec ts;
	char set[96];

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = ts.tv_sec * 1000000000LL + ts.tv_nsec;
	snprintf(set, sizeof(set), "released_ns=%lld changed_ns=%lld", now + 1000000000, now - age * 1000000000LL);
	flow_set(set);
}

/* Found where packets that followed each other closely went by way of the queue for seconds. */
static void never_a_gap(void)
{
	asked(false);
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT });
	ctl_is("pass", CTL_PASS, SEAM_R_RULE, 0, 0, "+release");
	STEPS({ "comes out", HOLD, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .wire = true, .flow = "state=passed" });
	out_soon(1);
	STEPS({ "hard upon it: through the queue", CLIENT, UP(.seq = 301, .ack = 1, .len = 10), REDIRECT, .flow = "held_in=2" },
	      { "and out", HOLD, UP(.seq = 301, .ack = 1, .len = 10), REDIRECT, .wire = true, .flow = "held_out=2" });
	out_soon(900);
	STEPS({ "not long enough ago to do without such a gap", CLIENT, UP(.seq = 311, .ack = 1, .len = 10), REDIRECT, .flow = "held_in=3" });
	flow_set("held_in=2");
	out_soon(1200);
	flow_set("state=splitting +legs c.told_nxt=1 c.told_ack=311 c.told_edge=60000");
	STEPS({ "long after the transition, which is not over", CLIENT, UP(.seq = 311, .ack = 1, .len = 10), REDIRECT, .flow = "held_in=3" });
	flow_set("state=passed -legs held_out=3");
	out_soon(1200);
	STEPS({ "and was long ago: straight through", CLIENT, UP(.seq = 311, .ack = 1, .len = 10), REDIRECT, .wire = true,
		.counts = "", .flow = "held_in=3 c.nxt=321" });
}

/*
 * The device dropped a packet of a flow that is never quiet: all of it went by way of the queue from
 * then on, and `after` was never due.
 */
static void never_empty_again(void)
{
	long long clock;
	struct timespec ts;
	char set[64];

	asked(false);
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT });
	ctl_is("pass", CTL_PASS, SEAM_R_RULE, 0, 0, "+release");
	STEPS({ "comes out", HOLD, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .wire = true, .flow = "state=passed" });
	out_soon(1);
	STEPS({ "one that gets lost", CLIENT, UP(.seq = 301, .ack = 1, .len = 10), REDIRECT, .flow = "held_in=2 held_out=1" },
	      { "one behind it", CLIENT, UP(.seq = 311, .ack = 1, .len = 10), REDIRECT, .flow = "held_in=3" },
	      { "comes out", HOLD, UP(.seq = 311, .ack = 1, .len = 10), REDIRECT, .wire = true, .flow = "held_in=3 held_out=2" },
	      { "the next follows it", CLIENT, UP(.seq = 321, .ack = 1, .len = 10), REDIRECT, .counts = "", .flow = "held_in=4" },
	      { "and out", HOLD, UP(.seq = 321, .ack = 1, .len = 10), REDIRECT, .wire = true, .flow = "held_in=4 held_out=3" });
	clock_gettime(CLOCK_MONOTONIC, &ts);
	clock = (ts.tv_sec * 1000000000LL + ts.tv_nsec) >> 27;
	snprintf(set, sizeof(set), "held_since=%d", (int)(clock - 60) & 0xffff);
	STEPS({ "not long", CLIENT, UP(.seq = 331, .ack = 1, .len = 10), REDIRECT, .set = set, .counts = "", .flow = "held_in=5 held_out=3" });
	snprintf(set, sizeof(set), "held_since=%d", (int)(clock - 65) & 0xffff);
	STEPS({ "nine seconds: written off, straight through", CLIENT, UP(.seq = 341, .ack = 1, .len = 10), REDIRECT, .set = set,
		.wire = true, .counts = "hold_lost", .flow = "held_in=5 held_out=5 c.nxt=351" });

	/* It may be let out long after it was held. */
	asked(false);
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT },
	      { "more", CLIENT, UP(.seq = 301, .ack = 1, .len = 10), REDIRECT, .set = set, .counts = "", .flow = "held_in=2" });
	ctl_is("pass", CTL_PASS, SEAM_R_RULE, 0, 0, "+release");
	STEPS({ "comes out", HOLD, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .wire = true, .flow = "state=held" },
	      { "not ahead of the other", CLIENT, UP(.seq = 311, .ack = 1, .len = 10), REDIRECT, .counts = "", .flow = "held_in=3" });
}

/* With ECMP between the client and the box, the rest of the request may go another way than its SYN. */
static void request_goes_another_way(void)
{
	asked(false);
	STEPS({ "the server answers what the box has not seen", SERVER, DOWN(.seq = 1, .ack = 301, .len = 50), PASS,
		.counts = "astray", .flow = "state=passed reason=astray -want_up -want_down" },
	      { "and goes on", SERVER, DOWN(.seq = 51, .ack = 301, .len = 50), PASS, .counts = "" });
	asked(false);
	flow_set("+fail_block");
	STEPS({ "unless the rule fails closed", SERVER, DOWN(.seq = 1, .ack = 301, .len = 50), DROP,
		.counts = "unacceptable", .flow = "state=monitored" });
}

/* A receiver takes it for a jumbogram, whatever its options are, and all that is there for its length. */
static void no_length(void)
{
	const struct spec held = UP(.seq = 1, .ack = 1, .len = 300, .ip_opts = 1, .tot = -8 - 32 - 300);
	struct packet in, out;

	asked(true);
	build(&held, &in);
	in.data[20] = 0; /* hop-by-hop options */
	check(!in.data[18] && !in.data[19] && run_packet(CLIENT, &in, &out, 0) == REDIRECT && flow_is("state=held held_in=1"),
	      "payload length 0, hop-by-hop options: held like any first payload");
	in.data[20] = 60;
	asked(true);
	check(run_packet(CLIENT, &in, &out, 0) == PASS && flow_is("state=monitored held_in=0"), "no receiver takes it with others");
	control()->fail_block = 1;
	check(run_packet(CLIENT, &in, &out, 0) == DROP, "and where everything fails closed, it does not go on");
	control()->fail_block = 0;
}

static void settles(void)
{
	asked(false);
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT });
	ctl_is("pass", CTL_PASS, SEAM_R_RULE, 0, 0, "+release");
	STEPS({ "comes out", HOLD, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .wire = true, .flow = "state=passed" });
	/* As if the last release were only just over. */
	flow_set("released_ns=0x7fffffffffffffff");
	STEPS({ "hard upon the last release: through the queue", CLIENT, UP(.seq = 301, .ack = 1, .len = 10), REDIRECT,
		.flow = "held_in=2 c.nxt=301" });
	flow_set("held_out=2");
	/* An answer went to the daemon and back for that, in most of the connections that were held. */
	STEPS({ "the server, of which nothing was held, straight through", SERVER, DOWN(.seq = 1, .ack = 301, .len = 50), REDIRECT,
		.wire = true, .counts = "", .flow = "held_in=2 s.nxt=51" });
	flow_set("held_out=1 released_ns=1");
	STEPS({ "what never comes back is written off", CLIENT, UP(.seq = 301, .ack = 1, .len = 10), REDIRECT,
		.wire = true, .counts = "hold_lost", .flow = "held_in=2 held_out=2 held_bytes=0 c.nxt=311" });

	/* The device dropped one of two; nothing would come to end the release. */
	asked(false);
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT },
	      { "more", CLIENT, UP(.seq = 301, .ack = 1, .len = 200), REDIRECT, .flow = "held_in=2" });
	ctl_is("pass", CTL_PASS, SEAM_R_RULE, 0, 0, "state=held +release");
	STEPS({ "one comes out", HOLD, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .wire = true, .flow = "state=held held_out=1" },
	      { "not yet given up", CLIENT, UP(.seq = 301, .ack = 1, .len = 200), REDIRECT, .flow = "state=held held_in=3", .counts = "" },
	      { "the other was lost: sent again, it ends the release", CLIENT, UP(.seq = 301, .ack = 1, .len = 200), REDIRECT,
		.set = "released_ns=1", .wire = true, .counts = "hold_lost rule",
		.flow = "state=passed reason=rule held_in=3 held_out=3 held_bytes=0 c.nxt=501 -release -want_up -want_down" });
	asked(false);
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT });
	ctl_is("pass", CTL_PASS, SEAM_R_RULE, 0, 0, "state=held +release");
	STEPS({ "all of it was lost, and the client gives up", CLIENT, UP(.seq = 1, .ack = 1, .flags = "RA"), REDIRECT,
		.set = "released_ns=1", .wire = true, .counts = "hold_lost rst", .flow = "state=closing c+rst -release" });
}

/* A RST that the server does not heed is no way past a rule. */
static void evasion(void)
{
	asked(false);
	STEPS({ "a RST in the window, which the server only challenges", CLIENT, UP(.seq = 2, .ack = 1, .flags = "R"), PASS,
		.counts = "rst_window", .flow = "state=monitored c-rst" },
	      { "and then the request: held", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .flow = "state=held" });
	asked(false);
	STEPS({ "an exact RST, which does not get as far as the server", CLIENT, UP(.seq = 1, .ack = 1, .flags = "R", .ttl = 1), PASS,
		.flow = "state=closing c+rst" },
	      { "and then the request: held", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .counts = "first_payload",
		.flow = "state=held c-rst" });
	asked(false);
	STEPS({ "the server's greeting, says somebody on the client's side", CLIENT,
		{ .dir = SEAM_DOWN, .flags = "PA", .seq = 1, .ack = 1, .len = 20, .opts = "nop nop ts=905:101" }, DROP,
		.counts = "wrong_side", .flow = "state=monitored s.nxt=1" },
	      { "the client's request, from the server's side", SERVER, UP(.seq = 1, .ack = 1, .len = 300), DROP,
		.counts = "wrong_side", .flow = "state=monitored c.nxt=1" },
	      { "from its own side: held", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .flow = "state=held" },
	      { "held flows do not believe it either", CLIENT,
		{ .dir = SEAM_DOWN, .flags = "PA", .seq = 1, .ack = 1, .len = 20, .opts = "nop nop ts=905:101" }, DROP,
		.counts = "wrong_side", .flow = "held_in=1" });
	flow_set("state=passed held_in=0 -want_up -want_down -bypass");
	STEPS({ "of a passed one the host judges it", CLIENT,
		{ .dir = SEAM_DOWN, .flags = "PA", .seq = 1, .ack = 1, .len = 20, .opts = "nop nop ts=905:101" }, PASS,
		.counts = "wrong_side", .flow = "s.nxt=1" });
}

/* Connections are as good from the servers' side to the clients'. */
static void other_way(void)
{
	fresh(NULL);
	STEPS({ "SYN", SERVER, { .flags = "S", .wnd = 64240, .opts = LINUX_SYN }, PASS },
	      { "SYN-ACK", CLIENT, { .dir = SEAM_DOWN, .flags = "SA", .ack = 1, .wnd = 65160, .opts = LINUX_SYNACK }, PASS },
	      { "ACK", SERVER, { .flags = "A", .seq = 1, .ack = 1, .wnd = 502, .opts = LINUX_TS }, PASS, .counts = "established" },
	      { "first payload: held", SERVER, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .flow = "state=held" },
	      { "not from the other side", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), DROP, .counts = "wrong_side", .flow = "held_in=1" });
}

static void others(void)
{
	asked(false);
	STEPS({ "the server speaks first", SERVER, DOWN(.seq = 1, .ack = 1, .len = 30), REDIRECT, .counts = "server_first",
		.flow = "state=held reason=server_first s.nxt=1 held_in=1" });

	asked(false);
	STEPS({ "FIN without payload is held, or its leg would never see it", CLIENT, UP(.seq = 1, .ack = 1, .flags = "FA"),
		REDIRECT, .counts = "first_payload", .flow = "state=held held_in=1 c-fin" });

	asked(false);
	STEPS({ "RST without payload is not held", CLIENT, { .flags = "R", .seq = 1 }, PASS, .counts = "rst",
		.flow = "state=closing c+rst" });

	asked(false);
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT },
	      { "FIN waits", CLIENT, UP(.seq = 301, .ack = 1, .flags = "FA"), REDIRECT, .flow = "held_in=2 c-fin" },
	      { "RST waits", CLIENT, { .flags = "R", .seq = 302 }, REDIRECT, .flow = "held_in=3 state=held c-rst" });

	asked(false);
	control()->hold_bytes = 1000;
	STEPS({ "up to the limit", CLIENT, UP(.seq = 1, .ack = 1, .len = 1000), REDIRECT, .flow = "held_bytes=1000" },
	      { "one more may be begun", CLIENT, UP(.seq = 1001, .ack = 1, .len = 1000), REDIRECT, .flow = "held_bytes=2000 held_in=2" },
	      { "beyond: dropped, the sender keeps it", CLIENT, UP(.seq = 2001, .ack = 1, .len = 1000), DROP,
		.counts = "hold_bytes", .flow = "held_bytes=2000 held_in=2 state=held" });

	asked(false);
	STEPS({ "back from the queue, and nothing was held", HOLD, UP(.seq = 1, .ack = 1), DROP, .counts = "hold_lost",
		.flow = "state=monitored" });
	conn.cport++;
	STEPS({ "back from the queue, and no such flow", HOLD, UP(.seq = 1, .ack = 1), DROP, .counts = "hold_lost" });

	asked(false);
	ctl_is("pass before there is anything to hold", CTL_PASS, SEAM_R_RULE, 0, -EINVAL, "state=monitored");
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .flow = "state=held" });
	ctl_is("block", CTL_BLOCK, SEAM_R_RULE, 0, 0, "state=blocked");
	STEPS({ "blocked in silence", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), DROP, .counts = "block_drop" },
	      { "what comes back from the queue as well", HOLD, UP(.seq = 1, .ack = 1, .len = 300), DROP, .counts = "block_drop" },
	      { "and the server's", SERVER, DOWN(.seq = 1, .ack = 1), DROP, .counts = "block_drop" },
	      { "with RST", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .set = "+block_rst", .counts = "block_rst",
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "RA", .seq = 1, .ack = 301,
				       .opts = "nop nop ts=905:110" } },
	      { "a RST is not answered", CLIENT, { .flags = "R", .seq = 1 }, DROP, .counts = "rst_dropped" },
	      { "both ends: the receiver's by a clone, this is the sender's", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT,
		.set = "+rst_both", .counts = "block_rst=2", .flow = "-rst_both s+rst_sent",
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "RA", .seq = 1, .ack = 301, .ttl = 63,
				       .opts = "nop nop ts=905:110" } });
}

/* A segment that the server discards was taken for the first payload, and the verdict made of it. */
static void discarded_by_its_receiver(bool v6)
{
	static const struct {
		const char *what, *flags, *opts;
		__u32 seq, ack;
		__u16 len;
	} bad[] = {
		{ "no ACK flag", "P", "nop nop ts=110:905", 1, 0, 200 },
		{ "SYN and RST", "SR", "nop nop ts=110:905", 1, 1, 200 },
		{ "payload of a RST", "RA", "nop nop ts=110:905", 1, 1, 200 },
		{ "acknowledges what was never sent", "PA", "nop nop ts=110:905", 1, 2, 200 },
		{ "acknowledges what is long gone", "PA", "nop nop ts=110:905", 1, 0x80001000, 200 },
		{ "beyond the window", "PA", "nop nop ts=110:905", 65300, 1, 200 },
		{ "begins in the window and ends beyond it", "PA", "nop nop ts=110:905", 65000, 1, 200 },
		{ "before the SYN: of another connection", "PA", "nop nop ts=110:905", 0xffff0000, 1, 200 },
		{ "a FIN before the window", "FA", "nop nop ts=110:905", 0, 1, 0 },
		{ "TSval older than the last", "PA", "nop nop ts=99:900", 1, 1, 200 },
		{ "no timestamps", "PA", "", 1, 1, 200 },
	};
	unsigned int i;

	asked(v6);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		STEPS({ bad[i].what, CLIENT,
			{ .flags = bad[i].flags, .wnd = 502, .seq = bad[i].seq, .ack = bad[i].ack, .len = bad[i].len, .opts = bad[i].opts },
			DROP, .counts = "unacceptable", .flow = "state=monitored held_in=0 c.nxt=1" });
	}
	STEPS({ "a keepalive probe with a byte in it begins no hold", CLIENT, UP(.seq = 0, .ack = 1, .len = 1), PASS,
		.counts = "", .flow = "state=monitored c.nxt=1" },
	      { "out of order within the window is held", CLIENT, UP(.seq = 301, .ack = 1, .len = 200), REDIRECT,
		.flow = "state=held held_in=1" },
	      { "sent again", CLIENT, UP(.seq = 301, .ack = 1, .len = 200), REDIRECT, .flow = "held_in=2" });
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		STEPS({ bad[i].what, CLIENT,
			{ .flags = bad[i].flags, .wnd = 502, .seq = bad[i].seq, .ack = bad[i].ack, .len = bad[i].len, .opts = bad[i].opts },
			DROP, .counts = "unacceptable", .flow = "state=held held_in=2 c.nxt=1" });
	}
	STEPS({ "a senseless byte of the server's does not speak for it", SERVER, DOWN(.seq = 0x20000000, .ack = 1, .len = 1), DROP,
		.counts = "unacceptable", .flow = "state=held held_in=2" },
	      { "with a window that is shut a probe is taken", CLIENT, UP(.seq = 1, .ack = 1, .len = 1), REDIRECT, .set = "s.edge=1",
		.flow = "held_in=3" });
	ctl_is("pass", CTL_PASS, SEAM_R_RULE, 0, 0, "+release");
	STEPS({ "with the verdict given it is the receiver's business", CLIENT, { .flags = "P", .wnd = 502, .seq = 1, .len = 9 }, REDIRECT,
		.counts = "", .flow = "held_in=4" });
}

/* More at once than some kernels have timers for: they are held all the same. */
static void many(void)
{
	int i, held = 0;

	fresh(NULL);
	for (i = 0; i < 1000; i++) {
		const struct spec first = UP(.seq = 1, .ack = 1, .len = 300);
		struct packet in, out;

		conn.cport = 10000 + i;
		establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
		flow_set("c.rtt_us=50000000"); /* no timer comes in between */
		daemon_beat();
		build(&first, &in);
		held += run_packet(CLIENT, &in, &out, 0) == REDIRECT && flow_is("state=held");
	}
	check(held == 1000, "%d of 1000 flows are held at once", held);
	note("%llu without a timer", (unsigned long long)counter(SEAM_R_NO_MEMORY));
}

static void gone(void)
{
	asked(false);
	daemon_gone();
	STEPS({ "the daemon is gone: passes", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), PASS, .counts = "daemon_gone",
		.flow = "state=passed reason=daemon_gone c.nxt=301 -bypass -want_up -want_down" },
	      { "and so on", CLIENT, UP(.seq = 301, .ack = 1, .len = 300), PASS, .counts = "", .flow = "c.nxt=601" });

	asked(false);
	control()->tap_ifindex = 0;
	STEPS({ "no hold device: passes", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), PASS, .counts = "daemon_gone" });

	asked(false);
	daemon_gone();
	STEPS({ "fail answer block", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .set = "+fail_block",
		.counts = "daemon_gone block_rst=2", .flow = "state=blocked reason=daemon_gone c.nxt=1",
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "RA", .seq = 1, .ack = 301, .ttl = 63,
				       .opts = "nop nop ts=905:110" } });

	asked(false);
	STEPS({ "held", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .flow = "state=held" });
	control()->tap_ifindex = 0x7ffffff;
	STEPS({ "the daemon was killed, its device is gone: what is sent again passes", CLIENT, UP(.seq = 1, .ack = 1, .len = 300),
		REDIRECT, .wire = true, .counts = "daemon_gone", .flow = "state=passed held_in=1 held_out=1 c.nxt=301" });

	/* The timer found the daemon late; it was not dead, and writes the packet back. */
	asked(false);
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT });
	ctl_is("recover: the fail answer", CTL_RECOVER, SEAM_R_RESTART, 0, 0, "state=passed held_in=1 held_out=1");
	STEPS({ "the packet comes back after all", HOLD, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .wire = true,
		.flow = "held_in=1 held_out=1 c.nxt=301" });
	STEPS({ "but not once it has been sent again", HOLD, UP(.seq = 1, .ack = 1, .len = 300), DROP, .counts = "hold_lost" });
	usleep(1000);
	STEPS({ "and the flow is not held up by it", CLIENT, UP(.seq = 301, .ack = 1, .len = 10), REDIRECT, .wire = true,
		.flow = "c.nxt=311 held_in=1" });
}

/* What the timer makes of the state the flow is in. */
static void waits_for(const char *what, const char *flow)
{
	struct flow f;
	__u8 before;
	int i;

	flow_get(&f);
	before = f.state;
	for (i = 0; i < 600 && !flow_get(&f) && f.state == before; i++)
		usleep(5000);
	check(flow_is(flow), "%s", what);
}

static void timer(void)
{
	asked(false);
	control()->hold_max_us = 20000;
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .flow = "state=held" });
	waits_for("no verdict in time: a split", "state=splitting reason=hold_time c.told_nxt=1 c.told_ack=1 c.told_edge=65161 "
		  "c.told_tsval=900 s.told_nxt=1 s.told_ack=1 s.told_edge=64257 s.told_tsval=101 +bypass +exact");
	STEPS({ "which holds everything", CLIENT, UP(.seq = 301, .ack = 1, .len = 300), REDIRECT, .flow = "held_in=2 c.nxt=1" },
	      { "bare acks too", SERVER, DOWN(.seq = 1, .ack = 1), REDIRECT, .flow = "held_in=3" });
	ctl_is("split: the timer was faster", CTL_SPLIT, SEAM_R_UNDECIDED, 0, 0, "state=splitting reason=hold_time");

	asked(false);
	control()->hold_max_us = 1000000;
	control()->patience_ms = 700;
	daemon_beat();
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .set = "c.rtt_us=990000", .flow = "state=held" });
	waits_for("the daemon died meanwhile: passes", "state=passed reason=daemon_gone held_in=1 held_out=1");

	asked(false);
	control()->hold_max_us = 1000000;
	control()->patience_ms = 700;
	daemon_beat();
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .set = "c.rtt_us=990000 +fail_block", .flow = "state=held" });
	waits_for("or is blocked", "state=blocked reason=daemon_gone +block_rst");

	asked(false);
	control()->hold_max_us = 20000;
	control()->patience_ms = 700;
	daemon_beat();
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT });
	waits_for("splitting", "state=splitting");
	waits_for("and the daemon dies before the legs stand: passes", "state=passed reason=daemon_gone");
}

int main(void)
{
	harness_start("hold");
	passes(false);
	passes(true);
	settles();
	never_a_gap();
	never_empty_again();
	request_goes_another_way();
	no_length();
	others();
	discarded_by_its_receiver(false);
	discarded_by_its_receiver(true);
	many();
	gone();
	evasion();
	other_way();
	timer();
	return harness_end();
}
