// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Split and merged with data on its way: where each part of each packet goes, and what it says. */
#include <errno.h>
#include <string.h>

#include "harness.h"

#define TS_UP "nop nop ts=110:905"
#define TS_DOWN "nop nop ts=910:108"
#define UP(...) { .flags = "A", .wnd = 502, .opts = TS_UP, __VA_ARGS__ }
#define DOWN(...) { .dir = SEAM_DOWN, .flags = "A", .wnd = 509, .opts = TS_DOWN, __VA_ARGS__ }
#define CLEG(...) { .dir = SEAM_DOWN, .link = FROM_LEG, .flags = "A", .wnd = 509, .opts = "nop nop ts=920:110", __VA_ARGS__ }
#define SLEG(...) { .link = FROM_LEG, .flags = "A", .wnd = 502, .opts = "nop nop ts=120:910", __VA_ARGS__ }
#define WIRE_UP(...) &(struct spec){ .link = LEAVING, .flags = "A", .wnd = 502, .ttl = 63, .opts = TS_UP, __VA_ARGS__ }
#define WIRE_DOWN(...) &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "A", .wnd = 509, .ttl = 63, .opts = TS_DOWN, __VA_ARGS__ }

/* 1000 bytes up have passed, 400 of them acknowledged; 600 down, 200 of them. */
#define IN_FLIGHT "state=merged +bypass +history held_in=0 held_out=0 -want_up -want_down " \
	"c.nxt=1001 c.ack=201 c.edge=64457 c.tsval=110 c.told_tsval=905 " \
	"s.nxt=601 s.ack=401 s.edge=65561 s.tsval=910 s.told_tsval=108"

static void in_flight(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(IN_FLIGHT);
}

static void splitting(bool v6)
{
	in_flight(v6);
	flow_set("held_in=2 held_out=1");
	ctl_is("not with packets in the queue that were held for another transition", CTL_SPLIT, SEAM_R_OPERATOR, 0, -EBUSY,
	       "state=merged");
	flow_set("held_in=0 held_out=0");
	ctl_is("there is no merge to give up any more", CTL_SPLIT, SEAM_R_OPERATOR, CTL_SPLIT_SAME, -EBUSY, "state=merged");
	ctl_is("split in mid-stream", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0,
	       "state=splitting -legs c.bound=1001 s.bound=601 c.told_ack=401 s.told_ack=201 c.leg_ack=1001 s.leg_ack=601 "
	       "c.told_nxt=601 s.told_nxt=1001");
	ctl_is("no merge yet", CTL_MERGE, SEAM_R_OPERATOR, 0, -EBUSY, "state=splitting");
	STEPS({ "what is sent again from before the boundary goes to the other end", CLIENT, UP(.seq = 401, .ack = 201, .len = 600), REDIRECT,
		.counts = "", .out = WIRE_UP(.seq = 401, .ack = 201, .len = 600), .flow = "held_in=0 c.nxt=1001" },
	      { "new data waits for its leg", CLIENT, UP(.seq = 1001, .ack = 201, .len = 100), REDIRECT, .counts = "",
		.flow = "held_in=1 c.nxt=1001" },
	      { "its news for the server does not: a bare ack", CLIENT, UP(.seq = 1101, .ack = 301, .len = 100), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 1001, .ack = 301, .wnd = 501), .flow = "held_in=2 c.ack=301 s.told_ack=301" },
	      { "a segment across the boundary: the other end gets its part", CLIENT, UP(.seq = 901, .ack = 301, .len = 200), REDIRECT,
		.counts = "straddle", .out = WIRE_UP(.seq = 901, .ack = 301, .len = 100, .wnd = 501), .flow = "held_in=3 c.nxt=1001" },
	      { "an odd part, too", CLIENT, UP(.seq = 900, .ack = 301, .len = 200), REDIRECT,
		.counts = "straddle", .out = WIRE_UP(.seq = 900, .ack = 301, .len = 101, .wnd = 501), .flow = "held_in=4" },
	      { "a bare ack is the old loop's", SERVER, DOWN(.seq = 601, .ack = 701), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 601, .ack = 701, .wnd = 506), .flow = "s.ack=701 c.told_ack=701 held_in=4" });
	flow_set("held_in=0 held_out=0");
	ctl_is("the legs stand; the boundaries are ahead", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, 0, "state=splitting +legs");
	STEPS({ "new data goes to its leg, which is told no ack from before it", CLIENT, UP(.seq = 1001, .ack = 301, .len = 100), REDIRECT,
		.out = &(struct spec)UP(.seq = 1001, .ack = 601, .len = 100), .counts = "", .flow = "c.nxt=1101 state=splitting c-ce" },
	      { "a mark of congestion on it is to be echoed", CLIENT, UP(.seq = 1001, .ack = 301, .len = 100, .tos = 3), REDIRECT,
		.set = "+ecn", .out = &(struct spec)UP(.seq = 1001, .ack = 601, .len = 100, .tos = 3), .counts = "",
		.flow = "c+ce state=splitting" },
	      { "what the leg acknowledges is not told yet", LEG_OUT, CLEG(.seq = 601, .ack = 1101), DROP, .set = "-ecn c-ce", .counts = "",
		.flow = "c.leg_ack=1101 c.told_ack=701" },
	      { "not with its data either, nor what it has beyond", LEG_OUT,
		CLEG(.seq = 601, .ack = 1101, .len = 10, .opts = "nop nop ts=921:110 nop nop sack=1301:1401"), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 601, .ack = 701, .len = 10, .opts = "nop nop ts=921:110 nop nop nop nop nop nop nop nop nop nop nop nop"),
		.flow = "c.told_nxt=611 c.told_ack=701" },
	      { "the server has what was before the boundary: the client is told of all, the leg of the window", SERVER,
		DOWN(.seq = 601, .ack = 1001), REDIRECT, .counts = "window_update", .out = WIRE_DOWN(.seq = 601, .ack = 1001),
		.flow = "state=splitting c.told_ack=1101" },
	      { "from now on its acks are the leg's", SERVER, DOWN(.seq = 601, .ack = 1001), REDIRECT, .counts = "", .flow = "state=splitting" },
	      { "and the leg's are told", LEG_OUT, CLEG(.seq = 611, .ack = 1101), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 611, .ack = 1101, .wnd = 508, .opts = "nop nop ts=921:110"), .flow = "c+clamped" },
	      { "the server's window opens: the client is told, while the other boundary is ahead", SERVER,
		DOWN(.seq = 601, .ack = 1001, .wnd = 600), REDIRECT, .counts = "window_update",
		.out = WIRE_DOWN(.seq = 601, .ack = 1001, .wnd = 600), .flow = "state=splitting" },
	      { "what the client sends again, though the server has it: the leg answers, as the server's answer is the leg's", CLIENT,
		UP(.seq = 401, .ack = 301, .len = 600), REDIRECT, .counts = "", .out = &(struct spec)UP(.seq = 401, .ack = 601, .len = 600),
		.flow = "state=splitting" },
	      { "the client, too: split", CLIENT, UP(.seq = 1101, .ack = 611), REDIRECT,
		.counts = "crossed window_update", .out = WIRE_UP(.seq = 1101, .ack = 611),
		.flow = "state=split reason=crossed c.ack=611 s.told_ack=601" });
}

