#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Read pcap files; decode Ethernet, IPv4, IPv6 and TCP with all its options."""
import struct
from array import array
from ipaddress import ip_address
from pathlib import Path

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = (1 << i for i in range(9))
_FLAG_LETTERS = "FSRPAUEWN"

ETH_IPV4, ETH_IPV6, ETH_VLAN, ETH_QINQ = 0x0800, 0x86dd, 0x8100, 0x88a8
TCP = 6
_IPV6_EXTENSIONS = (0, 43, 60)	# hop-by-hop, routing, destination: length in units of 8


class Packet:
	"""One captured frame; `tcp` is False where it is no complete TCP header.

	ns: when, in nanoseconds since the epoch. All sockets that capture a packet have it stamped
	alike, but may take the packets of two CPUs in different orders.
	"""

	def __init__(self, ns, frame, original):
		self.ns, self.time = ns, ns / 1e9
		self.frame = frame
		self.truncated = original > len(frame)
		self.tcp = False
		self.family = 0
		self.l3 = 14
		proto = int.from_bytes(frame[12:14], "big")
		while proto in (ETH_VLAN, ETH_QINQ):
			proto = int.from_bytes(frame[self.l3 + 2:self.l3 + 4], "big")
			self.l3 += 4
		if proto == ETH_IPV4:
			self._ipv4()
		elif proto == ETH_IPV6:
			self._ipv6()

	def _ipv4(self):
		ip, f = self.l3, self.frame
		if len(f) < ip + 20:
			return
		self.family = 4
		self.ip_len = int.from_bytes(f[ip + 2:ip + 4], "big") or len(f) - ip
		self.ip_id = int.from_bytes(f[ip + 4:ip + 6], "big")
		self.dscp_ecn, self.ttl = f[ip + 1], f[ip + 8]
		self.src, self.dst = ip_address(f[ip + 12:ip + 16]), ip_address(f[ip + 16:ip + 20])
		fragment = int.from_bytes(f[ip + 6:ip + 8], "big") & 0x3fff
		if f[ip + 9] == TCP and not fragment:
			self._tcp(ip + 4 * (f[ip] & 15))

	def _ipv6(self):
		ip, f = self.l3, self.frame
		if len(f) < ip + 40:
			return
		self.family = 6
		payload = int.from_bytes(f[ip + 4:ip + 6], "big")
		self.ip_len = 40 + payload if payload else len(f) - ip
		self.dscp_ecn = (int.from_bytes(f[ip:ip + 2], "big") >> 4) & 0xff
		self.ttl = f[ip + 7]
		self.src, self.dst = ip_address(f[ip + 8:ip + 24]), ip_address(f[ip + 24:ip + 40])
		proto, l4 = f[ip + 6], ip + 40
		while proto in _IPV6_EXTENSIONS and len(f) >= l4 + 8:
			proto, l4 = f[l4], l4 + 8 + 8 * f[l4 + 1]
		if proto == TCP:
			self._tcp(l4)

	def _tcp(self, l4):
		f = self.frame
		if len(f) < l4 + 20:
			return
		(self.sport, self.dport, self.seq, self.ack, flags, self.window, self.checksum,
			self.urgent) = struct.unpack_from("!HHIIHHHH", f, l4)
		self.flags = flags & 0x1ff
		self.l4, self.data = l4, l4 + 4 * (flags >> 12)
		if self.data < l4 + 20:
			return
		self.tcp = True
		self.payload_len = self.l3 + self.ip_len - self.data
		self.end_seq = (self.seq + self.payload_len + bool(flags & SYN) + bool(flags & FIN)) & 0xffffffff

	@property
	def payload(self):
		return self.frame[self.data:self.l3 + self.ip_len]

	@property
	def above_link(self):
		"""Bytes from the IP header on, without Ethernet padding."""
		return self.frame[self.l3:self.l3 + self.ip_len]

	@property
	def direction(self):
		"""Key of the packet's direction: (source, port, destination, port)."""
		return (str(self.src), self.sport, str(self.dst), self.dport)

	@property
	def options(self):
		"""TCP options in order: (name or kind, value). A malformed rest is ("malformed", bytes)."""
		raw, out, i = self.frame[self.l4 + 20:self.data], [], 0
		while i < len(raw):
			kind = raw[i]
			if kind < 2:
				out.append(("eol" if kind == 0 else "nop", None))
				i += 1
				if kind == 0:
					break
				continue
			length = raw[i + 1] if i + 1 < len(raw) else 0
			body = raw[i + 2:i + length]
			if length < 2 or i + length > len(raw):
				out.append(("malformed", raw[i:]))
				break
			out.append(_option(kind, body))
			i += length
		return out

	def option(self, name):
		"""Value of the first option of that name, or None: option("timestamps") = (val, ecr)."""
		return next((v for k, v in self.options if k == name), None)

	@property
	def flag_text(self):
		return "".join(c for i, c in enumerate(_FLAG_LETTERS) if self.flags >> i & 1)

	def __str__(self):
		if not self.tcp:
			return f"{self.time:.6f} not TCP, {len(self.frame)} bytes"
		options = " ".join(f"{k}={v}" if v is not None else str(k) for k, v in self.options)
		return (f"{self.time:.6f} {self.src}:{self.sport} > {self.dst}:{self.dport} "
			f"[{self.flag_text}] seq {self.seq}+{self.payload_len} ack {self.ack} "
			f"win {self.window} ttl {self.ttl} <{options}>")


