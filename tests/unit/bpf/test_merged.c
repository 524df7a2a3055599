// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Forwarding past the host's stack: merged and passed flows, ICMP errors. */
#include <string.h>
#include <unistd.h>

#include "harness.h"

#define UP(...) { .flags = "A", .wnd = 502, .opts = "nop nop ts=110:905", __VA_ARGS__ }
#define DOWN(...) { .dir = SEAM_DOWN, .flags = "A", .wnd = 509, .opts = "nop nop ts=910:108", __VA_ARGS__ }
#define OUT_UP(...) &(struct spec){ .link = LEAVING, .flags = "A", .wnd = 502, .ttl = 63, __VA_ARGS__ }
#define OUT_DOWN(...) &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "A", .wnd = 509, .ttl = 63, __VA_ARGS__ }

static void merged(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0x12345678, .sisn = 0xfffffff0 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("state=merged +bypass -want_up -want_down");
}

static void forwards(bool v6)
{
	merged(v6);
	STEPS({ "payload up", CLIENT, UP(.seq = 1, .ack = 1, .len = 100), REDIRECT, .wire = true, .counts = "", .flow = "c.nxt=101" },
	      { "ack down", SERVER, DOWN(.seq = 1, .ack = 101), REDIRECT, .wire = true, .counts = "", .flow = "s.ack=101" },
	      { "odd TTL, DSCP and label stay", CLIENT, UP(.seq = 101, .ack = 1, .len = 1, .ttl = 255, .tos = 0xb9, .label = v6 ? 0xabcde : 0), REDIRECT, .wire = true },
	      { "TTL 2", CLIENT, UP(.seq = 102, .ack = 1, .len = 1, .ttl = 2), REDIRECT, .wire = true },
	      { "padding stays", SERVER, DOWN(.seq = 1, .ack = 101, .pad = 6), REDIRECT, .wire = true },
	      { "options of every kind stay", CLIENT, UP(.seq = 103, .ack = 1, .opts = "nop nop sack=7:9 raw=fd04abcd nop nop ts=1:2"), REDIRECT, .wire = true },
	      { "TTL 1 is the host's", CLIENT, UP(.seq = 103, .ack = 1, .len = 1, .ttl = 1), PASS, .counts = "ttl" },
	      { "1500 bytes", CLIENT, UP(.seq = 103, .ack = 1, .len = v6 ? 1428 : 1448), REDIRECT, .wire = true, .counts = "" },
	      { "1501 bytes: the host's", CLIENT, UP(.seq = 103, .ack = 1, .len = v6 ? 1429 : 1449), PASS, .counts = "mtu" },
	      { "RST goes on, and is noted", CLIENT, UP(.seq = v6 ? 1532 : 1552, .ack = 1, .flags = "R"), REDIRECT, .wire = true, .flow = "state=closing c+rst" },
	      { "what comes after", SERVER, DOWN(.seq = 1, .ack = 103), REDIRECT, .wire = true, .flow = "state=closing" });
	merged(v6);
	flow_set("state=passed -bypass");
	STEPS({ "a flow that the stack has seen stays with it", CLIENT, UP(.seq = 1, .ack = 1, .len = 5), PASS, .counts = "", .flow = "c.nxt=6" });
}

