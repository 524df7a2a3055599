#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""One end near the box, the other far away: a merge does not make the near one's timers fire.

How near they come to that is a matter of what else the machine does. So `make check` only looks
whether the bytes are right; `make check-asymmetric`, on a machine that has nothing else to do,
whether the ends noticed anything.
"""
import os

from byhand import POLICY, ByHand, flow_to
from lab import NOTICED, Lab, Link, scenario, start_seam
from transfer import WAYS, Transfer

FULL = bool(os.environ.get("FULL"))
SIZE = 150_000_000 if FULL else 48_000_000


def transfer(tap, lab, far, way, port, cycles):
	"""Split and merged while it runs."""
	name = f"{far} is far, {way}"
	with lab.deltas("client", "server", "legs") as d:
		t = Transfer(lab, port, way, SIZE)
		hand = ByHand(flow_to(lab, port))
		refused, n = [], 0
		while n < cycles and t.runs() and not refused:
			refused = [why for go in (hand.split, hand.merge) if (why := go()) and t.runs()]
			n += 1
		t.arrived(tap, name)
	tap.ok(not refused and n >= min(2, cycles), f"{name}: after {n} splits and merges", refused)
	for end in ("client", "server") if FULL else ():
		tap.zero(d[end], NOTICED, f"{name}: the {end} noticed nothing")


@scenario
def main(tap):
	for far in ("client", "server"):
		with Lab(**{f"{far}_link": Link(delay=125)}, window=4 << 20, loss_probes=FULL) as lab:
			start_seam(lab, POLICY)
			for i, way in enumerate(WAYS if FULL else ("up down",)):
				transfer(tap, lab, far, way, 7000 + i, 4 if FULL else 2)