/* A packet for which the hold queue has no room: what its ack says counts as told, and is. */
static void ack_of_what_is_not_held(bool v6)
{
	in_flight(v6);
	ctl_is("split in mid-stream", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting");
	control()->hold_bytes = 1000;
	flow_set("held_in=1 held_bytes=16001");
	STEPS({ "news with new data", CLIENT, UP(.seq = 1001, .ack = 301, .len = 100), REDIRECT, .counts = "hold_bytes",
		.out = WIRE_UP(.seq = 1001, .ack = 301, .wnd = 501), .flow = "held_in=1 s.told_ack=301 c.nxt=1001" },
	      { "new data alone", CLIENT, UP(.seq = 1001, .ack = 301, .len = 100), DROP, .counts = "hold_bytes", .flow = "held_in=1" });
	control()->hold_bytes = 65536;
}

/* The ack that gets to the boundary is of the leg's data as well, and meets the hold queue. */
static void acked_past_queue(bool v6)
{
	in_flight(v6);
	ctl_is("split", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting c.bound=1001");
	ctl_is("the legs stand", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, 0, "state=splitting +legs");
	STEPS({ "data for the leg", CLIENT, UP(.seq = 1001, .ack = 201, .len = 100), REDIRECT,
		.out = &(struct spec)UP(.seq = 1001, .ack = 601, .len = 100), .counts = "", .flow = "c.nxt=1101" },
	      { "from the other leg", LEG_OUT, SLEG(.seq = 1001, .ack = 601, .len = 100), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 1001, .ack = 201, .len = 100, .opts = "nop nop ts=120:910"), .flow = "s.told_nxt=1101" });
	flow_set("held_in=1 held_out=0");
	STEPS({ "the client is told at once, the leg after the queue", SERVER, DOWN(.seq = 601, .ack = 1101), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 601, .ack = 1001, .wnd = 504), .flow = "s.ack=1101 c.told_ack=1001 held_in=2" });
}

#define NO_SACK " nop nop nop nop nop nop nop nop nop nop nop nop"

