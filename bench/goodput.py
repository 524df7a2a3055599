#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Goodput of a flow that stays split, beside one that is passed, at 20 ms round trip.

Rounds are interleaved: passed and split take turns, and each figure is the median of its rounds.
Of a round it is payload over the time from the first SYN to the last FIN, each way. The link is
slower than anything the box does, so what is lost here is lost by the legs' windows.
"""
import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "lab"))

import isolate  # noqa: E402
from lab import SERVER4, Lab, LabError, Link, start_seam  # noqa: E402
from servers import LoadServer, client  # noqa: E402

POLICY = """
client = "cli";
server = "srv";
rules = (
	{ name = "passed"; server_port = "7000-7099"; action = "pass"; },
	{ name = "split"; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; }
);
"""
PORTS = {"passed": 7000, "split": 7100}
WAYS = ("up", "down", "both")


def transfer(lab, way, port, size):
	"""Mbit/s of payload, each way; LabError if a byte is missing."""
	options = {
		"up": {"send": size},
		"down": {"send": 1, "recv": size},
		"both": {"send": size, "recv": size},
	}[way]
	report, = client(lab, "source", SERVER4, port + WAYS.index(way), no_hash=True, **options)
	if report["end"] != "eof" or report["rx_bytes"] != options.get("recv", 0):
		raise LabError(f"{way}: {report}")
	return size * 8 / report["duration_us"], report["retransmits"]


def measure(args, rate, congestion):
	half = Link(delay=args.rtt / 4, rate=rate, queue=args.queue)
	with Lab(client_link=half, server_link=half, congestion=congestion, loss_probes=True) as lab:
		size = int(rate * 1e6 / 8 * args.seconds)
		for port in PORTS.values():
			LoadServer(lab, "sink", port, no_hash=True)
			LoadServer(lab, "source", port + 1, send=size, after_rx=1, no_hash=True)
			LoadServer(lab, "both", port + 2, send=size, no_hash=True)
		seam = start_seam(lab, POLICY)
		for way in args.ways:
			found = {kind: [] for kind in PORTS}
			for _ in range(args.rounds):
				for kind, port in PORTS.items():
					found[kind].append(transfer(lab, way, port, size))
			report(rate, congestion, way, found)
		seam.stop()


def report(rate, congestion, way, found):
	cells = []
	median = {}
	for kind, rounds in found.items():
		speeds = [mbit for mbit, _retransmits in rounds]
		median[kind] = statistics.median(speeds)
		cells.append(f"{median[kind]:6.1f} ({min(speeds):.0f}-{max(speeds):.0f}, {sum(r for _s, r in rounds)} retr.)")
	print(f"{rate:4} Mbit/s {congestion:6} {way:5} passed {cells[0]:32} split {cells[1]:32} "
		f"ratio {median['split'] / median['passed']:.3f}", flush=True)


def main():
	parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
	parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
	parser.add_argument("--seconds", type=float, default=2, help="of the link's rate, one transfer (default 2)")
	parser.add_argument("--rates", type=int, nargs="*", default=[200, 500], metavar="MBIT")
	parser.add_argument("--congestion", nargs="*", default=["cubic", "bbr"])
	parser.add_argument("--ways", nargs="*", default=WAYS, choices=WAYS)
	parser.add_argument("--rtt", type=float, default=20, help="milliseconds (default 20)")
	parser.add_argument("--queue", type=int, default=4_000_000, help="bytes that wait at the slow link")
	args = parser.parse_args()
	isolate.enter(limit=0)
	try:
		for rate in args.rates:
			for congestion in args.congestion:
				measure(args, rate, congestion)
	except LabError as e:
		sys.exit(f"goodput: {e}")


main()
