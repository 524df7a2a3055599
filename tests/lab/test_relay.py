#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Flows that stay split to their end: the daemon moves every byte, and neither end notices."""
import re

import pcap
from lab import NOTICED, REGIMES, SERVER, Lab, Link, scenario, seam_json, start_seam, wait_for
from promises import Watch
from servers import LoadServer, client, finish_client, start_client

POLICY = """
client = "cli";
server = "srv";
rules = ( { name = "all"; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; } );
"""
BULK = {"on": 100_000_000, "box": 40_000_000, "off": 20_000_000}
SHORT = 2_000_000


def bulk(tap, lab, what, **options):
	"""A transfer far longer than the daemon moves in one turn (it stalled there once)."""
	before = seam_json(lab, "status")["daemon"]["stats"]["bytes"]
	with lab.deltas("client", "server", "legs") as d:
		report, = client(lab, "source", SERVER[4], 7000, no_hash=True, **options)
	moved = seam_json(lab, "status")["daemon"]["stats"]["bytes"] - before
	tap.ok(report["rx_bytes"] == options["recv"] and report["end"] == "eof" and report["mismatch_at"] == -1,
		f"{what}: arrives whole", report)
	tap.equal(moved, options["send"] + options["recv"], f"{what}: every byte was moved by the daemon")
	for end, counters in d.items():
		tap.zero(counters, NOTICED, f"{what}: {end}: noticed nothing")


def short(tap, lab):
	"""Every packet of a short transfer, by what was promised; and its checksums, where there are some."""
	for family, host in SERVER.items():
		what = f"{lab.regime}: IPv{family}"
		whole = lab.regime == "off"
		with Watch(lab, "port 7000", 262144 if whole else 128) as watch:
			report, = client(lab, "source", host, 7000, send=SHORT, recv=SHORT, seed=7, expect=7)
		tap.equal(report["tx_sha256"], report["rx_sha256"], f"{what}: {SHORT} bytes come back")
		watch.kept(tap, f"{what}: split")
		if whole:
			tap.equal([str(p) for p in pcap.checksum_errors(watch.at_client + watch.at_server)], [],
				f"{what}: checksums are right")


def legs(lab):
	"""`ss -ti` of the legs, by the port of their end."""
	pid = str(seam_json(lab, "status")["daemon"]["pid"])
	found = lab.run("box", ["nsenter", "-t", pid, "-n", "ss", "-tniHO"]).stdout.splitlines()
	return {line.split()[4].rsplit(":", 1)[1]: line for line in found}


def round_trips(tap, lab):
	"""A leg knows at once what the end it speaks for knew: its first timeout is not 3 s."""
	LoadServer(lab, "sink", 7001)
	for family, host in SERVER.items():
		proc = start_client(lab, "source", host, 7001, send=200, chunk=100, pause=600)
		found = wait_for(lambda: len(legs(lab)) == 2 and legs(lab), f"IPv{family}: the legs")
		to_server = found.pop("7001")
		# The server never sends: the client's leg has seen no ack of its own but the first.
		to_client, = found.values()
		rtt = {end: float(re.search(r"\brtt:([\d.]+)", line)[1]) for end, line in
			(("client", to_client), ("server", to_server))}
		rto = max(int(re.search(r"\brto:(\d+)", line)[1]) for line in (to_client, to_server))
		tap.ok(20 <= rtt["client"] < 60 and 6 <= rtt["server"] < 60 and rto < 1000,
			f"IPv{family}: the legs know round trips of {rtt['client']} and {rtt['server']} ms", to_client, to_server)
		finish_client(lab, proc)
		wait_for(lambda: not legs(lab), f"IPv{family}: the legs to go")


def regime(tap, name):
	with Lab(name) as lab:
		LoadServer(lab, "echo", 7000, expect=7, no_hash=True)
		seam = start_seam(lab, POLICY)
		bulk(tap, lab, f"{name}: both ways", send=BULK[name], recv=BULK[name], seed=7, expect=7)
		short(tap, lab)
		tap.equal(seam.stop(), 0, f"{name}: seam ends")


@scenario
def main(tap):
	for name in REGIMES:
		regime(tap, name)
	with Lab(client_link=Link(delay=10), server_link=Link(delay=3), loss_probes=True) as lab:
		seam = start_seam(lab, POLICY)
		round_trips(tap, lab)
		seam.stop()
