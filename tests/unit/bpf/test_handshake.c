// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* From SYN to established, and what the policy decides at the SYN. */
#include <arpa/inet.h>
#include <string.h>

#include "harness.h"

#define SYN { .flags = "S", .wnd = 64240, .opts = LINUX_SYN }
#define SYNACK { .dir = SEAM_DOWN, .flags = "SA", .ack = 1, .wnd = 65160, .opts = LINUX_SYNACK }
#define ACK { .flags = "A", .seq = 1, .ack = 1, .wnd = 502, .opts = LINUX_TS }

static void plain(bool v6)
{
	fresh(&(struct conn){ .v6 = v6, .cisn = 0xfffffff0, .sisn = 5 });
	STEPS(
		{ "SYN", CLIENT, SYN, PASS, .counts = "new", .flow = "none",
		  .embryo = "c.isn=0 c.nxt=1 c.wnd=64240 c.mss=1460 c.wscale=7 c.tsval=100 c.opts=7 "
			    "c.ttl=64 c.tcp_flags=2 rule=1 policy=1 action=3 why_not=none s.tcp_flags=0" },
		{ "SYN again", CLIENT, SYN, PASS, .counts = "syn_retrans", .embryo = "c.nxt=1" },
		{ "SYN-ACK of another SYN is not believed", SERVER,
		  { .dir = SEAM_DOWN, .flags = "SA", .ack = 2 }, PASS, .counts = "",
		  .embryo = "s.tcp_flags=0" },
		{ "ACK without SYN is nothing yet: wrong direction", SERVER,
		  { .dir = SEAM_DOWN, .flags = "A", .ack = 1 }, PASS, .counts = "", .flow = "none" },
		{ "SYN-ACK", SERVER, SYNACK, PASS, .counts = "", .flow = "none",
		  .embryo = "s.isn=0 s.nxt=1 s.ack=1 s.wnd=65160 s.mss=1460 s.wscale=7 s.tsval=900 s.opts=7" },
		{ "SYN-ACK again", SERVER, SYNACK, PASS, .counts = "syn_retrans" },
		{ "ACK of something else", CLIENT, { .flags = "A", .seq = 1, .ack = 2 }, PASS,
		  .counts = "", .flow = "none" },
		{ "ACK", CLIENT, ACK, PASS, .counts = "established", .embryo = "none",
		  .flow = "state=monitored reason=established why_not=none rule=1 policy=1 "
			  "c.isn=0 c.nxt=1 c.ack=1 c.edge=64257 c.mss=1460 c.wscale=7 c.tsval=101 c.tsval0=100 c.packets=2 "
			  "s.isn=0 s.nxt=1 s.ack=1 s.edge=65161 s.mss=1460 s.wscale=7 s.tsval=900 s.packets=1 "
			  "+tstamp +sack +wscale -ecn +want_up +want_down -no_split -inspect" });
	check(flow_is(v6 ? "-ipv4" : "+ipv4"), "family of the flow");
	check(state_counter(FLOW_MONITORED) == 1 && !state_counter(FLOW_HANDSHAKE), "states counted");
	STEPS({ "SYN-ACK after all of it", SERVER, SYNACK, PASS, .counts = "untracked" });

	/* A second between the two would make a clock of 1 ms look like one of 1 us. */
	fresh(&(struct conn){ .v6 = v6 });
	STEPS({ "SYN", CLIENT, SYN, PASS },
	      { "a SYN sent again: its own time and TSval", CLIENT,
		{ .flags = "S", .wnd = 64240, .opts = "mss=1460 sackok ts=1103:0 nop ws=7" }, PASS, .counts = "syn_retrans",
		.embryo = "c.tsval=1103" },
	      { "SYN-ACK", SERVER, SYNACK, PASS, .embryo = "s.tsval=900" },
	      { "a SYN-ACK sent again, the first was lost: its own as well", SERVER,
		{ .dir = SEAM_DOWN, .flags = "SA", .ack = 1, .wnd = 65160, .opts = "mss=1460 sackok ts=1950:1103 nop ws=7" }, PASS,
		.counts = "syn_retrans", .embryo = "s.tsval=1950" },
	      { "the first comes late", SERVER, SYNACK, PASS, .counts = "syn_retrans", .embryo = "s.tsval=1950" },
	      { "of another server, to which the SYN came the second time", SERVER,
		{ .dir = SEAM_DOWN, .flags = "SA", .seq = 7, .ack = 1, .opts = "mss=1460 sackok ts=3000:1103" }, PASS,
		.counts = "", .embryo = "s.tsval=3000" });
}

