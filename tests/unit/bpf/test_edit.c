// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Flows whose bytes were changed: the two ends number them differently. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

#define UP(...) { .flags = "A", .wnd = 502, .opts = "nop nop ts=110:905", __VA_ARGS__ }
#define DOWN(...) { .dir = SEAM_DOWN, .flags = "A", .wnd = 509, .opts = "nop nop ts=910:108", __VA_ARGS__ }
#define OUT_UP(...) &(struct spec){ .link = LEAVING, .flags = "A", .wnd = 502, .ttl = 63, .opts = "nop nop ts=110:905", __VA_ARGS__ }
#define OUT_DOWN(...) &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "A", .wnd = 509, .ttl = 63, .opts = "nop nop ts=910:108", __VA_ARGS__ }

/* 30 bytes were inserted into what the client sends, 5 removed of what the server does. */
static void edited(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xffffff00, .sisn = 0x7fffffc0 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("state=merged +bypass +edited -want_up -want_down c.seq_delta=30 s.seq_delta=-5 "
		 "c.nxt=101 c.ack=46 c.seq_pos=101 s.nxt=51 s.ack=131 s.seq_pos=51");
}

static void merged(bool v6)
{
	edited(v6);
	STEPS({ "payload up", CLIENT, UP(.seq = 101, .ack = 46, .len = 100), REDIRECT, .counts = "",
		.out = OUT_UP(.seq = 131, .ack = 51, .len = 100, .moved = 30), .flow = "c.nxt=201 c.ack=46" },
	      { "its ack down", SERVER, DOWN(.seq = 51, .ack = 231), REDIRECT, .counts = "",
		.out = OUT_DOWN(.seq = 46, .ack = 201), .flow = "s.ack=231" },
	      { "payload down", SERVER, DOWN(.seq = 51, .ack = 231, .len = 7), REDIRECT,
		.out = OUT_DOWN(.seq = 46, .ack = 201, .len = 7, .moved = -5), .flow = "s.nxt=58" },
	      { "its ack up", CLIENT, UP(.seq = 201, .ack = 53), REDIRECT, .out = OUT_UP(.seq = 231, .ack = 58) },
	      { "SACK blocks", SERVER, DOWN(.seq = 58, .ack = 231, .opts = "nop nop ts=910:108 nop nop sack=75:175,275:375"), REDIRECT,
		.out = OUT_DOWN(.seq = 53, .ack = 201, .opts = "nop nop ts=910:108 nop nop sack=45:145,245:345") },
	      { "at an odd offset", SERVER, DOWN(.seq = 58, .ack = 231, .opts = "nop ts=910:108 sack=75:175 nop nop nop"), REDIRECT,
		.out = OUT_DOWN(.seq = 53, .ack = 201, .opts = "nop ts=910:108 sack=45:145 nop nop nop") },
	      { "the other way", CLIENT, UP(.seq = 201, .ack = 53, .opts = "nop nop sack=2147483644:2147483654"), REDIRECT,
		.out = OUT_UP(.seq = 231, .ack = 58, .opts = "nop nop sack=2147483649:2147483659") },
	      { "D-SACK of what the end has sent", SERVER, DOWN(.seq = 58, .ack = 231, .opts = "nop nop sack=4294967171:4294967271"), REDIRECT,
		.out = OUT_DOWN(.seq = 53, .ack = 201, .opts = "nop nop sack=4294967141:4294967241") },
	      { "of what its leg has: nothing to the end", SERVER, DOWN(.seq = 58, .ack = 231, .opts = "nop nop sack=4294967141:4294967171,75:175"), REDIRECT,
		.out = OUT_DOWN(.seq = 53, .ack = 201, .opts = "nop nop raw=010101010101010101010101010101010101") },
	      { "a RST without ack", CLIENT, UP(.seq = 201, .flags = "R", .opts = ""), REDIRECT,
		.out = OUT_UP(.seq = 231, .flags = "R", .opts = ""), .flow = "state=closing c+rst" },
	      { "and after it", SERVER, DOWN(.seq = 58, .ack = 231, .len = 2), REDIRECT,
		.out = OUT_DOWN(.seq = 53, .ack = 201, .len = 2, .moved = -5) });
	edited(v6);
	STEPS({ "a RST that the receiver expects", SERVER, DOWN(.seq = 51, .flags = "R", .opts = ""), REDIRECT,
		.out = OUT_DOWN(.seq = 46, .flags = "R", .opts = ""), .flow = "state=closing s+rst" });
}

