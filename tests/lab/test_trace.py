#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`seam trace`: what it records and draws is what was on the wire, on both sides, with the transitions."""
import json
import os
import signal
import time

from byhand import POLICY, ByHand, flow_to
from duplex import Pair, put
from lab import SERVER, Lab, Link, scenario, seam_binary, seam_json, start_seam, wait_for
from servers import LoadServer, finish_client, start_client
from tracing import SVG, Trace, split_and_merge, started
from wires import TAGGED, WireLab

MOVES = [("merged", "splitting"), ("splitting", "split"), ("split", "merging"), ("merging", "merged")]
DIRECTION = {"up": "to_server", "down": "to_client"}
SIDES = {"client": "cli", "server": "srv"}


def wire(packets, wscale, port):
	"""Of captured packets, by direction, what a trace has of each."""
	out = {"to_server": [], "to_client": []}
	for p in sorted(packets, key=lambda p: p.ns):
		if p.tcp and port in (p.sport, p.dport):
			end = "server" if p.sport == port else "client"
			out["to_client" if end == "server" else "to_server"].append(
				(p.seq, p.payload_len, p.ack, p.window << wscale[end], p.flag_text))
	return out


def inside(part, whole):
	"""Is part a run of consecutive elements of whole?"""
	return bool(part) and any(whole[i:i + len(part)] == part for i, x in enumerate(whole) if x == part[0])


def difference(part, whole):
	"""Of a part that is not inside the whole: where it first differs from the run that begins as it does."""
	for i, x in enumerate(whole):
		if part and x == part[0]:
			n = next((n for n, (a, b) in enumerate(zip(part, whole[i:])) if a != b), min(len(part), len(whole) - i))
			return f"from {i} on, at {n}", part[max(0, n - 2):n + 3], whole[max(0, i + n - 2):i + n + 3]
	return part[:3], whole[:3]


def as_captured(tap, what, trace, captures, port):
	for side, packets in captures.items():
		seen = wire(packets, trace.flow["wscale"], port)
		for direction, whole in seen.items():
			mine = [(p["seq"], p["len"], p["ack"], p["window"], p["flags"]) for p in trace.packets
				if (p["side"], p["direction"]) == (side, direction)]
			tap.ok(inside(mine, whole), f"{what}: {side}'s side, {direction}: {len(mine)} packets, as captured",
				f"{len(whole)} were captured", *difference(mine, whole))


def again(segments):
	"""How many of them begin below what was sent before."""
	n, top = 0, None
	for p in segments:
		end = p["seq"] + p["len"] & 0xffffffff
		if top is not None and (p["seq"] - top) & 0x80000000:
			n += 1
		if top is None or 0 < (end - top) & 0xffffffff < 1 << 31:
			top = end
	return n


def groups(at, *classes):
	return [g for g in at.iter(f"{SVG}g") if set(classes) <= set((g.get("class") or "").split())]


def as_drawn(tap, what, trace, ways):
	root = trace.drawing()
	tap.equal((root.tag, root.get("role")), (f"{SVG}svg", "img"), f"{what}: a drawing")
	drawn = {way for way in DIRECTION if groups(root, "panel", way)}
	tap.equal(drawn, set(ways), f"{what}: a panel for each direction with data")
	for way in ways:
		panel, = groups(root, "panel", way)
		for side in SIDES:
			g, = groups(panel, "side", side)
			segments = trace.segments(side, DIRECTION[way])
			tap.equal((int(g.get("data-segments")), int(g.get("data-again"))), (len(segments), again(segments)),
				f"{what}: {way}: the {side}'s side has as many segments, {len(segments)}")
			paths = {p.get("class").split()[0]: len(p.get("d")) for p in g.iter(f"{SVG}path")}
			tap.ok(segments and {"data", "ack", "edge"} <= {k for k, n in paths.items() if n > 20},
				f"{what}: {way}: the {side}'s side has data, acks and windows", paths)
			tap.equal("again" in paths, again(segments) > 0, f"{what}: {way}: and what was sent again, {again(segments)}")
	titles = [g.find(f"{SVG}title").text for g in groups(root, "transition")]
	tap.equal([tuple(t.split(" ms: ")[1].split(":")[0].split(" to ")) for t in titles], MOVES,
		f"{what}: the transitions in their order")
	tap.ok(trace.svg_path.stat().st_size < 500_000, f"{what}: {trace.svg_path.stat().st_size} bytes of SVG")


