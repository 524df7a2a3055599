// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Split flows: steering, what leaves the legs, and when a flow may be merged. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "harness.h"

#define TS "nop nop ts=110:905"
#define UP(...) { .flags = "A", .wnd = 502, .opts = TS, __VA_ARGS__ }
#define DOWN(...) { .dir = SEAM_DOWN, .flags = "A", .wnd = 509, .opts = "nop nop ts=910:108", __VA_ARGS__ }
/* The client leg speaks for the server, the server leg for the client. */
#define CLEG(...) { .dir = SEAM_DOWN, .link = FROM_LEG, .flags = "A", .wnd = 509, .opts = "nop nop ts=920:110", __VA_ARGS__ }
#define SLEG(...) { .link = FROM_LEG, .flags = "A", .wnd = 502, .opts = "nop nop ts=120:910", __VA_ARGS__ }
#define OUT_UP(...) &(struct spec){ .link = LEAVING, .flags = "A", .wnd = 502, .ttl = 63, .opts = "nop nop ts=120:910", __VA_ARGS__ }
#define OUT_DOWN(...) &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "A", .wnd = 509, .ttl = 63, .opts = "nop nop ts=920:110", __VA_ARGS__ }

/* 100 bytes up and 50 down have passed and are acknowledged everywhere. */
#define QUIET "state=split +legs +bypass +history held_in=0 held_out=0 -want_up -want_down " \
	"c.bound=1 c.leg_ack=101 c.leg_edge=65261 s.bound=1 s.leg_ack=51 s.leg_edge=64307 " \
	"c.nxt=101 c.ack=51 c.edge=64307 c.told_nxt=51 c.leg_nxt=51 c.told_ack=101 c.told_edge=65261 c.tsval=110 c.told_tsval=905 " \
	"s.nxt=51 s.ack=101 s.edge=65261 s.told_nxt=101 s.leg_nxt=101 s.told_ack=51 s.told_edge=64307 s.tsval=910 s.told_tsval=108"

static void split(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xffffffb0, .sisn = 0x80000000 });
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(QUIET);
}

static void birth(void)
{
	fresh(NULL);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("c.rtt_us=50000000");
	STEPS({ "first payload", CLIENT, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .flow = "state=held" });
	ctl_is("legs ready before the split", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, -EINVAL, "state=held");
	ctl_is("no split to take back", CTL_UNSPLIT, SEAM_R_LEG_FAILED, 0, -EINVAL, "state=held");
	ctl_is("no split to merge", CTL_MERGE, SEAM_R_LET_GO, 0, -EINVAL, "state=held");
	flow_set("+no_split");
	ctl_is("may not be split", CTL_SPLIT, SEAM_R_UNDECIDED, 0, -EINVAL, "state=held");
	flow_set("-no_split +release");
	ctl_is("being released", CTL_SPLIT, SEAM_R_UNDECIDED, 0, -EBUSY, "state=held");
	flow_set("-release");
	ctl_is("split", CTL_SPLIT, SEAM_R_UNDECIDED, 0, 0,
	       "state=splitting reason=undecided c.told_nxt=1 c.told_ack=1 c.told_edge=65161 c.told_tsval=900 "
	       "s.told_nxt=1 s.told_ack=1 s.told_edge=64257 s.told_tsval=101 c.nxt=1 c.bound=1 s.bound=1 "
	       "c.leg_ack=1 s.leg_ack=1 +bypass -legs");
	ctl_is("again", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0, "state=splitting reason=undecided");
	ctl_is("pass: too late", CTL_PASS, SEAM_R_RULE, 0, -EBUSY, "state=splitting");
	ctl_is("merge: too early", CTL_MERGE, SEAM_R_LET_GO, 0, -EBUSY, "state=splitting");
	STEPS({ "a leg may not speak yet", LEG_OUT, CLEG(.seq = 1, .ack = 301), DROP, .counts = "leg_stray" },
	      { "what comes back from the queue is not for the wire", HOLD, UP(.seq = 1, .ack = 1, .len = 300), DROP });
	flow_set("held_out=0");
	ctl_is("legs ready", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, 0, "state=split reason=legs_ready +legs");
	ctl_is("again: no", CTL_SPLIT_READY, SEAM_R_LEGS_READY, 0, -EINVAL, "state=split");
	STEPS({ "until the queue is empty all go through it", CLIENT, UP(.seq = 301, .ack = 1, .len = 10), REDIRECT,
		.flow = "held_in=2 c.nxt=1" },
	      { "the first reaches its leg", HOLD, UP(.seq = 1, .ack = 1, .len = 300), REDIRECT, .flow = "c.nxt=301 held_out=1 s.told_nxt=1" },
	      { "the second", HOLD, UP(.seq = 301, .ack = 1, .len = 10), REDIRECT, .flow = "c.nxt=311 held_out=2" });
	ctl_is("snapshot", CTL_SNAPSHOT, 0, 0, 0, "state=split");
	conn.cport++;
	ctl_is("no such flow", CTL_SNAPSHOT, 0, 0, -ENOENT, NULL);
	conn.cport--;
	flow_set("seen_ns=0x7fffffffffffffff state=monitored");
	ctl_is("a flow that another CPU has just seen does not expire", CTL_EXPIRE, SEAM_R_TIMEOUT, 1000, -EAGAIN, "state=monitored");
	flow_set("seen_ns=1");
	ctl_is("an idle one does", CTL_EXPIRE, SEAM_R_TIMEOUT, 1000, 0, "none");
}

