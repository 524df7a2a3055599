// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Bump in the wire: everything crosses as it came; what legs send has the headers of the end they speak for. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "harness.h"

#define UP(...) { .flags = "A", .wnd = 502, .opts = "nop nop ts=110:905", __VA_ARGS__ }
#define DOWN(...) { .dir = SEAM_DOWN, .flags = "A", .wnd = 509, .opts = "nop nop ts=910:108", __VA_ARGS__ }
#define SYN(...) { .flags = "S", .wnd = 64240, .opts = LINUX_SYN, __VA_ARGS__ }
#define SYNACK(...) { .dir = SEAM_DOWN, .flags = "SA", .ack = 1, .wnd = 65160, .opts = LINUX_SYNACK, __VA_ARGS__ }
#define CLEG(...) { .dir = SEAM_DOWN, .link = FROM_LEG, .flags = "A", .wnd = 509, .opts = "nop nop ts=920:110", __VA_ARGS__ }
#define SLEG(...) { .link = FROM_LEG, .flags = "A", .wnd = 502, .opts = "nop nop ts=120:910", __VA_ARGS__ }
/* As they come from the ends: from legs they come so as well. */
#define OUT_UP(...) &(struct spec){ .flags = "A", .wnd = 502, .opts = "nop nop ts=120:910", __VA_ARGS__ }
#define OUT_DOWN(...) &(struct spec){ .dir = SEAM_DOWN, .flags = "A", .wnd = 509, .opts = "nop nop ts=920:110", __VA_ARGS__ }

#define QUIET "state=split +legs +bypass +history held_in=0 held_out=0 -want_up -want_down " \
	"c.bound=1 c.leg_ack=101 c.leg_edge=65261 s.bound=1 s.leg_ack=51 s.leg_edge=64307 " \
	"c.nxt=101 c.ack=51 c.edge=64307 c.told_nxt=51 c.leg_nxt=51 c.told_ack=101 c.told_edge=65261 c.tsval=110 c.told_tsval=905 " \
	"s.nxt=51 s.ack=101 s.edge=65261 s.told_nxt=101 s.leg_nxt=101 s.told_ack=51 s.told_edge=64307 s.tsval=910 s.told_tsval=108"

static void established(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xffffff00, .sisn = 99 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("c.rtt_us=50000000");
}

/* What the kernel takes for the outer tag is beside the frame; test_run has none. */
static void vlan(enum seam_end end, __u32 outer, __u32 inner)
{
	struct seam_links l;
	char path[128];
	struct flow f;
	int map;

	snprintf(path, sizeof(path), "%s/links", harness_pins());
	map = bpf_obj_get(path);
	if (map < 0 || flow_get(&f) || bpf_map_lookup_elem(map, &f.id, &l)) {
		check(false, "the flow has links");
		return;
	}
	l.end[end].tag[0] = outer;
	l.end[end].tag[1] = inner;
	bpf_map_update_elem(map, &f.id, &l, BPF_EXIST);
	close(map);
}

#define TAG5 0x81000005U

