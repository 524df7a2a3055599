# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a split or a merge costs a transfer that runs at full speed.

Transfers that are split and merged once a second take turns with transfers left alone. Of the
second around each transition, which begins a quarter before it is asked for: the longest time
in which nothing arrived at the receiver, and how much arrived; and the same of seconds at the
same times of those left alone.
"""
import itertools
import statistics
import time
from pathlib import Path

from common import say, table
from byhand import POLICY
from lab import start_seam
from moving import PATHS, WAYS, Moving, open_path, second, transitions

LEAD = 0.25	# seconds before the transition
KINDS = ("alone", "moved")
CONGESTION = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()

# (path, way, congestion control, GSO, rate-limited)
SOME = (
	("0.1", "both", "cubic", True, False),
	("0.1", "up", "cubic", False, False),
	("20", "both", "bbr", True, False),
	("100", "up", "cubic", True, False),
	("100", "down", "cubic", True, True),
	("1+99", "up", "cubic", True, True),
)


def one(lab, kind, way, count, settle):
	"""One transfer: ([(verb, longest gap in ms, bytes)], what its ends noticed)."""
	moving = Moving(lab, way, True)
	time.sleep(settle)
	with moving:
		if kind == "alone":
			moving.hand = None
		marks = transitions(moving, count, 1.0)
		time.sleep(0.1)
	return [(verb, gap * 1000, size) for verb, at in marks for gap, size in
		(second(a, at - LEAD) for a in moving.arrived)], moving.noticed


def measure(case, rounds, count):
	path, way, congestion, gso, limited = case
	rtt = sum(PATHS[path] or (0,))
	seen = {kind: [] for kind in KINDS}
	noticed = {kind: {} for kind in KINDS}
	with open_path(path, congestion, gso, limited) as lab:
		seam = start_seam(lab, POLICY)
		for r in range(rounds):
			for kind in KINDS if r % 2 else KINDS[::-1]:
				found, counters = one(lab, kind, way, count, 1.5 + rtt / 20)
				seen[kind] += found
				for (_end, k), n in counters.items():
					noticed[kind][k] = noticed[kind].get(k, 0) + n
		seam.stop()
	return {"path": path, "way": way, "congestion": congestion, "gso": gso, "limited": limited,
		"seconds": seen, "noticed": noticed}


def p90(values):
	return statistics.quantiles(values, n=10, method="inclusive")[8]


def row(result):
	gaps = {kind: [gap for _verb, gap, _size in found] for kind, found in result["seconds"].items()}
	sizes = {kind: statistics.median(size for *_, size in found) for kind, found in result["seconds"].items()}
	middle = {kind: statistics.median(g) for kind, g in gaps.items()}
	high = {kind: p90(g) for kind, g in gaps.items()}
	result["summary"] = {"median_ms": middle, "p90_ms": high, "goodput": sizes["moved"] / sizes["alone"]}
	again = {kind: n.get("TcpRetransSegs", 0) for kind, n in result["noticed"].items()}
	return (f"{result['path']} ms {result['way']}", result["congestion"], "on" if result["gso"] else "off",
		f"{sizes['alone'] * 8 / 1e6:.0f}", len(gaps["moved"]),
		*(f"{of['alone']:.1f} / {of['moved']:.1f} ({of['moved'] - of['alone']:+.1f})" for of in (middle, high)),
		f"{sizes['moved'] / sizes['alone']:.3f}", f"{again['alone']} / {again['moved']}")


def run(rounds, full=False, count=8):
	cases = SOME
	if full:
		cases = itertools.product(PATHS, WAYS, ("cubic", "bbr"), (True, False), (False, True))
	results, rows, without = [], [], set()
	for case in cases:
		if case[2] not in CONGESTION:
			without.add(case[2])
			continue
		results.append(measure(case, rounds, count))
		rows.append(row(results[-1]))
	say("The second around a transition, beside transfers left alone:")
	table(("round trip, way", "", "GSO", "Mbit/s", "n", "longest gap, median ms", "p90 ms", "goodput", "retrans."), rows)
	say("Gap: longest time without an arrival; left alone / split or merged (difference). Goodput: of the\n"
		"median second, as a ratio. \"1+99\": round trips between box and client, box and server.")
	if without:
		say(f"Not measured, this kernel has no {', '.join(without)}.")
	say()
	return {"stall": results}