/* Legs closed it while an edit had filled what the client was promised: what the server itself has is less. */
static void window_after_the_legs(bool v6)
{
	edited(v6);
	/* In the client's numbers the server's window ends at 181 - 30 + 509 * 128. */
	flow_set("state=closing +closed c+fin c+asked s+fin c.nxt=151 s.ack=181 c.told_ack=151 c.told_edge=65403");
	STEPS({ "the FIN again: no window is taken back", SERVER, DOWN(.seq = 51, .ack = 181, .flags = "FA"), REDIRECT,
		.out = OUT_DOWN(.seq = 46, .ack = 151, .flags = "FA", .wnd = 510) },
	      { "nor one made larger", SERVER, DOWN(.seq = 51, .ack = 181, .flags = "FA", .wnd = 600), REDIRECT,
		.out = OUT_DOWN(.seq = 46, .ack = 151, .flags = "FA", .wnd = 600) },
	      { "an ack that comes late is left alone", SERVER, DOWN(.seq = 51, .ack = 141), REDIRECT,
		.out = OUT_DOWN(.seq = 46, .ack = 111) });
}

/* A promiscuous port sees frames for other hosts: XDP sent the server a second copy of them. */
static void xdp_of_another_host(void)
{
	static const __u8 box[6] = { 2, 0, 0, 0, 1, 1 }, other[6] = { 2, 0, 0, 0, 1, 9 };

	edited(false);
	flow_set(XDP_PORT);
	flow_left_to_tc();
	usleep(20000); /* a next hop is asked for again */
	port_mac(other);
	STEPS({ "a frame that is not addressed to the port", XDP_CLIENT, UP(.seq = 101, .ack = 46, .len = 10), XDP_PASS, .counts = "",
		.flow = "c.nxt=101" });
	usleep(20000);
	port_mac(box);
	STEPS({ "one that is", XDP_CLIENT, UP(.seq = 101, .ack = 46, .len = 10), XDP_REDIRECT, .counts = "xdp",
		.out = OUT_UP(.seq = 131, .ack = 51, .len = 10, .moved = 30), .flow = "c.nxt=111" });
	port_mac(NULL);
	usleep(20000);
}