/*
 * A client that wrote the server's address had its connection go by untracked, or an old
 * one forgotten; and payload that completes no handshake went by where a rule waited.
 */
static void answered_by_the_client(bool v6)
{
#define FORGED { .dir = SEAM_DOWN, .flags = "SA", .seq = 5000, .ack = 1, .wnd = 65160, .opts = LINUX_SYNACK }
	fresh(&(struct conn){ .v6 = v6 });
	STEPS({ "SYN", CLIENT, SYN, PASS }, { "an answer by the client itself", CLIENT, FORGED, PASS, .counts = "" },
	      { "the server's takes its place", SERVER, SYNACK, PASS, .counts = "", .embryo = "s.isn=0" },
	      { "and not the other way round", CLIENT, FORGED, PASS, .counts = "wrong_side", .embryo = "s.isn=0" },
	      { "payload with a forged number does not pass a rule that waits", CLIENT,
		{ .flags = "PA", .seq = 1, .ack = 5001, .len = 10, .wnd = 502, .opts = LINUX_TS }, DROP, .counts = "unacceptable", .flow = "none" },
	      { "ACK", CLIENT, ACK, PASS, .counts = "established", .flow = "state=monitored" },
	      { "the flow is there: a SYN", CLIENT, { .flags = "S", .seq = 77, .wnd = 64240, .opts = LINUX_SYN }, PASS, .counts = "new" },
	      { "and an answer by the client do not end it", CLIENT, { .dir = SEAM_DOWN, .flags = "SA", .seq = 5000, .ack = 78, .opts = LINUX_SYNACK }, PASS,
		.counts = "wrong_side", .flow = "state=monitored" });
}

/* A round trip that came out negative made a leg wait two minutes before it sent anything again. */
static void round_trips(void)
{
	struct flow f;

	fresh(NULL);
	STEPS({ "SYN", CLIENT, SYN, PASS }, { "SYN-ACK", SERVER, SYNACK, PASS },
	      { "the SYN again: the SYN-ACK was lost behind the box", CLIENT, SYN, PASS, .counts = "syn_retrans" },
	      { "ACK", CLIENT, ACK, PASS, .counts = "established" });
	flow_get(&f);
	check(f.end[SEAM_CLIENT].rtt_us < 1000000 && f.end[SEAM_SERVER].rtt_us < 1000000,
	      "no round trip is longer than the handshake (client %u us, server %u us)",
	      f.end[SEAM_CLIENT].rtt_us, f.end[SEAM_SERVER].rtt_us);
}

/*
 * Late copies of SYN and SYN-ACK deleted a held flow, and what was held went by without a
 * verdict; and one that was closing and edited, and its last acks went by as they were.
 */
static void late_copies(void)
{
	fresh(NULL);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("c.rtt_us=990000"); /* no split of it, however slow the machine */
	STEPS({ "first payload is held", CLIENT, { .flags = "PA", .wnd = 502, .seq = 1, .ack = 1, .len = 300, .opts = LINUX_TS }, REDIRECT,
		.flow = "state=held" },
	      { "the SYN once more", CLIENT, SYN, PASS, .flow = "state=held" },
	      { "its answer once more", SERVER, SYNACK, PASS, .counts = "syn_retrans", .flow = "state=held held_in=1", .embryo = "none" },
	      { "the SYN again", CLIENT, SYN, PASS, .flow = "state=held" },
	      { "another answer: the server has taken up another connection", SERVER,
		{ .dir = SEAM_DOWN, .flags = "SA", .seq = 5000, .ack = 1, .wnd = 65160, .opts = LINUX_SYNACK }, PASS,
		.counts = "reused", .flow = "none" });

	fresh(NULL);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set("state=closing");
	STEPS({ "after the end, too", CLIENT, SYN, PASS, .flow = "state=closing" },
	      { "copies are no new connection", SERVER, SYNACK, PASS, .counts = "syn_retrans", .flow = "state=closing", .embryo = "none" });
}

