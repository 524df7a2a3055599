#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A hostile end: packets that no kernel would send, by a raw socket on eth0.

	hostile.py CASE MAC SOURCE4 DEST4 SOURCE6 DEST6 [ARGUMENT...]

MAC is the box's. The source addresses are nobody's, so that no kernel answers for them.
"""
import socket
import struct
import sys
import time

ETH_P_ALL = 3
FIN, SYN, RST, ACK = 1, 2, 4, 16
TCP, HOP, FRAGMENT, OPTIONS = 6, 0, 44, 60
PAD = bytes.fromhex("010400000000")	# PadN: with two bytes before it, 8


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

	def answer(self, family, sport, flags):
		"""(seq, ack) of a segment with these flags to that port; None if there is none."""
		deadline = time.monotonic() + 3
		while time.monotonic() < deadline:
			self.socket.settimeout(max(0.01, deadline - time.monotonic()))
			try:
				frame, where = self.socket.recvfrom(2048)
			except TimeoutError:
				return None
			at = 34 if family == 4 else 54
			if where[2] == socket.PACKET_OUTGOING or len(frame) < at + 20 or frame[14] >> 4 != family:
				continue
			_sport, dport, seq, ack, _off, got = struct.unpack_from("!HHIIBB", frame, at)
			if dport == sport and got & (SYN | ACK | RST) == flags:
				return seq, ack
		return None

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


def evade(peer, port, control=""):
	"""A request that a rule blocks, each time past what might be taken for another; `control`: by that way alone."""
	bad, good = (b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host for host in (b"blocked.com", b"passing.org"))
	source, cut, clock = 40999, 20, struct.pack("!BBBBII", 1, 1, 8, 10, 1 << 20, 0)
	signed = bytes([1, 1, 19, 18]) + bytes(16)	# TCP-MD5 that nobody has asked for
	priority = {4: b"\x81\x00\x60\x00\x08\x00", 6: b"\x81\x00\x60\x00\x86\xdd"}

	def segment(seq, data, flags=ACK | 8, options=b"", family=4):
		return peer.tcp(family, source, port, flags, seq, ack if flags & ACK else 0, options, data)

	def data(seq, data, flags=ACK | 8, options=b"", spoil=0, family=4, kind=None, spoil_ip=0):
		s = segment(seq, data, flags, options, family)
		packet = peer.ip(family, s[:16] + bytes([s[16] ^ spoil]) + s[17:])
		peer.send(packet[:10] + bytes([packet[10] ^ spoil_ip]) + packet[11:], kind)

	def begin(options=b"", family=4, kind=None):
		nonlocal source
		source += 1
		peer.send(peer.ip(family, peer.tcp(family, source, port, SYN, 1000, options=options)), kind)
		seq, ack = peer.answer(family, source, SYN | ACK)
		peer.send(peer.ip(family, peer.tcp(family, source, port, ACK, ack, seq + 1, options)), kind)
		time.sleep(0.1)
		return ack, seq + 1

	def instead(first, begun=b"", **odd):
		"""A segment that is odd in some way, and the request in its place; `begun`: the connection's own options."""
		nonlocal ack
		seq, ack = begin(begun)
		data(seq, first, **odd)
		time.sleep(0.3)
		data(seq, bad, options=begun)

	seq, ack = begin()
	data(seq, bad)
	instead(good, spoil=0x55)
	instead(good, flags=8)
	seq, ack = begin()
	data(seq + 1, b"", flags=RST)
	data(seq, bad)
	instead(good, clock, options=clock[:4] + struct.pack("!II", 1, 0))
	seq, ack = begin()
	data(seq + cut, bad[cut:])
	data(seq, bad[:cut])
	data(seq + cut, good[cut:])
	for family in (4, 6):
		seq, ack = begin(family=family, kind=priority[family])
		data(seq, bad, family=family, kind=priority[family])
	seq, ack = begin(family=6)
	chain = b"".join(bytes([after, 0]) + PAD for after in (OPTIONS,) * 4 + (TCP,))
	peer.send(peer.ip6(segment(seq, bad, family=6), chain, OPTIONS))
	time.sleep(0.3)
	if not control:
		data(seq, bad, family=6)
	seq, ack = begin(family=6)
	behind = bytes([TCP, 0]) + PAD + segment(seq, bad, family=6)
	for offset, part in ((1, behind[:32]), (32, behind[32:])):	# 1: more follow
		peer.send(peer.ip6(part, struct.pack("!BBHI", OPTIONS, 0, offset, 7), FRAGMENT))
	time.sleep(0.3)
	if not control:
		data(seq, bad, family=6)
	# The rest are in the order of their ports, for a server that is told which bytes it must not get.
	source += 1
	peer.send(peer.ip(4, peer.tcp(4, source, port, SYN, 1000)))
	seq, ack = (n + i for i, n in enumerate(reversed(peer.answer(4, source, SYN | ACK))))
	s = segment(seq, b"", RST)
	peer.send(peer.ip(4, s[:16] + bytes([s[16] ^ 0x55]) + s[17:]))	# which the server discards
	time.sleep(0.1)
	peer.send(peer.ip(4, segment(seq, b"", ACK)))
	data(seq, bad)
	source += 1
	fragmented(peer, peer.tcp(4, source, port, SYN, 1000, data=b"", options=bytes([1] * 12)))
	seq, ack = 1001, 0
	got = peer.answer(4, source, SYN | ACK)
	if got:	# or it did not get to the server
		seq, ack = got[1], got[0] + 1
		peer.send(peer.ip(4, segment(seq, b"", ACK)))
		data(seq, bad)
	instead(bad[:-30], flags=ACK | 32)	# urgent, with an offset of 0
	instead(good, spoil_ip=0x55)
	instead(good, options=signed)
	instead(b"", flags=ACK | FIN, options=signed)


def fragmented(peer, segment):
	"""In two fragments of IPv4, the first with the whole of the plain header."""
	for fragment, part in ((0x2000, segment[:24]), (3, segment[24:])):
		peer.send(peer.ip4(part, fragment=fragment))


CASES = {f.__name__: f for f in (malformed, tcp_options, fragments, ip_options, syn_data, syn, rst_window,
	reuse, flood, table, evade)}

if __name__ == "__main__":
	case, *rest = sys.argv[1:]
	CASES[case](Peer(*rest[:5]), *(int(a) if a.isdigit() else a for a in rest[5:]))
