#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the network says about a split flow, or does not say: ICMP errors, small MTUs, silence.

Behind the server is a router's job done by the server's namespace: `far` is a host beyond it.

    client ---- box ---- server (router) ---- far    10.99.3.2, fd99:3::2
"""
import contextlib
import socket
import time

from lab import Lab, scenario, start_seam, wait_for
from peers import FAMILY, Pair, data, error_of, hearing, reasons, saying, state, through_both

FAR = {4: "10.99.3.2", 6: "fd99:3::2"}
NET = {4: "10.99.3.0/24", 6: "fd99:3::/64"}
HOP = {4: "10.99.2.2", 6: "fd99:2::2"}
BODY = data(200_000, 5)
KEEPALIVE = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1),
	(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3))


def build_far(lab):
	"""The router's link to `far` takes 1300 bytes; `far` does not know and offers an MSS of 1460."""
	lab._add_ns("far")
	lab.run("server", ["ip", "link", "add", "far", "type", "veth", "peer", "name", "eth0", "netns", lab.ns("far")])
	lab.run("server", ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
	for ns, iface, host in (("server", "far", 1), ("far", "eth0", 2)):
		lab._sysctl(ns, {f"net.ipv6.conf.{iface}.accept_dad": 0})
		lab._ip_batch(ns, f"addr add 10.99.3.{host}/24 dev {iface}\naddr add fd99:3::{host}/64 dev {iface} nodad\n"
			f"link set dev {iface} up\n")
		lab.run(ns, ["ethtool", "-K", iface, "tx", "off", "tso", "off", "gso", "off", "gro", "off"])
	lab.run("server", ["ip", "link", "set", "far", "mtu", "1300"])
	lab._ip_batch("far", "route add default via 10.99.3.1\nroute add default via fd99:3::1\n")
	lab._ip_batch("box", "".join(f"route add {NET[f]} via {HOP[f]}\n" for f in FAMILY))


def forget_mtu(lab):
	"""What one connection has learnt must not help the next."""
	for ns in ("client", "far", "server"):
		for family in FAMILY:
			lab.run(ns, ["ip", f"-{family}", "route", "flush", "cache"])


def smaller_mtu(lab, family):
	"""Data for `far` meet a link too small for them: fragmentation needed, and it arrives all the same."""
	forget_mtu(lab)
	with lab.deltas("server") as d, Pair(lab, family, ends=("client", "far"), host=FAR[family]) as p:
		p.prime()
		heard = hearing(p.server, limit=len(BODY))
		saying(p.client, BODY).result()
		got = heard.result()
	told = d["server"]["IcmpOutDestUnreachs" if family == 4 else "Icmp6OutPktTooBigs"]
	return got == (BODY, "more"), told > 0


@contextlib.contextmanager
def narrowed(lab, family):
	"""The route of the box to `far` takes less than its link."""
	route = ["ip", f"-{family}", "route", "replace", NET[family], "via", HOP[family]]
	lab.run("box", [*route, "mtu", "lock", "1290"])
	try:
		yield
	finally:
		lab.run("box", route)


def smaller_route(lab, family):
	"""The route of the box itself is smaller than its link."""
	forget_mtu(lab)
	with narrowed(lab, family), Pair(lab, family, ends=("client", "far"), host=FAR[family]) as p:
		p.prime()
		heard = hearing(p.server, limit=len(BODY))
		saying(p.client, BODY).result()
		return heard.result() == (BODY, "more")


SHORTER = """
client = "cli";
server = "srv";
rules = ( { name = "shorter"; action = "inspect"; inspectors = ["replace"]; replace = ( { find = "0123456789"; with = "-"; } ); until = { bytes = 20; }; } );
"""


def smaller_route_edited(tap, lab, family):
	"""The same for a flow that was merged, of which an edit has left less: the error quotes what the client has sent."""
	forget_mtu(lab)
	with Pair(lab, family, ends=("client", "far"), host=FAR[family]) as p:
		p.client.sendall(b"!0123456789!" + b"." * 20)
		wait_for(lambda: state(lab, p) == "merged", "it to be merged")
		tap.equal(p.server.recv(100), b"!-!" + b"." * 20, f"IPv{family}: edited, and merged")
		# One segment: of several, the numbers of those behind the first could be taken for what it has sent.
		with narrowed(lab, family):
			heard = hearing(p.server, limit=1400, timeout=10)
			saying(p.client, BODY[:1400])
			tap.ok(heard.result() == (BODY[:1400], "more"), f"IPv{family}: a smaller route of the box is told to the client")


@contextlib.contextmanager
def nft(lab, ns, rule, hook="forward"):
	lab.run(ns, ["nft", "-f", "-"], input=f"table inet t {{ chain c {{ type filter hook {hook} priority 0; {rule}\n}}\n}}\n")
	try:
		yield
	finally:
		lab.run(ns, ["nft", "delete", "table", "inet", "t"])


def unreachable(lab, family, kind):
	"""The router refuses for a moment: an established connection bears it, and goes on."""
	forget_mtu(lab)
	with Pair(lab, family, ends=("client", "far"), host=FAR[family]) as p:
		p.prime()
		with nft(lab, "server", f"tcp dport {p.server.getsockname()[1]} counter reject with icmpx type {kind}"):
			p.client.sendall(b"?")
			time.sleep(0.3)
		return p.server.recv(1)


def vanished(tap, lab):
	"""A peer is gone without a word. The end that asks with keepalives is told, through the split."""
	with contextlib.ExitStack() as stack:
		asking = []
		for family, reverse, ns in ((4, False, "server"), (6, True, "client")):
			p = stack.enter_context(Pair(lab, family, reverse))
			for option in KEEPALIVE:
				p.a.setsockopt(*option)
			p.prime()
			asking.append((f"IPv{family}, {'server' if reverse else 'client'} asks", p, ns,
				lab.capture(ns, "eth0", f"tcp port {p.port}")))
		time.sleep(3.5)
		for way, p, ns, capture in asking:
			ports = p.b.getsockname()[1], p.a.getsockname()[1]
			seen = [x for x in capture.stop() if x.tcp and not x.payload_len and (x.dport, x.sport) == ports]
			tap.ok(len(seen) >= 2, f"{way}: the other end is asked as well", *map(str, seen))
			tap.equal(state(lab, p), "split", f"{way}: its answers keep the flow")
			stack.enter_context(nft(lab, ns, f"tcp dport {ports[0]} drop", "input"))
		for way, p, _ns, _capture in asking:
			tap.ok(error_of(p.a, timeout=25) in ("ETIMEDOUT", "ECONNRESET"), f"{way}: and without, it ends")


@scenario
def main(tap):
	with Lab("off") as lab:
		build_far(lab)
		cases = []
		for f in FAMILY:
			cases += [(f"IPv{f}: smaller MTU behind the box", lambda f=f: smaller_mtu(lab, f), (True, True)),
				(f"IPv{f}: smaller MTU of the box's route", lambda f=f: smaller_route(lab, f), True)]
			cases += [(f"IPv{f}: {kind}", lambda f=f, kind=kind: unreachable(lab, f, kind), b"?")
				for kind in ("host-unreachable", "port-unreachable")]
		seam = through_both(tap, lab, cases)
		counted = reasons(lab)
		tap.ok(counted.get("icmp_leg", 0) >= 6, "the errors went to the legs", counted)
		tap.ok(counted.get("mtu", 0) >= 2, "and the box made its own", counted)
		tap.equal(counted["legs_ready"], len(cases), "all were split")
		vanished(tap, lab)
		tap.equal(seam.stop(), 0, "seam ends")
		seam = start_seam(lab, SHORTER)
		for f in FAMILY:
			smaller_route_edited(tap, lab, f)
		tap.equal(seam.stop(), 0, "seam ends")
