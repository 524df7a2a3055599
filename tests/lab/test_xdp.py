#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A flow that was inspected and merged goes through XDP, unharmed, and goes on so without the daemon."""
import json
import re
import signal
from pathlib import Path

import pcap
from lab import NOTICED, SERVER, Lab, LabError, scenario, seam_binary, start_seam, wait_for
from servers import LoadServer, client, finish_client, start_client

PINS = Path("/sys/fs/bpf/seam/default")
BIG = 40_000_000
# A program that passes everything, and no dispatcher; it comes with libxdp.
FOREIGN = "/usr/lib/x86_64-linux-gnu/bpf/xsk_def_xdp_prog.o"
SEAM = ("--client", "cli", "--server", "srv", "--inspect")
PORTS = ("cli", "srv")
MERGED = 8	# enum flow_state
TSDELTA = 1 << 14	# FLOW_F_TSDELTA


def reason_number(name):
	text = (Path(__file__).parents[2] / "include/seam/reason.h").read_text()
	return int(re.search(rf'X\(\w+, (\d+), "{name}"', text)[1])


def bpftool(lab, *args):
	return json.loads(lab.run("box", ["bpftool", "-j", *args]).stdout or "null")


def by_xdp(lab):
	"""Packets that XDP forwarded."""
	key = reason_number("xdp").to_bytes(4, "little")
	found = bpftool(lab, "map", "lookup", "pinned", PINS / "reasons", "key", *map(str, key))
	return sum(int.from_bytes(bytes(int(b, 16) for b in v["value"]), "little") for v in found["values"])


def attached(lab):
	"""What `ip link` shows, by interface: {"cli": (mode, program id)}."""
	links = json.loads(lab.run("box", ["ip", "-j", "-d", "link", "show"]).stdout)
	return {x["ifname"]: (x["xdp"]["mode"], x["xdp"]["prog"]["id"]) for x in links if x.get("xdp")}


def links(lab):
	"""Ids of the links that hold the programs on the ports: others may be on the same host."""
	ours = {i for _mode, i in attached(lab).values()}
	return {x["id"] for x in bpftool(lab, "link", "show") if x["type"] == "xdp" and x["prog_id"] in ours}


def runs(lab):
	"""How often the programs on the ports have run; needs kernel.bpf_stats_enabled."""
	return {p: bpftool(lab, "prog", "show", "id", i).get("run_cnt", 0) for p, (_mode, i) in attached(lab).items()}


def complete_checksums(lab):
	"""What native XDP on a veth needs: the regime "off" has it, but for NAPI at the ends."""
	for end in ("client", "server"):
		lab.run(end, ["ethtool", "-K", "eth0", "gro", "on"])


def merged_before(options):
	"""The first exchange is inspected; from the second chunk on there was a gap before it."""
	return {"chunk": 200_000, "pause": 5, "seed": 7, "expect": 7} | options


def flows(lab):
	"""The flows map, by the client's port: {40000: {"state": ...}}."""
	dump = bpftool(lab, "map", "dump", "pinned", PINS / "flows")
	return {int.from_bytes(e["formatted"]["key"]["client_port"].to_bytes(2, "little"), "big"): e["formatted"]["value"]
		for e in dump}


def start_in_xdp(lab, port, **options):
	"""Start a client whose flow is in XDP by the time this returns.

	A merged flow may need a timestamp delta, by chance of the leg's clock; it stays with TC. One
	that does is ended, and the next one tried.
	"""
	first = 20000 + 20 * (port % 1000)	# a port is used once: flows() tells them apart by it
	for source in range(first, first + 20):
		start, proc = by_xdp(lab), start_client(lab, "source", SERVER[4], port, bind=f"0.0.0.0@{source}", **options)
		merged = lambda: source in flows(lab) and flows(lab)[source]["state"] == MERGED
		wait_for(merged, "the flow to be merged")
		if not flows(lab)[source]["flags"] & TSDELTA:
			wait_for(lambda: by_xdp(lab) > start, "the flow to be in XDP")
			return proc
		lab.stop(proc)
	raise LabError("20 flows in a row needed a timestamp delta")


def timestamps(lab, on):
	for end in ("client", "server"):
		lab.run(end, ["sysctl", "-qw", f"net.ipv4.tcp_timestamps={on:d}"])


def with_and_without_delta(tap, lab):
	LoadServer(lab, "echo", 7005, expect=7)
	seen = {True: 0, False: 0}
	for source in range(41000, 41010):
		before = by_xdp(lab)
		report, = client(lab, "source", SERVER[4], 7005, bind=f"0.0.0.0@{source}",
			**merged_before({"send": 3_000_000, "recv": 3_000_000, "pause": 20}))
		delta = bool(flows(lab)[source]["flags"] & TSDELTA)
		seen[delta] += 1
		right = report["tx_sha256"] == report["rx_sha256"] and (by_xdp(lab) > before) != delta
		if not right:
			break
	tap.ok(right and seen[False], f"{seen[False]} flows without a timestamp delta went through XDP, {seen[True]} with one through TC",
		report, flows(lab)[source], by_xdp(lab) - before)


