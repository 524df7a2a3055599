// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The trackers of a flow that is only watched, and packets that are odd. */
#include <string.h>

#include "harness.h"

#define UP(...) { .flags = "A", .opts = "nop nop ts=110:905", __VA_ARGS__ }
#define DOWN(...) { .dir = SEAM_DOWN, .flags = "A", .opts = "nop nop ts=910:108", __VA_ARGS__ }

/* A flow that is watched and not held, so that payload passes. */
static void watched(const struct conn *c)
{
	fresh(c);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("-want_up -want_down");
}

static void trackers(const struct conn *c)
{
	watched(c);
	STEPS(
		{ "payload up", CLIENT, UP(.seq = 1, .ack = 1, .len = 100, .wnd = 502, .tos = 0xb9, .ttl = 61), PASS,
		  .flow = "state=monitored c.nxt=101 c.ack=1 c.edge=64257 c.tsval=110 c.bytes=100 c.packets=3 "
			  "c.seg_max=100 c.ttl=61 c.tos=0xb8 c+data s.nxt=1 s-data", .counts = "" },
		{ "bare ack down, scaled window", SERVER, DOWN(.seq = 1, .ack = 101, .wnd = 1000), PASS,
		  .flow = "s.ack=101 s.edge=128101 s.nxt=1 s.tsval=910 s.packets=2 s.bytes=0", .counts = "" },
		{ "retransmission", CLIENT, UP(.seq = 1, .ack = 1, .len = 100, .wnd = 502), PASS,
		  .flow = "c.nxt=101 c.bytes=200", .counts = "" },
		{ "a window never shrinks the edge", SERVER, DOWN(.seq = 1, .ack = 101, .wnd = 10), PASS,
		  .flow = "s.edge=128101" },
		{ "an old ack", SERVER, DOWN(.seq = 1, .ack = 51, .wnd = 10), PASS,
		  .flow = "s.ack=101 s.edge=128101" },
		{ "an ack of what was not sent", SERVER, DOWN(.seq = 1, .ack = 102, .wnd = 5000), PASS,
		  .flow = "s.ack=101 s.edge=128101" },
		{ "a bare ack from ahead moves nothing", CLIENT, UP(.seq = 5000, .ack = 1, .wnd = 502), PASS,
		  .flow = "c.nxt=101" },
		{ "an older timestamp", CLIENT,
		  { .flags = "A", .seq = 101, .ack = 1, .wnd = 502, .opts = "nop nop ts=109:905" }, PASS,
		  .flow = "c.tsval=110" },
		{ "timestamps where nobody puts them", CLIENT,
		  { .flags = "A", .seq = 101, .ack = 1, .wnd = 502, .opts = "ts=120:905 nop nop" }, PASS,
		  .flow = "c.tsval=120" },
		{ "and between SACK blocks", SERVER,
		  { .dir = SEAM_DOWN, .flags = "A", .seq = 1, .ack = 101, .wnd = 502,
		    .opts = "nop nop sack=1:2 nop ts=930:9 nop" }, PASS, .flow = "s.tsval=930" },
		{ "a gap", CLIENT, UP(.seq = 201, .ack = 1, .len = 10, .wnd = 502), PASS, .flow = "c.nxt=211" },
		{ "data beyond the window is not believed", CLIENT,
		  UP(.seq = 128101 + 16384, .ack = 1, .len = 10, .wnd = 502), PASS, .flow = "c.nxt=211", .counts = "" },
		{ "payload down", SERVER, DOWN(.seq = 1, .ack = 211, .len = 1000, .wnd = 1000, .flags = "PA"), PASS,
		  .flow = "s.nxt=1001 s.ack=211 s.edge=128211 s.bytes=1000 s.seg_max=1000" },
		{ "urgent", CLIENT, UP(.seq = 211, .ack = 1001, .len = 1, .flags = "AU", .urg = 1), PASS,
		  .flow = "c+urg c.ack=1001 c.nxt=212" });
}

