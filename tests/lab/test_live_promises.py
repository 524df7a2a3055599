#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Split and merged all along, with readers that are too slow for their senders: every promise is kept.

No window edge moves back, and no leg promises more than the real receiver, in each of the lab's
regimes, each way, and both ways at once; on the captures of both of the box's ports.
"""
from byhand import POLICY, ByHand, cycles, flow_to
from lab import REGIMES, SERVER, Lab, scenario, start_seam
from promises import Watch
from servers import LoadServer, finish_client, start_client

SIZE = 4_000_000
# Readers of some 4 MB/s, behind a window that is soon full.
SLOW = {"read_chunk": 30_000, "read_pause": 6, "rcvbuf": 200_000}
MODE = {"up": "sink", "down": "source", "both": "both"}


def transfer(tap, lab, what, port, way, family):
	up, down = way != "down", way != "up"
	sends, hears = {"send": SIZE, "seed": 7}, {"expect": 7, **SLOW}
	with Watch(lab, f"port {port}") as watch:
		server = LoadServer(lab, MODE[way], port, **(sends if down else {}), **(hears if up else {}))
		proc = start_client(lab, {"up": "source", "down": "sink", "both": "both"}[way], SERVER[family], port,
			**(sends if up else {}), **(hears if down else {}))
		n, refused = cycles(proc, ByHand(flow_to(lab, port)), 100)
		here, = finish_client(lab, proc)
		there, = server.results(1)
		server.stop()
	tap.ok(here["end"] == there["end"] == "eof" and here["mismatch_at"] == there["mismatch_at"] == -1
		and here["rx_bytes"] == SIZE * down and there["rx_bytes"] == SIZE * up, f"{what}: all of it arrives", here, there)
	tap.ok(n >= 10, f"{what}: {n} times split and merged", refused)
	watch.kept(tap, what)


@scenario
def main(tap):
	port = 7000
	for regime in REGIMES:
		with Lab(regime) as lab:
			seam = start_seam(lab, POLICY)
			for way in MODE:
				for family in SERVER if way == "both" else (4 if way == "up" else 6,):
					transfer(tap, lab, f"{regime}, IPv{family}, {way}", port, way, family)
					port += 1
			tap.equal(seam.stop(), 0, f"{regime}: seam ends")