/* What is agreed on, and what keeps a flow from being split. */
static void options(void)
{
	static const struct {
		const char *what, *syn_flags, *syn, *synack_flags, *synack, *flow;
		__u8 syn_ip_opts, synack_ip_opts;
		__u16 len;
	} fixtures[] = {
		{ "no options", "S", "", "SA", "", "why_not=none -tstamp -sack -wscale c.mss=0 s.mss=0" },
		{ "options of one end only", "S", LINUX_SYN, "SA", "mss=1400", "-tstamp -sack -wscale c.wscale=0 s.mss=1400" },
		{ "window scale beyond 14", "S", "nop ws=15", "SA", "nop ws=200", "c.wscale=14 s.wscale=14" },
		{ "timestamps last, and odd", "S", "mss=1460 ws=7 sackok ts=7:0", "SA", "sackok nop nop nop ts=9:7", "+tstamp c.tsval0=7 s.tsval0=9" },
		{ "options behind EOL are none", "S", "eol ws=7", "SA", "ws=7", "-wscale" },
		{ "MPTCP asked for, not given", "S", "mss=1460 raw=1e0c00810102030405060708", "SA", "mss=1460", "state=monitored why_not=none" },
		{ "MPTCP", "S", "raw=1e0c00810102030405060708", "SA", "raw=1e0c00811112131415161718", "state=passed reason=mptcp why_not=mptcp +no_split" },
		{ "TCP-MD5", "S", "raw=131200000000000000000000000000000000", "SA", "raw=131200000000000000000000000000000000", "state=passed why_not=tcp_auth" },
		{ "TCP-MD5 of one end", "S", "", "SA", "raw=131200000000000000000000000000000000", "why_not=tcp_auth" },
		{ "TCP-AO", "S", "raw=1d1000000000000000000000000000000000", "SA", "", "state=passed why_not=tcp_auth" },
		{ "ECN", "SEC", LINUX_SYN, "SAE", LINUX_SYNACK, "state=monitored +ecn" },
		{ "ECN refused", "SEC", LINUX_SYN, "SA", LINUX_SYNACK, "state=monitored -ecn" },
		{ "ECN reflected by a broken server", "SEC", LINUX_SYN, "SAEC", LINUX_SYNACK, "state=monitored -ecn" },
		{ "AccECN, answered with ECN", "SNEC", LINUX_SYN, "SAE", LINUX_SYNACK, "state=monitored +ecn" },
		{ "AccECN refused", "SNEC", LINUX_SYN, "SA", LINUX_SYNACK, "state=monitored -ecn" },
		{ "AccECN, Not-ECT", "SNEC", LINUX_SYN, "SAC", LINUX_SYNACK, "state=passed why_not=accecn" },
		{ "AccECN, ECT(1)", "SNEC", LINUX_SYN, "SACE", LINUX_SYNACK, "why_not=accecn" },
		{ "AccECN, ECT(0)", "SNEC", LINUX_SYN, "SAN", LINUX_SYNACK, "why_not=accecn" },
		{ "AccECN, CE", "SNEC", LINUX_SYN, "SANC", LINUX_SYNACK, "why_not=accecn" },
		{ "unknown option asked for, not given", "S", "raw=fe04abcd", "SA", "", "state=monitored why_not=none" },
		{ "unknown option", "S", "", "SA", "raw=fe04abcd", "state=passed why_not=tcp_option" },
		{ "length 0", "S", "raw=02000000", "SA", "", "state=passed why_not=tcp_option" },
		{ "length 1", "S", "raw=02010000", "SA", "", "why_not=tcp_option" },
		{ "length beyond the header", "S", "nop nop raw=0204", "SA", "", "why_not=tcp_option" },
		{ "no length", "S", "nop nop nop raw=02", "SA", "", "why_not=tcp_option" },
		{ "MSS of length 3", "S", "raw=020305 nop", "SA", "", "why_not=tcp_option" },
		{ "window scale of length 4", "S", "raw=03040700", "SA", "", "why_not=tcp_option" },
		{ "timestamps of length 8", "S", "raw=0808010203040506", "SA", "", "why_not=tcp_option" },
		{ "malformed answer", "S", "", "SA", "raw=02000000", "why_not=tcp_option" },
		{ "40 bytes of NOP", "S", "raw=01010101010101010101010101010101010101010101010101010101010101010101010101010101", "SA", "", "why_not=none" },
		{ "IP options in the SYN", "S", "", "SA", "", "state=passed why_not=ip_options", .syn_ip_opts = 1 },
		{ "IP options in the SYN-ACK", "S", "", "SA", "", "state=passed why_not=ip_options", .synack_ip_opts = 1 },
		{ "payload in the SYN", "S", "raw=2202", "SA", "", "state=passed why_not=syn_data s.nxt=1 c.nxt=101", .len = 100 },
	};
	unsigned int i, v6;

	for (v6 = 0; v6 < 2; v6++) {
		for (i = 0; i < sizeof(fixtures) / sizeof(fixtures[0]); i++) {
			struct spec three[] = {
				{ .flags = fixtures[i].syn_flags, .opts = fixtures[i].syn,
				  .ip_opts = fixtures[i].syn_ip_opts, .len = fixtures[i].len },
				{ .dir = SEAM_DOWN, .flags = fixtures[i].synack_flags,
				  .opts = fixtures[i].synack, .ack = 1 + fixtures[i].len,
				  .ip_opts = fixtures[i].synack_ip_opts },
				{ .flags = "A", .seq = 1 + fixtures[i].len, .ack = 1 },
			};
			struct packet in, out;
			bool good = true;
			int n;

			fresh(&(struct conn){ .v6 = v6, .cisn = 77, .sisn = 88 });
			/* The SYN alone is acknowledged: data in it is not taken. */
			if (fixtures[i].len)
				three[1].ack = 1;
			for (n = 0; n < 3; n++) {
				build(&three[n], &in);
				good &= run_packet(n == 1 ? SERVER : CLIENT, &in, &out, 0) == PASS;
				good &= packet_is(fixtures[i].what, &in, &in, &out);
			}
			check(good && flow_is(fixtures[i].flow), "%s%s", fixtures[i].what,
			      v6 ? ", IPv6" : "");
		}
	}
}