static void frames(void)
{
	static const struct {
		const char *what, *counts;
		__u8 head[20];
		__u32 len;
		int rc;
	} cases[] = {
		{ "ARP", "not_tcp", { [0 ... 5] = 0xff, 2, [12] = 0x08, 0x06, 0, 1, 8, 0, 6, 4 }, 60, REDIRECT },
		{ "LLDP", "not_tcp", { 1, 0x80, 0xc2, 0, 0, 0x0e, 2, [12] = 0x88, 0xcc, 2, 7, 4, 2 }, 60, REDIRECT },
		{ "STP: a length for a type", "not_tcp", { 1, 0x80, 0xc2, 0, 0, 0, 2, [12] = 0, 38, 0x42, 0x42, 3 }, 60, REDIRECT },
		{ "unknown ethertype", "not_tcp", { 2, [12] = 0x99, 0x99 }, 1514, REDIRECT },
		{ "PTP", "not_tcp", { 1, 0x1b, 0x19, [12] = 0x88, 0xf7 }, 64, REDIRECT },
		{ "broken IPv4", "malformed", { 2, [12] = 8, 0, 0x45, 0, 0xff, 0xff }, 60, REDIRECT },
		{ "broken IPv6", "malformed", { 2, [12] = 0x86, 0xdd, 0x10 }, 60, REDIRECT },
		{ "as long as the MTU and a tag", "not_tcp", { 2, [12] = 0x99, 0x99 }, 1518, REDIRECT },
		{ "longer than the other port takes", "not_tcp mtu", { 2, [12] = 0x99, 0x99 }, 1519, DROP },
	};
	struct packet in, out;
	size_t i;
	int rc;

	fresh(NULL);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(&in, 0x5a, sizeof(in));
		memcpy(in.data, cases[i].head, sizeof(cases[i].head));
		in.len = cases[i].len;
		counters_mark();
		rc = run_packet(i % 2 ? CLIENT : SERVER, &in, &out, 0);
		check(rc == cases[i].rc && counters_are(cases[i].counts) &&
			      (rc == DROP || packet_is(cases[i].what, &in, &in, &out)),
		      "%s: %s", cases[i].what, rc == DROP ? "dropped" : "crosses as it is");
	}
}

static void crosses(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 1, .sisn = 2 });
	STEPS({ "a stranger's packet", CLIENT, UP(.seq = 1, .ack = 1, .len = 9), REDIRECT, .counts = "untracked" },
	      { "with TTL 1", SERVER, DOWN(.seq = 1, .ack = 1, .ttl = 1), REDIRECT, .counts = "untracked" },
	      { "SYN", CLIENT, SYN(), REDIRECT, .counts = "new" },
	      { "SYN-ACK", SERVER, SYNACK(), REDIRECT, .counts = "" },
	      { "ACK", CLIENT, UP(.seq = 1, .ack = 1), REDIRECT, .counts = "established", .flow = "state=monitored why_not=none" });
	flow_set("state=merged +bypass -want_up -want_down");
	STEPS({ "merged", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), REDIRECT, .counts = "", .flow = "c.nxt=101" },
	      { "with TTL 1", SERVER, DOWN(.seq = 1, .ack = 101, .ttl = 1), REDIRECT, .counts = "" },
	      { "padding stays", SERVER, DOWN(.seq = 1, .ack = 101, .pad = 6), REDIRECT },
	      { "a fragment", CLIENT, UP(.seq = 101, .ack = 1, .frag = 0x2000), REDIRECT, .counts = v6 ? "" : "fragment" },
	      { "options of IP", CLIENT, UP(.seq = 101, .ack = 1, .ip_opts = 2), REDIRECT });
	flow_set("state=passed -bypass");
	STEPS({ "passed", CLIENT, UP(.seq = 101, .ack = 1, .len = 100), REDIRECT, .counts = "", .flow = "c.nxt=201" });
	flow_set("state=blocked -block_rst");
	STEPS({ "blocked", CLIENT, UP(.seq = 101, .ack = 1, .len = 100), DROP, .counts = "block_drop" });
}

