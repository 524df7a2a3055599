// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Armed by its rule: what makes a flow due, the packet that splits it, and what stands in the way. */
#include <errno.h>

#include <bpf/bpf.h>

#include "harness.h"

#define TS_UP "nop nop ts=110:905"
#define TS_DOWN "nop nop ts=910:108"
#define UP(...) { .flags = "A", .wnd = 502, .opts = TS_UP, __VA_ARGS__ }
#define DOWN(...) { .dir = SEAM_DOWN, .flags = "A", .wnd = 509, .opts = TS_DOWN, __VA_ARGS__ }

#define WIRE_UP(...) &(struct spec){ .link = LEAVING, .flags = "A", .wnd = 502, .ttl = 63, .opts = TS_UP, __VA_ARGS__ }

static void armed(bool v6, struct seam_after after, __u8 flags)
{
	struct seam_rule line = {
		.rule = 1, .policy = 1, .action = RULE_INSPECT, .after = after,
		.flags = flags | RULE_F_AFTER | RULE_F_LAST,
	};

	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	policy(&line, 1);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	counters_mark();
}

static void bytes(bool v6)
{
	armed(v6, (struct seam_after){ .bytes = 1000 }, 0);
	STEPS({ "payload passes", CLIENT, UP(.seq = 1, .ack = 1, .len = 600), PASS, .counts = "",
		.flow = "state=monitored +armed -again -want_up -want_down +history due_bytes=1000 c.nxt=601 -bypass" },
	      { "in both directions", SERVER, DOWN(.seq = 1, .ack = 601, .len = 400), PASS, .counts = "", .flow = "s.nxt=401" },
	      { "that much has passed: an ack is not payload", CLIENT, UP(.seq = 601, .ack = 401), PASS, .flow = "state=monitored" },
	      { "nor what is sent again", CLIENT, UP(.seq = 1, .ack = 401, .len = 600), PASS, .flow = "state=monitored" },
	      { "nor what is far beyond the window", CLIENT, UP(.seq = 0x10000000, .ack = 401, .len = 10), PASS, .flow = "state=monitored +armed" },
	      { "the next is the legs'", SERVER, DOWN(.seq = 401, .ack = 601, .len = 100), REDIRECT, .counts = "after",
		.flow = "state=splitting reason=after -armed +bypass held_in=1 c.bound=601 s.bound=401 s.nxt=401 c.told_ack=601 s.told_ack=401" },
	      { "as by hand", CLIENT, UP(.seq = 601, .ack = 401, .len = 10), REDIRECT, .counts = "", .flow = "held_in=2 c.nxt=601" });
	ctl_is("and is nobody else's", CTL_SPLIT, SEAM_R_OPERATOR, 0, -EBUSY, "state=splitting");
}

static void lasted(void)
{
	armed(false, (struct seam_after){ .ms = 3600000 }, 0);
	STEPS({ "payload passes", CLIENT, UP(.seq = 1, .ack = 1, .len = 600), PASS, .counts = "", .flow = "state=monitored +armed" });
	flow_set("created_ns=1 after_ms=1");
	STEPS({ "it has lasted: silence is nothing to look at", SERVER, DOWN(.seq = 1, .ack = 601), PASS, .flow = "state=monitored" },
	      { "its next payload is", SERVER, DOWN(.seq = 1, .ack = 601, .len = 10), REDIRECT, .counts = "after",
		.flow = "state=splitting reason=after s.bound=1 c.bound=601 -armed" });
}

