#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A hostile end: packets that no kernel would send, by a raw socket on eth0.

	hostile.py CASE MAC SOURCE4 DEST4 SOURCE6 DEST6 [ARGUMENT...]

MAC is the box's. The source addresses are nobody's, so that no kernel answers for them.
"""
import itertools
import socket
import struct
import sys
import time

ETH_P_ALL = 3
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
TCP, HOP, FRAGMENT, OPTIONS = 6, 0, 44, 60
PAD = bytes.fromhex("010400000000")	# PadN: with two bytes before it, 8
PRIORITY = bytes.fromhex("81006000")	# a tag of VLAN 0
CLOCK = bytes.fromhex("0101080a")	# of timestamps, before the two
SIGNED = bytes([1, 1, 19, 18]) + bytes(16)	# TCP-MD5 that nobody has asked for
BLOCKED, PASSING = (b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host for host in (b"blocked.com", b"passing.org"))


def checksum(data):
	total = sum(struct.unpack(f"!{len(data) // 2}H", data[:len(data) & ~1])) + (data[-1] << 8 if len(data) & 1 else 0)
	while total >> 16:
		total = (total & 0xffff) + (total >> 16)
	return ~total & 0xffff


class Peer:
	def __init__(self, mac, source4, dest4, source6, dest6):
		self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
		self.socket.bind(("eth0", ETH_P_ALL))
		self.macs = bytes.fromhex(mac.replace(":", "")) + self.socket.getsockname()[4]
		self.v4 = [socket.inet_pton(socket.AF_INET, a) for a in (source4, dest4)]
		self.v6 = [socket.inet_pton(socket.AF_INET6, a) for a in (source6, dest6)]
		self.heard = {}	# what was not asked for yet: (seq, ack) by family, port and flags, oldest first

	def send(self, packet, kind=None):
		"""An IP packet, or bytes that claim to be one."""
		kind = kind or (b"\x86\xdd" if packet[:1] and packet[0] >> 4 == 6 else b"\x08\x00")
		for _ in range(50):
			try:
				return self.socket.send(self.macs + kind + packet)
			except OSError:	# the queue is full for the moment
				time.sleep(0.002)
		raise OSError("eth0 takes no more packets")

	def tcp(self, family, sport, dport, flags, seq=0, ack=0, options=b"", data=b"", offset=None):
		words = 5 + len(options) // 4 if offset is None else offset
		head = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xffffffff, ack & 0xffffffff, words << 4, flags, 64000, 0, 0)
		segment = head + options + data
		ends = self.v4 if family == 4 else self.v6
		pseudo = b"".join(ends) + struct.pack("!II", len(segment), TCP)
		return segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]

	def ip4(self, payload, options=b"", fragment=0x4000, length=None, version=4, words=None):
		words = 5 + len(options) // 4 if words is None else words
		total = 20 + len(options) + len(payload) if length is None else length
		head = struct.pack("!BBHHHBBH", version << 4 | words, 0, total, 7, fragment, 64, TCP, 0) + self.v4[0] + self.v4[1]
		head += options
		return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload

	def ip6(self, payload, extensions=b"", after=TCP, length=None):
		length = len(extensions) + len(payload) if length is None else length
		return struct.pack("!IHBB", 6 << 28, length, after, 64) + self.v6[0] + self.v6[1] + extensions + payload

	def ip(self, family, payload, options=False):
		if family == 4:
			return self.ip4(payload, b"\x01\x01\x01\x01" if options else b"")
		return self.ip6(payload, bytes([TCP, 0]) + PAD, HOP) if options else self.ip6(payload)

	def answer(self, family, sport, flags, timeout=3):
		"""(seq, ack) of a segment with these flags to that port; None if there is none."""
		deadline = time.monotonic() + timeout
		heard = self.heard.setdefault((family, sport, flags), [])
		while not heard and time.monotonic() < deadline:
			self.socket.settimeout(max(0.01, deadline - time.monotonic()))
			try:
				frame, where = self.socket.recvfrom(2048)
			except TimeoutError:
				return None
			version = frame[14] >> 4 if len(frame) > 14 else 0
			at = 34 if version == 4 else 54
			if where[2] != socket.PACKET_OUTGOING and len(frame) >= at + 20:
				_sport, dport, seq, ack, _off, got = struct.unpack_from("!HHIIBB", frame, at)
				self.heard.setdefault((version, dport, got & (SYN | ACK | RST)), []).append((seq, ack))
		return heard.pop(0) if heard else None

	def connect(self, family, sport, dport, isn=1000, options=b"", data=b"", ip_options=False):
		"""A handshake; the (seq, ack) to go on with. Fails if the server does not answer."""
		self.send(self.ip(family, self.tcp(family, sport, dport, SYN, isn, options=options, data=data), ip_options))
		got = self.answer(family, sport, SYN | ACK)
		if not got:
			raise SystemExit(f"no answer to SYN {family} {sport}")
		seq, ack = got[1], got[0] + 1
		self.send(self.ip(family, self.tcp(family, sport, dport, ACK, seq, ack)))
		return seq, ack


def malformed(peer):
	"""Headers that are cut, or contradict themselves: 2 * 7 + 3 packets."""
	for family in (4, 6):
		whole = peer.ip(family, peer.tcp(family, 1, 2, ACK, data=b"x" * 40))
		kind = b"\x08\x00" if family == 4 else b"\x86\xdd"
		head = 20 if family == 4 else 40
		for cut in (1, head - 1):
			peer.send(whole[:cut], kind)
		peer.send(whole[:-20])	# shorter than it says
		for offset in (0, 4, 15):
			# The packet has 20 bytes of TCP header: 15 words end beyond it.
			peer.send(peer.ip(family, peer.tcp(family, 1, 2, ACK, offset=offset)))
		peer.send(peer.ip(family, peer.tcp(family, 1, 2, ACK)[:12]))
	tcp = peer.tcp(4, 1, 2, ACK)
	peer.send(peer.ip4(tcp, words=4))
	peer.send(peer.ip4(tcp, words=15), b"\x08\x00")
	peer.send(peer.ip4(tcp, version=5), b"\x08\x00")


def tcp_options(peer, port):
	"""SYNs with options of bad length, and the rest of the handshake."""
	bad = ("02000000", "02010000", "01010204", "020305010000000000000000", "0808010203040506", "feff0000")
	for family in (4, 6):
		for i, options in enumerate(bad):
			peer.connect(family, 20000 + i, port, options=bytes.fromhex(options))


def fragments(peer, port):
	"""First fragments, large and tiny, later ones, and ones that overlap."""
	segment = peer.tcp(4, 21000, port, SYN, data=b"x" * 64)
	for fragment, part in ((0x2000, segment[:40]), (0x2000, segment[:8]), (0x2001, segment[8:16]), (0x0001, segment[8:]),
			(0x1fff, segment[:8])):
		peer.send(peer.ip4(part, fragment=fragment))
	segment = peer.tcp(6, 21000, port, SYN, data=b"x" * 64)
	for offset, part in ((1, segment[:40]), (1, segment[:8]), (9, segment[8:16]), (8, segment[8:]), (0, segment)):
		peer.send(peer.ip6(part, struct.pack("!BBHI", TCP, 0, offset, 7), FRAGMENT))


def ip_options(peer, port):
	"""Handshakes with IP options and extension headers, and chains of headers without end."""
	for family in (4, 6):
		peer.connect(family, 22000, port, ip_options=True)
	chain = b"".join(bytes([after, 0]) + PAD for after in (OPTIONS,) * 7 + (TCP,))
	peer.send(peer.ip6(peer.tcp(6, 22001, port, SYN), chain, OPTIONS))


def syn_data(peer, port):
	for family in (4, 6):
		peer.connect(family, 23000, port, data=b"x" * 100)


def syn(peer, sport, dport):
	"""Half of a simultaneous open."""
	for family in (4, 6):
		peer.send(peer.ip(family, peer.tcp(family, int(sport), dport, SYN, 5000)))


def rst_window(peer, sport, dport, source):
	"""RSTs far outside the window of somebody else's connection."""
	at, deadline = None, time.monotonic() + 5
	peer.socket.settimeout(5)
	while at is None and time.monotonic() < deadline:
		frame, _where = peer.socket.recvfrom(65536)
		if len(frame) >= 54 and frame[23] == TCP and struct.unpack_from("!HH", frame, 34) == (int(sport), dport):
			at = struct.unpack_from("!I", frame, 38)[0]
	peer.v4[0] = socket.inet_pton(socket.AF_INET, source)
	for distance in (1 << 30, 1 << 31, -(1 << 30)):
		peer.send(peer.ip(4, peer.tcp(4, int(sport), dport, RST, at + distance)))