/* XDP has the untagged frames of flows that were let go; of the others TC knows the way. */
static void crosses_by_xdp(bool v6)
{
	const __u32 mss = v6 ? 1428 : 1448;

	if (csum_complete)
		return;
	established(v6);
	wire_to(SERVER);
	flow_set("c.ifindex=1");
	STEPS({ "monitored", XDP_CLIENT, UP(.seq = 1, .ack = 1, .len = 100), XDP_PASS, .counts = "", .flow = "c.nxt=1" });
	flow_set("state=merged +bypass -want_up -want_down tc_at=0");
	STEPS({ "merged", XDP_CLIENT, UP(.seq = 1, .ack = 1, .len = 100), XDP_REDIRECT, .counts = "xdp", .flow = "c.nxt=101" },
	      { "with TTL 1, and padding", XDP_CLIENT, UP(.seq = 101, .ack = 1, .ttl = 1, .pad = 6), XDP_REDIRECT, .counts = "xdp" });
	flow_set("state=passed -bypass");
	STEPS({ "passed", XDP_CLIENT, UP(.seq = 101, .ack = 1, .len = 100), XDP_REDIRECT, .counts = "xdp", .flow = "c.nxt=201" },
	      { "as long as the MTU", XDP_CLIENT, UP(.seq = 201, .ack = 1, .len = mss), XDP_REDIRECT, .counts = "xdp" },
	      { "longer", XDP_CLIENT, UP(.seq = 201, .ack = 1, .len = mss + 1), XDP_PASS, .counts = "" });
	wire_to(CLIENT);
	flow_set("tc_at=0");
	STEPS({ "by another wire", XDP_CLIENT, UP(.seq = 201, .ack = 1), XDP_PASS, .counts = "" });
	wire_to(SERVER);
	vlan(SEAM_CLIENT, TAG5, 0);
	flow_set("tc_at=0");
	STEPS({ "of a tagged flow, without its tag", XDP_CLIENT, UP(.seq = 201, .ack = 1), XDP_PASS, .counts = "" });

	established(v6);
	wire_to(CLIENT);
	flow_set("s.ifindex=1 state=merged +bypass -want_up -want_down tc_at=0");
	STEPS({ "the other way", XDP_SERVER, DOWN(.seq = 1, .ack = 1, .len = 9), XDP_REDIRECT, .counts = "xdp", .flow = "s.nxt=10" });
}

static void held(bool v6)
{
	established(v6);
	STEPS({ "first payload is held", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .counts = "first_payload",
		.flow = "state=held held_in=1" },
	      { "an ack crosses", SERVER, DOWN(.seq = 1, .ack = 1), REDIRECT, .counts = "", .flow = "held_in=1" });
	ctl_is("pass", CTL_PASS, SEAM_R_RULE, 0, 0, "+release");
	STEPS({ "let go it crosses", HOLD, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .counts = "rule", .flow = "state=passed c.nxt=301" });
}

static void split(bool v6)
{
	struct packet in, out, expected;
	static const struct spec leg = CLEG(.seq = 51, .ack = 101, .len = 10);

	established(v6);
	flow_set(QUIET);
	STEPS({ "payload for the leg", CLIENT, UP(.seq = 101, .ack = 51, .len = 100), REDIRECT, .counts = "", .flow = "c.nxt=201" },
	      { "the server's leg speaks as the client", LEG_OUT, SLEG(.seq = 101, .ack = 51, .len = 100), REDIRECT,
		.out = OUT_UP(.seq = 101, .ack = 51, .len = 100) },
	      { "the client's leg as the server", LEG_OUT, CLEG(.seq = 51, .ack = 201), REDIRECT,
		.out = OUT_DOWN(.seq = 51, .ack = 201, .wnd = 508) });
	/* With CHECKSUM_COMPLETE test_run compares as many bytes as there were before. */
	if (csum_complete)
		return;
	/* Of two tags test_run shows the inner one: the outer one is beside the frame. */
	vlan(SEAM_SERVER, 0x88a80064, TAG5 | 0x6000);
	build(&leg, &in);
	build(OUT_DOWN(.seq = 51, .ack = 201, .wnd = 508, .len = 10), &expected);
	memmove(expected.data + 16, expected.data + 12, expected.len - 12);
	memcpy(expected.data + 12, (__u8[]){ 0x81, 0, 0x60, 5 }, 4);
	expected.len += 4;
	check(run_packet(LEG_OUT, &in, &out, 0) == REDIRECT && packet_is("tags", &in, &expected, &out),
	      "with the end's tags, and their priority");
}

static void legs_mtu(bool v6)
{
	struct packet in, out;
	static const struct spec fits = CLEG(.seq = 51, .ack = 101, .len = 1428), over = CLEG(.seq = 51, .ack = 101, .len = 1449);

	established(v6);
	flow_set(QUIET);
	build(&fits, &in);
	check(run_packet(LEG_OUT, &in, &out, 0) == REDIRECT && out.len == in.len, "a leg's segment that fits");
	if (csum_complete) /* as above */
		return;
	build(&over, &in);
	counters_mark();
	check(run_packet(LEG_OUT, &in, &out, 0) == REDIRECT && out.len < 120 && counters_are("mtu") &&
		      out.data[v6 ? 54 : 34] == (v6 ? 2 : 3),
	      "one that does not: the leg is told");
}

