// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What a client may send, in its own name and in others', so that its request is taken for
 * another connection's, or for nobody's. Each of these got by a rule that fails closed.
 */
#include <string.h>

#include "harness.h"

#define SYN(...) { .flags = "S", .wnd = 64240, .opts = LINUX_SYN, __VA_ARGS__ }
#define SYNACK(...) { .dir = SEAM_DOWN, .flags = "SA", .wnd = 65160, .opts = LINUX_SYNACK, __VA_ARGS__ }
#define ACK(...) { .flags = "A", .wnd = 502, .opts = "nop nop ts=110:905", __VA_ARGS__ }
#define REQUEST(...) { .flags = "PA", .wnd = 502, .len = 100, .opts = "nop nop ts=110:905", __VA_ARGS__ }

static bool wire;

/* How what is not handled leaves: the host forwards it, or it goes on by the other port. */
static int on(void)
{
	return wire ? REDIRECT : PASS;
}

/* A policy with one rule, about the server's port; all else passes. */
static void begin(enum rule_action action, __u8 flags, bool block_untracked)
{
	struct seam_rule lines[] = {
		{ .client_port_hi = 65535, .server_port_lo = 80, .server_port_hi = 80, .rule = 1, .policy = 1,
		  .action = action, .flags = flags },
		{ .policy = 1, .action = RULE_PASS, .flags = RULE_F_LAST },
	};

	fresh(NULL);
	policy(lines, 2);
	control()->fail_block = !!(flags & RULE_F_FAIL_BLOCK);
	control()->block_untracked = block_untracked;
}

/* The flow's first request has been judged, and it was let go. */
static void innocent(__u32 server)
{
	flow_set("c.rtt_us=990000");
	STEPS({ "an innocent request", CLIENT, REQUEST(.seq = 1, .ack = server + 1), REDIRECT, .flow = "state=held" });
	ctl_is("is let go", CTL_PASS, SEAM_R_RULE, 0, 0, "state=held +release");
	STEPS({ "and goes", HOLD, REQUEST(.seq = 1, .ack = server + 1), REDIRECT, .wire = !wire, .flow = "state=passed" });
	flow_set("released_ns=1");
}

/* No address is forged: of two SYNs the server answers one, and the box knew the other. */
static void under_the_entry_of_the_one_before(void)
{
	const struct spec reset = { .dir = SEAM_DOWN, .link = LEAVING, .ttl = wire ? 64 : 63, .flags = "RA", .seq = 70001, .ack = 100101,
		.opts = "nop nop ts=905:110" };

	begin(RULE_ASK, RULE_F_FAIL_BLOCK, true);
	STEPS({ "SYN", CLIENT, SYN(), on() }, { "SYN-ACK", SERVER, SYNACK(.ack = 1), on() },
	      { "ACK", CLIENT, ACK(.seq = 1, .ack = 1), on(), .flow = "state=monitored +fail_block" });
	innocent(0);
	STEPS({ "RST", CLIENT, { .flags = "RA", .seq = 101, .ack = 1, .wnd = 502, .opts = LINUX_TS }, REDIRECT,
		.wire = !wire, .flow = "state=closing" });
	counters_mark();
	STEPS({ "a SYN", CLIENT, SYN(.seq = 100000), on(), .counts = "new" },
	      { "and another, in its place", CLIENT, SYN(.seq = 300000, .ttl = 2), on(), .counts = "new" },
	      { "a late copy of the first connection's SYN-ACK ends nothing", SERVER, SYNACK(.ack = 1), on(), .flow = "state=closing" },
	      { "the answer to the one before: it is over", SERVER, SYNACK(.seq = 70000, .ack = 100001), on(),
		.counts = "reused", .flow = "none" },
	      { "what was not seen from its beginning is reset", CLIENT, REQUEST(.seq = 100001, .ack = 70001), REDIRECT,
		.out = &reset, .flow = "state=blocked why_not=nat" });
}

/* The client plays the server's part as well, until the connection begins that counts. */
static void with_a_handshake_by_itself(void)
{
	begin(RULE_ASK, RULE_F_FAIL_BLOCK, true);
	STEPS({ "SYN that does not arrive", CLIENT, SYN(.ttl = 2), on() },
	      { "SYN-ACK in the server's name", CLIENT, SYNACK(.seq = 5000, .ack = 1), on() },
	      { "ACK", CLIENT, ACK(.seq = 1, .ack = 5001, .ttl = 2), on(), .flow = "state=monitored" });
	innocent(5000);
	counters_mark();
	STEPS({ "SYN", CLIENT, SYN(.seq = 100000), PASS, .counts = "new" },
	      { "SYN-ACK", SERVER, SYNACK(.seq = 70000, .ack = 100001), PASS, .counts = "reused", .flow = "none" },
	      { "ACK", CLIENT, ACK(.seq = 100001, .ack = 70001), PASS, .counts = "established", .flow = "state=monitored" },
	      { "the request is held", CLIENT, REQUEST(.seq = 100001, .ack = 70001), REDIRECT, .flow = "state=held" });
}

