// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Packets in an end's name, from its side of the box and with its addresses and ports, but
 * with numbers that their receiver would not take: they change nothing of a flow.
 */
#include <errno.h>
#include <time.h>

#include "harness.h"

#define TS_UP "nop nop ts=110:905"
#define TS_DOWN "nop nop ts=910:108"
#define UP(...) { .flags = "A", .wnd = 502, .opts = TS_UP, __VA_ARGS__ }
#define DOWN(...) { .dir = SEAM_DOWN, .flags = "A", .wnd = 509, .opts = TS_DOWN, __VA_ARGS__ }
#define FORGED_TS "nop nop ts=900000:905"

/* What the handshake has left of the client, and what no forged packet may change. */
#define UNCHANGED "c.nxt=1 c.ack=1 c.edge=64257 c.tsval=101 c.ttl=64 c.tos=0 c.seg_max=0 c-data c-fin"

#define SPLIT "state=split +legs +bypass +history -want_up -want_down " \
	"c.bound=1 c.nxt=1001 c.ack=201 c.edge=64457 c.tsval=110 c.told_tsval=920 c.told_ack=1001 c.leg_ack=1001 c.told_nxt=201 c.leg_nxt=201 " \
	"c.told_edge=65561 c.leg_edge=65561 " \
	"s.bound=1 s.nxt=201 s.ack=501 s.edge=65561 s.tsval=910 s.told_tsval=120 s.told_ack=201 s.leg_ack=201 s.told_nxt=1001 s.leg_nxt=1001 " \
	"s.told_edge=64457 s.leg_edge=64457"

static void begin(bool v6, bool fail_block)
{
	struct seam_rule line = { .rule = 1, .policy = 1, .action = RULE_ASK,
				  .flags = RULE_F_LAST | (fail_block ? RULE_F_FAIL_BLOCK : 0) };

	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	policy(&line, 1);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("c.rtt_us=990000");
	counters_mark();
}

/* A bare ack with a time far ahead: the request after it would be an old one (RFC 7323 5.3). */
static void before_the_request(bool v6)
{
	static const struct {
		const char *what;
		__u32 seq, ack;
		const char *flags, *flow;
	} cases[] = {
		{ "ahead of the window", 0x10000000, 1, "A", UNCHANGED " c+astray" },
		{ "long behind it", -0x10000000, 1, "A", UNCHANGED " c+astray" },
		{ "an ack of what was not sent", 1, 2, "A", UNCHANGED " c+astray" },
		{ "an ack of long ago", 1, -0x10000000, "A", UNCHANGED " c+astray" },
		{ "an ack of what was before", 1, 0, "A", UNCHANGED " c-astray" },
		{ "what its receiver has had", -1, 1, "A", UNCHANGED " c-astray" },
		{ "no ack", 1, 1, "", UNCHANGED " c+astray" },
		{ "a RST beside the window's beginning", 2, 1, "RA", UNCHANGED " c-astray" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin(v6, false);
		note("%s", cases[i].what);
		STEPS({ "it goes by, and is not believed", CLIENT,
			UP(.seq = cases[i].seq, .ack = cases[i].ack, .flags = cases[i].flags, .wnd = 60000, .ttl = 9, .tos = 0x20,
			   .opts = FORGED_TS), PASS, .flow = cases[i].flow },
		      { "the request is held", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), REDIRECT,
			.flow = "state=held c.tsval=110 c-astray" });
	}
}

/* A RST in the server's name took the place of its answer: the verdict was on half a request. */
static void while_it_is_held(void)
{
	begin(false, false);
	STEPS({ "half a request is held", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), REDIRECT, .flow = "state=held held_in=1" },
	      { "a RST from ahead of the window is not for the daemon to see", SERVER, DOWN(.seq = 0x10000000, .ack = 1, .flags = "RA"), REDIRECT,
		.wire = true, .counts = "", .flow = "state=held held_in=1" },
	      { "one in the window waits its turn", SERVER, DOWN(.seq = 10, .ack = 1, .flags = "RA"), REDIRECT, .flow = "held_in=2" });
}