/* Told with a higher ack than their own, SACK blocks would say that something came twice. */
static void sack_at_boundary(bool v6)
{
	in_flight(v6);
	ctl_is("split", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting c.bound=1001");
	ctl_is("the legs stand", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, 0, "state=splitting +legs");
	STEPS({ "with the ack they came with they go on", SERVER, DOWN(.seq = 601, .ack = 501, .opts = TS_DOWN " nop nop sack=701:801"), REDIRECT,
		.counts = "", .out = WIRE_DOWN(.seq = 601, .ack = 501, .wnd = 508, .opts = TS_DOWN " nop nop sack=701:801") },
	      { "an ack that is late: told is the last one", SERVER, DOWN(.seq = 601, .ack = 401, .opts = TS_DOWN " nop nop sack=401:501"), REDIRECT,
		.counts = "", .out = WIRE_DOWN(.seq = 601, .ack = 501, .wnd = 508, .opts = TS_DOWN NO_SACK) },
	      { "data for the leg", CLIENT, UP(.seq = 1001, .ack = 201, .len = 100), REDIRECT,
		.out = &(struct spec)UP(.seq = 1001, .ack = 601, .len = 100), .flow = "c.nxt=1101" },
	      { "which acknowledges it", LEG_OUT, CLEG(.seq = 601, .ack = 1101), DROP, .flow = "c.leg_ack=1101" });
	flow_set("held_in=1 held_out=0");
	STEPS({ "past the queue the client is told of what the leg has", SERVER,
		DOWN(.seq = 601, .ack = 1001, .opts = TS_DOWN " nop nop sack=1051:1101"), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 601, .ack = 1101, .wnd = 508, .opts = TS_DOWN NO_SACK), .flow = "c.told_ack=1101" });

	in_flight(v6);
	ctl_is("split", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting c.bound=1001");
	ctl_is("the legs stand", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, 0, "state=splitting +legs");
	flow_set("c.nxt=1101 c.leg_ack=1101 s.told_nxt=1101");
	STEPS({ "nor by a copy", SERVER, DOWN(.seq = 601, .ack = 1001, .opts = TS_DOWN " nop nop sack=1051:1101"), REDIRECT, .counts = "window_update",
		.out = WIRE_DOWN(.seq = 601, .ack = 1001, .opts = TS_DOWN NO_SACK), .flow = "c.told_ack=1101" });
}

/* The client is told by an ack of the server's that its leg has got its FIN: it has closed. */
static void fin_while_splitting(void)
{
	in_flight(false);
	ctl_is("split", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting c.bound=1001");
	ctl_is("the legs stand", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, 0, "state=splitting +legs");
	STEPS({ "FIN for the leg", CLIENT, UP(.seq = 1001, .ack = 201, .flags = "FA"), REDIRECT,
		.out = &(struct spec)UP(.seq = 1001, .ack = 601, .flags = "FA"), .flow = "c.nxt=1002 c+fin c.fin=1001" },
	      { "which acknowledges it", LEG_OUT, CLEG(.seq = 601, .ack = 1002), DROP, .flow = "c.leg_ack=1002 c-fin_acked" },
	      { "the server has what was before it", SERVER, DOWN(.seq = 601, .ack = 1001), REDIRECT, .counts = "window_update",
		.out = WIRE_DOWN(.seq = 601, .ack = 1001), .flow = "c.told_ack=1002 c+fin_acked" });
}

/* Nothing is on its way, and the client can send nothing more: only a window can let it. */
static void at_the_edge(bool v6)
{
	in_flight(v6);
	flow_set("s.ack=1001 s.edge=1001 c.ack=601");
	ctl_is("split", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting c.told_edge=1001 c.leg_edge=1001 c-announce");
	ctl_is("the legs stand", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, 0, "state=split c+announce s+announce");
	STEPS({ "its leg's window is not the server's: nothing to tell", LEG_OUT, CLEG(.seq = 600, .ack = 1001), DROP, .counts = "",
		.flow = "c-announce c+clamped c.leg_edge=66153 c.told_edge=1001" },
	      { "the server reads: the client is told", SERVER, DOWN(.seq = 601, .ack = 1001), REDIRECT, .counts = "window_update",
		.out = WIRE_DOWN(.seq = 601, .ack = 1001), .flow = "c.told_edge=66153" });

	in_flight(v6);
	flow_set("s.ack=1001 s.edge=1001 c.ack=601");
	ctl_is("split", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting");
	STEPS({ "the server reads while there are no legs", SERVER, DOWN(.seq = 601, .ack = 1001), REDIRECT, .counts = "",
		.flow = "s.edge=66153 c.told_edge=1001 held_in=1" });
	flow_set("held_in=0");
	ctl_is("the legs stand", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, 0, "state=split c+announce");
	STEPS({ "an answer of the leg is not what it was asked for", LEG_OUT, CLEG(.seq = 601, .ack = 1001, .wnd = 0), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 601, .ack = 1001, .wnd = 0, .opts = "nop nop ts=920:110"), .flow = "c+announce c.told_edge=1001" },
	      { "its window is told, by an ack and not by a probe", LEG_OUT, CLEG(.seq = 600, .ack = 1001), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 601, .ack = 1001, .opts = "nop nop ts=920:110"), .flow = "c-announce c.told_edge=66153" },
	      { "a probe of its own stays one", LEG_OUT, CLEG(.seq = 600, .ack = 1001), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 600, .ack = 1001, .opts = "nop nop ts=920:110") });
}

/* A flow that its rule let go is tracked on, and an operator may want it all the same. */
static void passed(void)
{
	in_flight(false);
	flow_set("state=passed");
	STEPS({ "tracked on", CLIENT, UP(.seq = 1001, .ack = 201, .len = 100), REDIRECT, .wire = true, .flow = "c.nxt=1101 state=passed" });
	ctl_is("split", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting c.bound=1101 +bypass");
	in_flight(false);
	flow_set("state=passed");
	STEPS({ "a fragment is not tracked", CLIENT, UP(.seq = 1001, .ack = 201, .len = 64, .frag = 0x2000), PASS, .flow = "c.nxt=1001 +no_split" });
	ctl_is("no split", CTL_SPLIT, SEAM_R_OPERATOR, 0, -EINVAL, "state=passed");
}

/* A leg has acknowledged what only it has: the flow cannot be let go as it is. */
static void lost_while_splitting(void)
{
	in_flight(false);
	ctl_is("split", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting");
	ctl_is("without legs it is let go", CTL_RECOVER, SEAM_R_SHUTDOWN, 0, 0, "state=passed");
	in_flight(false);
	ctl_is("split", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting");
	ctl_is("the legs stand", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, 0, "state=splitting +legs");
	ctl_is("with legs it is reset", CTL_RECOVER, SEAM_R_SHUTDOWN, 0, 0, "state=blocked +aborted +rst_both +block_rst");
}

/* As above, all of it acknowledged but what the legs still have. */
#define SPLIT "state=split +legs +bypass +history held_in=0 held_out=0 -want_up -want_down " \
	"c.bound=1 c.nxt=1001 c.ack=201 c.edge=64457 c.tsval=110 c.told_tsval=920 c.told_ack=1001 c.leg_ack=1001 c.told_nxt=201 c.leg_nxt=201 " \
	"c.told_edge=65561 c.leg_edge=65561 " \
	"s.bound=1 s.nxt=601 s.ack=401 s.edge=65561 s.tsval=910 s.told_tsval=120 s.told_ack=601 s.leg_ack=601 s.told_nxt=701 s.leg_nxt=701 " \
	"s.told_edge=64457 s.leg_edge=64457"

static void merging(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	ctl_is("merge under load", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging c.bound=1001 s.bound=601");
	ctl_is("again", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging");
	ctl_is("no split meanwhile", CTL_SPLIT, SEAM_R_OPERATOR, 0, -EBUSY, "state=merging");
	STEPS({ "what is sent again from before the boundary is the leg's", CLIENT, UP(.seq = 901, .ack = 201, .len = 100), REDIRECT,
		.counts = "", .flow = "state=merging c.nxt=1001" },
	      { "new data goes to the other end, its ack to the leg: bare, at the boundary, in the leg's time", CLIENT,
		UP(.seq = 1001, .ack = 201, .len = 100), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 1001, .ack = 201), .flow = "c.nxt=1101 s.told_nxt=1101 s.told_tsval=120 s.told_ack=601" },
	      { "more is not acknowledged to the server than its leg has", SERVER, DOWN(.seq = 601, .ack = 401, .len = 50), REDIRECT,
		.counts = "", .out = WIRE_DOWN(.seq = 601, .ack = 401), .flow = "s.nxt=651 c.told_nxt=651 c.told_ack=1001" },
	      { "a bare ack from before the boundary: the leg's", SERVER, DOWN(.seq = 651, .ack = 701), REDIRECT, .counts = "",
		.out = &(struct spec)DOWN(.seq = 651, .ack = 701), .flow = "s.ack=701 c.told_ack=1001 state=merging" },
	      { "the leg goes on sending", LEG_OUT, SLEG(.seq = 401, .ack = 601, .len = 600), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 401, .ack = 601, .len = 600, .wnd = 498, .opts = "nop nop ts=120:910"), .flow = "s.told_nxt=1101" },
	      { "the server has all, and more: the client is told, and its leg of what that has sent", SERVER, DOWN(.seq = 651, .ack = 1101), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 651, .ack = 1001), .flow = "s.ack=1101 c.told_ack=1101 state=merging" },
	      { "its leg has nothing more to say", LEG_OUT, SLEG(.seq = 401, .ack = 601, .len = 100), DROP, .counts = "" },
	      { "nor the other one to the client", LEG_OUT, CLEG(.seq = 201, .ack = 1001), DROP, .counts = "" },
	      { "what the client sends again was acknowledged by a packet that was lost: straight, the server answers", CLIENT,
		UP(.seq = 901, .ack = 201, .len = 100), REDIRECT, .counts = "", .out = WIRE_UP(.seq = 1001, .ack = 201), .flow = "state=merging" },
	      { "so for what only asks", CLIENT, UP(.seq = 1100, .ack = 201), REDIRECT, .counts = "", .out = WIRE_UP(.seq = 1100, .ack = 201),
		.flow = "state=merging" },
	      { "the answer", SERVER, DOWN(.seq = 651, .ack = 1101), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 651, .ack = 1101, .opts = "nop nop ts=920:108") },
	      { "the client has all: merged", CLIENT, UP(.seq = 1101, .ack = 651), REDIRECT, .counts = "crossed",
		.out = WIRE_UP(.seq = 1101, .ack = 651, .opts = "nop nop ts=120:905"),
		.flow = "state=merged reason=crossed c.ack=651 s.told_ack=651 +tscatchup -tsdelta" },
	      { "the clocks of the ends have not caught up", CLIENT, UP(.seq = 1101, .ack = 651, .opts = "nop nop ts=119:920"), REDIRECT,
		.out = WIRE_UP(.seq = 1101, .ack = 651, .opts = "nop nop ts=120:910"), .flow = "+tscatchup" });

	flow_set(SPLIT);
	flow_set("-tscatchup");
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging");
	STEPS({ "a gap before the boundary is the leg's to repair: the client hears nothing of it", SERVER,
		DOWN(.seq = 601, .ack = 401, .len = 50, .opts = TS_DOWN " nop nop sack=1101:1201"), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 601, .ack = 401, .opts = TS_DOWN " nop nop nop nop nop nop nop nop nop nop nop nop"),
		.flow = "state=merging c.told_ack=1001 c.told_nxt=651" },
	      { "a RST is not waited for", CLIENT, { .flags = "R", .seq = 1001 }, REDIRECT, .wire = true, .counts = "rst", .flow = "state=closing reason=rst" });

	/* The server may discard it, and would take other bytes from 401 on than were judged. */
	flow_set(SPLIT);
	flow_set("-tscatchup +exact c-rst s-rst");
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging");
	STEPS({ "a RST before all is delivered that was judged", CLIENT, { .flags = "R", .seq = 1001 }, DROP, .counts = "rst",
		.flow = "state=blocked reason=rst +aborted s+rst_ok" },
	      { "what the client says now in its place is not delivered", CLIENT, UP(.seq = 401, .ack = 651, .len = 600), REDIRECT,
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .ttl = 63, .flags = "RA", .seq = 651, .ack = 1001, .opts = "nop nop ts=905:110" } });
}