/* The same, before there is a packet buffer: with complete checksums, and the rest is left to TC. */
static void merged_by_xdp(bool v6)
{
	edited(v6);
	flow_set("+tsdelta c.ts_delta=1000 s.ts_delta=-50 c.tsval=110 s.tsval=910");
	flow_set(XDP_PORT);
	flow_left_to_tc();
	STEPS({ "hard upon TC: it is TC's", XDP_CLIENT, UP(.seq = 101, .ack = 46, .len = 100), XDP_PASS, .flow = "c.nxt=101" },
	      { "each way", XDP_SERVER, DOWN(.seq = 51, .ack = 131), XDP_PASS });
	usleep(2000);
	STEPS({ "payload up", XDP_CLIENT, UP(.seq = 101, .ack = 46, .len = 101), XDP_REDIRECT, .counts = "xdp",
		.out = OUT_UP(.seq = 131, .ack = 51, .len = 101, .moved = 30, .opts = "nop nop ts=1110:955"), .flow = "c.nxt=202 c.ack=46" },
	      { "its ack down, with SACK blocks", XDP_SERVER, DOWN(.seq = 51, .ack = 232, .opts = "nop nop ts=910:1108 nop nop sack=75:175,275:375"),
		XDP_REDIRECT, .out = OUT_DOWN(.seq = 46, .ack = 202, .opts = "nop nop ts=860:108 nop nop sack=45:145,245:345") },
	      { "one NOP before its timestamps", XDP_CLIENT, UP(.seq = 202, .ack = 46, .opts = "nop ts=111:905 nop"), XDP_REDIRECT,
		.out = OUT_UP(.seq = 232, .ack = 51, .opts = "nop ts=1111:955 nop"), .flow = "c.tsval=111" },
	      { "none", XDP_CLIENT, UP(.seq = 202, .ack = 46, .opts = "ts=112:905 nop nop"), XDP_REDIRECT,
		.out = OUT_UP(.seq = 232, .ack = 51, .opts = "ts=1112:955 nop nop"), .flow = "c.tsval=112" },
	      { "blocks of what its leg has sent", XDP_SERVER, DOWN(.seq = 51, .ack = 232, .opts = "nop nop ts=910:1108 nop nop sack=4294967141:4294967171"),
		XDP_PASS, .counts = "" });
	usleep(2000);
	STEPS({ "replaced bytes", XDP_CLIENT, UP(.seq = 51, .ack = 46, .len = 50), XDP_PASS, .counts = "" });
	usleep(2000);
	STEPS({ "the last hop", XDP_CLIENT, UP(.seq = 202, .ack = 46, .ttl = 1), XDP_PASS, .counts = "" });
	usleep(2000);
	STEPS({ "a FIN", XDP_CLIENT, UP(.seq = 202, .ack = 46, .flags = "FA"), XDP_PASS, .counts = "", .flow = "c-fin" });
}

/* After 2 GiB the position of the last edit was ahead, and all that was sent for replaced. */
static void two_gigabytes_after_the_edit(bool v6)
{
	edited(v6);
	flow_set("c.nxt=2000000101 c.seq_pos=101 s.ack=2000000131 s.edge=2000065000");
	STEPS({ "the position follows", CLIENT, UP(.seq = 2000000101, .ack = 46, .len = 100), REDIRECT, .counts = "",
		.out = OUT_UP(.seq = 2000000131, .ack = 51, .len = 100, .moved = 30), .flow = "c.nxt=2000000201 c.seq_pos=926258377" });
}

/* A byte that was replaced never gets through, not as a late duplicate either. */
static void late_duplicate_of_edited_bytes(bool v6)
{
	edited(v6);
	STEPS({ "from before the merge", CLIENT, UP(.seq = 51, .ack = 46, .len = 50, .flags = "PA"), REDIRECT, .counts = "replaced",
		.out = OUT_UP(.seq = 81, .ack = 51), .flow = "c.nxt=101" },
	      { "an odd number of bytes", CLIENT, UP(.seq = 52, .ack = 46, .len = 49), REDIRECT, .counts = "replaced",
		.out = OUT_UP(.seq = 82, .ack = 51) },
	      { "across it", CLIENT, UP(.seq = 91, .ack = 46, .len = 20), REDIRECT, .counts = "replaced",
		.out = OUT_UP(.seq = 121, .ack = 51) },
	      { "down", SERVER, DOWN(.seq = 1, .ack = 131, .len = 50), REDIRECT, .counts = "replaced",
		.out = OUT_DOWN(.seq = -4U, .ack = 101) },
	      { "a bare ack of then is let be", CLIENT, UP(.seq = 51, .ack = 20), REDIRECT, .counts = "",
		.out = OUT_UP(.seq = 81, .ack = 25) },
	      { "what is new", CLIENT, UP(.seq = 101, .ack = 46, .len = 1), REDIRECT, .counts = "",
		.out = OUT_UP(.seq = 131, .ack = 51, .len = 1, .moved = 30) });
}

/* Nor after the legs have gone with a RST, which may not have reached the end. */
static void late_duplicate_after_a_reset(bool v6)
{
	edited(v6);
	flow_set("state=split c.seq_pos=0 s.seq_pos=0 c.told_nxt=46 s.told_nxt=131 c.told_edge=60101 s.told_edge=60051");
	ctl_is("reset", CTL_CLOSED, SEAM_R_RST, 0, 0, "state=closing c.seq_pos=101 s.seq_pos=51");
	STEPS({ "from before it", CLIENT, UP(.seq = 51, .ack = 46, .len = 50), REDIRECT, .counts = "replaced",
		.out = OUT_UP(.seq = 81, .ack = 51) });
}

