/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reasons: why a flow changed state, why a packet was treated as it was. One list for maps,
 * metrics, logs and the command line. Never renumber, nor reuse a number.
 */
#ifndef SEAM_REASON_H
#define SEAM_REASON_H

/* X(symbol, number, name, text) */
#define SEAM_REASONS(X)                                                                          \
	X(NONE, 0, "none", "no reason")                                                          \
	X(NEW, 1, "new", "SYN seen")                                                             \
	X(ESTABLISHED, 2, "established", "handshake complete")                                   \
	X(RULE, 3, "rule", "a rule decided")                                                     \
	X(DEFAULT, 4, "default", "no rule matched")                                              \
	X(FIRST_PAYLOAD, 5, "first_payload", "first payload, and a rule needs it")               \
	X(SERVER_FIRST, 6, "server_first", "the server spoke first")                             \
	X(HOLD_TIME, 7, "hold_time", "the hold would have outlasted the sender's probe time")    \
	X(HOLD_BYTES, 8, "hold_bytes", "dropped: more payload than may be queued of one flow")    \
	X(LEGS_READY, 10, "legs_ready", "both legs stand")                                       \
	X(LET_GO, 11, "let_go", "the inspectors let go")                                         \
	X(UNTIL, 12, "until", "the rule's until was reached")                                    \
	X(QUIET, 13, "quiet", "nothing queued or unacknowledged")                                \
	X(FIN, 14, "fin", "both ends sent FIN")                                                  \
	X(RST, 15, "rst", "an end sent RST")                                                     \
	X(TIMEOUT, 16, "timeout", "idle for longer than its state allows")                       \
	X(REUSED, 17, "reused", "the same addresses and ports began a new connection")           \
	X(UNDECIDED, 18, "undecided", "limit of time or bytes passed without a verdict")         \
	X(DAEMON_GONE, 19, "daemon_gone", "the daemon did not answer; the rule's fail answer")   \
	X(LEG_FAILED, 20, "leg_failed", "a leg could not be built")                              \
	X(LEG_DIED, 21, "leg_died", "a leg was closed by an error")                              \
	X(INSPECTOR, 22, "inspector", "an inspector decided")                                    \
	X(NO_MEMORY, 23, "no_memory", "a limit of memory or descriptors")                        \
	X(OPERATOR, 24, "operator", "asked for on the command line")                             \
	X(SHUTDOWN, 25, "shutdown", "Seam is stopping")                                          \
	X(RESTART, 26, "restart", "found by a new daemon")                                       \
	X(REVIVED, 29, "revived", "an end went on after what looked like its RST")                 \
	X(ECN, 28, "ecn", "congestion that a leg still has to echo")                              \
	X(CROSSED, 27, "crossed", "both ends acknowledged their boundary")                        \
	/* why a connection is not split, or not tracked */                                      \
	X(UNTRACKED, 32, "untracked", "began before Seam saw it")                                \
	X(MPTCP, 33, "mptcp", "Multipath TCP")                                                   \
	X(TCP_AUTH, 34, "tcp_auth", "TCP-MD5 or TCP-AO")                                         \
	X(ACCECN, 35, "accecn", "Accurate ECN")                                                  \
	X(NAT, 36, "nat", "translated on the box, or the answer came another way")               \
	X(FRAGMENT, 37, "fragment", "IP fragments")                                              \
	X(TCP_OPTION, 38, "tcp_option", "a TCP option that a leg cannot carry")                  \
	X(SIMULTANEOUS, 39, "simultaneous_open", "both ends sent SYN")                           \
	X(SYN_DATA, 40, "syn_data", "payload in the SYN")                                        \
	X(URGENT, 45, "urgent", "urgent data that the other end has not acknowledged")            \
	X(FAR, 46, "far", "the other end is so much farther than its leg that the round trip has to grow") \
	X(WINDOW, 50, "window", "an end may still send more than the other has room for")         \
	X(AFTER, 43, "after", "as much, as long or as many requests as its rule says")            \
	X(RULE_GONE, 44, "rule_gone", "nobody knows its rule any more; the rule's fail answer")   \
	X(URGENT_MARK, 48, "urgent_mark", "urgent data, whose mark the kernel relay would lose") \
	X(RELAY, 49, "relay", "nobody reads it, and policy has the kernel move its bytes")        \
	X(DECIDE, 57, "decide", "policy has what a leg received decide")                         \
	X(ASYMMETRIC, 55, "asymmetric", "its two directions cross the box on different wires")    \
	X(LINK_LOCAL, 47, "link_local", "IPv6 link-local addresses, which no leg can have")       \
	X(VLAN, 56, "vlan", "other VLAN tags than the other direction, or than its handshake")    \
	/* packets */                                                                            \
	X(MALFORMED, 64, "malformed", "header fields contradict each other")                     \
	X(NOT_TCP, 65, "not_tcp", "not TCP")                                                     \
	X(IP_OPTIONS, 66, "ip_options", "IP options or unknown extension headers")               \
	X(TABLE_FULL, 67, "table_full", "no room for another flow")                              \
	X(SYN_RETRANS, 68, "syn_retrans", "retransmitted SYN or SYN-ACK")                        \
	X(RST_WINDOW, 69, "rst_window", "RST outside the window")                                \
	X(NO_LEG, 70, "no_leg", "no socket for a packet in the inner namespace")                 \
	X(LEG_SILENCED, 71, "leg_silenced", "SYN, FIN or RST of a leg that nobody authorised")   \
	X(EARLY_PROBE, 88, "early_probe", "loss probe of a leg that is much nearer to its end than the other: its payload is not sent") \
	X(LEG_STRAY, 72, "leg_stray", "packet of a leg whose flow is not split")                 \
	X(NO_ROUTE, 73, "no_route", "the routing table had no way on")                           \
	X(TTL, 74, "ttl", "TTL or hop limit ran out; left to the host")                          \
	X(MTU, 75, "mtu", "larger than the next link's MTU; its sender is told, unless on a wire") \
	X(ICMP_LEG, 76, "icmp_leg", "ICMP error steered to a leg")                               \
	X(HOLD_LOST, 77, "hold_lost", "packets did not come back from the hold queue")           \
	X(BLOCK_DROP, 78, "block_drop", "dropped by a rule")                                     \
	X(BLOCK_RST, 79, "block_rst", "answered with RST by a rule")                             \
	X(WINDOW_UPDATE, 80, "window_update", "window update made for an end")                   \
	X(RST_DROPPED, 82, "rst_dropped", "RST of a blocked flow dropped")                       \
	X(XDP, 83, "xdp", "forwarded by XDP")                                                    \
	X(STRADDLE, 84, "straddle", "segment across a boundary, cut for the wire")       \
	X(EVENT_LOST, 85, "event_lost", "an event for the daemon did not fit into the ring buffer") \
	X(UNACCEPTABLE, 86, "unacceptable", "not to be inspected as it came, while a rule waits") \
	X(FORGED, 95, "forged", "its numbers are none that its receiver would take")              \
	X(ASTRAY, 58, "astray", "part of it went another way: where it stands is not known")     \
	X(WRONG_SIDE, 87, "wrong_side", "packet of an end from the side where it is not")        \
	X(REPLACED, 92, "replaced", "payload that an edit has replaced, sent again; cut off")      \
	X(RELAY_LOST, 90, "relay_lost", "the kernel relay lost bytes; both ends are reset")      \
	X(RELAY_OVER, 91, "relay_over", "nothing is left to do for the kernel relay")           \
	X(SMALL_PACKETS, 94, "small_packets", "its packets are such as the daemon moves for less") \
	X(SETTLED, 93, "settled", "first payload whose name was enough for the kernel to decide")

enum seam_reason {
#define X(sym, num, name, text) SEAM_R_##sym = num,
	SEAM_REASONS(X)
#undef X
	SEAM_R_MAX = 128, /* size of the `reasons` map */
};

#endif