/* Once it has the SYN-ACK, a client takes data: what went by then would not be what is judged later. */
/*
 * Seam is stopped, and its programs stay. What was left of an earlier connection with the same
 * addresses and ports answered the next one with a RST, or gave it the old one's numbers.
 */
static void left_behind(const char *as, const char *what)
{
	fresh(NULL);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	flow_set(as);
	control()->draining = 1;
	note("after one that is %s", what);
	STEPS({ "SYN", CLIENT, { .flags = "S", .seq = 100000, .opts = LINUX_SYN }, PASS, .counts = "new" },
	      { "SYN-ACK", SERVER, { .dir = SEAM_DOWN, .flags = "SA", .seq = 70000, .ack = 100001 }, PASS,
		.counts = "reused", .flow = "none" },
	      { "ACK", CLIENT, { .flags = "A", .seq = 100001, .ack = 70001 }, PASS, .flow = "state=passed rule=0 c.isn=100000" },
	      { "and so on", CLIENT, { .flags = "A", .seq = 100001, .ack = 70001, .len = 10 }, PASS, .flow = "c.nxt=100011" });
}

static void server_first(void)
{
	const struct spec early = { .dir = SEAM_DOWN, .flags = "PA", .seq = 1, .ack = 1, .wnd = 502, .len = 100, .opts = LINUX_TS };
	const struct spec with_data = { .dir = SEAM_DOWN, .flags = "SA", .ack = 1, .wnd = 65160, .len = 100, .opts = LINUX_SYNACK };

	fresh(NULL);
	policy_all(RULE_ASK, 0);
	STEPS({ "SYN", CLIENT, SYN, PASS }, { "SYN-ACK", SERVER, SYNACK, PASS },
	      { "data of another connection before the client's ACK", SERVER,
		{ .dir = SEAM_DOWN, .flags = "PA", .seq = 2, .ack = 1, .wnd = 502, .len = 100, .opts = LINUX_TS }, DROP,
		.counts = "unacceptable", .embryo = "why_not=none" },
	      { "data before the client's ACK, which has gone another way", SERVER, early, PASS, .counts = "", .embryo = "why_not=astray" },
	      { "or was late", CLIENT, ACK, PASS, .flow = "state=passed why_not=astray" });
	fresh(NULL);
	policy_all(RULE_ASK, RULE_F_FAIL_BLOCK);
	STEPS({ "SYN", CLIENT, SYN, PASS }, { "SYN-ACK", SERVER, SYNACK, PASS },
	      { "the rule fails closed: the data waits for it", SERVER, early, DROP, .counts = "unacceptable" },
	      { "ACK", CLIENT, ACK, PASS, .flow = "state=monitored s.nxt=1" });
	fresh(NULL);
	policy_all(RULE_PASS, 0);
	STEPS({ "SYN", CLIENT, SYN, PASS }, { "SYN-ACK", SERVER, SYNACK, PASS },
	      { "a rule that passes it does", SERVER, early, PASS, .counts = "" });
	fresh(NULL);
	policy_all(RULE_ASK, 0);
	STEPS({ "SYN with payload", CLIENT, { .flags = "S", .len = 50, .opts = "raw=2202" }, PASS },
	      { "SYN-ACK", SERVER, { .dir = SEAM_DOWN, .flags = "SA", .ack = 51 }, PASS },
	      { "TCP Fast Open: what cannot be split need not wait", SERVER, early, PASS, .counts = "" });
	fresh(NULL);
	policy_all(RULE_ASK, 0);
	STEPS({ "SYN", CLIENT, SYN, PASS },
	      { "SYN-ACK with payload", SERVER, with_data, PASS, .counts = "syn_data", .embryo = "why_not=syn_data" });
	fresh(NULL);
	policy_all(RULE_ASK, RULE_F_FAIL_BLOCK);
	STEPS({ "SYN", CLIENT, SYN, PASS },
	      { "SYN-ACK with payload, and the rule fails closed", SERVER, with_data, DROP, .counts = "syn_data" });
}