def transfers(tap, lab):
	timestamps(lab, False)	# no flow needs a delta then
	server = LoadServer(lab, "echo", 7000, expect=7)
	for family, host in SERVER.items():
		before, ran = by_xdp(lab), runs(lab)
		with lab.deltas() as d:
			report, = client(lab, "source", host, 7000, **merged_before({"send": BIG, "recv": BIG}))
		seen = server.results(1 if family == 4 else 2)[-1]
		packets, after = by_xdp(lab) - before, runs(lab)
		tap.ok(report["rx_bytes"] == BIG and report["tx_sha256"] == report["rx_sha256"] == seen["rx_sha256"],
			f"IPv{family}: {BIG} bytes there and back arrive whole", report, seen)
		# Both ways in segments of 1448 bytes, less what is sent before there is a gap.
		tap.ok(packets > 2 * BIG / 1448 * 0.5, f"IPv{family}: XDP forwarded {packets} packets")
		tap.ok(all(after[p] - ran[p] > BIG / 1448 * 0.5 for p in PORTS),
			f"IPv{family}: both programs ran: {after[PORTS[0]] - ran[PORTS[0]]}, {after[PORTS[1]] - ran[PORTS[1]]} times")
		for end, counters in d.items():
			tap.zero(counters, NOTICED, f"IPv{family}: the {end} noticed nothing")
	timestamps(lab, True)


def from_a_pause(captures, pause=0.02):
	"""Of captures begun one after the other, what came after the first pause that all of them saw."""
	begun = max(c[0].time for c in captures)
	times = [p.time for p in captures[0] if p.time > begun]
	start = next(b - pause / 2 for a, b in zip(times, times[1:]) if b - a > pause)
	return [[p for p in c if p.time > start] for c in captures]


def unchanged_packets(tap, lab):
	LoadServer(lab, "echo", 7001)
	proc = start_in_xdp(lab, 7001, send=600_000, chunk=10_000, pause=50, pingpong=True)
	captures = [lab.capture(ns, "eth0", "tcp port 7001") for ns in ("client", "server")]
	first = by_xdp(lab)
	finish_client(lab, proc)
	packets = by_xdp(lab) - first
	at_client, at_server = from_a_pause([pcap.segments(c.stop(), 1448) for c in captures])
	tap.ok(packets > 100 and len(at_server) > 100, f"{packets} packets went through XDP, {len(at_server)} are compared")
	tap.equal(pcap.same_above_link(at_client, at_server, ignore_tcp_checksum=True), [],
		"they are the same at both ends from the IP header on, TTL apart")
	tap.equal({p.ttl for p in at_server if p.tcp and p.dport == 7001}, {63}, "their TTL is one less")


def without_a_pause(tap, lab):
	"""A flow that XDP has taken over it keeps, however little time there is between two packets."""
	timestamps(lab, False)
	LoadServer(lab, "sink", 7007, expect=7)
	before = by_xdp(lab)
	report, = client(lab, "source", SERVER[4], 7007, send=2 * BIG, chunk=BIG, pause=50, seed=7)
	ended = by_xdp(lab) - before
	# Of the first half XDP may have none.
	tap.ok(ended > 0.9 * BIG / 1448, f"of {report['tx_bytes'] // 1448} segments in two bursts XDP forwarded {ended}", report)
	timestamps(lab, True)


def neighbour_is_asked(tap, lab):
	"""The kernel asks a stale neighbour only if it sees that it is in use."""
	def neighbour():
		entry, = json.loads(lab.run("box", ["ip", "-j", "neigh", "show", SERVER[4], "dev", "srv"]).stdout)
		return entry

	# The server, for its part, asks nothing: an answer to it would do, too.
	box, = json.loads(lab.run("box", ["ip", "-j", "link", "show", "dev", "srv"]).stdout)
	lab.run("server", ["ip", "neigh", "replace", "10.99.2.1", "lladdr", box["address"], "dev", "eth0", "nud", "permanent"])
	lab.run("box", ["sysctl", "-qw", "net.ipv4.neigh.srv.delay_first_probe_time=1"])
	LoadServer(lab, "echo", 7006)
	proc = start_in_xdp(lab, 7006, send=1_500_000, chunk=10_000, pause=20, pingpong=True)
	before = by_xdp(lab)
	lab.run("box", ["ip", "neigh", "change", SERVER[4], "lladdr", neighbour()["lladdr"], "dev", "srv", "nud", "stale"])
	wait_for(lambda: neighbour()["state"] == ["REACHABLE"], "the neighbour to be asked")
	report, = finish_client(lab, proc)
	tap.ok(report["retransmits"] == 0 and by_xdp(lab) > before + 200,
		f"a stale neighbour was asked while XDP forwarded {by_xdp(lab) - before} packets to it", report)


