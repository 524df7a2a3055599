#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""One end near the box, the other far away: a merge does not make the near one's timers fire, nor those of its leg.

How near the ends' own come to that is a matter of what else the machine does. So `make check` only
looks whether the bytes of those transfers are right; `make check-asymmetric`, on a machine that has
nothing else to do, whether the ends noticed anything.
"""
import os

from byhand import POLICY, ByHand, cycles, flow_to
from lab import NOTICED, SERVER4, Lab, Link, scenario, seam_json, start_seam, wait_for
from peers import reasons
from servers import LoadServer, finish_client, start_client
from transfer import WAYS, Transfer

FULL = bool(os.environ.get("FULL"))
SIZE = 150_000_000 if FULL else 48_000_000


def transfer(tap, lab, far, way, port, most):
	"""Split and merged while it runs."""
	name = f"{far} is far, {way}"
	with lab.deltas("client", "server", "legs") as d:
		t = Transfer(lab, port, way, SIZE, no_hash=True)
		n, refused = cycles(t.proc, ByHand(flow_to(lab, port)), most, 0)
		t.arrived(tap, name)
	tap.ok(n >= min(2, most) and not refused, f"{name}: after {n} splits and merges", refused)
	for end in ("client", "server") if FULL else ():
		tap.zero(d[end], NOTICED, f"{name}: the {end} noticed nothing")


def slow_reader(tap, lab, port):
	"""The near server acknowledges late, for it is slow to read: its leg does not take that for a loss."""
	size = 6_000_000
	with lab.deltas("client", "server") as d:
		server = LoadServer(lab, "sink", port, expect=7, read_chunk=60_000, read_pause=20, rcvbuf=200_000)
		proc = start_client(lab, "source", SERVER4, port, send=size, seed=7)
		refused = ByHand(flow_to(lab, port)).split()
		finish_client(lab, proc)
		seen, = server.results(1)
		server.stop()
		# The ends may have closed before the FINs have been all the way.
		wait_for(lambda: all(f["flow"]["state"] != "split" for f in seam_json(lab, "flows")), "the flow to end")
	tap.ok(not refused and seen["rx_bytes"] == size and seen["mismatch_at"] == -1, "a slow near server: split, all arrives", refused, seen)
	for end in d:
		tap.zero(d[end], NOTICED, f"a slow near server: the {end} noticed nothing")
	probes = reasons(lab)["early_probe"]
	tap.ok(probes, f"a slow near server: {probes} probes of its leg were not sent")


@scenario
def main(tap):
	with Lab(client_link=Link(delay=40), loss_probes=True) as lab:
		start_seam(lab, POLICY)
		slow_reader(tap, lab, 7100)
	for far in ("client", "server"):
		with Lab(**{f"{far}_link": Link(delay=125)}, window=4 << 20, loss_probes=FULL) as lab:
			start_seam(lab, POLICY)
			for i, way in enumerate(WAYS if FULL else ("up down",)):
				transfer(tap, lab, far, way, 7000 + i, 4 if FULL else 2)
