#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Split and merged again and again while data is on its way: nothing is lost, and no end notices."""
from byhand import POLICY, ByHand, cycles, flow_to
from lab import NOTICED_AT_LEGS, Lab, Link, scenario, start_seam
from transfer import WAYS, Transfer, silent


def transfer(tap, lab, what, port, way, size, most=100, family=4, quiet=True, states=("merged",)):
	with lab.deltas("client", "server", "legs") as d:
		t = Transfer(lab, port, way, size, family)
		n, refused = cycles(t.proc, ByHand(flow_to(lab, port, states)), most)
		t.arrived(tap, f"{what}: {way}: after {n} splits and {n} merges", refused)
	tap.ok(n >= min(most, 10), f"{what}: {way}: they took place while it ran", n, refused)
	if quiet:
		silent(tap, d, f"{what}: {way}", NOTICED_AT_LEGS)


@scenario
def main(tap):
	for regime in ("on", "box", "off"):
		with Lab(regime) as lab:
			start_seam(lab, POLICY)
			size = 200_000_000 if regime == "on" else 60_000_000
			for i, way in enumerate(WAYS):
				transfer(tap, lab, regime, 7000 + i, way, size, family=6 if way == "down" else 4)
			tap.equal(lab.queue_drops(), {}, f"{regime}: no queue dropped a packet")
	with Lab() as lab:
		start_seam(lab, 'client = "cli";\nserver = "srv";\n')
		transfer(tap, lab, "let go by its rule", 7000, "up down", 60_000_000, states=("passed",))
	with Lab(client_link=Link(delay=5), server_link=Link(delay=5)) as lab:
		start_seam(lab, POLICY)
		for i, way in enumerate(WAYS):
			transfer(tap, lab, "20 ms", 7000 + i, way, 60_000_000, most=40)
	lossy = {"loss": 1, "dup": 0.5, "reorder": 0.5, "delay": 2}
	with Lab(client_link=Link(seed=3, **lossy), server_link=Link(seed=4, **lossy)) as lab:
		start_seam(lab, POLICY)
		for i, way in enumerate(WAYS):
			transfer(tap, lab, "with loss", 7000 + i, way, 4_000_000, most=30, quiet=False)