/* Nothing gets by with the numbers that its sender gave it: the other end would take it for other bytes. */
static void past_the_numbers(bool v6)
{
	edited(v6);
	STEPS({ "on the wrong side", SERVER, UP(.seq = 101, .ack = 46, .len = 100), DROP, .counts = "wrong_side", .flow = "c.nxt=101" });
	if (!v6)
		STEPS({ "a fragment", CLIENT, UP(.seq = 101, .ack = 46, .len = 64, .frag = 0x2000), DROP, .counts = "fragment", .flow = "state=merged" },
		      { "of a flow that is armed", CLIENT, UP(.seq = 101, .ack = 46, .len = 64, .frag = 0x2000), DROP,
			.set = "+armed", .counts = "fragment=2", .flow = "state=passed" });
	edited(v6);
	STEPS({ "a RST that the server never gets", CLIENT, { .flags = "R", .seq = 101 }, REDIRECT, .set = "+armed due_bytes=0xffffffffffffffff",
		.out = &(struct spec){ .link = LEAVING, .ttl = 63, .flags = "R", .seq = 131 }, .flow = "state=closing" },
	      { "and the client goes on", CLIENT, UP(.seq = 101, .ack = 46, .len = 10), REDIRECT, .counts = "revived",
		.out = OUT_UP(.seq = 131, .ack = 51, .len = 10, .moved = 30), .flow = "state=merged c-rst" });
}

/* An ICMP error about a segment that left the box for the server with number `seq`; the number that it quotes then. */
static int icmp_error(bool v6, __u32 seq, struct packet *in, struct packet *out, __u32 *quotes)
{
	__u32 ip = v6 ? 40 : 20;
	int rc;

	build_icmp(&(struct spec)UP(.seq = seq, .ack = 51, .len = 100), v6 ? 1 : 3, v6 ? 0 : 1, in);
	rc = run_packet(SERVER, in, out, 0);
	memcpy(quotes, out->data + 14 + ip + 8 + ip + 4, 4);
	*quotes = __builtin_bswap32(*quotes);
	return rc;
}

/* ICMP errors quote the number that the packet had behind the box. */
static void icmp(bool v6)
{
	__u32 i, sum, seq;
	struct packet in, out;

	edited(v6);
	check(icmp_error(v6, 131, &in, &out, &seq) == REDIRECT && seq == 0xffffff00 + 101, "the quoted number is the client's own");
	/* Any checksum will do, as long as it changes by what the quoted number does. */
	for (sum = 0, i = v6 ? 54 : 34; i < in.len; i += 2)
		sum += (in.data[i] << 8 | in.data[i + 1]) + (0xffff ^ (out.data[i] << 8 | out.data[i + 1]));
	while (sum >> 16)
		sum = (sum >> 16) + (sum & 0xffff);
	check(sum == 0xffff || sum == 0, "and the checksum covers it");
}

/* On either side of a boundary they are about what another has sent. */
static void icmp_at_a_boundary(bool v6)
{
	static const struct {
		const char *set, *what;
		__u32 seq;
		bool leg;
	} cases[] = {
		{ "state=splitting +legs c.bound=101", "splitting, before the boundary: the client's", 130, false },
		{ "state=splitting +legs c.bound=101", "from it on: the leg's", 131, true },
		{ "state=split c.bound=101", "split: the leg's", 130, true },
		{ "state=merging +waits c.bound=101", "a merge that waits: the leg's", 131, true },
		{ "state=merging -waits c.bound=101", "merging, before the boundary: the leg's", 130, true },
		{ "state=merging -waits c.bound=101", "from it on: the client's", 131, false },
	};
	struct packet in, out;
	unsigned int i;
	__u32 seq;

	edited(v6);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		flow_set(cases[i].set);
		counters_mark();
		check(icmp_error(v6, cases[i].seq, &in, &out, &seq) == REDIRECT &&
			      counters_are(cases[i].leg ? "icmp_leg" : "") &&
			      seq == 0xffffff00 + cases[i].seq - (cases[i].leg ? 0 : 30), "%s", cases[i].what);
	}
}