static void request(bool v6)
{
	armed(v6, (struct seam_after){ .request = 3 }, 0);
	STEPS({ "the first request", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), PASS, .flow = "state=monitored +armed -answered after_request=2" },
	      { "is in two segments", CLIENT, UP(.seq = 101, .ack = 1, .len = 100), PASS, .flow = "after_request=2" },
	      { "its answer", SERVER, DOWN(.seq = 1, .ack = 201, .len = 50), PASS, .flow = "+answered after_request=2" },
	      { "the request again is not another", CLIENT, UP(.seq = 1, .ack = 51, .len = 200), PASS, .flow = "+answered after_request=2" },
	      { "the second", CLIENT, UP(.seq = 201, .ack = 51, .len = 100), PASS, .flow = "-answered after_request=1" },
	      { "is not the third", CLIENT, UP(.seq = 301, .ack = 51, .len = 100), PASS, .flow = "-answered after_request=1" },
	      { "its answer", SERVER, DOWN(.seq = 51, .ack = 401, .len = 50), PASS, .flow = "+answered state=monitored" },
	      { "the third, of which the first segment was lost", CLIENT, UP(.seq = 501, .ack = 101, .len = 100), REDIRECT, .counts = "after",
		.out = WIRE_UP(.seq = 401, .ack = 101, .wnd = 501),
		.flow = "state=splitting reason=after c.bound=401 s.bound=101 held_in=1 -armed" });
}

static void first_request(void)
{
	armed(false, (struct seam_after){ .request = 1 }, 0);
	STEPS({ "the server's greeting passes", SERVER, DOWN(.seq = 1, .ack = 1, .len = 50), PASS, .flow = "state=monitored +armed" },
	      { "what the client says does not", CLIENT, UP(.seq = 1, .ack = 51, .len = 50), REDIRECT, .counts = "after",
		.out = WIRE_UP(.seq = 1, .ack = 51, .wnd = 501),
		.flow = "state=splitting c.bound=1 s.bound=51" });
}

static void at_once(bool v6)
{
	armed(v6, (struct seam_after){}, RULE_F_AT_ONCE);
	check(flow_is("state=splitting reason=after -armed held_in=0 c.bound=1 s.bound=1 c.told_ack=1 s.told_ack=1"), "split with the handshake");
	STEPS({ "split before any payload: the greeting is the legs'", SERVER, DOWN(.seq = 1, .ack = 1, .len = 50), REDIRECT, .counts = "",
		.flow = "state=splitting reason=after -armed held_in=1 c.bound=1 s.bound=1 s.nxt=1" });

	fresh(&(struct conn){ .v6 = v6 });
	policy(&(struct seam_rule){ .rule = 1, .policy = 1, .action = RULE_INSPECT,
		.flags = RULE_F_AFTER | RULE_F_LAST | RULE_F_AT_ONCE }, 1);
	STEPS({ "SYN", CLIENT, { .flags = "S", .wnd = 64240, .opts = LINUX_SYN }, PASS },
	      { "SYN-ACK", SERVER, { .dir = SEAM_DOWN, .flags = "SA", .ack = 1, .wnd = 65160, .opts = LINUX_SYNACK }, PASS, .flow = "none" },
	      { "the ack of the handshake goes on: the server waits for it", CLIENT, { .flags = "A", .seq = 1, .ack = 1, .wnd = 502, .opts = LINUX_TS },
		PASS, .flow = "state=splitting reason=after c.bound=1 s.bound=1 held_in=0" });

	fresh(&(struct conn){ .v6 = v6 });
	policy(&(struct seam_rule){ .rule = 1, .policy = 1, .action = RULE_INSPECT,
		.flags = RULE_F_AFTER | RULE_F_LAST | RULE_F_AT_ONCE }, 1);
	STEPS({ "SYN", CLIENT, { .flags = "S", .wnd = 64240, .opts = LINUX_SYN }, PASS },
	      { "SYN-ACK", SERVER, { .dir = SEAM_DOWN, .flags = "SA", .ack = 1, .wnd = 65160, .opts = LINUX_SYNACK }, PASS },
	      { "the ack was lost: the payload brings it, by the leg", CLIENT, UP(.seq = 1, .ack = 1, .len = 10), REDIRECT,
		.flow = "state=splitting reason=after c.bound=1 held_in=1" });
}