static void steering(bool v6)
{
	split(v6);
	STEPS({ "payload up goes to the client leg, as it came", CLIENT, UP(.seq = 101, .ack = 51, .len = 200), REDIRECT,
		.counts = "", .flow = "state=split c.nxt=301 s.told_nxt=101 c.told_ack=101" },
	      { "which acknowledges it", LEG_OUT, CLEG(.seq = 51, .ack = 301), REDIRECT, .counts = "",
		.out = OUT_DOWN(.seq = 51, .ack = 301, .wnd = 507), .flow = "c.told_ack=301 c.told_nxt=51 c.told_tsval=920 c.told_edge=65261 c+clamped" },
	      { "the server leg sends it", LEG_OUT, SLEG(.seq = 101, .ack = 51, .len = 200), REDIRECT, .wire = true,
		.flow = "s.told_nxt=301 s.told_tsval=120 s.ack=101" },
	      { "an ack of what no leg has sent is not believed", SERVER, DOWN(.seq = 51, .ack = 302), DROP,
		.counts = "forged", .flow = "s.ack=101" },
	      { "the server acknowledges", SERVER, DOWN(.seq = 51, .ack = 301), REDIRECT, .flow = "s.ack=301 s.edge=65453" },
	      { "data down", SERVER, DOWN(.seq = 51, .ack = 301, .len = 10), REDIRECT, .flow = "s.nxt=61 c.told_nxt=51" },
	      { "its leg acknowledges, then the other sends", LEG_OUT, SLEG(.seq = 301, .ack = 61, .wnd = 400), REDIRECT,
		.out = OUT_UP(.seq = 301, .ack = 61, .wnd = 501), .flow = "s.told_ack=61" },
	      { "time does not step back", LEG_OUT, CLEG(.seq = 51, .ack = 301, .len = 10, .opts = "nop nop ts=915:110", .wnd = 1), REDIRECT,
		.out = OUT_DOWN(.seq = 51, .ack = 301, .len = 10, .wnd = 509), .flow = "c.told_nxt=61 c.told_tsval=920" },
	      { "no TSecr of 0", LEG_OUT, CLEG(.seq = 61, .ack = 301, .opts = "nop nop ts=921:0", .wnd = 1), REDIRECT,
		.out = OUT_DOWN(.seq = 61, .ack = 301, .wnd = 509, .opts = "nop nop ts=921:110") },
	      { "a SYN of a leg", LEG_OUT, CLEG(.flags = "S", .seq = 61), DROP, .counts = "leg_silenced", .flow = "state=split" },
	      { "a SYN with a RST, even one that is allowed", LEG_OUT, CLEG(.flags = "SR", .seq = 61), DROP, .set = "c+rst_ok",
		.counts = "leg_silenced", .flow = "state=split c-rst_sent" },
	      { "a SYN-ACK sent again is for the leg to acknowledge, and opens no window", SERVER,
		DOWN(.flags = "SA", .seq = 0, .ack = 1, .wnd = 65160, .opts = "mss=1460 sackok ts=923:100 nop ws=7"), REDIRECT,
		.counts = "", .flow = "s.edge=65453 s.ack=301 s.nxt=61 s.tsval=910" },
	      { "a SYN of an end", CLIENT, { .flags = "S", .seq = 1000000 }, REDIRECT, .counts = "", .flow = "state=split c.nxt=301" });
}

/* The server leg last sent something new so many milliseconds ago; and what else is set. */
static void leg_sent(unsigned int ms, const char *more)
{
	struct timespec now;
	char set[128];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(set, sizeof(set), "leg_ms_s=%u %s",
		 (unsigned int)((now.tv_sec * 1000 + now.tv_nsec / 1000000 - ms) & 0xffff) | 1, more);
	flow_set(set);
}

/*
 * A near receiver that does not read acknowledges after up to 40 ms; its leg's probe
 * comes sooner than the far end's would have.
 */
static void early_probe(bool v6)
{
	struct spec first = SLEG(.seq = 101, .ack = 51, .len = 500), second = SLEG(.seq = 601, .ack = 51, .len = 500),
		both = SLEG(.seq = 101, .ack = 51, .len = 1000);

	split(v6);
	flow_set("c.rtt_us=50000 s.rtt_us=100 c.nxt=1101");
	STEPS({ "new data of the near leg", LEG_OUT, first, REDIRECT, .wire = true, .flow = "s.leg_nxt=601" },
	      { "and more", LEG_OUT, second, REDIRECT, .wire = true, .flow = "s.leg_nxt=1101" },
	      { "a probe: the last segment again, and nobody has said anything", LEG_OUT, second, DROP, .counts = "early_probe",
		.flow = "s.leg_nxt=1101 s.told_ack=51" },
	      { "a timeout repairs the first", LEG_OUT, first, REDIRECT, .wire = true, .counts = "", .flow = "leg_ms_s=0" },
	      { "then the last, too", LEG_OUT, second, REDIRECT, .wire = true, .counts = "" });
	leg_sent(60, "");
	STEPS({ "too early still", LEG_OUT, second, DROP, .counts = "early_probe" });
	leg_sent(120, "");
	STEPS({ "no sooner than the client's own would be", LEG_OUT, second, REDIRECT, .wire = true, .counts = "" });
	leg_sent(150, "c.rtt_us=500000");
	STEPS({ "sooner than a timeout", LEG_OUT, second, DROP, .counts = "early_probe" });
	leg_sent(202, "");
	STEPS({ "as late as a timeout", LEG_OUT, second, REDIRECT, .wire = true, .counts = "" });
	leg_sent(1, "");
	STEPS({ "all that is not acknowledged", LEG_OUT, both, REDIRECT, .wire = true, .counts = "" },
	      { "the rest has been", SERVER, DOWN(.seq = 51, .ack = 601), REDIRECT, .flow = "s.ack=601" },
	      { "the only segment that is not", LEG_OUT, second, REDIRECT, .wire = true, .counts = "" });
	leg_sent(1, "c.rtt_us=50000 s.rtt_us=13000 s.ack=101");
	STEPS({ "of a leg that is not much nearer", LEG_OUT, second, REDIRECT, .wire = true, .counts = "" });
	leg_sent(1, "c.rtt_us=49000 s.rtt_us=100");
	STEPS({ "where a timeout would be much later", LEG_OUT, second, REDIRECT, .wire = true, .counts = "" });
	leg_sent(1, "c.rtt_us=50000");
	STEPS({ "data of the server", SERVER, DOWN(.seq = 51, .ack = 101, .len = 10), REDIRECT, .flow = "s.nxt=61 s.told_ack=51" },
	      { "too early, but the acknowledgement of that is in it: that goes", LEG_OUT,
		SLEG(.seq = 601, .ack = 61, .len = 500, .flags = "AP"), REDIRECT, .counts = "early_probe",
		.out = OUT_UP(.seq = 1101, .ack = 61, .wnd = 501), .flow = "s.leg_ack=61 s.told_ack=61 s.leg_nxt=1101" },
	      { "and once only", LEG_OUT, SLEG(.seq = 601, .ack = 61, .len = 500), DROP, .counts = "early_probe" },
	      { "more of the server", SERVER, DOWN(.seq = 61, .ack = 101, .len = 10), REDIRECT, .flow = "s.nxt=71 s.told_ack=61" },
	      { "an odd number of bytes, and a CWR to come: with data", LEG_OUT, SLEG(.seq = 600, .ack = 71, .len = 501), REDIRECT,
		.set = "+ecn s+cwr", .counts = "early_probe", .out = OUT_UP(.seq = 1101, .ack = 71, .wnd = 501), .flow = "s+cwr" });
}

