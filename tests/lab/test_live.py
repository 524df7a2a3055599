#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Split and merged again and again while data is on its way: nothing is lost, and no end notices."""
import time

from byhand import ByHand, flow_to
from lab import NOTICED, SERVER, Lab, Link, scenario, start_seam
from servers import LoadServer, finish_client, start_client

POLICY = """
client = "cli";
server = "srv";
rules = ( { name = "all"; action = "inspect"; inspectors = ["count"]; until = { bytes = 1; }; } );
"""
# Legs vanish: the kernel counts that as resets of established connections.
AT_LEGS = [c for c in NOTICED if c != "TcpEstabResets"]
PAUSE = 0.005


def cycles(proc, hand, most):
	"""Splits and merges until the client is done or `most` are; returns (how often, refusals)."""
	n, refused = 0, []
	while n < most and proc.poll() is None and not refused:
		for go in (hand.split, hand.merge):
			why = go()
			if why:
				refused.append(why)
				break
			time.sleep(PAUSE)
		else:
			n += 1
	return n, refused


def transfer(tap, lab, what, port, way, size, most=100, family=4, silent=True):
	up, down = "up" in way, "down" in way
	server = LoadServer(lab, {"up": "sink", "down": "source", "up down": "echo"}[way], port, expect=7,
		**({"send": size, "seed": 7} if way == "down" else {}))
	options = ({"send": size, "seed": 7} if up else {}) | ({"recv": size, "expect": 7} if down else {})
	with lab.deltas("client", "server", "legs") as d:
		proc = start_client(lab, "source" if up else "sink", SERVER[family], port, **options)
		n, refused = cycles(proc, ByHand(flow_to(lab, port)), most)
		report, = finish_client(lab, proc)
		seen, = server.results(1)
	tap.ok(report["end"] == "eof" and report["mismatch_at"] == seen["mismatch_at"] == -1
		and seen["rx_bytes"] == size * up and report["rx_bytes"] == size * down,
		f"{what}: {way}: arrives whole after {n} splits and {n} merges", report, seen, refused)
	tap.ok(n >= min(most, 10), f"{what}: {way}: they took place while it ran", n, refused)
	if silent:
		for end in ("client", "server"):
			tap.zero(d[end], NOTICED, f"{what}: {way}: the {end} noticed nothing")
		tap.zero(d["legs"], AT_LEGS, f"{what}: {way}: nor did the legs")


@scenario
def main(tap):
	for regime in ("on", "box", "off"):
		with Lab(regime) as lab:
			start_seam(lab, POLICY)
			size = 200_000_000 if regime == "on" else 60_000_000
			for i, way in enumerate(("up", "down", "up down")):
				transfer(tap, lab, regime, 7000 + i, way, size, family=6 if way == "down" else 4)
			tap.equal({k: n for k, n in lab.drops().items() if "clsact" not in k}, {}, f"{regime}: no queue dropped a packet")
	with Lab(client_link=Link(delay=5), server_link=Link(delay=5)) as lab:
		start_seam(lab, POLICY)
		for i, way in enumerate(("up", "down", "up down")):
			transfer(tap, lab, "20 ms", 7000 + i, way, 60_000_000, most=40)
	lossy = {"loss": 1, "dup": 0.5, "reorder": 0.5, "delay": 2}
	with Lab(client_link=Link(seed=3, **lossy), server_link=Link(seed=4, **lossy)) as lab:
		start_seam(lab, POLICY)
		for i, way in enumerate(("up", "down", "up down")):
			transfer(tap, lab, "with loss", 7000 + i, way, 6_000_000, most=30, silent=False)
