#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Flows that stay split to their end: the daemon moves every byte, and neither end notices."""
from lab import NOTICED, SERVER, Lab, scenario, seam_json, start_seam
from servers import LoadServer, client

POLICY = """
client = "cli";
server = "srv";
rules = ( { name = "all"; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; } );
"""
BULK = 100_000_000


def bulk(tap, lab, what, **options):
	"""A transfer far longer than the daemon moves in one turn (it stalled there once)."""
	before = seam_json(lab, "status")["daemon"]["stats"]["bytes"]
	with lab.deltas("client", "server", "legs") as d:
		report, = client(lab, "source", SERVER[4], 7000, **options)
	moved = seam_json(lab, "status")["daemon"]["stats"]["bytes"] - before
	tap.ok(report["rx_bytes"] == options["recv"] and report["end"] == "eof" and report["mismatch_at"] == -1,
		f"{what}: arrives whole", report)
	tap.equal(moved, options["send"] + options["recv"], f"{what}: every byte was moved by the daemon")
	for end, counters in d.items():
		tap.zero(counters, NOTICED, f"{what}: {end}: noticed nothing")


@scenario
def main(tap):
	with Lab() as lab:
		LoadServer(lab, "echo", 7000, expect=7)
		seam = start_seam(lab, POLICY)
		bulk(tap, lab, "both ways", send=BULK, recv=BULK, seed=7, expect=7)
		tap.equal(seam.stop(), 0, "seam ends")