static void deltas(bool v6)
{
	merged(v6);
	flow_set("+tsdelta c.ts_delta=1000 s.ts_delta=-50");
	STEPS({ "both timestamps up: TSval + 1000, TSecr - -50", CLIENT, UP(.seq = 1, .ack = 1, .len = 33), REDIRECT, .counts = "",
		.out = OUT_UP(.seq = 1, .ack = 1, .len = 33, .opts = "nop nop ts=1110:955"), .flow = "c.tsval=110" },
	      { "down: the reverse", SERVER, DOWN(.seq = 1, .ack = 34, .len = 7), REDIRECT,
		.out = OUT_DOWN(.seq = 1, .ack = 34, .len = 7, .opts = "nop nop ts=860:4294966404") },
	      { "at an odd offset", CLIENT, UP(.seq = 34, .ack = 1, .opts = "nop ts=200:905 nop"), REDIRECT,
		.out = OUT_UP(.seq = 34, .ack = 1, .opts = "nop ts=1200:955 nop") },
	      { "behind SACK blocks", CLIENT, UP(.seq = 34, .ack = 1, .len = 3, .opts = "nop nop sack=1:2 nop nop ts=200:905"), REDIRECT,
		.out = OUT_UP(.seq = 34, .ack = 1, .len = 3, .opts = "nop nop sack=1:2 nop nop ts=1200:955") },
	      { "across 2^32", CLIENT, UP(.seq = 37, .ack = 1, .opts = "nop nop ts=4294966800:4294967290"), REDIRECT,
		.out = OUT_UP(.seq = 37, .ack = 1, .opts = "nop nop ts=504:44") },
	      { "TSecr 0 stays", CLIENT, UP(.seq = 37, .ack = 1, .opts = "nop nop ts=300:0"), REDIRECT,
		.out = OUT_UP(.seq = 37, .ack = 1, .opts = "nop nop ts=1300:0") },
	      { "no timestamps", CLIENT, UP(.seq = 37, .ack = 1, .opts = ""), REDIRECT, .wire = true },
	      { "an end without delta", CLIENT, UP(.seq = 37, .ack = 1), REDIRECT, .set = "c.ts_delta=0",
		.out = OUT_UP(.seq = 37, .ack = 1, .opts = "nop nop ts=110:955") });
}

/* The legs' clocks were a moment ahead: what they told is the least until the ends' own are there. */
static void clocks(bool v6)
{
	merged(v6);
	flow_set("+tscatchup c.told_tsval=915 s.told_tsval=110 c.tsval=110 s.tsval=905");
	STEPS({ "TSval is raised to what was told", SERVER, DOWN(.seq = 1, .ack = 1, .len = 5, .opts = "nop nop ts=910:110"), REDIRECT,
		.out = OUT_DOWN(.seq = 1, .ack = 1, .len = 5, .opts = "nop nop ts=915:110"), .flow = "+tscatchup s.tsval=910" },
	      { "TSecr lowered to what was sent", CLIENT, UP(.seq = 1, .ack = 6, .opts = "nop nop ts=111:915"), REDIRECT,
		.out = OUT_UP(.seq = 1, .ack = 6, .opts = "nop nop ts=111:910"), .flow = "+tscatchup" },
	      { "one tick before", SERVER, DOWN(.seq = 6, .ack = 1, .opts = "nop nop ts=914:111"), REDIRECT,
		.out = OUT_DOWN(.seq = 6, .ack = 1, .opts = "nop nop ts=915:111"), .flow = "+tscatchup" },
	      { "no timestamps", SERVER, DOWN(.seq = 6, .ack = 1, .opts = ""), REDIRECT, .wire = true, .flow = "+tscatchup" },
	      { "there: as it came", SERVER, DOWN(.seq = 6, .ack = 1, .opts = "nop nop ts=915:111"), REDIRECT, .wire = true,
		.flow = "-tscatchup" },
	      { "and from then on", SERVER, DOWN(.seq = 6, .ack = 1, .opts = "nop nop ts=914:112"), REDIRECT, .wire = true });

	merged(v6);
	flow_set("+tscatchup c.told_tsval=915 s.told_tsval=115 c.tsval=110 s.tsval=920");
	STEPS({ "one clock is there, the other not", SERVER, DOWN(.seq = 1, .ack = 1, .opts = "nop nop ts=920:110"), REDIRECT, .wire = true,
		.flow = "+tscatchup" },
	      { "is raised", CLIENT, UP(.seq = 1, .ack = 1, .opts = "nop nop ts=112:920"), REDIRECT,
		.out = OUT_UP(.seq = 1, .ack = 1, .opts = "nop nop ts=115:920") });

	merged(v6);
	flow_set("+tscatchup +tsdelta c.ts_delta=1000 c.tsval=110 c.told_tsval=900 s.told_tsval=1115 s.tsval=905");
	STEPS({ "on top of a delta", CLIENT, UP(.seq = 1, .ack = 1), REDIRECT,
		.out = OUT_UP(.seq = 1, .ack = 1, .opts = "nop nop ts=1115:905"), .flow = "+tscatchup" },
	      { "across it", CLIENT, UP(.seq = 1, .ack = 1, .opts = "nop nop ts=116:905"), REDIRECT,
		.out = OUT_UP(.seq = 1, .ack = 1, .opts = "nop nop ts=1116:905"), .flow = "-tscatchup +tsdelta" });
	merged(v6);
	flow_set("+tsdelta +tscatchup c.ts_delta=17 c.tsval=422 s.told_tsval=443 s.tsval=905 c.told_tsval=905");
	STEPS({ "a delta that runs a little ahead claims no TSval that was not sent", SERVER,
		DOWN(.seq = 1, .ack = 1, .opts = "nop nop ts=910:443"), REDIRECT,
		.out = OUT_DOWN(.seq = 1, .ack = 1, .opts = "nop nop ts=910:422"), .flow = "+tscatchup +tsdelta" },
	      { "until the end has sent it", CLIENT, UP(.seq = 1, .ack = 1, .opts = "nop nop ts=430:910"), REDIRECT,
		.out = OUT_UP(.seq = 1, .ack = 1, .opts = "nop nop ts=447:910"), .flow = "-tscatchup +tsdelta" });
}