def recorded(tap, what, lab, trace):
	history = seam_json(lab, "flow", str(trace.flow["flow_id"]))["history"]
	moves = [(m["from"], m["to"]) for m in trace.moves]
	tap.equal(moves, MOVES, f"{what}: recorded in their order")
	one, two = ([(m["to"], m["reason"], m["seq"], m["ack"]) for m in which] for which in (trace.moves, history))
	tap.ok(inside(one, two), f"{what}: as `seam flow` has them", one, two)
	times = [p["at"] for p in trace.packets]
	tap.ok(times == sorted(times) and 0 <= times[0] and times[-1] <= trace.flow["seconds"], f"{what}: in the order of time")
	tap.equal((trace.flow["packets"], trace.flow["transitions"], trace.flow["packets_lost"], trace.flow["ended_by"]),
		(len(trace.packets), len(trace.moves), 0, "signal"), f"{what}: the first line says so")


def has_custody(tap, what, trace, way):
	panel, = groups(trace.drawing(), "panel", way)
	area = [p.get("d") for p in panel.iter(f"{SVG}path") if p.get("class") == "custody"]
	tap.ok(len(area) == 1 and "z" in area[0], f"{what}: {way}: the box has had custody of something", area)


def by_hand(tap, what, lab, way, size, pauses, port):
	captures = {side: lab.capture("box", port_if, f"tcp port {port}", 160) for side, port_if in SIDES.items()}
	trace, report = split_and_merge(lab, way, size, *pauses, port=port)
	captures = {side: c.stop() for side, c in captures.items()}
	tap.ok(report["mismatch_at"] == -1 and report["end"] == "eof", f"{what}: arrives whole", report)
	recorded(tap, what, lab, trace)
	as_captured(tap, what, trace, captures, port)
	as_drawn(tap, what, trace, way.split())
	return trace


def usage(tap, lab, flow_id):
	"""What it cannot do, it says, and by its exit status."""
	out = lab.tmp / "out.svg"
	for what, code, args, ns in (
		("without an ID", 2, ["--svg", out], "box"),
		("with something else for an ID", 2, ["--svg", out, "x"], "box"),
		("with two IDs", 2, ["--svg", out, flow_id, flow_id], "box"),
		("with nothing to write", 2, [flow_id], "box"),
		("with a time without a unit", 2, ["--time", "5", "--svg", out, flow_id], "box"),
		("for no packets", 2, ["--number", "0", "--svg", out, flow_id], "box"),
		("with an unknown option", 2, ["--png", out, flow_id], "box"),
		("of a flow that is not there", 3, ["--svg", out, 1 << 60], "box"),
		("of an instance that is not there", 3, ["-i", "none", "--svg", out, flow_id], "box"),
		("to where nothing can be written", 1, ["--svg", lab.tmp, flow_id], "box"),
		("in another namespace", 1, ["--svg", out, flow_id], "client"),
	):
		done = lab.run(ns, [seam_binary(), "trace", *args], check=False)
		tap.ok(done.returncode == code and done.stderr and not done.stdout, f"{what}: exit status {code}, and why", done)
	done = lab.run("box", [seam_binary(), "trace", "--help"])
	tap.ok("XDP" in done.stdout and not done.stderr, "--help tells of XDP")


def endings(tap, lab, seam):
	"""By the number of packets, by time, with the flow; over IPv6; without the daemon; to stdout."""
	LoadServer(lab, "echo", 7010, expect=7)
	proc = start_client(lab, "both", SERVER[6], 7010, send=3_000_000, recv=3_000_000, seed=7, expect=7, rate=2_000_000)
	flow_id = flow_to(lab, 7010)["flow_id"]
	usage(tap, lab, flow_id)
	trace = Trace(lab, flow_id, "--number", "50")
	tap.equal((trace.stop(0), trace.flow["ended_by"], len(trace.packets)), (0, "packets", 50), "IPv6: as many as were wanted")
	done = lab.run("box", [seam_binary(), "trace", "-t", "200ms", "--json", "-", flow_id])
	lines = [json.loads(line) for line in done.stdout.splitlines()]
	tap.ok(lines[0]["ended_by"] == "time" and 0.2 <= lines[0]["seconds"] < 5 and len(lines) > 10, "to stdout, for a time", lines[0])
	os.kill(seam.proc.pid, signal.SIGKILL)
	trace = Trace(lab, flow_id, "--time", "30s")
	report, = finish_client(lab, proc)
	tap.ok(report["mismatch_at"] == -1 and report["end"] == "eof", "without the daemon: arrives whole", report)
	tap.equal((trace.stop(0), trace.flow["ended_by"]), (0, "flow_over"), "without the daemon: ends with the flow")
	tap.equal(trace.moves[-1:] and (trace.moves[-1]["to"], trace.moves[-1]["reason"]), ("closing", "fin"),
		"without the daemon: and has recorded its end")
	tap.ok(sum(p["len"] for p in trace.segments("server", "to_client")) > 100_000, "without the daemon: and its packets")