/*
 * Promise 3: never beyond the real edge, never back. A window is a multiple of
 * its scale, here 2^7, and its right edge moves with the ack: back it may move by
 * less than a unit (RFC 7323 2.4).
 */
static void window(void)
{
	struct packet in, out;
	struct flow f;
	__u32 seed = 1, told, edge, last, i;
	int left = 0, beyond = 0;

	split(false);
	STEPS({ "less than was told before: what was told before", LEG_OUT, CLEG(.seq = 51, .ack = 101, .wnd = 1), REDIRECT,
		.out = OUT_DOWN(.seq = 51, .ack = 101, .wnd = 509), .flow = "c.told_edge=65261 c-clamped",
		.set = "s.edge=70000" },
	      { "as much as the leg has", LEG_OUT, CLEG(.seq = 51, .ack = 101, .wnd = 520), REDIRECT,
		.out = OUT_DOWN(.seq = 51, .ack = 101, .wnd = 520), .flow = "c.told_edge=66661 c-clamped" },
	      { "not more than the server has", LEG_OUT, CLEG(.seq = 51, .ack = 101, .wnd = 1000), REDIRECT,
		.out = OUT_DOWN(.seq = 51, .ack = 101, .wnd = 546), .flow = "c.told_edge=69989 c+clamped" },
	      { "the server's window opens: the client is told", SERVER, DOWN(.seq = 51, .ack = 101, .wnd = 600), REDIRECT,
		.counts = "window_update",
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .ttl = 63, .flags = "A", .seq = 51, .ack = 101, .wnd = 600,
				       .opts = "nop nop ts=910:108" },
		.flow = "s.edge=76901 c.told_edge=76901" },
	      { "by a little: not worth a packet", SERVER, DOWN(.seq = 51, .ack = 101, .wnd = 601), REDIRECT, .counts = "" },
	      { "no room below what the leg acknowledged: not all of 2^32", SERVER, DOWN(.seq = 51, .ack = 101, .wnd = 1), REDIRECT,
		.set = "s.edge=200 c.told_ack=301 c.leg_ack=301 c.nxt=301 c.told_edge=190 c+clamped", .counts = "", .flow = "s.edge=229 c.told_edge=190" });

	/* Random windows: the field that leaves, against both promises. */
	split(false);
	flow_set("s.edge=65261 c.told_edge=65261");
	for (last = 65261, edge = 65261, i = 0; i < 3000; i++) {
		struct spec leg = CLEG(.seq = 51, .ack = 101 + i * 3);

		seed = seed * 1103515245 + 12345;
		leg.wnd = (seed >> 8) % 1200;
		edge += (seed >> 20) % 7 ? 0 : (seed >> 12) % 2000;
		flow_get(&f);
		f.end[1].edge = conn.cisn + edge;
		flow_put(&f);
		build(&leg, &in);
		if (run_packet(LEG_OUT, &in, &out, 0) != REDIRECT)
			break;
		told = leg.ack + ((out.data[48] << 8 | out.data[49]) << 7);
		if ((int)(last - told) > left)
			left = last - told;
		if ((int)(told - edge) > beyond)
			beyond = told - edge;
		last = told;
	}
	check(i == 3000 && left < 128 && beyond <= 0,
	      "the edge told is not beyond the real one, and within a unit of window scale of what was told");
	note("at most %d bytes left of what was told before, %d beyond the real edge", left, beyond);
}

#define UPDATE(...) &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .ttl = 63, .flags = "A", .seq = 51, .ack = 101, \
	.opts = "nop nop ts=910:108", __VA_ARGS__ }