/* A connection in the server's name, the other way round: its packets are this one's. */
static void from_the_server(void)
{
	static const struct {
		const char *what;
		int steps; /* of the forged handshake */
		enum rule_action action;
		__u8 flags;
		bool untracked;
	} cases[] = {
		{ "fail = block, after a SYN", 1, RULE_ASK, RULE_F_FAIL_BLOCK, false },
		{ "fail = block, after its answer, too", 2, RULE_ASK, RULE_F_FAIL_BLOCK, false },
		{ "fail = block, after a whole handshake", 3, RULE_ASK, RULE_F_FAIL_BLOCK, false },
		{ "untracked = block, after a SYN", 1, RULE_ASK, 0, true },
		{ "a port that is blocked, after a SYN", 1, RULE_BLOCK, 0, false },
		{ "a port that is blocked, after a whole handshake", 3, RULE_BLOCK, 0, false },
	};
	const struct step forged[] = {
		{ "SYN in the server's name", CLIENT, { .dir = SEAM_DOWN, .flags = "S", .wnd = 64240, .opts = LINUX_SYN }, on() },
		{ "its answer", CLIENT, { .flags = "SA", .ack = 1, .wnd = 65160, .opts = LINUX_SYNACK }, on() },
		{ "ACK in the server's name", CLIENT, { .dir = SEAM_DOWN, .flags = "A", .seq = 1, .ack = 1, .wnd = 502, .opts = LINUX_TS }, on() },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		note("%s", cases[i].what);
		begin(cases[i].action, cases[i].flags, cases[i].untracked);
		steps(forged, cases[i].steps);
		counters_mark();
		STEPS({ "the SYN is dropped", CLIENT, SYN(.seq = 100000), DROP,
			.counts = cases[i].action == RULE_BLOCK ? "block_drop" : "simultaneous_open", .embryo = "none" });
	}
	begin(RULE_ASK, 0, false);
	steps(forged, 1);
	STEPS({ "where nothing fails closed it passes, and is not tracked", CLIENT, SYN(.seq = 100000), on(),
		.counts = "simultaneous_open", .embryo = "none" });
}

/* What would keep a pair of ports from being used for ever: a SYN the other way, forged or honest, that came to nothing. */
static void long_after_the_other_way(void)
{
	begin(RULE_ASK, RULE_F_FAIL_BLOCK, false);
	STEPS({ "SYN the other way", SERVER, { .dir = SEAM_DOWN, .flags = "S", .wnd = 64240, .opts = LINUX_SYN }, on() });
	embryos_age(129);
	STEPS({ "while its answer may come", CLIENT, SYN(.seq = 100000), DROP, .counts = "simultaneous_open" });
	embryos_age(2);
	counters_mark();
	STEPS({ "and after that", CLIENT, SYN(), on(), .counts = "new" }, { "SYN-ACK", SERVER, SYNACK(.ack = 1), on() },
	      { "ACK", CLIENT, ACK(.seq = 1, .ack = 1), on(), .flow = "state=monitored +fail_block" });
}

/* A client that waits with its ACK, and puts a SYN in the server's name in the place of its own. */
static void long_after_its_own(void)
{
	begin(RULE_ASK, RULE_F_FAIL_BLOCK, true);
	STEPS({ "SYN", CLIENT, SYN(), on() }, { "SYN-ACK", SERVER, SYNACK(.ack = 1), on() });
	embryos_age(131);
	STEPS({ "SYN in the server's name", CLIENT, { .dir = SEAM_DOWN, .flags = "S", .wnd = 64240, .opts = LINUX_SYN }, on(),
		.counts = "simultaneous_open" },
	      { "ACK", CLIENT, ACK(.seq = 1, .ack = 1), on(), .flow = "state=monitored +fail_block" },
	      { "its request is held", CLIENT, REQUEST(.seq = 1, .ack = 1), REDIRECT, .flow = "state=held" });
}