def reuse(peer, port):
	"""A connection that is reset, and another one between the same ports while the first lingers."""
	for family in (4, 6):
		seq, _ack = peer.connect(family, 24000, port, isn=1000)
		peer.send(peer.ip(family, peer.tcp(family, 24000, port, RST, seq)))
		time.sleep(0.1)
		peer.connect(family, 24000, port, isn=900_000_000)


def flood(peer, count):
	for i in range(int(count)):
		peer.send(peer.ip(4, peer.tcp(4, 1024 + i % 60000, 80 + i // 60000, SYN, i)))


def table(peer, port, count):
	"""Connections that are opened and then left alone."""
	for i in range(int(count)):
		peer.connect(4, 30000 + i, port)


class Evader:
	"""A connection by which a request gets past a rule that blocks it, or not.

	What takes time is a generator, of the seconds that have to pass before it goes on.
	"""

	def __init__(self, peer, source, port, family=4, kind=None, options=b""):
		"""kind, options: of its frames, and of the segments that are not odd."""
		self.peer, self.source, self.port = peer, source, port
		self.family, self.kind, self.options = family, kind, options
		self.seq, self.ack = 1000, 0

	def segment(self, offset=0, data=b"", flags=ACK | PSH, options=b""):
		return self.peer.tcp(self.family, self.source, self.port, flags, self.seq + offset, self.ack if flags & ACK else 0,
			options, data)

	def send(self, data, offset=0, flags=ACK | PSH, options=b"", spoil=0, spoil_ip=0):
		s = self.segment(offset, data, flags, options)
		packet = self.peer.ip(self.family, s[:16] + bytes([s[16] ^ spoil]) + s[17:])
		self.peer.send(packet[:10] + bytes([packet[10] ^ spoil_ip]) + packet[11:], self.kind)

	def answered(self, timeout=3):
		"""Whether the SYN is; the next segment follows the answer."""
		got = self.peer.answer(self.family, self.source, SYN | ACK, timeout)
		if got:
			self.seq, self.ack = got[1], got[0] + 1
		return got

	def syn(self):
		self.send(b"", flags=SYN, options=self.options)
		yield 0
		if not self.answered():
			raise SystemExit(f"no answer to SYN {self.source}")

	def begin(self):
		yield from self.syn()
		self.send(b"", flags=ACK, options=self.options)
		yield 0.1

	def instead(self, first, **odd):
		"""A segment that is odd in some way, and the request in its place."""
		yield from self.begin()
		self.send(first, **odd)
		yield 0.3
		self.send(BLOCKED, options=self.options)


def evade(peer, port, first, control=""):
	"""A request that a rule blocks, each time past what might be taken for another; `control`: by that way alone.

	All at the same time, each by a port of its own, from `first` on.
	"""
	ports = itertools.count(first)
	new = lambda **how: Evader(peer, next(ports), port, **how)

	def nothing_odd(c):
		yield from c.begin()
		c.send(BLOCKED)

	def inexact_rst(c):
		yield from c.begin()
		c.send(b"", 1, flags=RST)
		c.send(BLOCKED)

	def end_first(c):
		yield from c.begin()
		c.send(BLOCKED[20:], 20)
		c.send(BLOCKED[:20])
		c.send(PASSING[20:], 20)

	def extension_headers(c):
		yield from c.begin()
		chain = b"".join(bytes([after, 0]) + PAD for after in (OPTIONS,) * 4 + (TCP,))
		peer.send(peer.ip6(c.segment(data=BLOCKED), chain, OPTIONS))
		yield 0.3
		if not control:
			c.send(BLOCKED)

	def extension_header_in_fragments(c):
		yield from c.begin()
		behind = bytes([TCP, 0]) + PAD + c.segment(data=BLOCKED)
		for offset, part in ((1, behind[:32]), (32, behind[32:])):	# 1: more follow
			peer.send(peer.ip6(part, struct.pack("!BBHI", OPTIONS, 0, offset, 7), FRAGMENT))
		yield 0.3
		if not control:
			c.send(BLOCKED)

	def no_length(c):
		yield from c.begin()
		packet = peer.ip6(c.segment(data=BLOCKED), bytes([TCP, 0]) + PAD, HOP)
		peer.send(packet[:4] + bytes(2) + packet[6:])
		yield 0.3
		if not control:
			c.send(BLOCKED)

	def rst_in_handshake(c):
		yield from c.syn()
		c.send(b"", flags=RST, spoil=0x55)	# which the server discards
		yield 0.1
		c.send(b"", flags=ACK)
		c.send(BLOCKED)

	def syn_in_fragments(c):
		fragmented(peer, c.segment(flags=SYN, options=bytes([1] * 12)))
		yield 0.4
		if c.answered(timeout=0.1):	# or it did not get to the server
			c.send(b"", flags=ACK)
			c.send(BLOCKED)

	side_by_side([
		nothing_odd(new()),
		new().instead(PASSING, spoil=0x55),
		new().instead(PASSING, flags=PSH),
		inexact_rst(new()),
		new(options=CLOCK + bytes.fromhex("0010000000000000")).instead(PASSING, options=CLOCK + bytes.fromhex("0000000100000000")),
		end_first(new()),
		nothing_odd(new(kind=PRIORITY + b"\x08\x00")),
		nothing_odd(new(family=6, kind=PRIORITY + b"\x86\xdd")),
		extension_headers(new(family=6)),
		extension_header_in_fragments(new(family=6)),
		no_length(new(family=6)),
		rst_in_handshake(new()),
		syn_in_fragments(new()),
		new().instead(BLOCKED[:-30], flags=ACK | URG),	# with an offset of 0
		new().instead(PASSING, spoil_ip=0x55),
		new().instead(PASSING, options=SIGNED),
		new().instead(b"", flags=ACK | FIN, options=SIGNED),
	])


def side_by_side(generators):
	"""Runs them all; each goes on once the seconds are over that it has asked for."""
	due = {g: 0 for g in generators}
	while due:
		g = min(due, key=due.get)
		time.sleep(max(0, due.pop(g) - time.monotonic()))
		wait = next(g, None)
		if wait is not None:
			due[g] = time.monotonic() + wait


def fragmented(peer, segment):
	"""In two fragments of IPv4, the first with the whole of the plain header."""
	for fragment, part in ((0x2000, segment[:24]), (3, segment[24:])):
		peer.send(peer.ip4(part, fragment=fragment))


CASES = {f.__name__: f for f in (malformed, tcp_options, fragments, ip_options, syn_data, syn, rst_window,
	reuse, flood, table, evade)}

if __name__ == "__main__":
	case, *rest = sys.argv[1:]
	CASES[case](Peer(*rest[:5]), *(int(a) if a.isdigit() else a for a in rest[5:]))
