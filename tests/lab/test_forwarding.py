#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The lab is sound: plain kernel forwarding carries real traffic and neither end notices."""
import hashlib
import re

import pcap
from lab import CLIENT4, CLIENT6, NOTICED, REGIMES, SERVER, SERVER4, Lab, Link, scenario
from servers import SIZES, Greeter, LoadServer, Nginx, Sshd, client


def offloads_as_told(tap, lab):
	text = lab.run("box", ["ethtool", "-k", "srv"]).stdout
	state = dict(re.findall(r"^\s*(\S+): (on|off)", text, re.M))
	tap.equal((state["tx-checksumming"], state["tx-tcp-segmentation"]),
		("on", "on") if lab.regime == "on" else ("off", "off"), "the box's offloads are as told")


def web_transfers(tap, lab, web):
	for family, host in SERVER.items():
		for scheme in ("http", "https"):
			for name in web.sha256:
				url = f"{scheme}://{f'[{host}]' if family == 6 else host}/{name}"
				digest, _length, seconds = lab.curl(url)
				tap.ok(digest == web.sha256[name], f"{lab.regime}: {url} arrives whole, {seconds:.2f} s")
	seen = {a["addr"] for a in web.accesses()}
	tap.equal(seen, {CLIENT4, CLIENT6}, f"{lab.regime}: the server saw the client's addresses")


def unchanged_packets(tap, lab, web):
	before = lab.capture("client", "eth0", "tcp port 80")
	after = lab.capture("server", "eth0", "tcp port 80")
	lab.curl(f"http://{SERVER4}/64k")
	up, down = before.stop(), after.stop()
	if lab.regime == "box":	# which cuts what it cannot offload
		up, down = pcap.segments(up, 1448), pcap.segments(down, 1448)
	tap.equal(pcap.same_above_link(up, down, ignore_tcp_checksum=lab.regime != "off"), [],
		f"{lab.regime}: the same {len(up)} packets at both ends, TTL apart")
	if lab.regime == "off":
		tap.equal([str(p) for p in pcap.checksum_errors(up + down)], [], "off: checksums are right")
		tap.ok(max(len(p.frame) for p in up) <= 1514, "off: packets fit the MTU")


def raw_connections(tap, lab):
	# Small windows: 20 of the standard ones could overrun the queue between two veths.
	server = LoadServer(lab, "echo", 7000, expect=3, rcvbuf=16384)
	reports = client(lab, "source", SERVER4, 7000, send=1_000_000, seed=3, expect=3, recv=1_000_000,
		count=20, rate=4_000_000, rcvbuf=16384)
	tap.ok(len(reports) == 20 and all(r["end"] == "eof" and r["tx_sha256"] == r["rx_sha256"] for r in reports),
		f"{lab.regime}: 20 connections are echoed whole", *reports)
	tap.equal(len(server.results(20)), 20, f"{lab.regime}: the server saw 20 connections end")


def server_first(tap, lab):
	body = "seam\n" * 2000
	tap.equal(Greeter(lab).send(body), hashlib.sha256(body.replace("\n", "\r\n").encode()).hexdigest(),
		"SMTP: the mail arrives whole")
	data = "0123456789abcdef" * 65536
	out = Sshd(lab).run("sha256sum; echo $SSH_CLIENT", input=data).stdout.split()
	tap.equal([out[0], out[2]], [hashlib.sha256(data.encode()).hexdigest(), CLIENT4],
		"SSH: input arrives whole, from the client's address")


def forwarding(tap, regime):
	with Lab(regime=regime, stateful=True) as lab:
		offloads_as_told(tap, lab)
		web = Nginx(lab, SIZES if regime == "on" else {name: size for name, size in SIZES.items() if name != "200m"})
		with lab.deltas() as d:
			web_transfers(tap, lab, web)
			unchanged_packets(tap, lab, web)
			raw_connections(tap, lab)
			if regime == "on":
				server_first(tap, lab)
		for end, counters in d.items():
			tap.zero(counters, NOTICED, f"{regime}: the {end} noticed nothing")
		tap.equal(lab.drops(), {}, f"{regime}: no veth or queue dropped a packet")


def impaired(tap):
	with Lab(client_link=Link(loss=1, seed=5, delay=1)) as lab:
		LoadServer(lab, "sink", 7000, expect=1)
		report, = client(lab, "source", SERVER4, 7000, send=30_000_000)
		up = lab.impair_counters("client")["up"]
		share = up["lost"] / up["rx_packets"]
		tap.ok(0.007 < share < 0.013, f"1 % loss: {up['lost']} of {up['rx_packets']} packets lost", up)
		tap.ok(report["end"] == "eof" and report["retransmits"] >= up["lost"] / 2,
			f"1 % loss: TCP repaired it with {report['retransmits']} retransmissions", report)
	with Lab(server_link=Link(dup=2, reorder=2, seed=5, delay=1)) as lab:
		server = LoadServer(lab, "sink", 7000, expect=1)
		client(lab, "source", SERVER4, 7000, send=10_000_000)
		up = lab.impair_counters("server")["up"]
		report, = server.results(1)
		tap.ok(all(0.01 < up[k] / up["rx_packets"] < 0.03 for k in ("duplicated", "reordered")),
			f"2 % each: {up['duplicated']} duplicated, {up['reordered']} reordered", up)
		tap.ok(report["rx_bytes"] == 10_000_000 and report["mismatch_at"] == -1, "and the bytes are right", report)
	for regime in ("on", "off"):
		with Lab(regime, congestion="reno", client_link=Link(delay=10, rate=500, queue=4_000_000)) as lab:
			LoadServer(lab, "echo", 7000)
			LoadServer(lab, "sink", 7001, expect=1, no_hash=True)
			ping, = client(lab, "source", SERVER4, 7000, send=2000, chunk=100, pingpong=True, nodelay=True)
			tap.ok(20_000 <= ping["min_rtt_us"] < 22_000,
				f"{regime}: a round trip of 20 ms: {ping['min_rtt_us']} us", ping)
			with lab.deltas() as d:
				bulk, = client(lab, "source", SERVER4, 7001, send=60_000_000, no_hash=True)
			counters = lab.impair_counters("client")
			mbit = bulk["tx_bytes"] * 8 / bulk["duration_us"]
			tap.ok(100 < mbit < 500, f"{regime}: 500 Mbit/s, 20 ms: {mbit:.0f} Mbit/s", bulk, counters)
			tap.equal((counters["up"]["queue_dropped"], counters["up"]["rx_overrun"]), (0, 0),
				f"{regime}: nothing lost on the slow link")
			tap.equal(lab.drops(), {}, f"{regime}: nothing lost around it")
			for end in d:
				tap.zero(d[end], NOTICED, f"{regime}: the {end} noticed nothing of it")


@scenario
def main(tap):
	for regime in REGIMES:
		forwarding(tap, regime)
	impaired(tap)