/* What the leg misses reaches the server in a segment across the boundary. */
static void acked_past_leg(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	flow_set("c.told_ack=401 c.leg_ack=401 s.told_ack=501 s.leg_ack=501 s.told_nxt=401 s.leg_nxt=401");
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging c.bound=1001 s.bound=601");
	STEPS({ "all of it to the server, its ack to the leg", CLIENT, UP(.seq = 401, .ack = 201, .len = 700), REDIRECT,
		.counts = "", .out = WIRE_UP(.seq = 401, .ack = 201),
		.flow = "c.nxt=1101 s.told_nxt=1101 s.leg_nxt=401" },
	      { "its leg gets the server's data, with no ack of what only the client has sent", SERVER,
		DOWN(.seq = 501, .ack = 1101, .len = 100), REDIRECT,
		.counts = "", .out = &(struct spec)DOWN(.seq = 501, .ack = 401, .len = 100), .flow = "s.ack=1101 state=merging" });
}

/* The same, where its sender might have it carry other bytes than were inspected. */
static void overwritten(const char *because)
{
	fresh(&(struct conn){ .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	flow_set("c.told_ack=401 c.leg_ack=401 s.told_ack=501 s.leg_ack=501 s.told_nxt=401 s.leg_nxt=401");
	flow_set(because);
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging c.bound=1001 s.bound=601");
	STEPS({ "what is before the boundary is its leg's", CLIENT,
		UP(.seq = 401, .ack = 201, .len = 700), REDIRECT, .counts = "straddle",
		.out = &(struct spec)UP(.seq = 401, .ack = 201, .len = 600), .flow = "s.told_nxt=401 state=merging" });
}

/* The client is so near that its timers have to learn of the server's distance first. */
static void paced(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 1, -EINPROGRESS, "state=merging reason=far +waits c+paced c+learns s-paced s-learns c.pace=1001");
	STEPS({ "data", CLIENT, UP(.seq = 1001, .ack = 201, .len = 400), REDIRECT, .counts = "" },
	      { "its acknowledgement is held back", LEG_OUT, CLEG(.seq = 201, .ack = 1401), DROP, .counts = "",
		.flow = "c.leg_ack=1401 c.told_ack=1001" },
	      { "on data too", LEG_OUT, CLEG(.seq = 201, .ack = 1401, .len = 10), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 201, .ack = 1001, .wnd = 504, .len = 10, .opts = "nop nop ts=920:110"), .flow = "c.told_ack=1001" });
	ctl_is("a step", CTL_PACE, SEAM_R_FAR, CTL_PACED(SEAM_CLIENT, 100), 0, "state=merging +waits c.pace=1101 c+announce");
	STEPS({ "is told", LEG_OUT, CLEG(.seq = 210, .ack = 1401), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 211, .ack = 1101, .wnd = 503, .opts = "nop nop ts=920:110"), .flow = "c.told_ack=1101 c-announce" });
	ctl_is("no step goes beyond what the leg has", CTL_PACE, SEAM_R_FAR, CTL_PACED(SEAM_CLIENT, 1000), 0, "c.pace=1401");
	STEPS({ "all is told", LEG_OUT, CLEG(.seq = 210, .ack = 1401), REDIRECT,
		.out = WIRE_DOWN(.seq = 211, .ack = 1401, .wnd = 501, .opts = "nop nop ts=920:110"), .flow = "c.told_ack=1401" },
	      { "which is lost: the client sends it again", CLIENT, UP(.seq = 1001, .ack = 201, .len = 400), REDIRECT, .counts = "" },
	      { "and is answered, with what its leg has beyond a gap", LEG_OUT,
		CLEG(.seq = 211, .ack = 1401, .opts = "nop nop ts=920:110 nop nop sack=1001:1401"), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 211, .ack = 1401, .wnd = 501, .opts = "nop nop ts=920:110 nop nop sack=1001:1401") });
	ctl_is("the other end is not paced", CTL_PACE, SEAM_R_FAR, CTL_PACED(SEAM_SERVER, 100), -EINVAL, "state=merging +waits");
	flow_set("c.pace=1101 c.leg_ack=1401");
	STEPS({ "a FIN is not held back, nor what is before it", CLIENT, UP(.seq = 1401, .ack = 201, .flags = "FA"), REDIRECT,
		.counts = "let_go", .flow = "state=merging -waits c.bound=1402" });
	flow_set("state=merging +waits c+paced c+learns c-fin c.nxt=1401 c.pace=1401");
	ctl_is("patience is over: it begins", CTL_PACE, SEAM_R_FAR, CTL_PACED(SEAM_CLIENT, 0) | CTL_PACE_END, 0,
	       "state=merging reason=let_go -waits c-paced c-learns c.bound=1401 c+announce");
	flow_set("state=merging +waits c+paced s+fin s.fin=200 c.pace=1101 c.told_ack=1101 c.leg_ack=1101");
	STEPS({ "behind the FIN of the far end no leg speaks unasked: with it goes all", LEG_OUT, CLEG(.seq = 201, .ack = 1401), REDIRECT,
		.counts = "let_go", .out = WIRE_DOWN(.seq = 211, .ack = 1401, .wnd = 501, .opts = "nop nop ts=920:110"), .flow = "c.told_ack=1401" });
	flow_set("state=merging -waits c-paced s-fin c.pace=1401");
	ctl_is("no more steps", CTL_PACE, SEAM_R_FAR, CTL_PACED(SEAM_CLIENT, 100), -EINVAL, "state=merging");

	flow_set(SPLIT " c-announce");
	ctl_is("another merge", CTL_MERGE, SEAM_R_LET_GO, 1, -EINPROGRESS, "state=merging +waits c+paced");
	STEPS({ "data", CLIENT, UP(.seq = 1001, .ack = 201, .len = 400), REDIRECT, .counts = "" },
	      { "its acknowledgement is held back", LEG_OUT, CLEG(.seq = 201, .ack = 1401), DROP, .counts = "", .flow = "c.told_ack=1001" });
	ctl_is("given up: the client is owed it", CTL_SPLIT, SEAM_R_OPERATOR, CTL_SPLIT_SAME, 0, "state=split c-paced c+announce s-announce");
	STEPS({ "is told", LEG_OUT, CLEG(.seq = 200, .ack = 1401), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 201, .ack = 1401, .wnd = 501, .opts = "nop nop ts=920:110"), .flow = "c.told_ack=1401 c-announce" });
}