/* Closed by the legs: an end is told only what it asks for. */
static void closed(bool v6)
{
	merged(v6);
	flow_set("state=closing +closed c+fin s+fin c.nxt=102 s.nxt=52 c.ack=52 s.ack=102");
	STEPS({ "the ack of what a leg sent twice", CLIENT, UP(.seq = 102, .ack = 52), DROP, .counts = "", .flow = "s-asked" },
	      { "of either end", SERVER, DOWN(.seq = 52, .ack = 102), DROP, .counts = "" },
	      { "the server sends its FIN again", SERVER, DOWN(.seq = 51, .ack = 102, .flags = "FA"), REDIRECT, .wire = true,
		.flow = "s+asked c-asked" },
	      { "and is answered", CLIENT, UP(.seq = 102, .ack = 52), REDIRECT, .wire = true },
	      { "the client has not asked", SERVER, DOWN(.seq = 52, .ack = 102), DROP },
	      { "a RST is not an ack", SERVER, DOWN(.seq = 52, .ack = 102, .flags = "RA"), REDIRECT, .wire = true,
		.flow = "state=closing c-asked" },
	      { "data of the client", CLIENT, UP(.seq = 101, .ack = 52, .len = 1), REDIRECT, .wire = true, .flow = "c+asked" },
	      { "are answered", SERVER, DOWN(.seq = 52, .ack = 102), REDIRECT, .wire = true },
	      { "a SYN that the server's TIME_WAIT does not take for a new one", CLIENT, UP(.seq = 70, .flags = "S", .opts = "mss=1460"), PASS,
		.set = "c-asked", .flow = "c+asked" },
	      { "its answer gets to the client", SERVER, DOWN(.seq = 52, .ack = 102), REDIRECT, .wire = true },
	      { "whose RST ends that", CLIENT, UP(.seq = 102, .flags = "R", .opts = ""), REDIRECT, .wire = true });
}

/* The packet as it leaves the box: link addresses, and TTL or hop limit. */
static void routed(struct packet *p, bool v6, bool up)
{
	memcpy(p->data, up ? "\2\0\0\0\2\2\2\0\0\0\2\1" : "\2\0\0\0\1\2\2\0\0\0\1\1", 12);
	if (v6) {
		p->data[21]--;
	} else {
		p->data[22]--;
		p->data[24]++; /* the checksum of a TTL that is one less */
	}
}

/* The other zero of a checksum, which came out as 0, though nothing had been changed. */
static void checksum_of_ffff(bool v6, enum prog via)
{
	struct packet in, out, want;
	__u32 l4 = 14 + (v6 ? 40 : 20), sum;
	__u16 sent, word;
	int rc;

	merged(v6);
	if (via == XDP_CLIENT)
		flow_set(XDP_PORT);
	build(&(struct spec)UP(.seq = 1, .ack = 1, .len = 100), &in);
	memcpy(&sent, in.data + l4 + 16, 2);
	memcpy(&word, in.data + in.len - 2, 2);
	sum = sent + word; /* with this for the last word the checksum is 0 */
	word = (sum & 0xffff) + (sum >> 16);
	memcpy(in.data + in.len - 2, &word, 2);
	memcpy(in.data + l4 + 16, "\xff\xff", 2);
	want = in;
	routed(&want, v6, true);
	if (via == XDP_CLIENT) { /* hard upon TC: it is TC's */
		run_packet(via, &in, &out, 0);
		usleep(2000);
	}
	rc = run_packet(via, &in, &out, 0);
	check(rc == (via == CLIENT ? REDIRECT : XDP_REDIRECT) && packet_is("checksum", &in, &want, &out),
	      "a checksum of 0xffff stays (IPv%d, %s)", v6 ? 6 : 4, via == CLIENT ? "TC" : "XDP");
}