def without_daemon(tap, lab, seam):
	LoadServer(lab, "echo", 7002, expect=7)
	proc = start_in_xdp(lab, 7002, **merged_before({"send": BIG, "recv": BIG, "pause": 50}))
	before, held = attached(lab), links(lab)
	seam.stop(signal.SIGKILL)
	killed = by_xdp(lab)
	wait_for(lambda: by_xdp(lab) > killed + 2000, "XDP to go on after the daemon was killed")
	tap.equal(attached(lab), before, "the programs stay where they are when the daemon is killed")
	again = start_seam(lab, args=(*SEAM, "--xdp", "native"))
	after = attached(lab)
	tap.ok(all(after[p][0] == before[p][0] and after[p][1] != before[p][1] for p in PORTS),
		"a new daemon replaces the programs", before, after)
	if held:
		tap.equal(links(lab), held, "in place: the links are the same")
	restarted = by_xdp(lab)
	report, = finish_client(lab, proc)
	tap.ok(report["tx_sha256"] == report["rx_sha256"] and report["retransmits"] == 0,
		"the transfer did not notice", report)
	tap.ok(by_xdp(lab) > restarted + 2000, "and went through the new programs to its end")
	return again


def nothing_left(tap, lab, what, held):
	"""held: links() while it ran."""
	tap.equal((attached(lab), held & {x["id"] for x in bpftool(lab, "link", "show")}, PINS.exists()),
		({}, set(), False), f"{what} leaves nothing")


def foreign(tap, lab):
	lab.run("box", ["ip", "link", "set", "dev", "cli", "xdp", "obj", FOREIGN, "sec", "xdp"])
	theirs = attached(lab)
	seam = start_seam(lab, args=(*SEAM, "--xdp", "native"))
	tap.equal(attached(lab)["cli"], theirs["cli"], "a program of someone else stays")
	tap.ok("srv" in attached(lab), "the other port has XDP")
	LoadServer(lab, "echo", 7003, expect=7)
	report, = client(lab, "source", SERVER[4], 7003, **merged_before({"send": 5_000_000, "recv": 5_000_000}))
	tap.equal(report["tx_sha256"], report["rx_sha256"], "TC does the work")
	seam.stop()
	tap.ok(re.search(r"cli: TC; no XDP: XDP program \d+ of someone else", seam.log), "the log says why", seam.log)
	tap.equal(attached(lab), theirs, "and theirs alone is left at the end")
	lab.run("box", ["ip", "link", "set", "dev", "cli", "xdp", "off"])


def modes(tap, lab):
	for mode in ("auto", "off"):
		seam = start_seam(lab, args=(*SEAM, "--xdp", mode))
		tap.equal(attached(lab), {}, f"{mode}: no XDP on a veth")
		seam.stop()
		tap.equal(seam.log.count("no XDP: "), 2, f"{mode}: the log says why")
	seam = start_seam(lab, args=(*SEAM, "--xdp", "generic"))
	tap.equal({p: m for p, (m, _id) in attached(lab).items()}, {p: 2 for p in PORTS}, "generic: it is that")
	LoadServer(lab, "echo", 7004, expect=7)
	before = by_xdp(lab)
	report, = finish_client(lab, start_in_xdp(lab, 7004, **merged_before({"send": 10_000_000, "recv": 10_000_000})))
	tap.equal(report["tx_sha256"], report["rx_sha256"], "generic: 10 MB arrive whole")
	tap.ok(by_xdp(lab) > before + 2000, f"generic: XDP forwarded {by_xdp(lab) - before} packets")
	seam.stop(signal.SIGKILL)
	seam = start_seam(lab, args=(*SEAM, "--xdp", "native"))
	tap.equal({p: m for p, (m, _id) in attached(lab).items()}, {p: 1 for p in PORTS},
		"started again with another mode: it is that one")
	held = links(lab)
	seam.stop(signal.SIGKILL)
	lab.run("box", [seam_binary(), "detach"])
	nothing_left(tap, lab, "`seam detach` after a kill", held)


@scenario
def main(tap):
	with Lab("off") as lab:
		complete_checksums(lab)
		stats = lab.run("box", ["sysctl", "-n", "kernel.bpf_stats_enabled"]).stdout.strip()
		lab.run("box", ["sysctl", "-qw", "kernel.bpf_stats_enabled=1"])
		try:
			seam = start_seam(lab, args=(*SEAM, "--xdp", "native"))
			tap.ok("tx off" in seam.log, "native on a veth: the log says what that needs", seam.log)
			transfers(tap, lab)
			with_and_without_delta(tap, lab)
			unchanged_packets(tap, lab)
			without_a_pause(tap, lab)
			neighbour_is_asked(tap, lab)
			seam = without_daemon(tap, lab, seam)
			held = links(lab)
			tap.equal(seam.stop(), 0, "the daemon ends")
			nothing_left(tap, lab, "the daemon's end", held)
			foreign(tap, lab)
			modes(tap, lab)
		finally:
			lab.run("box", ["sysctl", "-qw", f"kernel.bpf_stats_enabled={stats}"])