static void wrap(void)
{
	watched(&(struct conn){ .cisn = 0xffffffc0, .sisn = 0x7fffffff });
	STEPS({ "up to 2^32", CLIENT, UP(.seq = 1, .ack = 1, .len = 60, .wnd = 502), PASS, .flow = "c.nxt=61" },
	      { "across", CLIENT, UP(.seq = 61, .ack = 1, .len = 60, .wnd = 502), PASS, .flow = "c.nxt=121" },
	      { "acknowledged", SERVER, DOWN(.seq = 1, .ack = 121, .wnd = 9), PASS, .flow = "s.ack=121" },
	      { "the one before, late", CLIENT, UP(.seq = 1, .ack = 1, .len = 60, .wnd = 502), PASS, .flow = "c.nxt=121" },
	      { "2^31", SERVER, DOWN(.seq = 1, .ack = 121, .len = 60, .wnd = 9), PASS, .flow = "s.nxt=61" });
	fresh(NULL);
	establish("mss=1460 sackok ts=4294967290:0 nop ws=7", LINUX_SYNACK, "nop nop ts=4294967295:900");
	STEPS({ "timestamps across 2^32", CLIENT,
		{ .flags = "A", .seq = 1, .ack = 1, .opts = "nop nop ts=3:900" }, PASS, .flow = "c.tsval=3" },
	      { "older", CLIENT, { .flags = "A", .seq = 1, .ack = 1, .opts = "nop nop ts=4294967295:900" }, PASS,
		.flow = "c.tsval=3" });
}

static void resets(void)
{
	static const struct {
		const char *what;
		int seq;
		bool taken;
	} fixtures[] = {
		{ "RST at the next byte", 1, true },
		{ "RST in the window: only challenged", 2, false },
		{ "RST at the right edge", 65161, false },
		{ "RST before", 0, false },
		{ "RST far away", 0x7fffffff, false },
	};
	unsigned int i;

	for (i = 0; i < sizeof(fixtures) / sizeof(fixtures[0]); i++) {
		watched(NULL);
		STEPS({ fixtures[i].what, CLIENT, { .flags = "R", .seq = fixtures[i].seq }, PASS,
			.counts = fixtures[i].taken ? "rst" : "rst_window",
			.flow = fixtures[i].taken ? "state=closing reason=rst c+rst" : "state=monitored c-rst" });
	}
	watched(NULL);
	STEPS({ "RST of the server", SERVER, { .dir = SEAM_DOWN, .flags = "RA", .seq = 1, .ack = 1 }, PASS,
		.counts = "rst", .flow = "state=closing s+rst" });
}