/* As in test_live.c: split, all of it acknowledged but what the legs still have. */
#define SPLIT "state=split +legs +bypass +history +armed +again held_in=0 held_out=0 " \
	"c.bound=1 c.nxt=1001 c.ack=201 c.edge=64457 c.tsval=110 c.told_tsval=920 c.told_ack=1001 c.leg_ack=1001 c.told_nxt=201 c.leg_nxt=201 " \
	"c.told_edge=65561 c.leg_edge=65561 c.bytes=1000 s.bytes=600 " \
	"s.bound=1 s.nxt=601 s.ack=401 s.edge=65561 s.tsval=910 s.told_tsval=120 s.told_ack=601 s.leg_ack=601 s.told_nxt=701 s.leg_nxt=701 " \
	"s.told_edge=64457 s.leg_edge=64457"
/* And merging, all before the boundaries with its receiver, who has yet to say so: the client. */
#define LAST_ACK "state=merging c.bound=1001 s.bound=601 s.ack=1001 c.told_nxt=601 s.told_nxt=1001 s.leg_nxt=1001 c.leg_nxt=601"

static void again(void)
{
	armed(false, (struct seam_after){ .bytes = 1000, .request = 1 }, RULE_F_AGAIN);
	STEPS({ "a request", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), REDIRECT, .counts = "after",
		.flow = "state=splitting +armed +again after_request=1" });
	flow_set(SPLIT);
	flow_set("c.ack=601 s.ack=1001 c.told_nxt=601 s.told_nxt=1001 c.leg_nxt=601 s.leg_nxt=1001 -answered");
	STEPS({ "while it is split nothing is due", CLIENT, UP(.seq = 1001, .ack = 601, .len = 400), REDIRECT, .counts = "",
		.flow = "state=split +armed c.nxt=1401" },
	      { "but turns are taken", SERVER, DOWN(.seq = 601, .ack = 1001, .len = 10), REDIRECT, .flow = "state=split +answered" });
	flow_set(SPLIT);
	flow_set("c.ack=601 s.ack=1001 c.told_nxt=601 s.told_nxt=1001 -answered");
	ctl_is("merged", CTL_MERGE, SEAM_R_LET_GO, 0, 0, "state=merged +armed due_bytes=2600");
	flow_set("-tscatchup");
	STEPS({ "it is not past the host's stack by XDP: the ports do not hand it on", XDP_CLIENT, UP(.seq = 1001, .ack = 601, .len = 10), 2,
		.flow = "c.nxt=1001 state=merged" },
	      { "more of the same request", CLIENT, UP(.seq = 1001, .ack = 601, .len = 990), REDIRECT, .wire = true, .counts = "", .flow = "state=merged c.nxt=1991" },
	      { "the rest", CLIENT, UP(.seq = 1991, .ack = 601, .len = 10), REDIRECT, .wire = true, .counts = "", .flow = "state=merged c.nxt=2001" },
	      { "what is held from before is not looked at: not yet", CLIENT, UP(.seq = 2001, .ack = 601, .len = 10), REDIRECT,
		.set = "held_in=2 held_out=1 released_ns=0x7fffffffffffffff", .flow = "state=merged held_in=3" },
	      { "as much again", CLIENT, UP(.seq = 2001, .ack = 601, .len = 10), REDIRECT, .set = "held_in=0 held_out=0",
		.flow = "state=splitting reason=after c.bound=2001 +armed held_in=1" });
}

/* Split for its verdict, it was to be split for its rule once: that much later than the rule said. */
static void counts_from_the_beginning(void)
{
	armed(false, (struct seam_after){ .bytes = 5000 }, 0);
	flow_set(SPLIT);
	flow_set("-again c.ack=601 s.ack=1001 c.told_nxt=601 s.told_nxt=1001 due_bytes=5000");
	ctl_is("merged", CTL_MERGE, SEAM_R_LET_GO, 0, 0, "state=merged +armed due_bytes=5000");
	armed(false, (struct seam_after){ .ms = 3600000 }, 0);
	flow_set(SPLIT);
	flow_set("-again c.ack=601 s.ack=1001 c.told_nxt=601 s.told_nxt=1001");
	ctl_is("merged", CTL_MERGE, SEAM_R_LET_GO, 0, 0, "state=merged +armed");
	flow_set("-tscatchup created_ns=1 after_ms=60000");
	STEPS({ "long after it began", CLIENT, UP(.seq = 1001, .ack = 601, .len = 10), REDIRECT, .counts = "after",
		.flow = "state=splitting reason=after -armed" });
}