/* What is still held back when the merge begins comes out by and by: the client is not without an answer. */
static void paced_across(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 1, -EINPROGRESS, "state=merging reason=far +waits c+paced c+learns");
	STEPS({ "data", CLIENT, UP(.seq = 1001, .ack = 201, .len = 400), REDIRECT, .counts = "" },
	      { "its acknowledgement is held back", LEG_OUT, CLEG(.seq = 201, .ack = 1401), DROP, .counts = "", .flow = "c.told_ack=1001" });
	ctl_is("the client has learnt: it begins", CTL_PACE, SEAM_R_FAR, CTL_PACED(SEAM_CLIENT, 100) | CTL_PACE_LEARNT, 0,
	       "state=merging reason=let_go -waits c+paced c-learns c.bound=1401 c.pace=1101 c+announce");
	STEPS({ "a step is told", LEG_OUT, CLEG(.seq = 200, .ack = 1401), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 201, .ack = 1101, .wnd = 503, .opts = "nop nop ts=920:110"), .flow = "c.told_ack=1101 c-announce" },
	      { "the next is held back", LEG_OUT, CLEG(.seq = 201, .ack = 1401), DROP, .counts = "", .flow = "c.told_ack=1101" },
	      { "data straight to the server", CLIENT, UP(.seq = 1401, .ack = 201, .len = 100), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 1401, .ack = 201), .flow = "c.nxt=1501" });
	ctl_is("the next", CTL_PACE, SEAM_R_FAR, CTL_PACED(SEAM_CLIENT, 100), 0, "c.pace=1201 c+announce");
	STEPS({ "is told", LEG_OUT, CLEG(.seq = 200, .ack = 1401), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 201, .ack = 1201, .wnd = 502, .opts = "nop nop ts=920:110"), .flow = "c.told_ack=1201 c-announce" },
	      { "the server's own is not held back", SERVER, DOWN(.seq = 601, .ack = 1501), REDIRECT,
		.out = WIRE_DOWN(.seq = 601, .ack = 701), .flow = "s.ack=1501 c.told_ack=1501" });
}

/* While new data goes straight a leg acknowledges what is before the boundary: by a number that who has the new data takes. */
static void acked_behind(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	STEPS({ "data", CLIENT, UP(.seq = 1001, .ack = 201, .len = 400), REDIRECT, .counts = "" });
	flow_set("state=merging c.bound=1401 s.bound=601 c.told_nxt=601 c.leg_nxt=601 c.ack=601");
	STEPS({ "data straight to the client", SERVER, DOWN(.seq = 601, .ack = 701, .len = 100), REDIRECT,
		.out = WIRE_DOWN(.seq = 601, .ack = 701), .flow = "c.told_nxt=701" },
	      { "its leg acknowledges", LEG_OUT, CLEG(.seq = 601, .ack = 1401), REDIRECT,
		.out = WIRE_DOWN(.seq = 701, .ack = 1401, .wnd = 503, .opts = "nop nop ts=920:110"), .flow = "c.told_ack=1401" },
	      { "a probe of its own stays one", LEG_OUT, CLEG(.seq = 600, .ack = 1401), REDIRECT,
		.out = WIRE_DOWN(.seq = 600, .ack = 1401, .wnd = 503, .opts = "nop nop ts=920:110") });
}

/*
 * A receiver aggregates what is sent again and what is new. Such a packet is cut at
 * the boundary as well, to no more than one of its segments. (Here for the leg of an
 * edited flow: test_run has no GSO packet that could be cloned.)
 */
static void gso_across(bool v6)
{
	static const struct {
		__u32 seq, gso, left;
	} cases[] = { { 901, 300, 100 }, { 701, 300, 300 }, { 401, 300, 300 }, { 998, 600, 3 } };
	__u32 ip = v6 ? 54 : 34, total;
	struct packet in, out;
	unsigned int i;
	int rc;

	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	flow_set("+edited");
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging c.bound=1001");
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		build(&(struct spec)UP(.seq = cases[i].seq, .ack = 201, .len = 1200), &in);
		rc = run_packet(CLIENT, &in, &out, cases[i].gso);
		total = v6 ? out.data[18] << 8 | out.data[19] : (out.data[16] << 8 | out.data[17]) - 20;
		check(rc == REDIRECT && out.len == in.len - 1200 + cases[i].left && total == out.len - ip &&
			      !memcmp(out.data + ip + 4, in.data + ip + 4, 4) &&
			      !memcmp(out.data + out.len - cases[i].left, in.data + in.len - 1200, cases[i].left),
		      "%u bytes before the boundary in segments of %u: %u are left", 1001 - cases[i].seq, cases[i].gso,
		      cases[i].left);
	}
}