/* Two SYNs with one number: which of them the server has answered is not known. */
static void other_options(void)
{
	fresh(NULL);
	STEPS({ "SYN without timestamps", CLIENT, { .flags = "S", .wnd = 64240, .opts = "mss=1460" }, PASS },
	      { "again, with them", CLIENT, SYN, PASS, .counts = "syn_retrans", .embryo = "why_not=tcp_option" });
	fresh(NULL);
	STEPS({ "SYN", CLIENT, SYN, PASS },
	      { "again, with less: there was no answer", CLIENT, { .flags = "S", .wnd = 64240, .opts = "mss=1460" }, PASS,
		.counts = "syn_retrans", .embryo = "why_not=none" },
	      { "again, with another scale", CLIENT, { .flags = "S", .wnd = 64240, .opts = "mss=1460 sackok ts=101:0 nop ws=9" }, PASS,
		.counts = "syn_retrans", .embryo = "why_not=tcp_option" });
}

/* A bridge that is promiscuous, for tcpdump say, sees what its hosts send each other. */
static void not_for_the_router(void)
{
	struct spec syn = SYN;
	struct packet in, out;

	fresh(NULL);
	build(&syn, &in);
	in.data[5] ^= 0x40;
	check(run_packet(CLIENT, &in, &out, 0) == PASS && packet_is("SYN", &in, &in, &out) && embryo_is("none"),
	      "a frame to another host is left alone");
}