/* Split again: what is before the boundary is numbered as it was. */
static void split_again(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffe00, .sisn = 0x7fffff00 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("state=merged +bypass +edited -want_up -want_down c.seq_delta=30 s.seq_delta=-5 c.seq_pos=101 s.seq_pos=51 "
		 "c.nxt=1001 c.ack=196 c.edge=64452 c.tsval=110 c.told_tsval=905 "
		 "s.nxt=601 s.ack=431 s.edge=65591 s.tsval=910 s.told_tsval=108");
	ctl_is("not edited while merged", CTL_EDIT, SEAM_R_NONE, CTL_DELTAS(1, 1), -EINVAL, "c.seq_delta=30");
	ctl_is("split in mid-stream", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0,
	       "state=splitting c.bound=1001 s.bound=601 c.told_ack=401 s.told_ack=201 c.told_nxt=596 s.told_nxt=1031 "
	       "c.told_edge=65561 s.told_edge=64457");
	ctl_is("nor before both boundaries are behind", CTL_EDIT, SEAM_R_NONE, CTL_DELTAS(1, 1), -EBUSY, "c.seq_delta=30");
	STEPS({ "what is sent again", CLIENT, UP(.seq = 401, .ack = 196, .len = 600), REDIRECT, .counts = "",
		.out = OUT_UP(.seq = 431, .ack = 201, .len = 600, .moved = 30) },
	      { "from before the edits: bare", CLIENT, UP(.seq = 51, .ack = 196, .len = 50), REDIRECT, .counts = "replaced",
		.out = OUT_UP(.seq = 81, .ack = 201) },
	      { "across the boundary", CLIENT, UP(.seq = 901, .ack = 296, .len = 200), REDIRECT, .counts = "straddle",
		.out = OUT_UP(.seq = 931, .ack = 301, .len = 100, .wnd = 501, .moved = 30) },
	      { "an ack of the server, with SACK", SERVER, DOWN(.seq = 601, .ack = 731, .opts = "nop nop sack=319:419"), REDIRECT,
		.out = OUT_DOWN(.seq = 596, .ack = 701, .wnd = 506, .opts = "nop nop sack=289:389"), .flow = "c.told_ack=701" });
	flow_set("held_in=0 held_out=0");
	ctl_is("the legs stand", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, 0, "state=splitting +legs");
	STEPS({ "new data, for the leg", CLIENT, UP(.seq = 1001, .ack = 296, .len = 100), REDIRECT,
		.out = &(struct spec)UP(.seq = 1001, .ack = 596, .len = 100), .flow = "c.nxt=1101" },
	      { "the server leg's", LEG_OUT, { .link = FROM_LEG, .flags = "A", .seq = 1031, .ack = 601, .wnd = 502, .len = 100,
					       .opts = "nop nop ts=120:910", .moved = 30 }, REDIRECT,
		.out = OUT_UP(.seq = 1031, .ack = 301, .len = 100, .wnd = 502, .opts = "nop nop ts=120:910", .moved = 30),
		.flow = "s.told_nxt=1131" },
	      { "the server has what was before the boundary, and some of it twice: nothing to the leg, or to the client in these numbers", SERVER,
		DOWN(.seq = 601, .ack = 1031, .opts = "nop nop sack=419:519"), REDIRECT,
		.out = OUT_DOWN(.seq = 601, .ack = 1031, .opts = "nop nop raw=01010101010101010101"), .flow = "state=splitting c.told_ack=1001" },
	      { "and the client", CLIENT, UP(.seq = 1101, .ack = 596), REDIRECT,
		.out = OUT_UP(.seq = 1101, .ack = 596), .flow = "state=split s.told_ack=601" });
}