/* When an end's window is worth a packet of its own to the other: in units of 128 bytes, segments of 1460. */
static void updates(void)
{
	split(false);
	flow_set("c+clamped c.leg_edge=200000");
	STEPS({ "one unit less than two segments", SERVER, DOWN(.seq = 51, .ack = 101, .wnd = 531), REDIRECT, .counts = "",
		.flow = "s.edge=68069 c.told_edge=65261" },
	      { "two segments", SERVER, DOWN(.seq = 51, .ack = 101, .wnd = 532), REDIRECT, .counts = "window_update",
		.out = UPDATE(.wnd = 532), .flow = "s.edge=68197 c.told_edge=68197 c+clamped" },
	      { "the same again: told already", SERVER, DOWN(.seq = 51, .ack = 101, .wnd = 532), REDIRECT, .counts = "" });
	split(false);
	flow_set("c+clamped c.leg_edge=200000 c.nxt=63801");
	STEPS({ "any more, to who has a segment left to send into", SERVER, DOWN(.seq = 51, .ack = 101, .wnd = 510), REDIRECT, .counts = "",
		.flow = "s.edge=65381 c.told_edge=65261" },
	      { "to who has less", SERVER, DOWN(.seq = 51, .ack = 101, .wnd = 511), REDIRECT, .set = "c.nxt=63802", .counts = "window_update",
		.out = UPDATE(.wnd = 511), .flow = "c.told_edge=65509" });
	split(false);
	flow_set("c+clamped c.leg_edge=200000 c.leg_ack=65261 c.nxt=65261 c.told_ack=65261 s.told_nxt=65261 s.leg_nxt=65261 c.told_nxt=51");
	STEPS({ "a window that was closed: what the client was told last is said again", SERVER, DOWN(.seq = 51, .ack = 65261, .wnd = 1), REDIRECT,
		.counts = "window_update", .out = UPDATE(.ack = 65261, .wnd = 1), .flow = "c.told_edge=65389" });
	split(false);
	STEPS({ "the leg has not been held back", SERVER, DOWN(.seq = 51, .ack = 101, .wnd = 600), REDIRECT, .counts = "", .flow = "c.told_edge=65261" },
	      { "the client has nothing more to send", SERVER, DOWN(.seq = 51, .ack = 101, .wnd = 700), REDIRECT, .set = "c+clamped c+fin",
		.counts = "", .flow = "c.told_edge=65261" },
	      { "with data: not to be copied", SERVER, DOWN(.seq = 51, .ack = 101, .wnd = 800, .len = 10), REDIRECT, .set = "c-fin", .counts = "" },
	      { "with SACK neither", SERVER, DOWN(.seq = 61, .ack = 101, .wnd = 900, .opts = "nop nop ts=910:108 nop nop sack=1:2"), REDIRECT,
		.counts = "", .flow = "c.told_edge=65261 s.edge=115301" });
	split(false);
	flow_set("c+clamped c.nxt=101 c.told_ack=101 c.told_edge=101 c.leg_edge=200000 c.leg_ack=101 s.edge=101");
	STEPS({ "a probe of a window that the server shut goes to it, too", CLIENT, UP(.seq = 100, .ack = 51), REDIRECT,
		.counts = "window_update", .flow = "c.told_edge=101",
		.out = &(struct spec){ .link = LEAVING, .ttl = 63, .flags = "A", .seq = 100, .ack = 51, .wnd = 502, .opts = TS } },
	      { "an ack is none", CLIENT, UP(.seq = 101, .ack = 51), REDIRECT, .counts = "" },
	      { "a window that its leg shut is the leg's to open", CLIENT, UP(.seq = 100, .ack = 51), REDIRECT, .set = "c-clamped", .counts = "" });
	split(false);
	flow_set("s+clamped s.leg_edge=200000");
	STEPS({ "the server is told of the client's window likewise", CLIENT, UP(.seq = 101, .ack = 51, .wnd = 600), REDIRECT, .counts = "window_update",
		.out = &(struct spec){ .link = LEAVING, .ttl = 63, .flags = "A", .seq = 101, .ack = 51, .wnd = 600, .opts = TS },
		.flow = "s.told_edge=76851" });
}

/* An end that probes makes the leg of the other one probe: the flag is set with the event. */
static void keepalive(bool v6)
{
	struct flow f;
	struct timespec ts;

	split(v6);
	STEPS({ "a bare ack is no probe", CLIENT, UP(.seq = 101, .ack = 51), REDIRECT, .flow = "c.keepalive_s=0" },
	      { "two bytes are none", CLIENT, UP(.seq = 100, .ack = 51, .len = 2), REDIRECT, .flow = "c.keepalive_s=0 c.nxt=102", },
	      { "something is unacknowledged: a retransmission", CLIENT, UP(.seq = 100, .ack = 51), REDIRECT, .flow = "c.keepalive_s=0" },
	      { "into a closed window: a window probe", CLIENT, UP(.seq = 100, .ack = 51), REDIRECT, .set = "c.nxt=101 c.told_edge=101",
		.flow = "c.keepalive_s=0" },
	      { "FIN", CLIENT, UP(.seq = 100, .ack = 51, .flags = "FA"), REDIRECT, .set = "c.told_edge=65261", .flow = "c.keepalive_s=0" },
	      { "the last byte's number, no byte: a probe", CLIENT, UP(.seq = 100, .ack = 51), REDIRECT, .set = "c-fin c.nxt=101",
		.flow = "c.nxt=101 c.keepalive_s=1 s.keepalive_s=0", .counts = "" });
	split(v6);
	STEPS({ "a byte that comes twice", SERVER, DOWN(.seq = 50, .ack = 101, .len = 1), REDIRECT, .flow = "s.keepalive_s=0 s.nxt=51" });
	split(v6);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	flow_get(&f);
	f.seen_ns = (ts.tv_sec - 17) * 1000000000ULL + ts.tv_nsec;
	flow_put(&f);
	STEPS({ "with the last byte: after seventeen seconds", SERVER, DOWN(.seq = 50, .ack = 101, .len = 1), REDIRECT,
		.flow = "s.keepalive_s=17 c.keepalive_s=0 s.nxt=51" },
	      { "the next one says nothing new", SERVER, DOWN(.seq = 50, .ack = 101), REDIRECT, .flow = "s.keepalive_s=17" });
	flow_set("state=merged s.keepalive_s=0");
	STEPS({ "of a merged flow: the other end answers itself", SERVER, DOWN(.seq = 50, .ack = 101), REDIRECT, .wire = true,
		.flow = "s.keepalive_s=0" });
	flow_set("state=merged c.keepalive_s=5 s.keepalive_s=7 c+ce s+cwr");
	ctl_is("of other legs, and congestion that they had to echo: nothing is left to the next ones", CTL_SPLIT, SEAM_R_OPERATOR, 0, 0,
	       "state=splitting c.keepalive_s=0 s.keepalive_s=0 c-ce s-cwr");
}

/* What a leg sends looks like what its end sent last. */
static void marks(bool v6)
{
	split(v6);
	STEPS({ "DSCP of the client changes", CLIENT, UP(.seq = 101, .ack = 51, .len = 10, .tos = 0xb9, .label = v6 ? 0x12345 : 0), REDIRECT,
		.flow = "c.tos=0xb8" },
	      { "and its leg's", LEG_OUT, SLEG(.seq = 101, .ack = 51, .len = 10), REDIRECT, .wire = false, .counts = "",
		.out = OUT_UP(.seq = 101, .ack = 51, .len = 10, .tos = 0xb8, .label = v6 ? 0x12345 : 0) },
	      { "not the other's", LEG_OUT, CLEG(.seq = 51, .ack = 101, .tos = 0), REDIRECT, .out = OUT_DOWN(.seq = 51, .ack = 101) },
	      { "and back", LEG_OUT, SLEG(.seq = 111, .ack = 51, .len = 10, .tos = 0xb8, .label = v6 ? 0x12345 : 0), REDIRECT, .set = "c.tos=0 c.flow_label=0",
		.out = OUT_UP(.seq = 111, .ack = 51, .len = 10) });
}

