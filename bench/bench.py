#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Benchmarks: bench.py [--rounds N] [PART ...]; all of them by default.

Prints tables, and writes .output/bench/NAME.json. Nothing is asserted: a figure is
what it is, on a machine that does other things too.
"""
import argparse
import json
import sys

import common
import isolate
from common import OUTPUT
from lab import LabError


def cost(args):
	import cost as part
	return part.run(3 * args.rounds)	# short ones


def flows(args):
	import cost as part
	return part.run_flows(args.rounds, args.flows)


def full(args):
	import full as part
	return part.run(args.rounds, [n for n in args.flows if n >= 1 << 20] or [1 << 20])


def transitions(args):
	import transitions as part
	return part.run(args.rounds, args.connections)


def rates(args):
	import rates as part
	return part.run(args.rounds, args.seconds, args.only)


def stall(args):
	import stall as part
	return part.run(max(1, args.rounds // 2), args.full)


def loss(args):
	import loss as part
	return part.run(max(10, args.rounds) if args.full else args.rounds, args.full)


def bulk(args):
	import bulk as part
	return part.run(args.rounds, args.only)


def sizes(args):
	import sizes as part
	return part.run(3 * args.rounds)


PARTS = {"cost": cost, "flows": flows, "full": full, "bulk": bulk, "sizes": sizes, "rates": rates,
	"transitions": transitions, "stall": stall, "loss": loss}


def main():
	parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
	parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
	parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default 3)")
	parser.add_argument("--flows", type=int, nargs="+", default=[1 << 10, 1 << 14, 1 << 18, 1 << 20],
		help="flows, full: how many there are, powers of 2; of full, a million and more")
	parser.add_argument("--connections", type=int, default=50, help="transitions: connections of each kind in a round")
	parser.add_argument("--seconds", type=int, default=2, help="rates: length of one measurement (default 2)")
	parser.add_argument("--only", nargs="+", default=(), metavar="NAME",
		help="bulk, rates: only systems whose name has this in it, beside forwarding")
	parser.add_argument("--full", action="store_true", help="stall, loss: every case, which takes hours")
	args = parser.parse_args()
	if not set(args.parts) <= PARTS.keys():
		parser.error(f"there is {', '.join(PARTS)}")
	isolate.enter(limit=0)
	OUTPUT.mkdir(parents=True, exist_ok=True)
	for name in args.parts or PARTS:
		try:
			result = PARTS[name](args)
		except LabError as e:
			sys.exit(f"{name}: {e}")
		(OUTPUT / f"{name}.json").write_text(json.dumps(result, indent="\t") + "\n")


main()