static void odd(void)
{
	fresh(NULL);
	STEPS({ "SYN", CLIENT, SYN, PASS, .counts = "new" },
	      { "refused", SERVER, { .dir = SEAM_DOWN, .flags = "RA", .ack = 1 }, PASS,
		.counts = "rst", .flow = "none" });

	fresh(NULL);
	STEPS({ "SYN, answered elsewhere", CLIENT, SYN, PASS },
	      { "ACK, and no SYN-ACK was seen: translated", CLIENT, ACK, PASS, .counts = "nat",
		.flow = "state=passed why_not=nat +no_split c.rtt_us=0 s.rtt_us=0" });

	fresh(NULL);
	STEPS({ "simultaneous open: SYN", CLIENT, SYN, PASS, .counts = "new" },
	      { "the other SYN", SERVER, { .dir = SEAM_DOWN, .flags = "S", .opts = LINUX_SYN },
		PASS, .counts = "simultaneous_open", .embryo = "why_not=simultaneous_open" },
	      { "its SYN-ACK", SERVER, SYNACK, PASS },
	      { "SYN-ACK of the first", CLIENT, { .flags = "SA", .seq = 0, .ack = 1 }, PASS, .flow = "none" },
	      { "first ACK", CLIENT, ACK, PASS, .counts = "simultaneous_open",
		.flow = "state=passed why_not=simultaneous_open" });

	fresh(NULL);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	STEPS({ "port reuse: SYN while the old flow lingers", CLIENT,
		{ .flags = "S", .seq = 100000, .opts = LINUX_SYN }, PASS, .counts = "new",
		.flow = "state=monitored c.nxt=1", .embryo = "c.isn=100000" },
	      { "an old packet still finds the old flow", CLIENT,
		{ .flags = "A", .seq = 1, .ack = 1, .opts = LINUX_TS }, PASS, .counts = "" },
	      { "the server takes it up: the old flow is over", SERVER,
		{ .dir = SEAM_DOWN, .flags = "SA", .seq = 70000, .ack = 100001 }, PASS,
		.counts = "reused", .flow = "none" },
	      { "ACK: the new flow", CLIENT, { .flags = "A", .seq = 100001, .ack = 70001 }, PASS,
		.counts = "established", .flow = "state=monitored c.isn=100000 s.isn=70000" });
	check(state_counter(FLOW_MONITORED) == 1, "the old flow is not counted any more (monitored: %lld)",
	      (long long)state_counter(FLOW_MONITORED));

	fresh(NULL);
	control()->draining = 1;
	STEPS({ "draining: nothing new", CLIENT, SYN, PASS, .counts = "", .embryo = "none" });
	left_behind("state=blocked +block_rst +rst_both", "blocked");
	left_behind("state=closing +closed +bypass", "closed by its legs");
	left_behind("state=merged +bypass +edited c.seq_delta=30 c.seq_pos=1", "edited");
	fresh(NULL);
	policy_all(RULE_ASK, RULE_F_FAIL_BLOCK);
	STEPS({ "SYN", CLIENT, SYN, PASS }, { "SYN-ACK", SERVER, SYNACK, PASS });
	control()->draining = 1;
	STEPS({ "nobody will judge what began before the stop", CLIENT, ACK, PASS, .flow = "state=passed -fail_block" });

	fresh(NULL);
	STEPS({ "an unknown connection", CLIENT, { .flags = "A", .seq = 1, .ack = 1, .len = 5 },
		PASS, .counts = "untracked", .flow = "none" },
	      { "FIN of one", SERVER, { .dir = SEAM_DOWN, .flags = "FA" }, PASS, .counts = "untracked" },
	      { "RST of one", SERVER, { .dir = SEAM_DOWN, .flags = "R" }, PASS, .counts = "untracked" });
}

/* ---- policy ---- */

/* What cannot be looked into is no way past a rule that fails to block. */
static void fail_answer(void)
{
	fresh(NULL);
	policy_all(RULE_ASK, RULE_F_FAIL_BLOCK);
	STEPS({ "SYN with MPTCP", CLIENT, { .flags = "S", .opts = "raw=1e0c00810102030405060708" }, PASS },
	      { "SYN-ACK", SERVER, { .dir = SEAM_DOWN, .flags = "SA", .ack = 1, .opts = "raw=1e0c00811112131415161718" }, PASS },
	      { "ACK: reset at both ends", CLIENT, { .flags = "A", .seq = 1, .ack = 1 }, REDIRECT, .counts = "mptcp block_rst=2",
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .ttl = 63, .flags = "RA", .seq = 1, .ack = 1 },
		.flow = "state=blocked reason=mptcp" });
	fresh(NULL);
	policy_all(RULE_PASS, RULE_F_FAIL_BLOCK);
	STEPS({ "SYN with MPTCP", CLIENT, { .flags = "S", .opts = "raw=1e0c00810102030405060708" }, PASS },
	      { "SYN-ACK", SERVER, { .dir = SEAM_DOWN, .flags = "SA", .ack = 1, .opts = "raw=1e0c00811112131415161718" }, PASS },
	      { "ACK: a rule that passes it does", CLIENT, { .flags = "A", .seq = 1, .ack = 1 }, PASS, .flow = "state=passed reason=mptcp" });
}