/* The client's port is of one wire, the server's of another. */
static void asymmetric(bool v6)
{
	fresh(&(struct conn){ .v6 = v6 });
	wires(false);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	check(flow_is("state=passed reason=asymmetric why_not=asymmetric +no_split"), "two wires: passed");
	STEPS({ "it crosses", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), REDIRECT, .counts = "", .flow = "c.nxt=101" },
	      { "both ways", SERVER, DOWN(.seq = 1, .ack = 101, .len = 9), REDIRECT, .counts = "", .flow = "s.nxt=10" });
	fresh(&(struct conn){ .v6 = v6 });
	policy_all(RULE_ASK, RULE_F_FAIL_BLOCK);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	check(flow_is("state=blocked reason=asymmetric"), "with fail = block: blocked");

	wires(true);
	established(v6);
	wires(false);
	STEPS({ "another wire before its first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), REDIRECT, .counts = "asymmetric",
		.flow = "state=passed reason=asymmetric why_not=asymmetric +no_split c.nxt=101" });

	wires(true);
	established(v6);
	flow_set("state=blocked -block_rst");
	wires(false);
	STEPS({ "of a flow that a verdict has blocked: it stays so", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), DROP, .counts = "block_drop",
		.flow = "state=blocked" });

	wires(true);
	established(v6);
	flow_set("state=merged +bypass -want_up -want_down");
	wires(false);
	STEPS({ "of a merged flow", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), REDIRECT, .counts = "",
		.flow = "state=merged why_not=asymmetric +no_split c.nxt=101" });
	ctl_is("is not split", CTL_SPLIT, SEAM_R_OPERATOR, 0, -EINVAL, "state=merged");
	wires(true);
	STEPS({ "one wire again", CLIENT, UP(.seq = 101, .ack = 1, .len = 100), REDIRECT, .counts = "",
		.flow = "state=merged why_not=none -no_split" });
	ctl_is("is split", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting");
	wires(false);
	STEPS({ "another wire while it is split: it goes on", CLIENT, UP(.seq = 201, .ack = 1, .len = 100), REDIRECT,
		.flow = "state=splitting why_not=none held_in=1" });
	wires(true);
}

/* The same addresses on another VLAN. */
static void other_vlan(bool v6)
{
	established(v6);
	vlan(SEAM_CLIENT, TAG5, 0);
	STEPS({ "while a rule waits: kept out", CLIENT, UP(.seq = 1, .ack = 1, .len = 10), DROP, .counts = "vlan", .flow = "state=monitored c.nxt=1" },
	      { "a SYN too", CLIENT, SYN(), DROP, .counts = "vlan" });
	flow_set("state=merged +bypass -want_up -want_down");
	STEPS({ "merged: crosses, and says nothing", CLIENT, UP(.seq = 1, .ack = 1, .len = 10), REDIRECT, .counts = "vlan",
		.flow = "state=merged c.nxt=1 c.packets=2" },
	      { "the other end's own", SERVER, DOWN(.seq = 1, .ack = 1, .len = 10), REDIRECT, .counts = "", .flow = "s.nxt=11" },
	      { "a SYN is judged", CLIENT, SYN(.seq = 100), REDIRECT, .counts = "vlan new", .flow = "state=merged" });
	policy_all(RULE_BLOCK, 0);
	STEPS({ "by the rules", CLIENT, SYN(.seq = 200), DROP, .counts = "vlan block_drop", .flow = "state=merged" });
	flow_set("+edited");
	STEPS({ "edited: kept out", CLIENT, UP(.seq = 1, .ack = 1, .len = 10), DROP, .counts = "vlan" });
	flow_set("state=blocked -edited");
	STEPS({ "blocked: kept out", CLIENT, UP(.seq = 1, .ack = 1, .len = 10), DROP, .counts = "vlan" });
	flow_set("state=merged");
	vlan(SEAM_CLIENT, 0, 0);
	STEPS({ "its own again", CLIENT, UP(.seq = 1, .ack = 1, .len = 10), REDIRECT, .counts = "", .flow = "c.nxt=11" });
}