/* The client has used up its window; what the server says is still for its leg to hear. */
static void window_while_merging(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	flow_set("c.told_edge=1001 c.leg_edge=1001 s.edge=1001");
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging c.bound=1001");
	STEPS({ "the server reads: the client need not wait for its acknowledgement of the boundary", SERVER, DOWN(.seq = 601, .ack = 701),
		REDIRECT, .counts = "window_update", .out = WIRE_DOWN(.seq = 601, .ack = 701),
		.flow = "state=merging s.ack=701 c.told_ack=1001 c.told_edge=65769" });
}

/* Nothing is on its way, but the client has used up the window of its leg, which is less than the server's. */
static void last_window(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	flow_set("c.ack=601 s.ack=1001 c.told_edge=1001 c.leg_edge=1001 c.told_nxt=601 c.leg_nxt=601 s.told_nxt=1001 s.leg_nxt=1001");
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging c+announce s-announce");
	STEPS({ "the leg is asked for a packet, and tells of the server's window: merged", LEG_OUT, CLEG(.seq = 600, .ack = 1001, .wnd = 0), REDIRECT,
		.counts = "crossed", .out = WIRE_DOWN(.seq = 601, .ack = 1001, .wnd = 504, .opts = "nop nop ts=920:110"),
		.flow = "state=merged c-announce c.told_edge=65513" });
}

/* A leg that has data left and no window asks for one, though it has nothing to acknowledge any more. */
static void leg_probes(void)
{
	fresh(&(struct conn){ .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	flow_set("s.ack=1001");
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging c.bound=1001 s.bound=601");
	flow_set("c-announce s-announce");
	STEPS({ "a bare ack: nothing to tell", LEG_OUT, CLEG(.seq = 201, .ack = 1001), DROP, .counts = "" },
	      { "a probe", LEG_OUT, CLEG(.seq = 200, .ack = 1001), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 200, .ack = 1001, .wnd = 504, .opts = "nop nop ts=920:110") },
	      { "the leg is answered", CLIENT, UP(.seq = 1001, .ack = 201), REDIRECT, .counts = "", .flow = "state=merging" });
}

/* Windows count in units of 128: no edge that is told is beyond the receiver's, whatever the two are. */
static void no_edge_beyond(void)
{
	__u32 edge, leg, ack, beyond = 0, back = 0;
	struct packet in, out;
	struct flow f, was;

	fresh(&(struct conn){ .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	flow_set("c.leg_ack=401 c.told_ack=401 c.told_edge=3001 c.leg_edge=3001 s.edge=3001");
	for (edge = 3001, leg = 30, ack = 401; ack < 1001; ack += 7, edge += ack % 61, leg += ack % 3 - 1) {
		char set[64];

		sprintf(set, "s.edge=%u", edge);
		flow_set(set);
		flow_get(&was);
		build(&(struct spec)CLEG(.seq = 201, .ack = ack, .wnd = leg), &in);
		run_packet(LEG_OUT, &in, &out, 0);
		flow_get(&f);
		beyond += (__s32)(f.end[SEAM_CLIENT].told_edge - f.end[SEAM_SERVER].edge) > 0 ||
			  (__s32)(f.end[SEAM_CLIENT].told_edge - f.end[SEAM_CLIENT].leg_edge) > 0;
		back += (__s32)(f.end[SEAM_CLIENT].told_edge - was.end[SEAM_CLIENT].told_edge) < 0;
	}
	check(!beyond && !back, "no edge told is beyond the server's or the leg's, or taken back (%u, %u)", beyond, back);
	check((__s32)(f.end[SEAM_CLIENT].told_edge - was.end[SEAM_CLIENT].isn - 3001) > 0, "and it moved on");
}

/* One end has ended: its FIN belongs to who has the bytes before it, or goes straight. */
static void half_closed(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	STEPS({ "FIN of the client", CLIENT, UP(.seq = 1001, .ack = 201, .flags = "FA"), REDIRECT, .flow = "state=split c+fin c.nxt=1002" });
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging -waits c.bound=1002 s.bound=601");
	STEPS({ "its leg acknowledges it", LEG_OUT, CLEG(.seq = 201, .ack = 1002), REDIRECT,
		.out = WIRE_DOWN(.seq = 201, .ack = 1002, .wnd = 504, .opts = "nop nop ts=920:110"), .flow = "c.told_ack=1002 c+fin_acked" },
	      { "the other one hands it on", LEG_OUT, SLEG(.seq = 401, .ack = 601, .len = 600, .flags = "FA"), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 401, .ack = 601, .len = 600, .flags = "FA", .wnd = 498, .opts = "nop nop ts=120:910"),
		.flow = "state=merging s.told_nxt=1002" },
	      { "the server goes on: straight, with the leg's acknowledgement", SERVER, DOWN(.seq = 601, .ack = 401, .len = 50), REDIRECT,
		.counts = "", .out = WIRE_DOWN(.seq = 601, .ack = 401), .flow = "c.told_nxt=651" },
	      { "the FIN sent again is the leg's", CLIENT, UP(.seq = 1001, .ack = 201, .flags = "FA"), REDIRECT, .counts = "",
		.out = &(struct spec)UP(.seq = 1001, .ack = 201, .flags = "FA"), .flow = "state=merging" },
	      { "the client has all that its leg had", CLIENT, UP(.seq = 1002, .ack = 651), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 1002, .ack = 201), .flow = "state=merging s.told_ack=651" },
	      { "and the server: merged", SERVER, DOWN(.seq = 651, .ack = 1002), REDIRECT, .counts = "crossed",
		.out = WIRE_DOWN(.seq = 651, .ack = 1002, .opts = "nop nop ts=920:108"), .flow = "state=merged c+fin" },
	      { "closed, end to end", SERVER, DOWN(.seq = 651, .ack = 1002, .flags = "FA"), REDIRECT, .counts = "fin",
		.out = WIRE_DOWN(.seq = 651, .ack = 1002, .flags = "FA", .opts = "nop nop ts=920:108"), .flow = "state=closing" });

	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	flow_set("c.ack=601 c.told_nxt=601 c.leg_nxt=601");
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging c.bound=1001 s.bound=601");
	STEPS({ "a FIN behind the boundary goes straight, and its leg hears nothing of it", CLIENT, UP(.seq = 1001, .ack = 601, .flags = "FA"),
		REDIRECT, .counts = "", .out = WIRE_UP(.seq = 1001, .ack = 601, .flags = "FA", .opts = "nop nop ts=120:905"), .flow = "state=merging c+fin c.nxt=1002 s.told_nxt=1002" },
	      { "what was before it comes from the leg", LEG_OUT, SLEG(.seq = 401, .ack = 601, .len = 600), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 401, .ack = 601, .len = 600, .opts = "nop nop ts=120:910") },
	      { "the server has all: merged", SERVER, DOWN(.seq = 601, .ack = 1002), REDIRECT, .counts = "crossed",
		.out = WIRE_DOWN(.seq = 601, .ack = 1002, .opts = "nop nop ts=920:108"), .flow = "state=merged c.told_ack=1002" });
}