static void put16(__u8 *at, __u32 v)
{
	at[0] = v >> 8;
	at[1] = v;
}

/* Sum of 16-bit words, not folded. */
static __u32 sum16(const __u8 *at, __u32 n)
{
	__u32 i, sum = 0;

	for (i = 0; i < n; i += 2)
		sum += at[i] << 8 | at[i + 1];
	return sum;
}

static __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

/* A route with an MTU of its own: the leg is told, as by a router (the link takes 1500). */
static void too_big(bool v6)
{
	__u32 ip = v6 ? 40 : 20, quote = ip + 8, len = 8 + quote;
	struct packet in, out, want = {};
	struct spec leg = SLEG(.seq = 101, .ack = 51, .len = v6 ? 1429 : 1449);
	__u8 *h = want.data + 14, *icmp = h + ip;
	bool complete = csum_complete;
	int rc;

	split(v6);
	build(&leg, &in);
	want.len = 14 + ip + len;
	memcpy(want.data, in.data + 6, 6);
	memcpy(want.data + 6, in.data, 6);
	memcpy(want.data + 12, in.data + 12, 2);
	memcpy(icmp + 8, in.data + 14, quote);
	icmp[0] = v6 ? 2 : 3;
	icmp[1] = v6 ? 0 : 4;
	put16(icmp + 6, 1500);
	if (v6) {
		h[0] = 0x60;
		put16(h + 4, len);
		h[6] = 58;
		h[7] = 64;
		memcpy(h + 8, in.data + 38, 16);
		memcpy(h + 24, in.data + 22, 16);
	} else {
		h[0] = 0x45;
		put16(h + 2, 20 + len);
		h[8] = 64;
		h[9] = 1;
		memcpy(h + 12, in.data + 30, 4);
		memcpy(h + 16, in.data + 26, 4);
		put16(h + 10, fold(sum16(h, 20)));
	}
	put16(icmp + 2, fold(sum16(icmp, len) + (v6 ? sum16(h + 8, 32) + len + 58 : 0)));
	counters_mark();
	csum_complete = false; /* bpf_skb_change_tail() makes CHECKSUM_NONE of it */
	rc = run_packet(LEG_OUT, &in, &out, 0);
	csum_complete = complete;
	check(rc == REDIRECT && packet_is("too big", &in, &want, &out) && counters_are("mtu"),
	      "IPv%c: a leg's packet that is too large is answered with an ICMP error (%d)", v6 ? '6' : '4', rc);
	leg.len--;
	build(&leg, &in);
	counters_mark();
	check(run_packet(LEG_OUT, &in, &out, 0) == REDIRECT && counters_are(""), "one that fits goes on");
}