static void clocks_behind(void)
{
	armed(false, (struct seam_after){ .request = 1 }, RULE_F_AGAIN);
	flow_set(SPLIT);
	flow_set("state=merged c.ack=601 s.ack=1001 +tscatchup +answered c.told_tsval=920 s.told_tsval=120");
	STEPS({ "what the legs of the split before told of time is not taken back", CLIENT, UP(.seq = 1001, .ack = 601, .len = 100), REDIRECT,
		.flow = "state=splitting reason=after c.told_tsval=920 s.told_tsval=120" });
	armed(false, (struct seam_after){ .request = 1 }, RULE_F_AGAIN);
	flow_set(SPLIT);
	flow_set("state=merged c.ack=601 s.ack=1001 -tscatchup +answered c.told_tsval=920 s.told_tsval=120");
	STEPS({ "unless the ends' clocks have caught up", CLIENT, UP(.seq = 1001, .ack = 601, .len = 100), REDIRECT,
		.flow = "state=splitting reason=after c.told_tsval=910 s.told_tsval=110" });
}

static void ends_the_merge(bool v6)
{
	armed(v6, (struct seam_after){ .request = 1 }, RULE_F_AGAIN);
	flow_set(SPLIT);
	flow_set(LAST_ACK " +answered");
	STEPS({ "the next request brings the last ack: it ends the merge, and what it came with is the legs' again", CLIENT,
		UP(.seq = 1001, .ack = 601, .len = 100), REDIRECT, .counts = "after",
		.out = &(struct spec){ .link = LEAVING, .flags = "A", .seq = 1001, .ack = 601, .wnd = 502, .ttl = 63, .opts = "nop nop ts=120:905" },
		.flow = "state=splitting reason=after +armed held_in=1 c.bound=1001 c.nxt=1001 s.bound=601 s.told_ack=601 s.told_nxt=1001 c.ack=601" });
	flow_set(SPLIT);
	flow_set(LAST_ACK " +answered +edited s.seq_delta=-5 s.bound=606 s.nxt=606 s.told_ack=606 s.leg_ack=606");
	STEPS({ "what came twice was so by numbers that the server has not", CLIENT,
		UP(.seq = 1001, .ack = 601, .len = 100, .opts = TS_UP " nop nop sack=2147483549:2147483599"), REDIRECT, .counts = "after",
		.out = &(struct spec){ .link = LEAVING, .flags = "A", .seq = 1001, .ack = 606, .wnd = 502, .ttl = 63,
				       .opts = "nop nop ts=120:905 nop nop raw=01010101010101010101" },
		.flow = "state=splitting s.told_ack=606" });
	flow_set("-edited s.seq_delta=0");
	flow_set(SPLIT);
	flow_set(LAST_ACK " +answered");
	STEPS({ "one that acknowledges less goes by: the merge is not over", CLIENT, UP(.seq = 1001, .ack = 501, .len = 100), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 1001, .ack = 501),
		.flow = "state=merging +armed c.nxt=1101 c.ack=501 held_in=0" });
	flow_set(SPLIT);
	flow_set(LAST_ACK " +answered +fail_block");
	STEPS({ "but for a rule that blocks what it cannot inspect: its ack alone", CLIENT, UP(.seq = 1001, .ack = 501, .len = 100), REDIRECT,
		.counts = "unacceptable",
		.out = &(struct spec){ .link = LEAVING, .flags = "A", .seq = 1001, .ack = 601, .wnd = 501, .ttl = 63, .opts = "nop nop ts=120:905" },
		.flow = "state=merging +armed +answered c.nxt=1001 c.ack=501 held_in=0" },
	      { "sent again when that ends the merge, it is", CLIENT, UP(.seq = 1001, .ack = 601, .len = 100), REDIRECT, .counts = "after",
		.out = &(struct spec){ .link = LEAVING, .flags = "A", .seq = 1001, .ack = 601, .wnd = 502, .ttl = 63, .opts = "nop nop ts=120:905" },
		.flow = "state=splitting +armed held_in=1 c.nxt=1001" });
	flow_set("-fail_block");
	flow_set(SPLIT);
	flow_set(LAST_ACK " -answered");
	STEPS({ "more of a request that is on its way does, too", CLIENT, UP(.seq = 1001, .ack = 601, .len = 100), REDIRECT, .counts = "crossed",
		.out = WIRE_UP(.seq = 1001, .ack = 601),
		.flow = "state=merged +armed c.nxt=1101 held_in=0" });
	flow_set(SPLIT);
	flow_set("state=merging +waits +ecn s+ce s.told_ack=591 s.ack=1001 s.told_nxt=1001 s.leg_nxt=1001 c.told_nxt=601 c.leg_nxt=601 +answered");
	STEPS({ "while the merge waits for something the legs have it", CLIENT, UP(.seq = 1001, .ack = 601, .len = 100), REDIRECT, .counts = "",
		.flow = "state=merging +waits +armed -answered c.nxt=1101 held_in=0" });
}