/* An ICMP error from the server's side about a packet of the client. */
static void icmp(bool v6)
{
	struct packet in, out, want;
	__u32 ip = v6 ? 40 : 20, i;
	int rc;

	merged(v6);
	build_icmp(&(struct spec)UP(.seq = 1, .ack = 1, .len = 100), v6 ? 2 : 3, v6 ? 0 : 4, &in);
	want = in;
	routed(&want, v6, false);
	rc = run_packet(SERVER, &in, &out, 0);
	check(rc == REDIRECT && packet_is("icmp", &in, &want, &out), "an ICMP error about a merged flow goes on as the flow does");
	want = in;
	want.data[14 + (v6 ? 39 : 19)]++;
	rc = run_packet(SERVER, &want, &out, 0);
	check(rc == PASS && packet_is("icmp", &want, &want, &out), "one that is sent to another host than it is about is the stack's to judge");
	flow_set("state=split");
	counters_mark();
	rc = run_packet(SERVER, &in, &out, 0);
	check(rc == REDIRECT && packet_is("icmp", &in, &in, &out) && counters_are("icmp_leg"), "about a split one: to its leg");
	flow_set("state=passed -bypass");
	rc = run_packet(SERVER, &in, &out, 0);
	check(rc == PASS && packet_is("icmp", &in, &in, &out), "about one that the stack knows: the stack's");
	flow_set("state=split");
	in.data[14 + ip] = v6 ? 128 : 8;
	check(run_packet(SERVER, &in, &out, 0) == PASS, "an echo request is no error");
	in.data[14 + ip] = v6 ? 2 : 3;
	for (rc = 0, i = in.len; i-- > 14 + ip;) { /* at every length: never a crash, never changed */
		struct packet cut = in;

		cut.len = i;
		rc += run_packet(SERVER, &cut, &out, 0) != PASS || memcmp(&cut.data, &out.data, i);
	}
	/* Eight bytes of TCP are quoted, four of them ports. */
	check(rc <= 4, "truncated: passes (%d of %d do not)", rc, in.len);
}

/* With `bypass`: passed flows, too. */
static void bypassing(bool v6)
{
	merged(v6);
	flow_set("state=passed -bypass");
	STEPS({ "a passed flow leaves the stack", CLIENT, UP(.seq = 1, .ack = 1, .len = 5), REDIRECT, .wire = true, .counts = "",
		.flow = "state=passed +bypass c.nxt=6" },
	      { "and stays out of it", SERVER, DOWN(.seq = 1, .ack = 6), REDIRECT, .wire = true, .counts = "", .flow = "state=passed" },
	      { "its FIN too", CLIENT, UP(.seq = 6, .ack = 1, .flags = "FA"), REDIRECT, .wire = true, .flow = "state=passed c+fin" });
	merged(v6);
	flow_set("state=passed -bypass why_not=nat");
	STEPS({ "one that is translated on the box does not", CLIENT, UP(.seq = 1, .ack = 1, .len = 5), PASS, .flow = "state=passed -bypass" });
	merged(v6);
	flow_set("state=monitored -bypass");
	STEPS({ "one that is monitored does not", CLIENT, UP(.seq = 1, .ack = 1, .len = 5), PASS, .flow = "state=monitored -bypass" });
}

int main(void)
{
	harness_start("merged");
	forwards(false);
	forwards(true);
	deltas(false);
	deltas(true);
	clocks(false);
	clocks(true);
	closed(false);
	closed(true);
	icmp(false);
	icmp(true);
	for (int v6 = 0; v6 < 2; v6++) {
		checksum_of_ffff(v6, CLIENT);
		checksum_of_ffff(v6, XDP_CLIENT);
	}
	harness_load(&(struct sizes){ .bypass = true });
	bypassing(false);
	bypassing(true);
	return harness_end();
}