static void endings(void)
{
	split(false);
	flow_set("s.edge=70000");
	STEPS({ "FIN of the client", CLIENT, UP(.seq = 101, .ack = 51, .flags = "FA"), REDIRECT, .flow = "c+fin c.fin=101 c.nxt=102 state=split" },
	      { "acknowledged by its leg", LEG_OUT, CLEG(.seq = 51, .ack = 102), REDIRECT, .flow = "c+fin_acked", .out = OUT_DOWN(.seq = 51, .ack = 102, .wnd = 509) },
	      { "passed on by the other", LEG_OUT, SLEG(.seq = 101, .ack = 51, .flags = "FA"), REDIRECT, .wire = true, .flow = "s.told_nxt=102 state=split" },
	      { "acknowledged by the server, with its own FIN", SERVER, DOWN(.seq = 51, .ack = 102, .flags = "FA"), REDIRECT, .flow = "s+fin s.fin=51" },
	      { "its leg acknowledges", LEG_OUT, SLEG(.seq = 102, .ack = 52), REDIRECT, .out = OUT_UP(.seq = 102, .ack = 52, .wnd = 501), .flow = "s+fin_acked state=split" },
	      { "passed on", LEG_OUT, CLEG(.seq = 51, .ack = 102, .flags = "FA"), REDIRECT, .out = OUT_DOWN(.seq = 51, .ack = 102, .flags = "FA", .wnd = 509), .flow = "c.told_nxt=52 state=split" },
	      { "the last ack: closed end to end", CLIENT, UP(.seq = 102, .ack = 52), REDIRECT, .counts = "fin", .flow = "state=closing" },
	      { "a leg has nothing to say any more", LEG_OUT, SLEG(.seq = 102, .ack = 52), DROP, .counts = "leg_stray" });

	split(false);
	STEPS({ "a FIN that nobody sent: RST", LEG_OUT, SLEG(.seq = 101, .ack = 51, .flags = "FA", .len = 20), REDIRECT,
		.counts = "leg_died leg_silenced", .flow = "state=blocked reason=leg_died +aborted +block_rst s+rst_sent c-rst_sent",
		.out = OUT_UP(.seq = 121, .ack = 51, .flags = "RA", .wnd = 0) },
	      { "the other leg's too", LEG_OUT, CLEG(.seq = 51, .ack = 101, .flags = "FA"), REDIRECT, .flow = "c+rst_sent",
		.out = OUT_DOWN(.seq = 51, .ack = 101, .flags = "RA", .wnd = 0) },
	      { "once", LEG_OUT, CLEG(.seq = 51, .ack = 101, .flags = "FA"), DROP, .counts = "leg_stray" },
	      { "an end that goes on gets a RST", CLIENT, UP(.seq = 101, .ack = 51, .len = 5), REDIRECT, .counts = "block_rst",
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "RA", .seq = 51, .ack = 106, .opts = "nop nop ts=905:110" } });

	split(false);
	flow_set("c+fin c+fin_acked c.fin=101 c.nxt=102 c.told_ack=102 s.told_nxt=102 s.ack=102 "
		 "s+fin s+fin_acked s.fin=51 s.nxt=52 s.told_ack=52 c.told_nxt=52 c.leg_nxt=52 c.told_tsval=920");
	STEPS({ "closed, by a leg whose clock was ahead", CLIENT, UP(.seq = 102, .ack = 52), REDIRECT, .counts = "fin", .flow = "state=closing +tscatchup" },
	      { "the server is told of no time that it has not sent", CLIENT, UP(.seq = 101, .ack = 52, .flags = "FA", .opts = "nop nop ts=111:920"), REDIRECT,
		.out = OUT_UP(.seq = 101, .ack = 52, .flags = "FA", .wnd = 502, .opts = "nop nop ts=111:910") });

	split(false);
	STEPS({ "a FIN in the wrong place: RST", LEG_OUT, SLEG(.seq = 101, .ack = 51, .flags = "FA"), REDIRECT, .set = "c+fin c.fin=150 c.nxt=151",
		.flow = "state=blocked", .out = OUT_UP(.seq = 101, .ack = 51, .flags = "RA", .wnd = 0) });

	split(false);
	STEPS({ "a RST that nobody sent aborts", LEG_OUT, SLEG(.seq = 101, .flags = "R", .opts = NULL, .wnd = 0), REDIRECT,
		.flow = "state=blocked reason=leg_died", .out = OUT_UP(.seq = 101, .flags = "R", .wnd = 0, .opts = NULL) });

	split(false);
	STEPS({ "RST out of the window", CLIENT, { .flags = "R", .seq = 100 }, DROP, .counts = "forged", .flow = "c-rst s-rst_ok" },
	      { "RST of the client", CLIENT, { .flags = "R", .seq = 101 }, REDIRECT, .flow = "c+rst s+rst_ok c-rst_ok state=split" },
	      { "may be told to the server", LEG_OUT, SLEG(.seq = 101, .ack = 51, .flags = "RA"), REDIRECT, .wire = true, .flow = "s+rst_sent state=split" },
	      { "not to the client: an answer to what came for its leg when that was gone", LEG_OUT,
		CLEG(.seq = 51, .flags = "R", .opts = NULL, .wnd = 0), DROP, .counts = "leg_silenced", .flow = "state=split c-rst_sent" });
	split(false);
	ctl_is("abort", CTL_ABORT, SEAM_R_INSPECTOR, 3, 0, "c+rst_ok s+rst_ok state=split");
	ctl_is("and the daemon has done with it", CTL_CLOSED, SEAM_R_RST, 0, 0, "state=closing");
	STEPS({ "its RST comes late", LEG_OUT, SLEG(.seq = 101, .ack = 51, .flags = "RA"), REDIRECT, .wire = true, .counts = "",
		.flow = "s+rst_sent c-rst_sent" },
	      { "once", LEG_OUT, SLEG(.seq = 101, .ack = 51, .flags = "RA"), DROP, .counts = "leg_stray" },
	      { "to the other end too, if it was blocked since", LEG_OUT, CLEG(.seq = 51, .ack = 101, .flags = "RA"), REDIRECT,
		.set = "state=blocked", .wire = true, .counts = "", .flow = "c+rst_sent" });
	split(false);
	flow_set("state=blocked +aborted +block_rst");
	ctl_is("a flow that was cut off stays so", CTL_CLOSED, SEAM_R_RST, 0, 0, "state=blocked");

	split(false);
	daemon_gone();
	STEPS({ "the daemon is gone: a RST goes to both", CLIENT, UP(.seq = 101, .ack = 51, .len = 5), REDIRECT,
		.counts = "daemon_gone block_rst=2", .flow = "state=blocked reason=daemon_gone +aborted -rst_both c+rst_sent s+rst_sent",
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .ttl = 63, .flags = "RA", .seq = 51, .ack = 106, .opts = "nop nop ts=905:110" } },
	      { "a leg that dies later says nothing more", LEG_OUT, SLEG(.seq = 101, .ack = 51, .flags = "RA"), DROP, .counts = "leg_stray" });

	split(false);
	ctl_is("restart", CTL_RECOVER, SEAM_R_RESTART, 0, 0, "state=blocked reason=restart +aborted +rst_both");
	STEPS({ "a RST of one end is not answered", CLIENT, { .flags = "R", .seq = 101 }, DROP, .counts = "rst_dropped", .flow = "+rst_both s-rst_sent" },
	      { "what an end sends is, to both", SERVER, DOWN(.seq = 51, .ack = 101, .len = 5), REDIRECT, .counts = "block_rst=2",
		.flow = "-rst_both c+rst_sent s+rst_sent",
		.out = &(struct spec){ .dir = SEAM_UP, .link = LEAVING, .ttl = 63, .flags = "RA", .seq = 101, .ack = 56, .opts = "nop nop ts=108:910" } },
	      { "to each once by itself", SERVER, DOWN(.seq = 51, .ack = 101, .len = 5), REDIRECT, .counts = "block_rst",
		.out = &(struct spec){ .dir = SEAM_UP, .link = LEAVING, .flags = "RA", .seq = 101, .ack = 56, .opts = "nop nop ts=108:910" } });
	conn.cport++;
	STEPS({ "a leg without a flow", LEG_OUT, SLEG(.seq = 1), DROP, .counts = "leg_stray" },
	      { "a packet without a leg", LEG_IN, UP(.seq = 1, .ack = 1), DROP, .counts = "no_leg" });
}