static void fails(void)
{
	armed(false, (struct seam_after){ .bytes = 100 }, 0);
	STEPS({ "payload passes", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), PASS });
	daemon_gone();
	STEPS({ "without the daemon as well, as long as it is not due", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), PASS, .flow = "state=monitored +armed" },
	      { "then it is let go", CLIENT, UP(.seq = 101, .ack = 1, .len = 100), PASS, .counts = "daemon_gone",
		.flow = "state=passed reason=daemon_gone -armed c.nxt=201 -bypass" });
	armed(false, (struct seam_after){ .bytes = 100 }, RULE_F_FAIL_BLOCK);
	STEPS({ "fail = block: payload passes", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), PASS });
	daemon_gone();
	STEPS({ "until it is due", CLIENT, UP(.seq = 101, .ack = 1, .len = 100), REDIRECT, .counts = "daemon_gone block_rst=2",
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "RA", .seq = 1, .ack = 201, .ttl = 63, .opts = "nop nop ts=905:110" },
		.flow = "state=blocked reason=daemon_gone -armed c.nxt=101" });
	armed(false, (struct seam_after){ .bytes = 100 }, 0);
	STEPS({ "payload passes", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), PASS },
	      { "and the end of the client's", CLIENT, UP(.flags = "FA", .seq = 101, .ack = 1), PASS, .flow = "state=monitored +armed c+fin" },
	      { "the legs carry what the other one says", SERVER, DOWN(.seq = 1, .ack = 102, .len = 10), REDIRECT, .counts = "after",
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "A", .seq = 1, .ack = 102, .wnd = 508, .ttl = 63,
				       .opts = "nop nop ts=910:108" },
		.flow = "state=splitting c.bound=102 s.bound=1 c+fin_acked held_in=1" });
	armed(false, (struct seam_after){ .bytes = 100 }, 0);
	STEPS({ "payload passes", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), PASS },
	      { "the last payload and its end are both the legs'", CLIENT, UP(.flags = "FA", .seq = 101, .ack = 1, .len = 10), REDIRECT,
		.counts = "after", .flow = "state=splitting c.bound=101 held_in=1 c-fin" });

	fresh(&(struct conn){});
	policy(&(struct seam_rule){ .rule = 1, .policy = 1, .action = RULE_INSPECT, .after = { .bytes = 100 },
		.flags = RULE_F_AFTER | RULE_F_LAST | RULE_F_FAIL_BLOCK }, 1);
	establish("raw=131200000000000000000000000000000000", "raw=131200000000000000000000000000000000", "");
	STEPS({ "one that cannot be split gets the fail answer at once", CLIENT, UP(.seq = 1, .ack = 1, .len = 100, .opts = ""), REDIRECT,
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "RA", .seq = 1, .ack = 101 },
		.flow = "state=blocked why_not=tcp_auth -armed" });
}