/* Legs that stand in for the other end tell it what they may: not what a forged packet has made of it. */
static void resets_while_split(void)
{
	begin(false, false);
	flow_set(SPLIT " c+clamped c.nxt=65561 c.told_ack=65561 c.leg_ack=65561 c.leg_edge=200000 s.told_nxt=65561 s.leg_nxt=65561 "
		 "s.ack=65561 s.edge=130721");
	STEPS({ "a RST from ahead of the window", SERVER, DOWN(.seq = 0x10000000, .ack = 1, .flags = "R"), DROP, .counts = "forged",
		.flow = "state=split s-rst" },
	      { "one in the window is the leg's to answer, and no window update", SERVER, DOWN(.seq = 301, .ack = 65561, .flags = "RA"), REDIRECT,
		.counts = "rst_window", .flow = "s-rst c.told_edge=65561" });
	flow_set("state=merging c.bound=65561 s.bound=201");
	STEPS({ "merging, it gets there as it is", SERVER, DOWN(.seq = 301, .ack = 65561, .flags = "RA"), REDIRECT,
		.counts = "rst_window", .flow = "state=merging s-rst" });
}

/* What a SYN-ACK that is sent again negotiates was taken for congestion, and the flow was not merged any more. */
static void ecn(void)
{
	begin(false, false);
	flow_set(SPLIT " +ecn");
	STEPS({ "a SYN-ACK again", SERVER, DOWN(.seq = 0, .ack = 1, .flags = "SAE", .opts = "mss=1460 sackok ts=900:100 nop ws=7"), REDIRECT,
		.flow = "s-cwr" },
	      { "a RST", SERVER, DOWN(.seq = 301, .ack = 501, .flags = "RAE"), REDIRECT, .flow = "s-cwr" },
	      { "an ack", SERVER, DOWN(.seq = 201, .ack = 501, .flags = "AE"), REDIRECT, .flow = "s+cwr" });
}

/* A leg was made to probe each second, for an end that does so each two hours. */
static void keepalive(void)
{
	struct timespec ts;
	struct flow f;

	begin(false, false);
	flow_set(SPLIT);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	flow_get(&f);
	f.seen_ns = (ts.tv_sec - 7) * 1000000000ULL + ts.tv_nsec;
	flow_put(&f);
	STEPS({ "a forged packet a moment before", CLIENT, UP(.seq = 0x10000000, .ack = 201), DROP, .counts = "forged" },
	      { "and a probe after seven seconds", CLIENT, UP(.seq = 1000, .ack = 201), REDIRECT, .flow = "c.keepalive_s=7" });
}

/* It was let go with a hold under way, and what legs would tell the server began with the forged time. */
static void time_while_it_is_held(void)
{
	begin(false, false);
	STEPS({ "the request is held", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), REDIRECT, .flow = "state=held s.told_tsval=101" },
	      { "an ack in the client's name", CLIENT, UP(.seq = 0x10000000, .ack = 1, .opts = FORGED_TS), REDIRECT, .wire = true,
		.flow = "c.tsval=110 s.told_tsval=101" });
}

/* The first fragment of a segment ends what a rule waits for, or a flow whose rule fails closed. */
static void fragments(void)
{
	begin(false, true);
	STEPS({ "one from the wrong side", SERVER, UP(.seq = 1, .ack = 1, .len = 64, .frag = 0x2000), DROP,
		.counts = "fragment wrong_side", .flow = "state=monitored +want_up" },
	      { "one from ahead of the window", CLIENT, UP(.seq = 0x10000000, .ack = 1, .len = 64, .frag = 0x2000), DROP,
		.counts = "fragment forged", .flow = "state=monitored +want_up" },
	      { "one from behind it", CLIENT, UP(.seq = -0x10000, .ack = 1, .len = 64, .frag = 0x2000), DROP,
		.counts = "fragment forged", .flow = "state=monitored +want_up" },
	      { "one that may be", CLIENT, UP(.seq = 1, .ack = 1, .len = 64, .frag = 0x2000), DROP,
		.counts = "fragment=2", .flow = "state=blocked" });
	begin(false, false);
	flow_set("state=merged -want_up -want_down");
	STEPS({ "of a flow that nothing waits for it goes by, and leaves no trace", CLIENT,
		UP(.seq = 0x10000000, .ack = 1, .len = 64, .frag = 0x2000), PASS, .counts = "fragment forged", .flow = "-no_split" },
	      { "as does one from the wrong side", SERVER, UP(.seq = 1, .ack = 1, .len = 64, .frag = 0x2000), PASS,
		.counts = "fragment wrong_side", .flow = "-no_split" },
	      { "which one that may be does not", CLIENT, UP(.seq = 1, .ack = 1, .len = 64, .frag = 0x2000), PASS,
		.counts = "fragment", .flow = "+no_split why_not=fragment" });
}

