#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""While split, segments on both wires have the size that the ends negotiated."""
from lab import SERVER, Lab, scenario, start_seam
from pcap import SYN, flows
from promises import Watch
from servers import LoadServer, client

POLICY = """
client = "cli";
server = "srv";
rules = ( { name = "all"; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; } );
"""
SIZE = 3_000_000
TIMESTAMPS = 12
# What an end announces, port of its server, bytes: None leaves it to the MTU.
PORTS = {None: 7000, 700: 7001}


def wire(tap, what, packets):
	"""One side of the box: by direction, the largest payload and how many have it."""
	found = flows(packets)
	for key, of in found.items():
		back = found[key[2:] + key[:2]]
		announced = next(p.option("mss") for p in back if p.flags & SYN)
		own = next(p.option("mss") for p in of if p.flags & SYN)
		sizes = [p.payload_len for p in of if p.payload_len]
		full = announced - TIMESTAMPS
		# An end with a small MSS of its own sends no larger ones; a leg for it may.
		expected = {full, min(own, announced) - TIMESTAMPS}
		share = sizes.count(max(sizes)) / len(sizes)
		tap.ok(max(sizes) in expected and share > 0.8,
			f"{what}: {key[0]} sends up to {max(sizes)} of {full} bytes, {share:.0%} of its segments",
			sorted({n: sizes.count(n) for n in sizes}.items())[-10:])


def negotiated(tap, lab, family, at_client, at_server):
	port = PORTS[at_server]
	what = f"MTU {lab.mtu}, IPv{family}, MSS " + " and ".join(str(x or "of the MTU") for x in (at_client, at_server))
	with Watch(lab, f"port {port}") as watch:
		report, = client(lab, "both", SERVER[family], port, send=SIZE, recv=SIZE, seed=7, expect=8,
			mss=at_client)
	tap.ok(report["end"] == "eof" and report["rx_bytes"] == SIZE and report["mismatch_at"] == -1,
		f"{what}: arrives whole", report)
	watch.kept(tap, what)
	wire(tap, f"{what}: client side", watch.at_client)
	wire(tap, f"{what}: server side", watch.at_server)


@scenario
def main(tap):
	for mtu in (1500, 9000):
		with Lab("off", mtu=mtu) as lab:
			for mss, port in PORTS.items():
				LoadServer(lab, "both", port, send=SIZE, seed=8, expect=7, mss=mss)
			seam = start_seam(lab, POLICY)
			for family in SERVER:
				negotiated(tap, lab, family, None, None)
				if mtu == 1500:
					negotiated(tap, lab, family, 700, None)
					negotiated(tap, lab, family, None, 700)
			seam.stop()
