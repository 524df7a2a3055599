#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""One end near the box, the other far away: a merge does not make the near one's timers fire.

How near they come to that is a matter of what else the machine does. So `make check` only looks
whether the bytes are right; `make check-asymmetric`, on a machine that has nothing else to do,
whether the ends noticed anything.
"""
import os

from byhand import ByHand, flow_to
from lab import NOTICED, SERVER, Lab, Link, scenario, start_seam
from servers import LoadServer, finish_client, start_client

POLICY = """
client = "cli";
server = "srv";
rules = ( { name = "all"; action = "inspect"; inspectors = ["count"]; until = { bytes = 1; }; } );
"""
AT_LEGS = [c for c in NOTICED if c != "TcpEstabResets"]
SIZE = 12_000_000
FULL = bool(os.environ.get("FULL"))


def transfer(tap, lab, far, way, port, cycles, **options):
	"""Split and merged while it runs."""
	up, down = "up" in way, "down" in way
	name = f"{far} is far, {way}"
	server = LoadServer(lab, {"up": "sink", "down": "source", "up down": "echo"}[way], port, expect=7,
		**({"send": SIZE, "seed": 7} if way == "down" else {}))
	client = ({"send": SIZE, "seed": 7} if up else {}) | ({"recv": SIZE, "expect": 7} if down else {})
	with lab.deltas("client", "server", "legs") as d:
		proc = start_client(lab, "source" if up else "sink", SERVER[4], port, **client, **options)
		hand = ByHand(flow_to(lab, port))
		refused, n = [], 0
		while n < cycles and proc.poll() is None and not refused:
			refused = [why for go in (hand.split, hand.merge) if (why := go())]
			n += 1
		report, = finish_client(lab, proc)
		seen, = server.results(1)
	tap.ok(report["end"] == "eof" and report["mismatch_at"] == seen["mismatch_at"] == -1
		and seen["rx_bytes"] == SIZE * up and report["rx_bytes"] == SIZE * down,
		f"{name}: arrives whole", report, seen)
	tap.ok(not refused and n >= min(2, cycles), f"{name}: after {n} splits and merges", refused)
	for end in ("client", "server") if FULL else ():
		tap.zero(d[end], NOTICED, f"{name}: the {end} noticed nothing")


@scenario
def main(tap):
	for far in ("client", "server"):
		with Lab(**{f"{far}_link": Link(delay=125)}, window=4 << 20) as lab:
			start_seam(lab, POLICY)
			for i, way in enumerate(("up", "down", "up down") if FULL else ("up down",)):
				transfer(tap, lab, far, way, 7000 + i, 4 if FULL else 2)