/* A leg has no say in it: it would get the packet with numbers that it takes. */
static void while_split(bool v6)
{
	begin(v6, false);
	flow_set(SPLIT);
	STEPS({ "an ack of what was not told", SERVER, DOWN(.seq = 201, .ack = 1002), DROP, .counts = "forged", .flow = "s.ack=501" },
	      { "an ack of long ago", SERVER, DOWN(.seq = 201, .ack = -0x10000000), DROP, .counts = "forged" },
	      { "payload ahead of the window", SERVER, DOWN(.seq = 0x10000000, .ack = 1001, .len = 10), DROP, .counts = "forged",
		.flow = "s.nxt=201 s.ack=501" },
	      { "behind it, as far as no window reaches", SERVER, DOWN(.seq = -0x10000000, .ack = 1001), DROP, .counts = "forged" },
	      { "payload without an ack", SERVER, DOWN(.seq = 201, .ack = 1001, .len = 10, .flags = ""), DROP, .counts = "forged" },
	      { "its leg answers what it has had, but an ack with it is not believed", SERVER, DOWN(.seq = 151, .ack = 1001, .len = 10), REDIRECT,
		.out = &(struct spec)DOWN(.seq = 151, .ack = 501, .len = 10), .counts = "", .flow = "s.ack=501" },
	      { "an ack that may be", SERVER, DOWN(.seq = 201, .ack = 901), REDIRECT, .counts = "", .flow = "s.ack=901 s-astray" });
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging -waits c.bound=1001 s.bound=201");
	STEPS({ "payload straight to the server, ahead of its window", CLIENT, UP(.seq = 0x10000000, .ack = 201, .len = 10), DROP,
		.counts = "forged", .flow = "s.told_nxt=1001 c.nxt=1001" },
	      { "with a time ahead, and a number that its receiver has had", CLIENT,
		UP(.seq = 901, .ack = 201, .len = 10, .opts = FORGED_TS), REDIRECT, .set = "s.ack=1001",
		.out = &(struct spec)UP(.link = LEAVING, .ttl = 63, .seq = 901, .ack = 201, .len = 10, .opts = "nop nop ts=120:905"),
		.flow = "c.tsval=110 s.told_tsval=120" });
}

/* A flow that is to be split at its second request. */
static void begin_armed(bool fail_block)
{
	struct seam_rule line = { .rule = 1, .policy = 1, .action = RULE_INSPECT, .after = { .request = 2 },
				  .flags = RULE_F_AFTER | RULE_F_LAST | (fail_block ? RULE_F_FAIL_BLOCK : 0) };

	fresh(NULL);
	policy(&line, 1);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
}

/* A rule that waits for more payload is not hurried by what does not arrive. */
static void armed(void)
{
	begin_armed(false);
	STEPS({ "a request", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), PASS, .flow = "after_request=1" },
	      { "its answer", SERVER, DOWN(.seq = 1, .ack = 101, .len = 50), PASS, .flow = "+answered" },
	      { "which it acknowledges", CLIENT, UP(.seq = 101, .ack = 51), PASS, .flow = "state=monitored" },
	      { "payload with an ack of what cannot have been sent", CLIENT, UP(.seq = 101, .ack = 0x10000000, .len = 100), PASS,
		.flow = "state=monitored +answered c.nxt=101 c.bytes=100" },
	      { "the next request", CLIENT, UP(.seq = 101, .ack = 51, .len = 100), REDIRECT, .flow = "state=splitting" });
}

/* A client that acknowledges what the box has not seen yet, or that an evil one has not got, had its requests go by for good. */
static void armed_and_ahead(bool fail_block)
{
	begin_armed(fail_block);
	STEPS({ "a request", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), PASS },
	      { "its answer", SERVER, DOWN(.seq = 1, .ack = 101, .len = 50), PASS, .flow = "+answered" });
	if (!fail_block)
		STEPS({ "the next request, ahead: no leg can go on from there", CLIENT, UP(.seq = 101, .ack = 52, .len = 100), PASS,
			.flow = "state=passed reason=astray" });
	else
		STEPS({ "what cannot be, and is payload, does not go by", CLIENT, UP(.seq = 101, .ack = 0x10000000, .len = 100), DROP,
			.counts = "forged", .flow = "state=monitored +answered" },
		      { "nor does what is ahead", CLIENT, UP(.seq = 101, .ack = 52, .len = 100), REDIRECT,
			.out = &(struct spec)DOWN(.link = LEAVING, .ttl = 63, .flags = "RA", .seq = 52, .ack = 201, .wnd = 0, .opts = "nop nop ts=905:110"), .flow = "state=blocked reason=astray" });
}