/* What one end has ended is before the boundary; the legs carry the other direction, and its end. */
static void split_half_closed(bool v6)
{
	in_flight(v6);
	STEPS({ "FIN of the client", CLIENT, UP(.seq = 1001, .ack = 201, .flags = "FA"), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 1001, .ack = 201, .flags = "FA"), .flow = "state=merged c+fin c.nxt=1002" });
	ctl_is("split all the same", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0,
	       "state=splitting c.bound=1002 c.leg_ack=1002 s.bound=601 s.told_nxt=1002 c-fin_acked");
	ctl_is("the legs stand", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, 0, "state=splitting +legs");
	STEPS({ "the FIN sent again goes to the server", CLIENT, UP(.seq = 1001, .ack = 201, .flags = "FA"), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 1001, .ack = 201, .flags = "FA"), .flow = "state=splitting held_in=0" },
	      { "which has it: the client is told, its leg knows", SERVER, DOWN(.seq = 601, .ack = 1002), REDIRECT, .counts = "window_update",
		.out = WIRE_DOWN(.seq = 601, .ack = 1002), .flow = "state=splitting c.told_ack=1002 c+fin_acked" },
	      { "the client has all from before the boundary: split", CLIENT, UP(.seq = 1002, .ack = 601), REDIRECT, .counts = "crossed window_update",
		.out = WIRE_UP(.seq = 1002, .ack = 601), .flow = "state=split s.told_ack=601" },
	      { "the server goes on, with its leg", SERVER, DOWN(.seq = 601, .ack = 1002, .len = 50), REDIRECT, .counts = "",
		.out = &(struct spec)DOWN(.seq = 601, .ack = 1002, .len = 50), .flow = "s.nxt=651" },
	      { "the other leg hands it on", LEG_OUT, CLEG(.seq = 601, .ack = 1002, .len = 50), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 601, .ack = 1002, .len = 50, .opts = "nop nop ts=920:110") },
	      { "FIN of the server", SERVER, DOWN(.seq = 651, .ack = 1002, .flags = "FA"), REDIRECT, .flow = "state=split s+fin" },
	      { "its leg acknowledges it", LEG_OUT, SLEG(.seq = 1002, .ack = 652), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 1002, .ack = 652, .wnd = 501, .opts = "nop nop ts=120:910"), .flow = "s+fin_acked state=split" },
	      { "the other leg hands it on", LEG_OUT, CLEG(.seq = 651, .ack = 1002, .flags = "FA"), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 651, .ack = 1002, .flags = "FA", .opts = "nop nop ts=920:110") },
	      { "the client has it: closed", CLIENT, UP(.seq = 1002, .ack = 652), REDIRECT, .counts = "fin", .flow = "state=closing" });

	in_flight(v6);
	STEPS({ "FIN of the client", CLIENT, UP(.seq = 1001, .ack = 201, .flags = "FA"), REDIRECT,
		.out = WIRE_UP(.seq = 1001, .ack = 201, .flags = "FA"), .flow = "c+fin" });
	ctl_is("split", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting");
	ctl_is("the legs stand", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, 0, "state=splitting +legs");
	STEPS({ "but a leg that ends by itself, in a direction that had been ended, has lost its owner", LEG_OUT,
		SLEG(.seq = 1002, .ack = 601, .flags = "FA"), REDIRECT, .counts = "leg_died leg_silenced",
		.out = WIRE_UP(.seq = 1002, .ack = 601, .flags = "RA", .wnd = 0, .opts = "nop nop ts=120:910"), .flow = "state=blocked" });
}

