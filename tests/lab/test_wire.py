#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Bump in the wire: every frame that is not Seam's crosses as it is, and flows that are not split do."""
import socket
import struct
import time
from collections import Counter

import pcap
from byhand import flow_to
from lab import NOTICED, SERVER, scenario, seam_json, start_seam
from peers import both_ways, reasons
from sockets import accept, connect, exchange, inside, listen
from wires import MAC_PREFIX, NAMES, POLICY, TAGGED, UNTAGGED, XDP, WireLab

BROADCAST = b"\xff" * 6
SOMEBODY = bytes.fromhex("020000000099")	# no interface here has it
ALL_NODES = bytes.fromhex("333300000001")
LINK_LOCAL = bytes.fromhex("0180c2000000")	# no bridge forwards it
LLDP = bytes.fromhex("0180c200000e")


def tag(vlan, proto=0x8100, pcp=0, dei=0):
	return struct.pack("!HH", proto, pcp << 13 | dei << 12 | vlan)


def ipv4(proto, body, ttl=64, fragment=0, options=b""):
	head = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body), 7, fragment, ttl, proto, 0,
		bytes([10, 99, 1, 99]), bytes([10, 99, 2, 99])) + options
	total = sum(struct.unpack(f"!{len(head) // 2}H", head))
	total = (total & 0xffff) + (total >> 16)
	return b"\x08\x00" + head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + head[12:] + body


def ipv6(proto, body, hops=64):
	return b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(body), proto, hops) + bytes(15) + b"\1" + bytes(15) + b"\2" + body


TCP = struct.pack("!HHIIBBHHH", 1234, 80, 1, 1, 0x50, 0x10, 1000, 0, 0)
# What comes behind the MAC addresses, and where it goes.
FRAMES = {
	"ARP": (BROADCAST, b"\x08\x06" + struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + MAC_PREFIX + b"\0" + bytes([10, 99, 1, 99])
		+ bytes(6) + bytes([10, 99, 2, 99])),
	"LLDP": (LLDP, b"\x88\xcc\x02\x07\x04" + bytes(6) + b"\x04\x03\x03p1\x06\x02\x00\x78\x00\x00"),
	"STP": (LINK_LOCAL, b"\x00\x26\x42\x42\x03" + bytes(35)),
	"a slow protocol (LACP)": (bytes.fromhex("0180c2000002"), b"\x88\x09\x01\x01" + bytes(108)),
	"IPv6 neighbour solicitation": (ALL_NODES, ipv6(58, b"\x87" + bytes(23), 255)),
	"unknown ethertype": (SOMEBODY, b"\x99\x99" + bytes(range(200))),
	"broadcast": (BROADCAST, b"\x99\x98" + bytes(100)),
	"VLAN": (SOMEBODY, tag(7) + ipv4(17, bytes(30))),
	"VLAN with priority and DEI": (SOMEBODY, tag(7, pcp=5, dei=1) + ipv4(17, bytes(30))),
	"priority tag": (SOMEBODY, tag(0, pcp=3) + ipv4(17, bytes(30))),
	"802.1ad": (SOMEBODY, tag(9, 0x88a8) + ipv6(17, bytes(30))),
	"QinQ": (SOMEBODY, tag(9, 0x88a8) + tag(7) + ipv4(17, bytes(30))),
	"QinQ, 802.1Q twice": (SOMEBODY, tag(9) + tag(7, pcp=7) + ipv6(17, bytes(30))),
	"three tags": (SOMEBODY, tag(9, 0x88a8) + tag(8) + tag(7) + ipv4(17, bytes(30))),
	"a tag and no IP": (SOMEBODY, tag(7) + b"\x99\x97" + bytes(60)),
	"two tags and no IP": (SOMEBODY, tag(9, 0x88a8) + tag(7) + b"\x08\x06" + bytes(60)),
	"a stranger's TCP": (SOMEBODY, ipv4(6, TCP)),
	"the same, TTL 1": (SOMEBODY, ipv4(6, TCP, ttl=1)),
	"the same in QinQ": (SOMEBODY, tag(9, 0x88a8, pcp=2) + tag(7, pcp=1) + ipv4(6, TCP)),
	"the same in IPv6": (SOMEBODY, ipv6(6, TCP, 1)),
	"a fragment": (SOMEBODY, ipv4(6, bytes(64), fragment=0x2010)),
	"IP options": (SOMEBODY, ipv4(6, TCP, options=b"\x94\x04\0\0")),
	"broken IPv4": (SOMEBODY, b"\x08\x00\x4f" + bytes(60)),
	"jumbo": (SOMEBODY, b"\x99\x96" + bytes(i & 255 for i in range(9000))),
	"jumbo with two tags": (SOMEBODY, tag(9) + tag(7) + b"\x99\x95" + bytes(8996)),
	"a jumbo stranger in QinQ": (SOMEBODY, tag(9, 0x88a8) + tag(7) + ipv4(6, TCP + bytes(8940))),
}


def send(lab, ns, frames):
	"""Frames of exactly these bytes."""
	with inside(lab, ns):
		s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
	with s:
		s.bind(("eth0", 0))
		for frame in frames:
			s.send(frame)