static void fins(void)
{
	watched(NULL);
	STEPS({ "payload and FIN", CLIENT, UP(.seq = 1, .ack = 1, .len = 10, .flags = "FA"), PASS, .counts = "",
		.flow = "state=monitored c.nxt=12 c.fin=11 c+fin" },
	      { "acknowledged", SERVER, DOWN(.seq = 1, .ack = 12), PASS, .flow = "s.ack=12 state=monitored" },
	      { "FIN again", CLIENT, UP(.seq = 11, .ack = 1, .flags = "FA"), PASS, .flow = "c.fin=11 c.nxt=12" },
	      { "data the other way", SERVER, DOWN(.seq = 1, .ack = 12, .len = 7), PASS, .flow = "s.nxt=8 state=monitored" },
	      { "FIN the other way", SERVER, DOWN(.seq = 8, .ack = 12, .flags = "FA"), PASS, .counts = "fin",
		.flow = "state=closing reason=fin s.fin=8 s.nxt=9" },
	      { "the last ack", CLIENT, UP(.seq = 12, .ack = 9), PASS, .counts = "", .flow = "state=closing c.ack=9" });

	watched(NULL);
	STEPS({ "payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 1000), PASS, .flow = "c.nxt=1001" },
	      { "a FIN below what was sent is not believed", CLIENT, UP(.seq = 400, .ack = 1, .flags = "FA"), PASS,
		.flow = "c-fin c.nxt=1001" },
	      { "nor one far below", CLIENT, UP(.seq = -100000, .ack = 1, .flags = "FA"), PASS, .flow = "c-fin" },
	      { "nor one beyond the window", CLIENT, UP(.seq = 200000, .ack = 1, .flags = "FA"), PASS, .flow = "c-fin c.nxt=1001" },
	      { "a FIN ahead of a lost segment is", CLIENT, UP(.seq = 2001, .ack = 1, .flags = "FA"), PASS, .flow = "c+fin c.fin=2001" },
	      { "the lost one leaves it", CLIENT, UP(.seq = 1001, .ack = 1, .len = 1000), PASS, .flow = "c+fin c.fin=2001 c.nxt=2002" });
}

/* What of a split flow comes in fragments must not get by its legs to the other end. */
static void first_fragments_of_a_split_flow(void)
{
	struct spec first = UP(.seq = 1, .ack = 1, .len = 64, .frag = 0x2000);
	struct packet in, out;

	watched(NULL);
	flow_set("state=split");
	build(&first, &in);
	in.len = 14 + 20 + 8; /* the shortest there may be: ports and sequence number */
	in.data[17] = 28;
	check(run_packet(CLIENT, &in, &out, 0) == DROP, "a tiny first fragment is dropped");
	fresh(&(struct conn){ .v6 = true });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("state=split");
	first.frag = 0;
	first.ip_opts = 1;
	build(&first, &in);
	in.data[20] = 44; /* the options become a fragment header: the first, and there are more */
	memcpy(in.data + 54, "\6\0\0\1\0\0\0\7", 8);
	check(run_packet(CLIENT, &in, &out, 0) == DROP, "an IPv6 first fragment is dropped");
	in.data[57] = 9;
	check(run_packet(CLIENT, &in, &out, 0) == PASS, "a later one, which nothing can be made of, is not looked into");
}

static void fragments(void)
{
	fresh(NULL);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	STEPS({ "a fragment that is not the first", CLIENT, UP(.seq = 1, .ack = 1, .len = 64, .frag = 0x0008), PASS,
		.counts = "fragment", .flow = "state=monitored" },
	      { "the first: the flow is let go", CLIENT, UP(.seq = 1, .ack = 1, .len = 64, .frag = 0x2000), PASS,
		.counts = "fragment=2", .flow = "state=passed why_not=fragment +no_split -want_up c.nxt=1" },
	      { "the next", CLIENT, UP(.seq = 1, .ack = 1, .len = 64, .frag = 0x2000), PASS, .counts = "fragment" });
	fresh(NULL);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	STEPS({ "no way past a rule that fails to block", CLIENT, UP(.seq = 1, .ack = 1, .len = 64, .frag = 0x2000), DROP,
		.set = "+fail_block", .counts = "fragment=2", .flow = "state=blocked reason=fragment +block_rst" });
	watched(NULL);
	STEPS({ "fragment of a split flow", CLIENT, UP(.seq = 1, .ack = 1, .len = 64, .frag = 0x2000), DROP,
		.set = "state=split c.told_ack=1 c.told_edge=60000", .counts = "fragment" });
	STEPS({ "IP options in a segment", CLIENT, UP(.seq = 1, .ack = 1, .len = 64, .ip_opts = 3), PASS,
		.set = "state=monitored", .flow = "c.nxt=65", .counts = "" });
	fresh(&(struct conn){ .v6 = true });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("-want_up");
	STEPS({ "extension headers", CLIENT, UP(.seq = 1, .ack = 1, .len = 64, .ip_opts = 3), PASS, .flow = "c.nxt=65" },
	      { "too many of them", CLIENT, UP(.seq = 65, .ack = 1, .len = 64, .ip_opts = 5), PASS, .flow = "c.nxt=65",
		.counts = "ip_options" });
}

/* ---- what is malformed passes as it came, and is counted ---- */

static bool untouched(const char *what, const struct packet *in, int reason, __u64 more)
{
	__u64 before = counter(reason);
	struct packet out;
	int rc = run_packet(CLIENT, in, &out, 0);
	bool good = rc == PASS && packet_is(what, in, in, &out);

	if (rc != PASS)
		note("returned %d", rc);
	if (reason && counter(reason) != before + more) {
		note("counted %llu times", counter(reason) - before);
		good = false;
	}
	return good;
}

static void truncated(bool v6)
{
	struct packet whole, cut;
	bool all = true;
	__u32 n, from = 14 + (v6 ? 40 : 20);

	fresh(&(struct conn){ .v6 = v6 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	build(&(struct spec)UP(.seq = 1, .ack = 1, .len = 20), &whole);
	for (n = 15; n < whole.len; n++) {
		cut = whole;
		cut.len = n;
		if (n < from) /* the kernel itself refuses to run some of these */
			all &= run_packet(CLIENT, &cut, &(struct packet){}, 0) <= PASS;
		else if (!untouched("truncated", &cut, SEAM_R_MALFORMED, 1)) {
			note("at %u of %u bytes", n, whole.len);
			all = false;
		}
	}
	check(all && flow_is("state=monitored c.packets=2 c.nxt=1"),
	      "truncated at every length, length fields as before%s", v6 ? ", IPv6" : "");

	/* The same where the IP header tells the truth. */
	for (all = true, n = from; n < from + 32; n++) {
		cut = whole;
		cut.len = n;
		if (v6)
			cut.data[19] = n - from;
		else
			cut.data[17] = n - 14;
		if (v6 && n == from) /* length 0 is a jumbogram */
			continue;
		if (!untouched("cut", &cut, SEAM_R_MALFORMED, 1)) {
			note("at %u of %u bytes", n, whole.len);
			all = false;
		}
	}
	check(all && flow_is("state=monitored c.packets=2 c.nxt=1"),
	      "cut at every length of the TCP header%s", v6 ? ", IPv6" : "");
}

static void malformed(bool v6)
{
	static const struct {
		const char *what;
		__u32 at4, at6;
		__u8 value;
		int reason;
	} bytes[] = {
		{ "IP version 5", 14, 14, 0x55, SEAM_R_MALFORMED },
		{ "IHL of 4", 14, 0, 0x44, SEAM_R_MALFORMED },
		{ "IHL beyond the packet", 14, 0, 0x4f, SEAM_R_MALFORMED },
		{ "total length 19", 17, 0, 19, SEAM_R_MALFORMED },
		{ "length beyond the packet", 16, 18, 0xff, SEAM_R_MALFORMED },
		{ "no length, and no GSO", 17, 19, 0, SEAM_R_MALFORMED },
		{ "data offset 0", 46, 66, 0x00, SEAM_R_MALFORMED },
		{ "data offset 4", 46, 66, 0x40, SEAM_R_MALFORMED },
		{ "data offset beyond the packet", 46, 66, 0xf0, SEAM_R_MALFORMED },
		{ "UDP", 23, 20, 17, SEAM_R_NOT_TCP },
		{ "ESP", 23, 20, 50, SEAM_R_NOT_TCP },
		{ "no next header", 0, 20, 59, SEAM_R_NOT_TCP },
		{ "a fragment header", 0, 20, 44, SEAM_R_FRAGMENT },
		{ "ARP", 13, 13, 6, SEAM_R_NOT_TCP },
		{ "a VLAN tag in the frame", 12, 12, 0x81, SEAM_R_NOT_TCP },
		{ "ICMP of TCP's bytes", 23, 0, 1, 0 },
		{ "ICMPv6 of TCP's bytes", 0, 20, 58, 0 },
	};
	struct packet whole, bad;
	unsigned int i;

	fresh(&(struct conn){ .v6 = v6 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("-want_up");
	build(&(struct spec)UP(.seq = 1, .ack = 1, .len = 7), &whole);
	for (i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		__u32 at = v6 ? bytes[i].at6 : bytes[i].at4;

		if (!at)
			continue;
		bad = whole;
		bad.data[at] = bytes[i].value;
		check(untouched(bytes[i].what, &bad, bytes[i].reason, 1) && flow_is("c.packets=2 c.nxt=1"),
		      "%s%s", bytes[i].what, v6 ? ", IPv6" : "");
	}
	if (!v6)
		return;
	for (i = 22; i <= 38; i += 16) {
		bad = whole;
		memset(bad.data + i, 0, 10);
		memset(bad.data + i + 10, 0xff, 2);
		check(untouched("mapped", &bad, SEAM_R_MALFORMED, 1) && flow_is("c.packets=2 c.nxt=1"),
		      "an IPv4 address in an IPv6 %s", i == 22 ? "source" : "destination");
	}
}

/* What cannot be told to be of a flow that waits for a verdict, or is not. */
static void in_doubt(void)
{
	struct spec s = { .flags = "S", .wnd = 64240, .frag = 0x2000, .len = 8 };
	struct packet first4, first6, out;

	fresh(NULL);
	build(&s, &first4);
	fresh(&(struct conn){ .v6 = true });
	s.frag = 0;
	s.ip_opts = 2;
	build(&s, &first6);
	first6.data[20] = 44; /* the first of the options becomes a fragment header, ... */
	memcpy(first6.data + 54, "\74\0\0\1\0\0\0\7", 8); /* ... and the second is behind it */
	control()->fail_block = 1;
	check(run_packet(CLIENT, &first4, &out, 0) == DROP, "a first fragment of no flow");
	check(run_packet(CLIENT, &first6, &out, 0) == DROP, "one with a header before TCP's");
	first6.data[62] = 41;
	check(run_packet(CLIENT, &first6, &out, 0) == PASS, "one of a tunnel goes on");
	first6.data[62] = 44;
	check(run_packet(CLIENT, &first6, &out, 0) == DROP, "one with another in it");
	control()->draining = 1;
	check(run_packet(CLIENT, &first4, &out, 0) == PASS && run_packet(CLIENT, &first6, &out, 0) == PASS,
	      "not once the daemon has stopped");
	control()->draining = control()->fail_block = 0;
	check(run_packet(CLIENT, &first4, &out, 0) == PASS && run_packet(CLIENT, &first6, &out, 0) == PASS,
	      "nor where no rule fails closed");
}

int main(void)
{
	harness_start("monitored");
	trackers(NULL);
	trackers(&(struct conn){ .v6 = true, .cisn = 0xffffffff, .sisn = 0xfffffff0 });
	wrap();
	resets();
	fins();
	fragments();
	first_fragments_of_a_split_flow();
	truncated(false);
	truncated(true);
	malformed(false);
	malformed(true);
	in_doubt();
	return harness_end();
}