/* Given up before a byte went straight, a merge that has begun is a split as before. */
static void given_up(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	ctl_is("merge: the server has not acknowledged all", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging -waits c.bound=1001");
	flow_set("c.leg_edge=10001 c.told_edge=10002");
	ctl_is("what was told of the window is more than the leg has", CTL_SPLIT, SEAM_R_OPERATOR, CTL_SPLIT_SAME, -EBUSY, "state=merging");
	flow_set("c.leg_edge=66001 c.told_edge=65001 s.leg_edge=64457 s.told_edge=64401");
	ctl_is("given up", CTL_SPLIT, SEAM_R_OPERATOR, CTL_SPLIT_SAME, 0, "state=split reason=operator");
	STEPS({ "new data is the leg's", CLIENT, UP(.seq = 1001, .ack = 201, .len = 10), REDIRECT, .counts = "",
		.out = &(struct spec)UP(.seq = 1001, .ack = 201, .len = 10), .flow = "state=split c.nxt=1011" });
	ctl_is("merge, again", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging -waits c.bound=1011");
	STEPS({ "a byte goes straight", CLIENT, UP(.seq = 1011, .ack = 201, .len = 1), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 1011, .ack = 201), .flow = "state=merging s.told_nxt=1012" });
	ctl_is("now it goes on", CTL_SPLIT, SEAM_R_OPERATOR, CTL_SPLIT_SAME, -EBUSY, "state=merging");
}

/*
 * A leg was not told of a window that opened: an ack had come past data that was lost in
 * front of the box, and those of the merge were given the boundary's number, a lower one.
 */
static void window_past_lost_data(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	flow_set("s.leg_edge=1000");
	STEPS({ "an ack from behind what was lost", SERVER, DOWN(.seq = 701, .ack = 401), REDIRECT, .out = &(struct spec)DOWN(.seq = 701, .ack = 401),
		.flow = "s.nxt=601" });
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging -waits s.bound=601");
	STEPS({ "the next one has no lower number", SERVER, DOWN(.seq = 701, .ack = 401, .wnd = 600), REDIRECT,
		.out = WIRE_DOWN(.seq = 701, .ack = 401, .wnd = 600), .counts = "window_update" },
	      { "nor one beyond the leg's window, which it would not look at", SERVER, DOWN(.seq = 1400, .ack = 401, .wnd = 600), REDIRECT,
		.out = &(struct spec)DOWN(.seq = 1000, .ack = 401, .wnd = 600), .counts = "" });
}

/* A merge begins with the packet that ends what it waits for. */
static void waits(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	STEPS({ "urgent data", CLIENT, UP(.seq = 1001, .ack = 201, .len = 10, .flags = "AU"), REDIRECT, .flow = "c+urg_out c.urg=1011" });
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging reason=urgent +waits c.bound=1 s.bound=1");
	ctl_is("an edit cannot be begun", CTL_EDIT, SEAM_R_NONE, 1, -EBUSY, "state=merging");
	STEPS({ "what comes is still for the legs", CLIENT, UP(.seq = 1011, .ack = 201, .len = 100), REDIRECT, .counts = "",
		.out = &(struct spec)UP(.seq = 1011, .ack = 201, .len = 100), .flow = "state=merging +waits" },
	      { "and what the legs say is told as ever", LEG_OUT, SLEG(.seq = 401, .ack = 601, .len = 610), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 401, .ack = 601, .len = 610, .wnd = 498, .opts = "nop nop ts=120:910"),
		.flow = "state=merging +waits reason=urgent s.told_nxt=1011" },
	      { "less than all of it is acknowledged", SERVER, DOWN(.seq = 601, .ack = 1010), REDIRECT, .counts = "",
		.flow = "state=merging +waits reason=urgent" },
	      { "all of it: the merge begins, behind what the legs have got", SERVER, DOWN(.seq = 601, .ack = 1011), REDIRECT,
		.counts = "let_go", .flow = "state=merging -waits reason=let_go c.bound=1111 s.bound=601" },
	      { "new data goes straight", CLIENT, UP(.seq = 1111, .ack = 201, .len = 10), REDIRECT, .counts = "",
		.out = WIRE_UP(.seq = 1111, .ack = 201),
		.flow = "state=merging c.nxt=1121 s.told_nxt=1121" },
	      { "more of it that is urgent does not hold it up", CLIENT, UP(.seq = 1121, .ack = 201, .len = 10, .flags = "AU"), REDIRECT,
		.counts = "", .out = WIRE_UP(.seq = 1121, .ack = 201), .flow = "state=merging -waits c.urg=1131" });
	ctl_is("it is not given up any more", CTL_SPLIT, SEAM_R_OPERATOR, CTL_SPLIT_SAME, -EBUSY, "state=merging");

	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	flow_set("+ecn s+ce c.ack=601 s.ack=1001 c.told_nxt=601 c.leg_nxt=601 s.told_ack=591 s.leg_ack=591");
	ctl_is("merge: an echo is due", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging reason=ecn +waits");
	STEPS({ "its leg gives it: merged, as all else is done", LEG_OUT, SLEG(.seq = 1001, .ack = 601), REDIRECT, .counts = "crossed",
		.out = WIRE_UP(.seq = 1001, .ack = 601, .flags = "AE", .wnd = 498, .opts = "nop nop ts=120:910"),
		.flow = "state=merged reason=crossed -waits c.bound=1001 s.bound=601" });

	/* The server asks for it until it comes: of the client, then. It may have nothing more to send. */
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(SPLIT);
	flow_set("+ecn s+cwr c.ack=601 s.ack=1001 c.told_nxt=601 c.leg_nxt=601");
	ctl_is("an answer to an echo is not waited for", CTL_MERGE, SEAM_R_LET_GO, 0, 0, "state=merged -waits");

	/* The client is idle, and its leg in FIN-WAIT-2: it would never be told of the rest of the window. */
	flow_set(SPLIT);
	flow_set("s+fin s.fin=600 c.ack=601 s.ack=1001 c.told_nxt=601 c.leg_nxt=601 c.told_edge=20000 c.leg_edge=20000");
	ctl_is("behind a FIN a window that is large enough is not waited for", CTL_MERGE, SEAM_R_LET_GO, 0, 0, "state=merged");
	flow_set(SPLIT);
	flow_set("s-fin");
	ctl_is("merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging");
	ctl_is("a leg that dies takes bytes with it", CTL_CLOSED, SEAM_R_LEG_DIED, 0, 0, "state=blocked reason=leg_died +aborted");
	flow_set(SPLIT);
	flow_set("-aborted -block_rst -rst_both seen_ns=1");
	ctl_is("one that has legs is not forgotten", CTL_EXPIRE, SEAM_R_TIMEOUT, 1, -EAGAIN, NULL);
	check(flow_is("state=blocked reason=timeout +aborted +rst_both"), "it is reset at both ends");
	flow_set(SPLIT);
	flow_set("-aborted -block_rst -rst_both state=splitting c.bound=1001 s.bound=601 c.told_nxt=601 c.leg_nxt=601 s.told_nxt=1001 s.leg_nxt=1001");
	STEPS({ "a byte that was never the server's does not leave its leg", LEG_OUT, CLEG(.seq = 600, .ack = 1001, .len = 1), DROP, .counts = "" },
	      { "one that was does", LEG_OUT, CLEG(.seq = 601, .ack = 1001, .len = 1), REDIRECT, .counts = "",
		.out = WIRE_DOWN(.seq = 601, .ack = 1001, .len = 1, .wnd = 504, .opts = "nop nop ts=920:110") });
}

int main(void)
{
	harness_start("live");
	splitting(false);
	splitting(true);
	ack_of_what_is_not_held(false);
	ack_of_what_is_not_held(true);
	acked_past_queue(false);
	acked_past_queue(true);
	sack_at_boundary(false);
	sack_at_boundary(true);
	fin_while_splitting();
	at_the_edge(false);
	at_the_edge(true);
	passed();
	overwritten("+fail_block");
	overwritten("+exact");
	lost_while_splitting();
	merging(false);
	merging(true);
	acked_past_leg(false);
	acked_past_leg(true);
	half_closed(false);
	half_closed(true);
	split_half_closed(false);
	split_half_closed(true);
	given_up(false);
	given_up(true);
	window_past_lost_data(false);
	window_past_lost_data(true);
	waits(false);
	waits(true);
	acked_behind(false);
	acked_behind(true);
	paced(false);
	paced(true);
	paced_across(false);
	paced_across(true);
	gso_across(false);
	gso_across(true);
	window_while_merging(false);
	window_while_merging(true);
	last_window(false);
	last_window(true);
	leg_probes();
	no_edge_beyond();
	return harness_end();
}