EDIT = """
client = "cli";
server = "srv";
rules = ( { name = "edit"; action = "inspect"; inspectors = ["replace"];
	replace = ( { find = "AAAA"; with = "BBBBBBB"; } ); } );
"""


def edited(tap):
	"""Each side in its own numbers."""
	with Lab() as lab:
		start_seam(lab, EDIT)
		put(lab, "one", b"AAAA!")
		pair = Pair(lab, SERVER[4], 7000, "edited", ["one", "two"], ["back"])
		wait_for(lambda: pair.arrived()[0] == 8, "the edited bytes to arrive")
		flow = flow_to(lab, 7000, ("split",))
		hand, trace = ByHand(flow), Trace(lab, flow["flow_id"])
		tap.equal(hand.merge(), None, "edited: merged")
		put(lab, "two", b"x" * 100_000)
		put(lab, "back", b"")
		tap.equal(pair.finish()[0][:9], b"BBBBBBB!x", "edited: arrives")
		tap.equal(trace.stop(), 0, "edited: ends")
		first, *_ = trace.segments("client", "to_server")
		same, *_ = trace.segments("server", "to_server")
		tap.equal((same["seq"] - first["seq"]) % (1 << 32), 3, "edited: the server's side is three bytes further on")
		text = " ".join(trace.drawing().itertext())
		tap.ok(trace.flow["edited"] and "Edited: " in text, "edited: the drawing says so")


def through_xdp(tap):
	"""What XDP forwards is not seen: it says so."""
	with Lab("off") as lab:
		for end in ("client", "server"):
			lab.run(end, ["ethtool", "-K", "eth0", "gro", "on"])	# what native XDP on a veth needs
		start_seam(lab, 'xdp = "native";\n' + POLICY)
		LoadServer(lab, "echo", 7000, expect=7)
		proc = start_client(lab, "both", SERVER[4], 7000, send=2_000_000, recv=2_000_000, seed=7, expect=7, rate=2_000_000)
		trace = Trace(lab, flow_to(lab, 7000)["flow_id"])
		time.sleep(0.3)
		tap.equal(trace.stop(), 0, "XDP: ends")
		finish_client(lab, proc)
		text = " ".join(trace.drawing().itertext())
		tap.ok(trace.flow["xdp"] and "has XDP" in trace.said and "has XDP" in text, "XDP: it says that not all is recorded", trace.said)


def tagged(tap):
	"""A wire on a trunk: the kernel takes the tag off before it shows the packet."""
	with WireLab(tags=TAGGED) as lab:
		start_seam(lab, POLICY + 'mode = "wire";')
		trace, _ = split_and_merge(lab, "up down", 20_000_000, 0.1, 0.1, 0.1, rate=20_000_000)
		for side in SIDES:
			for way in DIRECTION.values():
				tap.ok(trace.segments(side, way), f"tagged: {side}'s side, {way}: recorded", len(trace.packets))
		# A merge that has nothing to wait for has one.
		tap.ok(set(MOVES[:2]) <= {(m["from"], m["to"]) for m in trace.moves}, "tagged: with its transitions", trace.moves)


@scenario
def main(tap):
	tagged(tap)
	with Lab(client_link=Link(delay=5), server_link=Link(delay=5)) as lab:
		started(lab)
		trace = by_hand(tap, "both ways", lab, "up down", 40_000_000, (0.05, 0.1, 0.05), 7000)
		for way in DIRECTION:
			has_custody(tap, "both ways", trace, way)
	lossy = {"delay": 5, "loss": 1, "reorder": 0.5}
	with Lab(client_link=Link(seed=3, **lossy), server_link=Link(seed=4, **lossy)) as lab:
		started(lab)
		trace = by_hand(tap, "with loss", lab, "up", 1_500_000, (0.1, 0.3, 0.2), 7001)
		tap.ok(any("sack" in p for p in trace.packets), "with loss: SACK blocks are recorded")
	with Lab() as lab:
		endings(tap, lab, started(lab))
	edited(tap)
	through_xdp(tap)
