#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Checks the models of the transitions exhaustively, and that each rule left out makes them fail.

run.py		every run: one line each, and how many were as expected
run.py --tap	the quick ones, as a TAP test
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# Of each of WORKERS runs at a time.
MEMORY_MB = 3500
WORKERS = 2
SECONDS = 400

# What a run shows, the model, its definitions, whether it must hold, and whether it is quick.
T = "transition"
RUNS = [
	("both ways, no loss, reordered", T, "N0=2 N1=1", True, True),
	("four transitions, no loss", T, "N0=2 N1=1 CAP=1 TRANSITIONS=4", True, True),
	("two units each, no loss", T, "N0=2 N1=2 CAP=1", True, False),
	("three and two units, no loss", T, "N0=3 N1=2 CAP=1", True, False),
	("a leg sends one at a time, no loss", T, "N0=2 N1=1 LEG_CWND=1", True, False),
	("both ways, a fault, reordered", T, "N0=2 N1=1 FAULTS=1", True, False),
	("both ways, two faults, GSO retransmissions", T, "N0=2 N1=1 CAP=1 FAULTS=2 GSO_RTX", True, False),
	("both ways, three packets lost", T, "N0=2 N1=1 CAP=1 FAULTS=3 ONLY_LOSS", True, True),
	("both ways, three and one units, a fault", T, "N0=3 N1=1 CAP=1 FAULTS=1", True, False),
	("both ways, a packet lost on its way to a leg", T, "N0=2 N1=1 CAP=1 FAULTS=1 BOXLOSS", True, False),
	("one way, three faults", T, "N0=3 N1=0 CAP=1 FAULTS=3", True, False),
	("a merge, two packets lost, all sent again in one", T,
	 "N0=3 N1=2 CAP=1 FAULTS=2 START_SPLIT TRANSITIONS=1 ONLY_LOSS SINGLE", True, False),
	("windows: no promise taken back, none waits at a closed one", "window", "", True, True),

	("without: legs begin at the boundary (at the last ack)", T, "N0=2 N1=1 CAP=1 LASTACK", False, True),
	("without: boundary and state in one step", T, "N0=2 N1=1 CAP=1 STALE", False, False),
	("without: one transition at a time", T, "N0=2 N1=1 CAP=1 OVERLAP", False, True),
	("without: a split begins with an empty hold queue", T, "N0=2 N1=1 CAP=1 TRANSITIONS=3 QUEUED_SPLIT", False, True),
	("without: acks of a leg wait for the receiver's", T, "N0=2 N1=1 CAP=1 NOCOMB", False, False),
	("without: they are remembered", T, "N0=2 N1=1 CAP=1 NOREMEMBER", False, False),
	("without: a segment across the boundary is cut for the receiver", T, "N0=2 N1=1 CAP=1 FAULTS=1 WHOLE_NEW", False, True),
	("without: an ack past the boundary goes to the leg, too, after the queue", T, "N0=2 N1=1 CAP=1 NOHELDACK", False, True),
	("without: acks for a leg are clamped, no loss", T, "N0=2 N1=1 CAP=1 NOCLAMP", False, True),
	("without: acks for a leg are clamped, a fault", T, "N0=2 N1=1 CAP=1 FAULTS=1 NOCLAMP", False, False),
	("without: they are clamped to what it has sent (to the boundary)", T,
	 "N0=3 N1=2 CAP=1 FAULTS=2 START_SPLIT TRANSITIONS=1 ONLY_LOSS SINGLE CLAMP_BOUND", False, False),
	("without: merging, the receiver's ack first", T, "N0=2 N1=1 CAP=1 NOTAKEOVER", False, True),
	("without: merging, acks of a leg's data on the receiver's new data", T,
	 "N0=2 N1=1 CAP=1 LEG_CWND=1 NOLEGCOPY", False, True),
	("without: merging, a segment across the boundary is not the leg's", T,
	 "N0=3 N1=0 CAP=1 FAULTS=2 START_SPLIT TRANSITIONS=1 WHOLE_A", False, False),
	("without: merged once the receiver itself has all", T, "N0=2 N1=1 CAP=1 CLOSE_EARLY", False, True),
	("without: merged once the sender has been told", T, "N0=2 N1=1 CAP=1 CLOSE_UNTOLD", False, False),
	("an edit: an original is never sent where the edited went (not in Seam yet)", T, "N0=2 N1=0 CAP=1 FAULTS=1 EDIT", False, False),
	("without: split, no edge beyond the receiver's", "window", "LEGS_OWN", False, True),
	("without: no edge beyond the leg's", "window", "REAL_EDGE", False, False),
	("without: the receiver's new edge is told past its leg", "window", "NOOPEN", False, False),
	("without: while splitting, too", "window", "NOOPEN_SPLITTING", False, True),
	("without: the leg hears of the window at the boundary", "window", "NOEDGE", False, False),
	("without: a new leg tells its own window", "window", "NOASK", False, False),
	("without: merged once all of the window is told", "window", "NOLAST", False, True),
]


def check(model, definitions, optimise):
	"""Holds or not, states, seconds; None for a search that was not finished."""
	began = time.time()
	flags = ["-D" + d for d in definitions.split()]
	with tempfile.TemporaryDirectory() as work:
		subprocess.run(["spin", "-a", *flags, os.path.join(HERE, model + ".pml")], cwd=work, check=True,
			       stdout=subprocess.DEVNULL)
		subprocess.run(["cc", optimise, "-w", "-DSAFETY", "-DNOREDUCE", "-DCOLLAPSE", "-DMEMLIM=%d" % MEMORY_MB,
				"-o", "pan", "pan.c"], cwd=work, check=True)
		try:
			out = subprocess.run(["./pan", "-m1000000", "-w24"], cwd=work, timeout=SECONDS,
					     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
		except subprocess.TimeoutExpired:
			return None, 0, time.time() - began
		if "assertion violated" in out:
			holds = False
		elif "errors: 0" in out and not re.search("not completed|too small|out of memory", out):
			holds = True
		else:
			holds = None
		states = re.search(r"(\d+) states, stored", out)
	return holds, int(states.group(1)) if states else 0, time.time() - began


def main():
	tap = "--tap" in sys.argv[1:]
	runs = [r for r in RUNS if r[4] or not tap]
	said = {True: "holds", False: "fails", None: "unfinished"}
	failed = 0
	if tap:
		print("TAP version 13\n1..%d" % len(runs))
	# Where a rule holds, that no leg has to discard anything is asserted as well.
	asked = [(model, d + " STRICT" if expected and model == T else d) for _, model, d, expected, _ in runs]
	pool = concurrent.futures.ThreadPoolExecutor(WORKERS)
	results = pool.map(lambda r: check(*r, "-O1" if tap else "-O2"), asked)
	for n, ((what, model, definitions, expected, _), (holds, states, seconds)) in enumerate(zip(runs, results), 1):
		good = holds is expected
		failed += not good
		if tap:
			print("%s %d - %s: %s" % ("ok" if good else "not ok", n, what, said[expected]), flush=True)
			if not good:
				print("# it %s: -D %s" % (said[holds], definitions), flush=True)
		else:
			print("%-4s %-72s %10d states %4.0f s  %s, expected: %s" %
			      ("ok" if good else "BAD", what, states, seconds, said[holds], said[expected]), flush=True)
	if not tap:
		print("%d passed, %d failed" % (len(runs) - failed, failed))
	return 1 if failed else 0


sys.exit(main())
