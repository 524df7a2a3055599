#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Inspected connections that come to rest are merged, every one, and neither end can tell.

1 byte to 1 GiB through Seam, and the same but for 1 GiB over plain kernel forwarding.
"""
import itertools

import pcap
from daemon import Daemon
from lab import NOTICED, NOTICED_AT_LEGS, SERVER, Lab, scenario, start_seam, wait_for
from servers import Nginx
from webclient import WebClient

POLICY = """
client = "cli";
server = "srv";
decide = "daemon";
rules = (
	{ name = "web"; host = "inspect.test"; action = "inspect"; inspectors = ["http"]; },
	{ name = "tls"; sni = "*.inspect.test"; action = "inspect"; inspectors = ["tls"]; },
	{ name = "held"; host = "held.test"; action = "pass"; },
	{ name = "held-tls"; sni = "*.held.test"; action = "pass"; }
);
"""
SIZES = {"1b": 1, "64k": 64 << 10, "10m": 10_000_000, "1g": 1 << 30}

# What is fetched, each over a connection of its own: (family, tls, name).
SMALL = [(family, tls, name) for family, tls, name in itertools.product((4, 6), (False, True), ("1b", "64k", "10m"))]
ALL = SMALL + [(4, False, "1g"), (6, True, "1g")]


def host_of(domain, tls):
	return f"www.{domain}" if tls else domain


def label(family, tls, name):
	return f"IPv{family} {'https' if tls else 'http'} {name}"


def transfers(tap, lab, web, what, which, rest=None):
	"""Before it closes, each connection stays until rest(how many there were) is true."""
	for n, (family, tls, name) in enumerate(which, 1):
		with WebClient(lab, SERVER[family], host_of("inspect.test", tls), tls) as client:
			got = client.get(f"/{name}")
			tap.equal(got, (web.sha256[name], SIZES[name]), f"{what}: {label(family, tls, name)} arrives whole")
			if rest:
				wait_for(lambda: rest(n), f"{label(family, tls, name)} to be merged")


def shake(packets, client_port):
	"""The SYN, its answer, and the ack of that."""
	return [p for p in packets if p.flags & pcap.SYN] + [p for p in packets if p.sport == client_port][1:2]


def watched(lab, family, tls, domain):
	"""One small transfer: the packets on the client's side of the box, and on the server's."""
	before, after = lab.capture("client", "eth0"), lab.capture("server", "eth0")
	with WebClient(lab, SERVER[family], host_of(domain, tls), tls) as client:
		client.get("/64k")
	return client.port, before.stop(), after.stop()


def same_handshake(tap, what, port, before, after):
	one, two = shake(before, port), shake(after, port)
	tap.equal(pcap.same_above_link(one, two, ignore_tcp_checksum=True), [],
		f"{what}: the handshake is the same on both sides")
	tap.equal((len(one), [p.options for p in one]), (3, [p.options for p in two]), f"{what}: with all its options")


def captures(tap, lab, daemon):
	for family, tls in itertools.product((4, 6), (False, True)):
		kind = f"IPv{family} {'https' if tls else 'http'}"
		same_handshake(tap, f"{kind}, split", *watched(lab, family, tls, "inspect.test"))
		# Where the daemon has to wait for a CPU, the timer makes a split of the hold: then once more.
		for _ in range(10):
			splits = daemon.stats()["splits"]
			seen = watched(lab, family, tls, "held.test")
			if daemon.stats()["splits"] == splits:
				break
		same_handshake(tap, f"{kind}, held and released", *seen)
		tap.equal(pcap.same_above_link(*seen[1:], ignore_tcp_checksum=True), [],
			f"{kind}, held and released: and so is every packet")


@scenario
def main(tap):
	with Lab() as lab:
		web = Nginx(lab, SIZES)
		with lab.deltas() as plain:
			transfers(tap, lab, web, "kernel forwarding", SMALL)
		seam = start_seam(lab, POLICY)
		daemon = Daemon(lab)
		with lab.deltas("client", "server", "legs") as inspected:
			transfers(tap, lab, web, "inspected", ALL, lambda n: daemon.stats()["merges"] == n)
		for what, d in (("kernel forwarding", plain), ("inspected", inspected)):
			for end, counters in d.items():
				tap.zero(counters, NOTICED_AT_LEGS if end == "legs" else NOTICED, f"{what}: {end}: noticed nothing")
		stats = daemon.stats()
		tap.equal((stats["splits"], stats["merges"]), (len(ALL), len(ALL)), "each was split once, and merged once")
		# What a leg says only to the box counts as dropped there.
		tap.equal({k: n for k, n in lab.drops().items() if k != "box/seam0 clsact"}, {}, "no packet was lost on the way")
		captures(tap, lab, daemon)
		tap.equal(seam.stop(), 0, "seam ends")