def _option(kind, body):
	if kind == 2 and len(body) == 2:
		return "mss", int.from_bytes(body, "big")
	if kind == 3 and len(body) == 1:
		return "wscale", body[0]
	if kind == 4 and not body:
		return "sack_permitted", True
	if kind == 5 and len(body) % 8 == 0:
		edges = struct.unpack(f"!{len(body) // 4}I", body)
		return "sack", list(zip(edges[::2], edges[1::2]))
	if kind == 8 and len(body) == 8:
		return "timestamps", struct.unpack("!II", body)
	return {34: "fastopen", 30: "mptcp", 172: "accecn0", 174: "accecn1"}.get(kind, kind), bytes(body)


def read(path):
	"""All packets of a pcap file with Ethernet frames, as tcpdump -w writes it."""
	raw = Path(path).read_bytes()
	unit = {0xa1b2c3d4: 1000, 0xa1b23c4d: 1}	# of the second number of a time stamp, in ns
	for endian in "<>":
		magic, = struct.unpack_from(endian + "I", raw)
		if magic in unit:
			break
	else:
		raise ValueError(f"{path}: not a pcap file")
	link, = struct.unpack_from(endian + "I", raw, 20)
	if link != 1:
		raise ValueError(f"{path}: link type {link}, not Ethernet")
	packets, at = [], 24
	while at + 16 <= len(raw):
		sec, frac, length, original = struct.unpack_from(endian + "IIII", raw, at)
		at += 16
		packets.append(Packet(sec * 10**9 + frac * unit[magic], raw[at:at + length], original))
		at += length
	return packets


def flows(packets):
	"""TCP packets by direction, in order: {(src, sport, dst, dport): [Packet]}."""
	out = {}
	for p in packets:
		if p.tcp:
			out.setdefault(p.direction, []).append(p)
	return out


def seq_after(a, b):
	"""Is sequence number a after b, modulo 2^32?"""
	return 0 < (a - b) & 0xffffffff < 1 << 31


def _sum16(data):
	a = array("H", data if len(data) % 2 == 0 else data + b"\0")
	total = sum(a)
	while total >> 16:
		total = (total & 0xffff) + (total >> 16)
	return total


def checksum_errors(packets, tcp=True):
	"""Packets with a wrong IPv4 header or (unless tcp=False: before offload) TCP checksum."""
	bad = []
	for p in packets:
		if not p.tcp or p.truncated:
			continue
		ip = p.above_link
		if p.family == 4 and _sum16(ip[:4 * (ip[0] & 15)]) != 0xffff:
			bad.append(p)
			continue
		segment = p.frame[p.l4:p.l3 + p.ip_len]
		pseudo = p.src.packed + p.dst.packed + struct.pack("!II", len(segment), TCP)
		if tcp and _sum16(pseudo + segment) != 0xffff:
			bad.append(p)
	return bad


def _masked(packet, ignore_tcp_checksum):
	raw = bytearray(packet.above_link)
	if packet.family == 4:
		raw[8] = raw[10] = raw[11] = 0
	else:
		raw[7] = 0
	if ignore_tcp_checksum:
		at = packet.l4 - packet.l3 + 16
		raw[at:at + 2] = b"\0\0"
	return bytes(raw)


def segments(packets, mss):
	"""The packets with those of more than mss bytes of payload cut up, as the kernel's GSO does.

	TCP checksums of the pieces are not computed.
	"""
	out = []
	for p in packets:
		if not p.tcp or p.truncated or p.payload_len <= mss:
			out.append(p)
			continue
		payload, head = p.payload, p.frame[:p.data]
		for n, at in enumerate(range(0, len(payload), mss)):
			piece, last = payload[at:at + mss], at + mss >= len(payload)
			raw = bytearray(head + piece)
			struct.pack_into("!I", raw, p.l4 + 4, (p.seq + at) & 0xffffffff)
			raw[p.l4 + 13] &= 0xff if last else 0xff & ~(FIN | PSH)
			raw[p.l4 + 13] &= 0xff if n == 0 else 0xff & ~CWR
			length = len(raw) - p.l3
			if p.family == 4:
				struct.pack_into("!HH", raw, p.l3 + 2, length, (p.ip_id + n) & 0xffff)
			else:
				struct.pack_into("!H", raw, p.l3 + 4, length - 40)
			out.append(Packet(p.ns, bytes(raw), len(raw)))
	return out


def same_above_link(a, b, ignore_tcp_checksum=False, one_way=False):
	"""Compare two captures of the same packets, before and after the box, per direction, in order.

	Byte for byte from the IP header on, but for TTL or hop limit and the IPv4 header checksum.
	ignore_tcp_checksum: for captures before checksum offload. one_way: only one direction need be there.
	Returns the differences as text; none, and at least one TCP packet in each direction, is an empty list.
	"""
	one, two = flows(a), flows(b)
	keys = one.keys() | two.keys()
	out = [] if keys else ["no TCP packets at all"]
	if not one_way:
		out += [f"{key}: none of the other direction" for key in keys if key[2:] + key[:2] not in keys]
	for key in keys:
		left, right = one.get(key, []), two.get(key, [])
		if len(left) != len(right):
			out.append(f"{key}: {len(left)} packets before, {len(right)} after the box")
		for x, y in zip(left, right):
			if x.truncated or y.truncated:
				out.append(f"captured short: {x}")
			elif _masked(x, ignore_tcp_checksum) != _masked(y, ignore_tcp_checksum):
				out.append(f"differ:\n  {x}\n  {y}")
			if len(out) > 20:
				return out + ["..."]
	return out