static void goes_on(void)
{
	armed(false, (struct seam_after){ .bytes = 100 }, 0);
	STEPS({ "payload passes", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), PASS },
	      { "a RST that its receiver never gets", CLIENT, { .flags = "R", .seq = 101 }, PASS, .flow = "state=closing reason=rst" },
	      { "does not take it away", CLIENT, UP(.seq = 101, .ack = 1, .len = 100), REDIRECT, .counts = "after",
		.flow = "state=splitting c.bound=101 c-rst" });
	armed(false, (struct seam_after){ .bytes = 100 }, 0);
	STEPS({ "payload passes", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), PASS },
	      { "nor is it let by on the wrong side", SERVER, UP(.seq = 101, .ack = 1, .len = 100), DROP, .counts = "wrong_side",
		.flow = "state=monitored +armed" });
}

/* What the daemon asks for when the first payload has decided. */
static int arm(struct seam_after after, __u32 flags)
{
	struct seam_ctl c = {
		.op = CTL_ARM, .reason = SEAM_R_RULE, .rule = 7, .policy = 3, .key = flow_key(),
		.after = after, .flags = flags,
	};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = &c, .data_size_in = sizeof(c),
		    .data_out = &c, .data_size_out = sizeof(c));

	return bpf_prog_test_run_opts(ctl_fd(), &opts) ? -EIO : c.result;
}

static void asked(void)
{
	fresh(&(struct conn){ .cisn = 0xffffff00, .sisn = 99 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("c.rtt_us=50000000"); /* no timer */
	check(arm((struct seam_after){ .request = 2 }, 0) == -EINVAL, "not before it was held");
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .flow = "state=held -armed" });
	check(!arm((struct seam_after){ .request = 3, .bytes = 1000 }, FLOW_F_AGAIN | FLOW_F_FAIL_BLOCK), "it has decided: later");
	ctl_is("and it is let go", CTL_PASS, SEAM_R_RULE, 0, 0, "state=held +armed +again +fail_block +release rule=7 policy=3");
	STEPS({ "what arrives meanwhile queues behind", CLIENT, UP(.seq = 301, .ack = 1, .len = 100), REDIRECT, .flow = "held_in=2 after_request=2" },
	      { "out again", HOLD, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .wire = true, .flow = "state=held held_out=1" },
	      { "and monitored", HOLD, UP(.seq = 301, .ack = 1, .len = 100), REDIRECT, .wire = true, .counts = "rule",
		.flow = "state=monitored reason=rule +armed -want_up -want_down -release held_out=2 c.nxt=401 due_bytes=1000" });
	flow_set("released_ns=0x7fffffffffffffff");
	STEPS({ "hard upon the last release: through the queue", CLIENT, UP(.seq = 401, .ack = 1, .len = 10), REDIRECT,
		.flow = "state=monitored held_in=3 c.nxt=401" },
	      { "and out", HOLD, UP(.seq = 401, .ack = 1, .len = 10), REDIRECT, .wire = true, .flow = "held_out=3 c.nxt=411" });
	flow_set("released_ns=1");
	STEPS({ "past the host's stack, which has not seen it all", SERVER, DOWN(.seq = 1, .ack = 411, .len = 50), REDIRECT, .wire = true,
		.counts = "", .flow = "state=monitored +armed +answered after_request=2" },
	      { "the second request", CLIENT, UP(.seq = 411, .ack = 51, .len = 50), REDIRECT, .wire = true, .flow = "state=monitored after_request=1" },
	      { "its answer", SERVER, DOWN(.seq = 51, .ack = 461, .len = 50), REDIRECT, .wire = true, .flow = "state=monitored +answered" },
	      { "the third", CLIENT, UP(.seq = 461, .ack = 101, .len = 50), REDIRECT, .counts = "after",
		.out = WIRE_UP(.seq = 461, .ack = 101, .wnd = 501),
		.flow = "state=splitting reason=after c.bound=461 s.bound=101 +armed held_in=4" });
}

int main(void)
{
	harness_start("after");
	bytes(false);
	bytes(true);
	lasted();
	request(false);
	request(true);
	first_request();
	at_once(false);
	at_once(true);
	again();
	counts_from_the_beginning();
	clocks_behind();
	ends_the_merge(false);
	ends_the_merge(true);
	fails();
	goes_on();
	asked();
	return harness_end();
}