/* The packet that is due may look right: it is the other end that has more than the box has seen. */
static void armed_and_the_other_ahead(void)
{
	begin_armed(false);
	STEPS({ "the answer to a request that went another way", SERVER, DOWN(.seq = 1, .ack = 101, .len = 50), PASS,
		.flow = "state=passed reason=astray -armed s.nxt=51" },
	      { "the next request is nobody's to split", CLIENT, UP(.seq = 101, .ack = 51, .len = 100), PASS, .flow = "state=passed c.nxt=201" });
}

/* What the box has missed it learns of by what follows, as long as a window reaches. */
static void missed(void)
{
	begin(false, false);
	flow_set("state=passed -want_up -want_down +bypass");
	STEPS({ "a request, after an answer that came another way", CLIENT, UP(.seq = 1, .ack = 1001, .len = 10), REDIRECT, .wire = true,
		.flow = "c+astray c.nxt=11 c.ack=1" },
	      { "its answer", SERVER, DOWN(.seq = 1001, .ack = 11, .len = 100), REDIRECT, .wire = true, .flow = "s.nxt=1101 s.ack=11 s-astray" },
	      { "and an ack of that", CLIENT, UP(.seq = 11, .ack = 1101), REDIRECT, .wire = true, .flow = "c-astray c.ack=1101" },
	      { "the end of it", CLIENT, UP(.seq = 11, .ack = 1101, .flags = "FA"), REDIRECT, .wire = true, .flow = "c+fin" },
	      { "is seen", SERVER, DOWN(.seq = 1101, .ack = 12, .flags = "FA"), REDIRECT, .wire = true, .flow = "state=closing" });
}

/* TCP Fast Open: the SYN-ACK acknowledges payload, and is not noted. The end of such a flow was not seen. */
static void unanswered(void)
{
	fresh(NULL);
	policy_all(RULE_ASK, 0);
	STEPS({ "SYN with payload", CLIENT, { .flags = "S", .wnd = 64240, .len = 100, .opts = LINUX_SYN }, PASS },
	      { "SYN-ACK", SERVER, { .dir = SEAM_DOWN, .flags = "SA", .ack = 101, .wnd = 65160, .opts = LINUX_SYNACK }, PASS },
	      { "ACK", CLIENT, UP(.seq = 101, .ack = 1), PASS, .flow = "state=passed s.isn=0 s.nxt=1 c.ack=1" },
	      { "answer", SERVER, DOWN(.seq = 1, .ack = 101, .len = 200), PASS, .flow = "s.nxt=201 s-astray s.ttl=64" },
	      { "FIN", SERVER, DOWN(.seq = 201, .ack = 101, .flags = "FA"), PASS, .flow = "s+fin" },
	      { "FIN", CLIENT, UP(.seq = 101, .ack = 202, .flags = "FA"), PASS, .flow = "state=closing" });
}

/* Part of it went another way, by more than a window: legs would not begin where the ends are. */
static void another_way(bool v6)
{
	begin(v6, false);
	flow_set("state=passed -want_up -want_down +bypass");
	STEPS({ "an ack of what the box has not seen", CLIENT, UP(.seq = 1, .ack = 100001), REDIRECT, .wire = true, .flow = "c+astray c.ack=1" });
	ctl_is("no split now", CTL_SPLIT, SEAM_R_OPERATOR, 0, -EAGAIN, "state=passed");
	STEPS({ "now the box has", CLIENT, UP(.seq = 1, .ack = 100001), REDIRECT, .wire = true, .set = "s.nxt=100001 c.edge=164257",
		.flow = "c-astray c.ack=100001" });
	ctl_is("a split", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting c.told_nxt=100001");
}

int main(void)
{
	harness_start("numbers");
	for (int v6 = 0; v6 < 2; v6++) {
		before_the_request(v6);
		while_split(v6);
		another_way(v6);
	}
	while_it_is_held();
	time_while_it_is_held();
	fragments();
	resets_while_split();
	ecn();
	keepalive();
	armed();
	armed_and_ahead(false);
	armed_and_ahead(true);
	armed_and_the_other_ahead();
	missed();
	unanswered();
	return harness_end();
}