static void ecn(void)
{
	split(false);
	flow_set("+ecn");
	STEPS({ "CE", CLIENT, UP(.seq = 101, .ack = 51, .len = 10, .tos = 3), REDIRECT, .flow = "c+ce" },
	      { "is echoed", LEG_OUT, CLEG(.seq = 51, .ack = 111), REDIRECT, .out = OUT_DOWN(.seq = 51, .ack = 111, .wnd = 508, .flags = "AE") },
	      { "and again", LEG_OUT, CLEG(.seq = 51, .ack = 111), REDIRECT, .out = OUT_DOWN(.seq = 51, .ack = 111, .wnd = 508, .flags = "AE") },
	      { "until CWR", CLIENT, UP(.seq = 111, .ack = 51, .len = 10, .flags = "AC", .tos = 2), REDIRECT, .flow = "c-ce" },
	      { "not any more", LEG_OUT, CLEG(.seq = 51, .ack = 121), REDIRECT, .out = OUT_DOWN(.seq = 51, .ack = 121, .wnd = 508) },
	      { "ECE of the server", SERVER, DOWN(.seq = 51, .ack = 101, .flags = "AE"), REDIRECT, .flow = "s+cwr" },
	      { "not answered by a bare ack", LEG_OUT, SLEG(.seq = 101, .ack = 51), REDIRECT, .wire = true },
	      { "but by data, once", LEG_OUT, SLEG(.seq = 101, .ack = 51, .len = 10), REDIRECT, .out = OUT_UP(.seq = 101, .ack = 51, .len = 10, .flags = "AC"), .flow = "s-cwr" },
	      { "once", LEG_OUT, SLEG(.seq = 111, .ack = 51, .len = 10), REDIRECT, .wire = true },
	      { "CE and CWR in one segment: still CE", CLIENT, UP(.seq = 121, .ack = 51, .len = 10, .flags = "AC", .tos = 3), REDIRECT, .flow = "c+ce" });
	split(false);
	STEPS({ "without ECN nobody cares", CLIENT, UP(.seq = 101, .ack = 51, .len = 10, .tos = 3, .flags = "AE"), REDIRECT, .flow = "c-ce c-cwr" });
}