/* A SYN that the policy of then lets by, and that does not get to its server: a TTL of 2. */
static void decided_by_another_policy(void)
{
	begin(RULE_PASS, 0, false);
	STEPS({ "SYN", CLIENT, SYN(.ttl = 2), on() }, { "again", CLIENT, SYN(.ttl = 2), on(), .counts = "syn_retrans" });
	policy(&(struct seam_rule){ .rule = 1, .policy = 2, .action = RULE_BLOCK, .flags = RULE_F_LAST }, 1);
	counters_mark();
	STEPS({ "the same, once another policy is in force", CLIENT, SYN(), DROP, .counts = "block_drop" });

	/* Of the old one the line was past that would have matched, of the new one it is to come. */
	policy((struct seam_rule[]){ { .rule = 1, .policy = 1, .action = RULE_BLOCK },
				     { .policy = 2, .action = RULE_PASS, .flags = RULE_F_LAST } }, 2);
	counters_mark();
	STEPS({ "between two policies", CLIENT, SYN(.seq = 5), DROP, .counts = "block_drop" });

	begin(RULE_PASS, 0, false);
	STEPS({ "SYN", CLIENT, SYN(), on() });
	embryos_age(131);
	counters_mark();
	STEPS({ "the same, after more than two minutes, is a new one", CLIENT, SYN(), on(), .counts = "new" });
}

/* Linux answers an ACK with a wrong number with a RST, and waits on for the right one. */
static void after_a_reset(void)
{
	begin(RULE_ASK, RULE_F_FAIL_BLOCK, false);
	STEPS({ "SYN", CLIENT, SYN(), on() }, { "SYN-ACK", SERVER, SYNACK(.ack = 1), on() },
	      { "a wrong ACK, of no handshake that the box knows", CLIENT, ACK(.seq = 1, .ack = 100001), DROP, .counts = "unacceptable", .flow = "none" },
	      { "the server's answer to it", SERVER, { .dir = SEAM_DOWN, .flags = "R", .seq = 100001 }, on(),
		.counts = "rst", .embryo = "s.isn=0" },
	      { "the right one, and a request", CLIENT, REQUEST(.seq = 1, .ack = 1), REDIRECT, .flow = "state=held" });

	begin(RULE_ASK, RULE_F_FAIL_BLOCK, false);
	STEPS({ "SYN", CLIENT, SYN(), on() },
	      { "a RST in the server's name", CLIENT, { .dir = SEAM_DOWN, .flags = "RA", .ack = 1 }, on(), .embryo = "c.isn=0" },
	      { "SYN-ACK", SERVER, SYNACK(.ack = 1), on() },
	      { "the request is held", CLIENT, REQUEST(.seq = 1, .ack = 1), REDIRECT, .flow = "state=held" });

	begin(RULE_ASK, RULE_F_FAIL_BLOCK, false);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	STEPS({ "RST that does not arrive", CLIENT, { .flags = "R", .seq = 1, .ack = 1, .ttl = 2, .opts = LINUX_TS }, on(),
		.flow = "state=closing +want_up +fail_block" },
	      { "the request, in fragments", CLIENT, REQUEST(.seq = 1, .ack = 1, .frag = 0x2000), DROP, .counts = "fragment" });
}

/* A TFO server takes payload in any SYN that comes first to it. */
static void in_a_syn_sent_again(void)
{
	begin(RULE_ASK, RULE_F_FAIL_BLOCK, false);
	STEPS({ "SYN that does not arrive", CLIENT, SYN(.ttl = 2), on(), .counts = "new" },
	      { "again, without payload", CLIENT, SYN(), on(), .counts = "syn_retrans" },
	      { "again, with a request", CLIENT, SYN(.len = 100), DROP, .counts = "syn_data" });
}

