#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A hundred splits and a hundred merges during one transfer, over and over: what anybody noticed.

soak.py [--runs N] [CASE...]: cases are PATH/WAY, with /limited for a rate-limited one and /off for
one without offloads; --list shows all. Transfers of the same length through plain forwarding show
that the lab itself is quiet.
"""
import argparse
import json
import sys
import time

from common import OUTPUT, say, table	# first: it finds the lab
import isolate
from byhand import POLICY
from lab import LabError, start_seam
from moving import PATHS, WAYS, Moving, open_path

CYCLES = 100
PAUSE = 0.005	# seconds between a transition and the next
CASES = [f"{path}/{way}{kind}" for path in PATHS for way in WAYS for kind in ("", "/limited", "/off")]
SOME = ["0.1/up", "0.1/both", "0.1/down/off", "20/both", "100/both", "100/down/limited", "1+19/both"]


def settle(path):
	return 1 + sum(PATHS[path] or (0,)) / 50


def moved(lab, path, way):
	"""One transfer: (cycles, why it stopped, noticed, wrong, seconds)."""
	done, why = 0, None
	moving = Moving(lab, way, True, checked=True)
	time.sleep(settle(path))
	with moving:
		start = time.monotonic()
		while done < CYCLES and not why:
			for go in (moving.hand.split, moving.hand.merge):
				why = why or go()
				time.sleep(PAUSE)
			done += not why
		took = time.monotonic() - start
		time.sleep(settle(path) - 0.5)	# what comes late of the last one
	return done, why, moving.noticed, moving.wrong, took


def left_alone(lab, path, way, seconds):
	moving = Moving(lab, way, False, checked=True)
	time.sleep(settle(path))
	with moving:
		time.sleep(seconds)
	return moving.noticed


def measure(case, runs, controls, congestion):
	path, way, *kind = case.split("/")
	found, took = [], 2.0
	with open_path(path, congestion, gso="off" not in kind, limited="limited" in kind) as lab:
		seam = start_seam(lab, POLICY)
		for _ in range(runs):
			found.append(moved(lab, path, way))
			took = found[-1][-1]
		seam.stop()
		plain = [left_alone(lab, path, way, took) for _ in range(controls)]
		drops = lab.queue_drops()
	return {"case": case, "runs": [dict(zip(("cycles", "stopped", "noticed", "wrong", "seconds"), f)) for f in found],
		"plain": plain, "drops": drops}


def shown(noticed):
	total = {}
	for one in noticed:
		for (end, counter), n in one.items():
			key = f"{end} {counter.removeprefix('TcpExt')}"
			total[key] = total.get(key, 0) + n
	return ", ".join(f"{k} {n}" for k, n in total.items()) or "-"


def row(result):
	runs = result["runs"]
	clean = sum(not r["noticed"] and not r["wrong"] and not r["stopped"] for r in runs)
	return (result["case"], len(runs), sum(r["cycles"] for r in runs), f"{clean}/{len(runs)}", sum(bool(r["wrong"]) for r in runs),
		shown(r["noticed"] for r in runs), shown(result["plain"]),
		"; ".join(sorted({r["stopped"] for r in runs if r["stopped"]})) or "-", result["drops"] or "-")


def main():
	parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
	parser.add_argument("cases", nargs="*", metavar="CASE", default=SOME)
	parser.add_argument("--runs", type=int, default=20, help="transfers of each case (default 20)")
	parser.add_argument("--controls", type=int, default=3, help="and through plain forwarding (default 3)")
	parser.add_argument("--congestion", default="cubic", help="congestion control of ends and legs (default cubic)")
	parser.add_argument("--list", action="store_true", help="the cases")
	args = parser.parse_args()
	if args.list:
		print("\n".join(CASES))
		return
	if not set(args.cases) <= set(CASES):
		parser.error("no such case; --list shows them")
	isolate.enter(limit=0)
	rows, results = [], []
	try:
		for case in args.cases:
			results.append(measure(case, args.runs, args.controls, args.congestion))
			rows.append(row(results[-1]))
			say(f"soak: {case}: {rows[-1][3]} clean")
	except LabError as e:
		say(f"soak: {case}: {e}")
	table(("", "runs", "cycles", "clean", "wrong", "noticed", "plain forwarding", "stopped", "drops"), rows)
	for r in results:	# JSON has no keys of two parts
		for one in r["plain"] + [x["noticed"] for x in r["runs"]]:
			for key in list(one):
				one["/".join(key)] = one.pop(key)
	out = OUTPUT / "soak.json"
	out.parent.mkdir(parents=True, exist_ok=True)
	out.write_text(json.dumps(results, indent="\t") + "\n")
	sys.exit(len(results) < len(args.cases) or any(x["noticed"] or x["wrong"] or x["stopped"]
		for r in results for x in r["runs"]))


main()