/* XDP overtakes nothing that it has left to TC. */
static void taken_over_by_xdp(bool v6)
{
	if (csum_complete)
		return;
	established(v6);
	wire_to(SERVER);
	flow_set("c.ifindex=1 state=merged +bypass -want_up -want_down tc_at=0");
	STEPS({ "one for TC", XDP_CLIENT, UP(.seq = 1, .ack = 1, .len = 100, .flags = "AU"), XDP_PASS });
	flow_left_to_tc();
	STEPS({ "hard upon it", XDP_CLIENT, UP(.seq = 1, .ack = 1), XDP_PASS });
	usleep(2000);
	STEPS({ "before TC has seen its bytes", XDP_CLIENT, UP(.seq = 101, .ack = 1, .len = 10), XDP_PASS });
	usleep(2000);
	STEPS({ "old bytes say nothing of that", XDP_CLIENT, UP(.seq = 1, .ack = 1, .len = 10), XDP_PASS, .set = "c.nxt=101" });
	usleep(2000);
	STEPS({ "what is next does", XDP_CLIENT, UP(.seq = 101, .ack = 1, .len = 10), XDP_REDIRECT, .flow = "c.nxt=111" },
	      { "old bytes then", XDP_CLIENT, UP(.seq = 1, .ack = 1, .len = 10), XDP_REDIRECT },
	      { "an acknowledgement for TC", XDP_CLIENT, UP(.seq = 111, .ack = 21, .flags = "AU"), XDP_PASS, .set = "s.nxt=21",
		.flow = "c.left_ack=21 c.ack=1" });
	usleep(2000);
	STEPS({ "before TC has seen it", XDP_CLIENT, UP(.seq = 111, .ack = 21), XDP_PASS });
	usleep(2000);
	STEPS({ "and after", XDP_CLIENT, UP(.seq = 111, .ack = 21), XDP_REDIRECT, .set = "c.ack=21" });
}

/* Of segment 31, as it is numbered behind an edit. */
static void icmp_is(bool v6, __u32 quoted, const char *name)
{
	struct packet in, out;
	__u32 seq;
	int rc;

	build_icmp(&(struct spec)UP(.seq = 31, .ack = 1, .len = 10), v6 ? 1 : 3, 1, &in);
	rc = run_packet(SERVER, &in, &out, 0);
	memcpy(&seq, out.data + (v6 ? 54 + 8 + 40 + 4 : 34 + 8 + 20 + 4), 4);
	check(rc == REDIRECT && __builtin_bswap32(seq) - 0xffffff00 == quoted, "%s", name);
}

static void icmp_of_a_vlan(bool v6)
{
	established(v6);
	flow_set("state=merged +bypass +edited -want_up -want_down c.seq_delta=30 c.seq_pos=1");
	icmp_is(v6, 1, "an ICMP error quotes what the client has sent");
	vlan(SEAM_SERVER, TAG5, 0);
	icmp_is(v6, 31, "one of another VLAN is about another connection");
}

/* No leg can have such an address. What a rule made of that was only in the log: bind() failed. */
static void link_local(void)
{
	fresh(&(struct conn){ .v6 = true, .link_local = true, .cisn = 0xffffff00, .sisn = 99 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	check(flow_is("state=passed reason=link_local why_not=link_local +no_split"), "link-local addresses: passed, and told why");
	fresh(&(struct conn){ .v6 = true, .link_local = true, .cisn = 0xffffff00, .sisn = 99 });
	policy_all(RULE_ASK, RULE_F_FAIL_BLOCK);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	check(flow_is("state=blocked reason=link_local +block_rst"), "or blocked, if its rule fails closed");
}

int main(void)
{
	bool v6 = false;

	harness_start("wire");
	harness_load(&(struct sizes){ .wire = true });
	frames();
	do {
		crosses(v6);
		crosses_by_xdp(v6);
		taken_over_by_xdp(v6);
		icmp_of_a_vlan(v6);
		held(v6);
		split(v6);
		legs_mtu(v6);
		asymmetric(v6);
		other_vlan(v6);
		v6 = !v6;
	} while (v6);
	link_local();
	return harness_end();
}