/* SYN cookies: a server has as many handshakes under way as there were SYNs, and completes any of them. */
static void another_handshake(void)
{
	static const struct {
		const char *what;
		__u32 isn, server;	/* of the second */
	} cases[] = {
		{ "with later numbers", 150000, 120000 },
		{ "with earlier numbers", 99900, 69900 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const __u32 c = cases[i].isn + 1, s = cases[i].server + 1;

		note("%s", cases[i].what);
		begin(RULE_ASK, RULE_F_FAIL_BLOCK, true);
		STEPS({ "SYN", CLIENT, SYN(.seq = 100000), on() },
		      { "SYN-ACK", SERVER, SYNACK(.seq = 70000, .ack = 100001), on() },
		      { "another SYN", CLIENT, SYN(.seq = cases[i].isn), on(), .counts = "new" },
		      { "its SYN-ACK", SERVER, SYNACK(.seq = cases[i].server, .ack = c), on(), .counts = "" },
		      { "the ACK of the first does not get to the server", CLIENT, ACK(.seq = 100001, .ack = 70001), DROP,
			.counts = "unacceptable", .flow = "none" },
		      { "the ACK of the other makes the flow", CLIENT, ACK(.seq = c, .ack = s), on(), .counts = "established",
			.flow = "state=monitored" },
		      { "the ACK of the first, once more", CLIENT, ACK(.seq = 100001, .ack = 70001), DROP, .counts = "unacceptable" },
		      { "nor does its request", CLIENT, REQUEST(.seq = 100001, .ack = 70001), DROP, .counts = "unacceptable" },
		      { "nor an answer", SERVER, { .dir = SEAM_DOWN, .flags = "PA", .seq = 70001, .ack = 100101, .len = 200, .wnd = 502,
			.opts = "nop nop ts=906:110" }, DROP, .counts = "unacceptable", .flow = "state=monitored" });
		flow_set("c.rtt_us=990000");
		STEPS({ "the other's request is held", CLIENT, REQUEST(.seq = c, .ack = s), REDIRECT, .flow = "state=held" },
		      { "and still the first is not completed", CLIENT, ACK(.seq = 100001, .ack = 70001), DROP, .counts = "unacceptable" },
		      { "a bare ack of the other is no harm", CLIENT, ACK(.seq = c + 100, .ack = s), REDIRECT, .wire = !wire, .counts = "" });
	}
}

/* The same without cookies: the answer to the second SYN, which does not arrive, is the client's own. */
static void another_handshake_by_itself(void)
{
	begin(RULE_ASK, RULE_F_FAIL_BLOCK, true);
	STEPS({ "SYN", CLIENT, SYN(), PASS }, { "SYN-ACK", SERVER, SYNACK(.seq = 5000, .ack = 1), PASS },
	      { "SYN that does not arrive", CLIENT, SYN(.seq = 100000, .ttl = 2), PASS },
	      { "SYN-ACK in the server's name", CLIENT, SYNACK(.seq = 5000, .ack = 100001), PASS },
	      { "ACK", CLIENT, ACK(.seq = 100001, .ack = 5001, .ttl = 2), PASS, .flow = "state=monitored" },
	      { "the ACK of the first", CLIENT, ACK(.seq = 1, .ack = 5001), DROP, .counts = "unacceptable" },
	      { "its request", CLIENT, REQUEST(.seq = 1, .ack = 5001), DROP, .counts = "unacceptable", .flow = "state=monitored" });
}

/* A connection that begins in fragments, under the entry of one that is over. */
static void in_fragments(void)
{
	begin(RULE_ASK, RULE_F_FAIL_BLOCK, false);
	STEPS({ "SYN", CLIENT, SYN(), on() }, { "SYN-ACK", SERVER, SYNACK(.ack = 1), on() },
	      { "ACK", CLIENT, ACK(.seq = 1, .ack = 1), on(), .flow = "state=monitored" });
	innocent(0);
	STEPS({ "a fragment of it", CLIENT, REQUEST(.seq = 101, .ack = 1, .frag = 0x2000), on(), .counts = "fragment" },
	      { "RST", CLIENT, { .flags = "RA", .seq = 101, .ack = 1, .wnd = 502, .opts = LINUX_TS }, REDIRECT,
		.wire = !wire, .flow = "state=closing" },
	      { "a SYN in fragments", CLIENT, SYN(.seq = 100000, .frag = 0x2000), DROP, .counts = "fragment" },
	      { "one with a number of the old connection", CLIENT, SYN(.seq = 101, .frag = 0x2000), DROP, .counts = "fragment" });
}

/* `untracked = "block"`, and no rule that fails closed. */
static void untracked(void)
{
	begin(RULE_ASK, 0, true);
	STEPS({ "a request of no connection", CLIENT, REQUEST(.seq = 1, .ack = 1), DROP, .counts = "untracked" },
	      { "in fragments", CLIENT, REQUEST(.seq = 1, .ack = 1, .frag = 0x2000), DROP, .counts = "fragment" });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("state=passed -want_up -want_down");
	counters_mark();
	if (!wire)
		STEPS({ "what is not believed is of no connection", SERVER, REQUEST(.seq = 1, .ack = 1), DROP, .counts = "wrong_side" });
	/* Dropped, it left a connection in which the server speaks first without a chance. */
	STEPS({ "the SYN-ACK again, for the ACK was lost behind the box", SERVER, SYNACK(.ack = 1), on(),
		.counts = "untracked", .flow = "state=passed" },
	      { "but no other", SERVER, SYNACK(.seq = 5, .ack = 1), DROP, .counts = "untracked" });
}

static void all(void)
{
	under_the_entry_of_the_one_before();
	if (!wire) /* there both ends by one port are asymmetric, and get the fail answer */
		with_a_handshake_by_itself();
	another_handshake();
	if (!wire)
		another_handshake_by_itself();
	in_fragments();
	from_the_server();
	long_after_the_other_way();
	long_after_its_own();
	decided_by_another_policy();
	after_a_reset();
	in_a_syn_sent_again();
	untracked();
}

int main(void)
{
	harness_start("forged");
	all();
	note("on a wire");
	harness_load(&(struct sizes){ .wire = true });
	wire = true;
	all();
	return harness_end();
}