static void actions(bool v6)
{
	const struct conn c = { .v6 = v6, .cisn = 3, .sisn = 4 };

	fresh(&c);
	policy_all(RULE_BLOCK, RULE_F_BLOCK_RST);
	STEPS({ "block with RST", CLIENT, SYN, REDIRECT,
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "RA", .seq = -4,
				       .ack = 1, .opts = LINUX_SYN },
		.counts = "block_rst", .embryo = "none", .flow = "none" },
	      { "of a SYN with payload and padding", CLIENT,
		{ .flags = "SEC", .len = 101, .wnd = 5, .pad = 7, .tos = 0x20, .ttl = 9 }, REDIRECT,
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "RA", .seq = -4,
				       .ack = 102, .tos = 0x20, .ttl = 9 },
		.counts = "block_rst" },
	      { "timestamps first: answered in kind", CLIENT,
		{ .flags = "S", .wnd = 5, .opts = "nop nop ts=77:0" }, REDIRECT,
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "RA", .seq = -4,
				       .ack = 1, .opts = "nop nop ts=0:77" } },
	      { "reserved bits: the checksum is right", CLIENT, { .flags = "Sx", .wnd = 5, .len = 8 },
		REDIRECT,
		.out = &(struct spec){ .dir = SEAM_DOWN, .link = LEAVING, .flags = "RAx", .seq = -4,
				       .ack = 9 } });
	fresh(&c);
	policy_all(RULE_BLOCK, 0);
	STEPS({ "block in silence", CLIENT, SYN, DROP, .counts = "block_drop", .embryo = "none" });

	fresh(&c);
	policy_all(RULE_PASS, 0);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	check(flow_is("state=passed reason=rule -want_up -want_down -no_split -inspect"), "pass");
	fresh(&c);
	policy_all(RULE_ASK, RULE_F_FAIL_BLOCK);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	check(flow_is("state=monitored +want_up +want_down -inspect +fail_block"), "ask");
	fresh(&c);
	policy_all(RULE_ASK, RULE_F_FAIL_BLOCK);
	STEPS({ "payload in the SYN, which no verdict would be on", CLIENT, { .flags = "S", .wnd = 64240, .len = 100, .opts = LINUX_SYN }, DROP,
		.counts = "syn_data", .embryo = "none" },
	      { "the plain SYN after it", CLIENT, SYN, PASS, .counts = "new" });
	fresh(&c);
	policy_all(RULE_INSPECT, 0);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	check(flow_is("state=monitored +want_up +want_down +inspect -fail_block"), "inspect");
	fresh(&c);
	policy(NULL, 0);
	establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	check(flow_is("state=passed why_not=none"), "an empty table");
}

static void prefix(__u32 addr[4], __u32 mask[4], const char *text, int len)
{
	char mapped[64];
	int i;

	snprintf(mapped, sizeof(mapped), strchr(text, ':') ? "%s" : "::ffff:%s", text);
	inet_pton(AF_INET6, mapped, addr);
	len += strchr(text, ':') ? 0 : 96;
	for (i = 0; i < 4; i++, len -= 32)
		mask[i] = len <= 0 ? 0 : htonl(len >= 32 ? ~0U : ~(~0U >> len));
}