static void quiet(void)
{
	static const struct {
		const char *what, *set, *why;
	} fixtures[] = {
		{ "the client has sent more than its leg acknowledged", "c.told_ack=100" },
		{ "or than the server leg sent on", "s.told_nxt=100 s.ack=100" },
		{ "or than the server acknowledged", "s.ack=100" },
		{ "new data of the client", "c.nxt=102" },
		{ "the server has sent more than its leg acknowledged", "s.told_ack=50" },
		{ "or than the client leg sent on", "c.told_nxt=50 c.ack=50" },
		{ "or than the client acknowledged", "c.ack=50" },
		{ "new data of the server", "s.nxt=52" },
		{ "FIN of the client, on its way", "c+fin c.fin=101 c.nxt=102" }, { "FIN of the server, on its way", "s+fin s.fin=51 s.nxt=52" },
	}, waiting[] = {
		{ "FIN of both", "c+fin s+fin", "fin" },
		{ "RST of the client", "c+rst", "rst" }, { "RST of the server", "s+rst", "rst" },
		{ "CE not echoed, client", "c+ce c.told_ack=100", "ecn" }, { "CE not echoed, server", "s+ce s.told_ack=50", "ecn" },
		{ "urgent data, client", "c+urg_out c.urg=200", "urgent" }, { "urgent data, server", "s+urg_out s.urg=60", "urgent" },
		{ "less room than was promised", "c.told_edge=65300", "window" },
		{ "a byte beyond it, by which the client has asked for room", "c.nxt=65262 c.told_ack=65262", "window" },
	};
	unsigned int i;

	for (i = 0; i < sizeof(fixtures) / sizeof(fixtures[0]); i++) {
		split(false);
		flow_set(fixtures[i].set);
		ctl_is(fixtures[i].what, CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging reason=let_go");
	}
	for (i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
		char waits[64];

		split(false);
		flow_set(waiting[i].set);
		sprintf(waits, "state=merging +waits reason=%s c.bound=1", waiting[i].why);
		ctl_is(waiting[i].what, CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, waits);
		ctl_is("still", CTL_MERGE, SEAM_R_OPERATOR, 0, -EINPROGRESS, waits);
		ctl_is("given up", CTL_SPLIT, SEAM_R_OPERATOR, CTL_SPLIT_SAME, 0, "state=split reason=operator -waits");
	}
	split(false);
	ctl_is("at rest", CTL_MERGE, SEAM_R_LET_GO, 0, 0, "state=merged reason=quiet");
	ctl_is("again", CTL_MERGE, SEAM_R_LET_GO, 0, 0, "state=merged");
	STEPS({ "a leg's packet after it", LEG_OUT, CLEG(.seq = 51, .ack = 101), DROP, .counts = "leg_stray", .flow = "state=merged" });

	split(false);
	flow_set("s.told_nxt=111 s.leg_nxt=111 c.nxt=111 c.told_ack=111 c.leg_ack=111");
	ctl_is("in flight on the far side", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging c.bound=111 s.bound=51");
	STEPS({ "the ack that was missing merges, and goes on", SERVER, DOWN(.seq = 51, .ack = 111), REDIRECT, .wire = true,
		.counts = "crossed", .flow = "state=merged reason=crossed s.ack=111" });
	split(false);
	flow_set("s.told_nxt=111 s.leg_nxt=111 c.nxt=111 c.told_ack=111 c.leg_ack=111 s.told_tsval=120 c.told_tsval=915");
	ctl_is("in flight on the far side, and the legs' clocks lead", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging");
	STEPS({ "the ack that merges goes on in the ends' own time", SERVER, DOWN(.seq = 51, .ack = 111, .opts = "nop nop ts=911:120"),
		REDIRECT, .out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .ttl = 63, .flags = "A", .seq = 51, .ack = 111, .wnd = 509,
						 .opts = "nop nop ts=915:110" },
		.counts = "crossed", .flow = "state=merged" });
	split(false);
	flow_set("c.nxt=111 s.told_nxt=111 s.leg_nxt=111 s.ack=111");
	ctl_is("in flight on the near side", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging");
	STEPS({ "the leg's ack that was missing merges, and goes on", LEG_OUT, CLEG(.seq = 51, .ack = 111), REDIRECT,
		.out = OUT_DOWN(.seq = 51, .ack = 111, .wnd = 508), .counts = "crossed", .flow = "state=merged c.told_ack=111" });
}

static void clocks(void)
{
	struct timespec ts;
	__u64 now;
	struct flow f;
	static const struct {
		const char *what;
		__u32 own, told;
		bool delta;
	} fixtures[] = {
		{ "the leg's clock is behind", 5000, 4000, false },
		{ "the leg's clock is ahead", 5000, 95000, true },
		{ "ahead across 2^32", 0xffffff00, 90000, true },
		{ "behind across 2^32", 1000, 0xffff0000, false },
	};
	unsigned int i;

	for (i = 0; i < sizeof(fixtures) / sizeof(fixtures[0]); i++) {
		bool good;
		__u32 d;

		split(false);
		clock_gettime(CLOCK_MONOTONIC, &ts);
		now = ts.tv_sec * 1000000000ULL + ts.tv_nsec;
		flow_get(&f);
		f.end[1].tsval = f.end[1].tsval0 = fixtures[i].own;
		f.end[1].tsval_ns = f.end[1].tsval0_ns = now;
		f.end[0].told_tsval = fixtures[i].told;
		f.end[1].told_tsval = f.end[0].tsval;
		f.end[0].tsval_ns = f.end[0].tsval0_ns = now;
		flow_put(&f);
		ctl(CTL_MERGE, SEAM_R_LET_GO, 0);
		flow_get(&f);
		d = f.end[1].ts_delta;
		good = f.state == FLOW_MERGED && !f.end[0].ts_delta &&
		       !!(f.flags & FLOW_F_TSDELTA) == fixtures[i].delta;
		if (fixtures[i].delta) /* less what the clock went on in the meantime */
			good &= fixtures[i].told - fixtures[i].own - d < 100;
		else
			good &= !d;
		check(good, "%s", fixtures[i].what);
	}
	split(false);
	STEPS({ "a packet that was held says no later what its clock was", HOLD, UP(.seq = 101, .ack = 51, .len = 5), REDIRECT,
		.set = "held_in=1 c.tsval_ns=5", .flow = "held_out=1 c.tsval=110 c.tsval_ns=5" },
	      { "the next tick does", CLIENT, UP(.seq = 106, .ack = 51, .len = 5, .opts = "nop nop ts=111:905"), REDIRECT,
		.set = "released_ns=0", .flow = "c.tsval=111" });
	flow_get(&f);
	check(f.end[0].tsval_ns > 5, "and when it was seen is noted");
}

/* Moved by the kernel and back again; urgent data waits for the latter. */
static void relayed(void)
{
	split(false);
	flow_set("state=held");
	ctl_is("nothing to relay yet", CTL_RELAY, SEAM_R_RELAY, 0, -EINVAL, "state=held -sockmap");
	flow_set("state=splitting");
	ctl_is("too early", CTL_RELAY, SEAM_R_RELAY, 0, -EBUSY, "state=splitting -sockmap");
	ctl_is("nor is there a relay to end", CTL_UNRELAY, SEAM_R_OPERATOR, 0, -EINVAL, "state=splitting");
	split(false);
	flow_set("s+urg");
	ctl_is("urgent data", CTL_RELAY, SEAM_R_RELAY, 0, -EAGAIN, "state=split -sockmap");
	flow_set("s-urg");
	ctl_is("relayed", CTL_RELAY, SEAM_R_RELAY, 0, 0, "state=relayed reason=relay +sockmap");
	ctl_is("again", CTL_RELAY, SEAM_R_OPERATOR, 0, 0, "state=relayed reason=relay +sockmap");
	STEPS({ "payload goes to its leg", CLIENT, UP(.seq = 101, .ack = 51, .len = 200), REDIRECT, .counts = "",
		.flow = "state=relayed c.nxt=301 held_in=0" },
	      { "urgent payload waits", CLIENT, UP(.flags = "AU", .seq = 301, .ack = 51, .len = 10, .urg = 10), REDIRECT,
		.counts = "", .flow = "c.nxt=301 held_in=1 held_out=0 c+urg" },
	      { "and what comes behind it", CLIENT, UP(.seq = 311, .ack = 51, .len = 10), REDIRECT, .flow = "c.nxt=301 held_in=2" });
	ctl_is("back in userspace", CTL_UNRELAY, SEAM_R_URGENT_MARK, 0, 0, "state=split reason=urgent_mark -sockmap");
	STEPS({ "it goes to its leg", HOLD, UP(.flags = "AU", .seq = 301, .ack = 51, .len = 10, .urg = 10), REDIRECT,
		.flow = "c.nxt=311 held_out=1" },
	      { "then the other", HOLD, UP(.seq = 311, .ack = 51, .len = 10), REDIRECT, .flow = "c.nxt=321 held_out=2" });
	ctl_is("not once more", CTL_RELAY, SEAM_R_RELAY, 0, -EAGAIN, "state=split -sockmap");
	split(false);
	ctl_is("relayed", CTL_RELAY, SEAM_R_OPERATOR, 0, 0, "state=relayed reason=operator +sockmap");
	flow_set("c.nxt=301");
	ctl_is("merged from there", CTL_MERGE, SEAM_R_LET_GO, 0, -EINPROGRESS, "state=merging +sockmap");
	STEPS({ "urgent data that was lost on its way to the box waits", CLIENT,
		UP(.flags = "AU", .seq = 201, .ack = 51, .len = 10, .urg = 10), REDIRECT, .flow = "state=merging held_in=1" });
	ctl_is("the merge goes on without the kernel", CTL_UNRELAY, SEAM_R_URGENT_MARK, 0, 0, "state=merging -sockmap");
	flow_set("state=merged");
	ctl_is("over", CTL_UNRELAY, SEAM_R_URGENT_MARK, 0, -EINVAL, "state=merged");
}

int main(void)
{
	harness_start("split");
	birth();
	steering(false);
	steering(true);
	early_probe(false);
	early_probe(true);
	window();
	updates();
	keepalive(false);
	keepalive(true);
	marks(false);
	marks(true);
	too_big(false);
	too_big(true);
	endings();
	ecn();
	quiet();
	relayed();
	clocks();
	return harness_end();
}
