#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What must hold of every packet the box sends, whatever state its flow is in, checked on captures.

The captures are those of the box's two ports. A packet is stamped there before the box looks at it
when it comes in, and after that when it goes out, so that merged by time a cause is always before
its effect. All of the box is on one CPU meanwhile: on two, what was decided first may leave last
(two are for tests/random).
"""
import time

import pcap
from pcap import FIN, RST, SYN

NAMES = "client", "server"


def _before(a, b):
	return pcap.seq_after(b, a)


def _highest(a, b):
	return b if a is None or b is not None and pcap.seq_after(b, a) else a


class _End:
	"""One end: what it has sent so far, and what it was told."""

	def __init__(self):
		self.wscale = None
		self.nxt = self.edge = self.tsval = None	# highest that came from it
		self.told_edge = self.told_tsval = None		# highest that was sent to it
		self.flags = set()		# (SYN, FIN or RST; its sequence number) that came from it
		self.sent = set()		# what came from it, as _same() sees it


def _same(p):
	"""What is the same of a packet that was only forwarded, but for its timestamps."""
	return p.seq, p.ack, p.window, p.payload_len, p.flags


def _edge(p, wscale):
	return (p.ack + (p.window << (0 if p.flags & SYN else wscale))) & 0xffffffff


def _control(p):
	"""The SYN, FIN or RST of a packet with its place in the stream."""
	if p.flags & RST:
		return [(RST, None)]
	return ([(SYN, p.seq)] if p.flags & SYN else []) + ([(FIN, p.end_seq)] if p.flags & FIN else [])


def _note(p, me):
	"""A packet that came from `me`."""
	if p.flags & SYN:
		me.wscale = p.option("wscale") or 0
	me.nxt = _highest(me.nxt, p.end_seq)
	me.flags.update(_control(p))
	me.sent.add(_same(p))
	if p.flags & pcap.ACK:
		me.edge = _highest(me.edge, _edge(p, me.wscale))
	stamps = p.option("timestamps")
	if stamps:
		me.tsval = _highest(me.tsval, stamps[0])


def _judge(p, me, peer, disordered):
	"""What is wrong with a packet that the box sent to `me`, coming from `peer`, as text."""
	unit = 1 << (peer.wscale or 0)
	forwarded = _same(p) in peer.sent
	# What came in late goes out late: only what the box made itself is its own doing.
	late = disordered and forwarded
	for flag, at in _control(p):
		if (flag, at) not in peer.flags:
			yield {SYN: "SYN", FIN: "FIN", RST: "RST"}[flag] + " that the other end did not cause"
	if p.payload_len and pcap.seq_after(p.end_seq, peer.nxt):
		yield f"data to {p.end_seq}, the other end has sent to {peer.nxt}"
	if p.flags & pcap.ACK and not p.flags & RST:
		if pcap.seq_after(p.ack, me.nxt):
			yield f"acknowledges {p.ack}, it has sent to {me.nxt}"
		for _left, right in p.option("sack") or []:
			if pcap.seq_after(right, me.nxt):
				yield f"SACK to {right}, it has sent to {me.nxt}"
		edge = _edge(p, peer.wscale)
		# A window counts in units of its scale: an edge is met to within one (RFC 7323 2.4).
		# Nor does anybody look at that of a SYN in mid-connection (RFC 9293 3.10.7.4).
		if (me.told_edge is not None and _before((edge + unit - 1) & 0xffffffff, me.told_edge) and not late
			and not p.flags & SYN):
			yield f"window edge back from {me.told_edge} to {edge}"
		if pcap.seq_after(edge, (peer.edge + unit - 1) & 0xffffffff):
			yield f"window edge {edge}, the receiver's is {peer.edge}"
		me.told_edge = _highest(me.told_edge, edge)
	stamps = p.option("timestamps")
	# Nobody takes the time of a RST, or of a SYN that is sent again.
	if stamps and not p.flags & (RST | SYN):
		tsval = stamps[0]
		if me.told_tsval is not None and _before(tsval, me.told_tsval) and not late:
			yield f"TSval back from {me.told_tsval} to {tsval}"
		if stamps[1] and me.tsval is not None and pcap.seq_after(stamps[1], me.tsval):
			yield f"TSecr {stamps[1]}, it has sent {me.tsval}"
		me.told_tsval = _highest(me.told_tsval, tsval)


def connections(packets):
	"""TCP packets by connection: {(client, port, server, port): [Packet]}; the client sent the SYN."""
	found = {}
	for p in packets:
		if not p.tcp:
			continue
		key = p.direction
		back = key[2:] + key[:2]
		if back not in found and (key in found or p.flags & (SYN | pcap.ACK) == SYN):
			found.setdefault(key, []).append(p)
		elif back in found:
			found[back].append(p)
	return found


def broken(at_client, at_server, disordered=False):
	"""Promises that the box broke, by captures of its port to the client and to the server.

	disordered: packets are lost and overtake each other on the links. Returns ([(packet, text)],
	number of packets judged).
	"""
	out, judged = [], 0
	left, right = connections(at_client), connections(at_server)
	for key, packets in left.items():
		ends = _End(), _End()
		both = [(port, int(p.direction != key), p) for port, of in ((0, packets), (1, right.get(key, []))) for p in of]
		# At the same moment, what came in was first.
		for port, sender, p in sorted(both, key=lambda x: (x[2].ns, x[0] != x[1])):
			if sender == port:
				_note(p, ends[port])
				continue
			judged += 1
			if ends[sender].nxt is None:
				out.append((p, f"to the {NAMES[port]}: {p}: from nowhere"))
				continue
			out += [(p, f"to the {NAMES[port]}: {p}: {what}")
				for what in _judge(p, ends[port], ends[sender], disordered)]
	return out, judged


class Watch:
	"""Captures of both ports of the box from `with` on; kept() is the test point.

	with Watch(lab, "port 7000") as watch: ...
	watch.kept(tap, "split")

	snaplen: bytes captured of each packet; only headers are looked at.
	"""

	def __init__(self, lab, expression="tcp", snaplen=128):
		self.lab, self.expression, self.snaplen = lab, expression, snaplen

	def __enter__(self):
		self.lab.steer_seam()
		self.captures = [self.lab.capture("box", port, self.expression, self.snaplen) for port in ("cli", "srv")]
		return self

	def __exit__(self, *_exc):
		# What comes while they end, one after the other, only one of them sees.
		end = time.time()
		self.lab.steer_seam(False)
		self.at_client, self.at_server = ([p for p in c.stop() if p.time < end] for c in self.captures)

	def trace(self, port, until=None, count=60):
		"""Packets of the connection with that client port, on both sides of the box, as text.

		The last ones, or the last ones up to a time.
		"""
		both = [(p.time, side, p) for side, packets in (("cli", self.at_client), ("srv", self.at_server))
			for p in packets if p.tcp and port in (p.sport, p.dport) and (not until or p.time <= until)]
		return [f"{side} {p}" for _time, side, p in sorted(both, key=lambda x: x[0])][-count:]

	def kept(self, tap, what, disordered=False):
		"""One test point: none of the promises was broken, and there was something to judge."""
		bad, judged = broken(self.at_client, self.at_server, disordered)
		why = [text for _packet, text in bad[:20]]
		if bad:
			p = bad[0][0]
			why += [f"{len(bad)} in all; before the first:", *self.trace(max(p.sport, p.dport), p.time)]
		return tap.ok(judged and not bad, f"{what}: every promise is kept in {judged} packets", *why)