def every_frame(tap):
	with WireLab(mtu=9000) as lab:
		seam = start_seam(lab, POLICY)
		for ns, to in (("client", "server"), ("server", "client")):
			sent = {name: dst + MAC_PREFIX + bytes([i]) + body.ljust(46, b"\0")
				for i, (name, (dst, body)) in enumerate(FRAMES.items())}
			near, far = lab.capture(ns, "eth0", ""), lab.capture(to, "eth0", "")
			send(lab, ns, sent.values())
			near = [p.frame for p in near.stop() if p.frame[6:11] == MAC_PREFIX]
			far = [p.frame for p in far.stop() if p.frame[6:11] == MAC_PREFIX]
			for name, frame in sent.items():
				tap.ok(far.count(frame) == 1, f"{ns} to {to}: {name}", frame.hex(), *(x.hex() for x in far if x[11] == frame[11]))
			tap.equal(near, list(sent.values()), f"{ns} to {to}: none is answered, or comes back")
			tap.equal(far, near, f"{ns} to {to}: nor is any other there, and all are in order")
		tap.equal(reasons(lab).get("mtu", 0), 0, "none was too long")
		status = seam_json(lab, "status")
		tap.equal((status["mode"], {p["name"]: (p["partner"], p["link"]) for p in status["ports"]}),
			("wire", {"cli": ("srv", "up"), "srv": ("cli", "up")}), "status tells the wire")
		tap.equal(lab.run("box", ["ip", "-o", "addr", "show", "dev", "cli"]).stdout, "", "a port has no address, not even IPv6's own")
		tap.equal(seam.stop(), 0, "seam ends")


STATES = {7001: "passed", 7002: "monitored", 7003: "merged"}
RULES = """
rules = ( { name = "let_go"; server_port = 7001; action = "pass"; },
	  { name = "later"; server_port = 7002; action = "inspect"; inspectors = ["count"]; until = { bytes = 1; };
	    after = { bytes = "1G"; }; },
	  { name = "all"; action = "inspect"; inspectors = ["count"]; until = { bytes = 1; }; } );
"""


def different_frames(near, far, grouped):
	"""As text, those of only one capture; `grouped`: an end's GRO has put some together before they were captured."""
	if not grouped:
		near, far = (Counter(p.frame for p in c) for c in (near, far))
		return [f"only {where}: {frame[:96].hex()}" for where, only in (("near", near - far), ("far", far - near)) for frame in only]
	near, far = (pcap.segments(c, 1448 if c[0].family == 4 else 1428) for c in (near, far))
	left, arrived = ({(p.frame[:p.l3], p.ttl) for p in c} for c in (near, far))
	return [f"{head.hex()}, TTL {ttl}" for head, ttl in left ^ arrived] + pcap.same_above_link(near, far, ignore_tcp_checksum=True)


def unsplit(tap, lab, family, port, what):
	"""A flow that is not split, both ways; when it began to be what it is, and when it was so no more."""
	listener = listen(lab, port)
	with lab.deltas() as d, connect(lab, SERVER[family], port) as a, accept(listener) as b:
		exchange(a, b)
		flow_to(lab, port, (STATES[port],))
		time.sleep(0.1)	# no end's clock is behind what its leg has told any more,
		exchange(a, b)	# and the box has seen that: it changes no timestamp from here on
		time.sleep(0.1)	# acknowledgements that are delayed
		begin = time.time()
		both_ways(tap, a, b, what)
		time.sleep(0.05)	# the last ones are on their way
		end = time.time()
	listener.close()
	for ns in ("client", "server"):
		tap.zero(d[ns], NOTICED, f"{what}: the {ns} noticed nothing")
	return begin, end


def same_frames(tap, near, far, what, port, begin, end, grouped):
	"""What left one end of it has reached the other: MAC addresses, tags, TTL and all."""
	near, far = ([p for p in c if p.tcp and port in (p.sport, p.dport) and begin < p.time < end] for c in (near, far))
	tap.ok(len(near) > (700 if grouped else 1400), f"{what}: frames are captured", len(near))
	tap.equal(different_frames(near, far, grouped), [], f"{what}: they are the same")


def flows(tap, tags, xdp=""):
	"""Every packet is one frame here."""
	what = NAMES[tags] + (", XDP" if xdp else "")
	with WireLab("off", tags=tags) as lab:
		if xdp:
			lab.ready_for_xdp()
		start_seam(lab, POLICY + RULES + xdp)
		captures = [lab.capture(ns, "eth0", "") for ns in ("client", "server")]
		seen = []
		for family in SERVER:
			for port, state in STATES.items():
				name = f"{what}, IPv{family}, {state}"
				seen.append((name, port, *unsplit(tap, lab, family, port, name)))
		near, far = (c.stop() for c in captures)
		for flow in seen:
			same_frames(tap, near, far, *flow, bool(xdp))
		by_xdp = reasons(lab).get("xdp", 0)
		if xdp and tags == UNTAGGED:
			tap.ok(by_xdp > 3000, f"{what}: XDP forwarded {by_xdp} packets")
		else:
			tap.equal(by_xdp, 0, f"{what}: XDP forwarded none")


@scenario
def main(tap):
	every_frame(tap)
	for tags in NAMES:
		flows(tap, tags)
	for tags in (UNTAGGED, TAGGED):
		flows(tap, tags, XDP)