static void merging(bool v6)
{
	edited(v6);
	flow_set("state=split c.told_ack=101 c.told_nxt=46 c.told_edge=60101 c.bound=1 c.leg_ack=101 c.leg_edge=60101 c.leg_nxt=46 "
		 "s.told_ack=51 s.told_nxt=131 s.told_edge=60051 s.bound=1 s.leg_ack=51 s.leg_edge=60051 s.leg_nxt=131 "
		 "c.edge=60046 s.edge=60131 c.tsval=110 s.tsval=905");
	ctl_is("ten bytes more", CTL_EDIT, SEAM_R_NONE, CTL_DELTAS(40, -5), 0, "state=split +edited c.seq_delta=40 s.seq_delta=-5");
	ctl_is("which have filled what the client was promised", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS,
	       "state=merging +waits reason=window");
	STEPS({ "until the server has room for it", SERVER, DOWN(.seq = 51, .ack = 131, .wnd = 520), REDIRECT,
		.flow = "s.edge=66691 state=merging -waits c.bound=101 s.bound=51 c.seq_pos=101" },
	      { "the leg sends what is new", LEG_OUT, { .link = FROM_LEG, .flags = "A", .seq = 131, .ack = 51, .wnd = 469, .len = 10,
						       .opts = "nop nop ts=120:910" }, REDIRECT,
		.out = OUT_UP(.seq = 131, .ack = 51, .wnd = 468, .len = 10, .opts = "nop nop ts=120:910"), .flow = "s.told_nxt=141" });
	STEPS({ "a segment across the boundary: its leg gets what is before", CLIENT, UP(.seq = 91, .ack = 46, .len = 20, .flags = "PA"),
		REDIRECT, .counts = "straddle", .out = &(struct spec)UP(.seq = 91, .ack = 46, .len = 10) },
	      { "from the boundary on", CLIENT, UP(.seq = 101, .ack = 46, .len = 10), REDIRECT, .counts = "",
		.out = OUT_UP(.seq = 141, .ack = 51, .len = 10, .opts = "nop nop ts=120:905", .moved = 40), .flow = "state=merging" },
	      { "the server has what the leg has sent", SERVER, DOWN(.seq = 51, .ack = 141), REDIRECT, .counts = "crossed",
		.out = OUT_DOWN(.seq = 46, .ack = 101, .wnd = 519), .flow = "state=merged" },
	      { "and what the client has", SERVER, DOWN(.seq = 51, .ack = 151, .opts = "nop nop ts=910:110"), REDIRECT, .counts = "",
		.out = OUT_DOWN(.seq = 46, .ack = 111, .opts = "nop nop ts=910:110") });
}

/* A RST ends the merge; it is numbered for its receiver like all else. */
static void rst_while_merging(bool v6)
{
	edited(v6);
	flow_set("state=merging c.bound=101 s.bound=51 c.told_ack=101 c.leg_ack=101 s.told_nxt=131 s.leg_nxt=131 s.ack=100 "
		 "s.told_ack=51 s.leg_ack=51 c.told_nxt=46 c.leg_nxt=46 c.tsval=110 s.tsval=905");
	STEPS({ "of the client", CLIENT, { .flags = "R", .seq = 101 }, REDIRECT, .counts = "rst",
		.out = &(struct spec){ .link = LEAVING, .ttl = 63, .flags = "R", .seq = 131 }, .flow = "state=closing c+rst" });
}

/*
 * More was inserted than the server has acknowledged: the boundary of the split, counted
 * with what was inserted after it, lies among bytes that it has not got.
 */