static void matching(void)
{
	static const struct {
		const char *what, *client, *server;
		__u8 client_len, server_len;
		__u16 cport[2], sport[2];
		bool v4, v6;
	} fixtures[] = {
		{ "any", "::", "::", 0, 0, { 0, 65535 }, { 0, 65535 }, true, true },
		{ "any IPv4", "0.0.0.0", "::", 0, 0, { 0, 65535 }, { 0, 65535 }, true, false },
		{ "IPv4 prefix", "10.1.0.0", "10.2.0.0", 16, 16, { 0, 65535 }, { 0, 65535 }, true, false },
		{ "other IPv4 client", "10.2.0.0", "::", 16, 0, { 0, 65535 }, { 0, 65535 }, false, false },
		{ "other IPv4 server", "::", "10.2.0.3", 0, 32, { 0, 65535 }, { 0, 65535 }, false, false },
		{ "IPv4 host", "10.1.0.2", "10.2.0.2", 32, 32, { 0, 65535 }, { 0, 65535 }, true, false },
		{ "odd length", "10.1.0.2", "10.2.0.0", 31, 30, { 0, 65535 }, { 0, 65535 }, true, false },
		{ "IPv6 prefix", "fd01::", "fd02::", 64, 64, { 0, 65535 }, { 0, 65535 }, false, true },
		{ "IPv6 host", "fd01::2", "::", 128, 0, { 0, 65535 }, { 0, 65535 }, false, true },
		{ "other IPv6 host", "fd01::3", "::", 128, 0, { 0, 65535 }, { 0, 65535 }, false, false },
		{ "odd IPv6 length", "fd01::3", "::", 127, 0, { 0, 65535 }, { 0, 65535 }, false, true },
		{ "port", "::", "::", 0, 0, { 0, 65535 }, { 80, 80 }, true, true },
		{ "port below", "::", "::", 0, 0, { 0, 65535 }, { 81, 65535 }, false, false },
		{ "port above", "::", "::", 0, 0, { 0, 65535 }, { 0, 79 }, false, false },
		{ "client port", "::", "::", 0, 0, { 40000, 40000 }, { 80, 80 }, true, true },
		{ "other client port", "::", "::", 0, 0, { 40001, 65535 }, { 80, 80 }, false, false },
	};
	struct seam_rule lines[3] = { {}, {}, { .rule = 9, .policy = 5, .action = RULE_PASS, .flags = RULE_F_LAST } };
	unsigned int i, v6;

	for (v6 = 0; v6 < 2; v6++) {
		for (i = 0; i < sizeof(fixtures) / sizeof(fixtures[0]); i++) {
			bool hit = v6 ? fixtures[i].v6 : fixtures[i].v4;
			struct seam_rule *r = &lines[0];
			struct packet in, out;

			fresh(&(struct conn){ .v6 = v6 });
			r->client_port_lo = fixtures[i].cport[0];
			r->client_port_hi = fixtures[i].cport[1];
			r->server_port_lo = fixtures[i].sport[0];
			r->server_port_hi = fixtures[i].sport[1];
			r->rule = 4;
			r->policy = 5;
			r->action = RULE_ASK;
			prefix(r->client, r->client_mask, fixtures[i].client, fixtures[i].client_len);
			prefix(r->server, r->server_mask, fixtures[i].server, fixtures[i].server_len);
			lines[1] = lines[0];
			lines[1].rule = 6;
			lines[1].action = RULE_BLOCK;
			policy(lines, 3);
			build(&(struct spec)SYN, &in);
			check(run_packet(CLIENT, &in, &out, 0) == PASS &&
			      embryo_is(hit ? "rule=4 policy=5 action=3" : "rule=9 policy=5 action=0"),
			      "%s%s: %s", fixtures[i].what, v6 ? ", IPv6" : "",
			      hit ? "the first that matches" : "the last line");
		}
	}
}

/* ---- limits ---- */

static void full(void)
{
	static const struct sizes few = { .flows = 4, .embryos = 64 };
	struct packet in, out;
	struct spec syn = SYN;
	struct flow f;
	int i, left = 0;

	harness_load(&few);
	fresh(NULL);
	for (i = 0; i < 4; i++) {
		conn.cport = 1000 + i;
		establish(LINUX_SYN, LINUX_SYNACK, LINUX_TS);
	}
	conn.cport = 2000;
	STEPS({ "table full: SYN", CLIENT, SYN, PASS },
	      { "SYN-ACK", SERVER, SYNACK, PASS },
	      { "ACK: no room, and the connection goes on", CLIENT, ACK, PASS,
		.counts = "table_full", .flow = "none" });
	check(state_counter(FLOW_MONITORED) == 4 && !state_counter(FLOW_HANDSHAKE),
	      "a flow there was no room for is not counted");
	for (i = 0; i < 5000; i++) {
		conn.cport = 3000 + i;
		build(&syn, &in);
		run_packet(CLIENT, &in, &out, 0);
	}
	for (i = 0; i < 4; i++) {
		conn.cport = 1000 + i;
		left += !flow_get(&f) && f.state == FLOW_MONITORED;
	}
	check(left == 4, "a SYN flood leaves established flows alone");
	check(counter(SEAM_R_NEW) >= 5000, "every SYN found a place (%llu)", counter(SEAM_R_NEW));
}

int main(void)
{
	harness_start("handshake");
	plain(false);
	plain(true);
	answered_by_the_client(false);
	answered_by_the_client(true);
	fail_answer();
	round_trips();
	late_copies();
	options();
	server_first();
	other_options();
	not_for_the_router();
	odd();
	actions(false);
	actions(true);
	matching();
	full();
	return harness_end();
}