static void unacknowledged_insert(bool v6)
{
	edited(v6);
	flow_set("state=split c.told_ack=101 c.told_nxt=46 c.told_edge=60101 c.bound=1 c.leg_ack=101 c.leg_edge=60101 c.leg_nxt=46 "
		 "s.told_ack=51 s.told_nxt=131 s.told_edge=60051 s.bound=1 s.leg_ack=51 s.leg_edge=60051 s.leg_nxt=131 "
		 "c.edge=60046 s.edge=60131 s.ack=1 c.tsval=110 s.tsval=905");
	STEPS({ "the leg is told what the server has, and no more", SERVER, DOWN(.seq = 51, .ack = 11), REDIRECT, .counts = "",
		.out = &(struct spec)DOWN(.seq = 51, .ack = 11), .flow = "s.ack=11" });
}

/* Bytes that are removed take no room: their sender may wait for that. */
static void removed_bytes_make_room(bool v6)
{
	edited(v6);
	flow_set("state=split c.tsval=110 s.tsval=910 c.nxt=60101 c.told_ack=60101 c.told_edge=60101 c.told_nxt=46 c.leg_nxt=46 c.leg_ack=60101 c.leg_edge=70101 s.ack=131 s.edge=60131 "
		 "s.told_ack=51 s.told_edge=60051 c.edge=60046");
	ctl_is("bytes were removed", CTL_EDIT, SEAM_R_NONE, CTL_DELTAS(30 - 5000, -5), 0, "c+announce s-announce");
	STEPS({ "its leg is asked, and says so", LEG_OUT,
		{ .dir = SEAM_DOWN, .link = FROM_LEG, .flags = "A", .seq = 45, .ack = 60101, .wnd = 100, .opts = "nop nop ts=920:110" },
		REDIRECT, .out = OUT_DOWN(.seq = 46, .ack = 60101, .wnd = 39, .opts = "nop nop ts=920:110"),
		.flow = "c.told_edge=65093 c-announce" });
	edited(v6);
	flow_set("state=split c.told_ack=101 c.told_edge=60101 s.told_ack=51 s.told_edge=60051 c.edge=60046 s.edge=60131");
	ctl_is("with window left for a few: not asked", CTL_EDIT, SEAM_R_NONE, CTL_DELTAS(29, -5), 0, "c-announce s-announce");
}

/* A leg's FIN stands where its end's does, plus what was inserted. */
static void fin(bool v6)
{
	edited(v6);
	flow_set("state=split c.told_ack=102 c.told_nxt=46 c.leg_nxt=46 s.told_ack=51 s.told_nxt=131 s.leg_nxt=131 c.nxt=102 c.fin=101 "
		 "c+fin c.tsval=110 s.tsval=910 s.told_edge=60051");
	STEPS({ "its end's", LEG_OUT, { .link = FROM_LEG, .flags = "FA", .seq = 131, .ack = 51, .wnd = 460, .opts = "nop nop ts=120:910" },
		REDIRECT, .counts = "", .out = OUT_UP(.flags = "FA", .seq = 131, .ack = 51, .wnd = 501, .opts = "nop nop ts=120:910"),
		.flow = "state=split s.told_nxt=132" });
	flow_set("c.fin=131");
	STEPS({ "at the number that its end gave it: none of its end's", LEG_OUT,
		{ .link = FROM_LEG, .flags = "FA", .seq = 131, .ack = 51, .wnd = 460, .opts = "nop nop ts=120:910" },
		REDIRECT, .out = OUT_UP(.flags = "RA", .seq = 131, .ack = 51, .wnd = 0, .opts = "nop nop ts=120:910"),
		.flow = "state=blocked" });
}

int main(void)
{
	int v6;

	harness_start("edit");
	for (v6 = 0; v6 < 2; v6++) {
		merged(v6);
		window_after_the_legs(v6);
		merged_by_xdp(v6);
		two_gigabytes_after_the_edit(v6);
		late_duplicate_of_edited_bytes(v6);
		late_duplicate_after_a_reset(v6);
		past_the_numbers(v6);
		icmp(v6);
		icmp_at_a_boundary(v6);
		split_again(v6);
		merging(v6);
		rst_while_merging(v6);
		unacknowledged_insert(v6);
		removed_bytes_make_room(v6);
		fin(v6);
	}
	xdp_of_another_host();
	return harness_end();
}
