# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How long transitions take, from the flows' own history.

All times are the kernel side's: a packet's is when it reached the box's TC hook, a
transition's when it was made. One connection at a time, and nothing else runs.
"""
import json
import itertools

from common import HERE, INSPECT, PASS, POLICY, Web, open_lab, say, spread, table, unleash
from lab import SERVER, seam_json, start_seam

HELD, SPLITTING, SPLIT, MERGING, MERGED, PASSED = 3, 4, 5, 7, 8, 9	# enum flow_state

# What is measured: of which flows, name, from (and there the last payload before it?), to.
MEASURED = (
	(PASS, "first payload to released", HELD, False, PASSED),
	(INSPECT, "first payload to split", HELD, False, SPLIT),
	(INSPECT, "  of it: to the decision", HELD, False, SPLITTING),
	(INSPECT, "  of it: both legs built", SPLITTING, False, SPLIT),
	(INSPECT, "last inspected byte to merged", MERGING, True, MERGED),
	(INSPECT, "  of it: let go to merged", MERGING, False, MERGED),
)


def histories(lab):
	"""{flow id: {state: (when, arrival of the last payload before)}}, of all flows that have one."""
	dump = lab.run("box", ["bpftool", "-j", "map", "dump", "pinned", "/sys/fs/bpf/seam/default/history"]).stdout
	found = {}
	for entry in json.loads(dump):
		entry = entry["formatted"]
		at = entry["value"]["at"][:entry["value"]["count"]]
		found[entry["key"]] = {t["to"]: (t["time_ns"], t["data_ns"]) for t in at}
	return found


def connect(lab, scheme, family, name, count):
	lab.run("client", ["/usr/bin/python3", HERE / "client.py", scheme, SERVER[family], name, count])


def closing_lag(lab):
	stats = seam_json(lab, "status")["daemon"]["stats"]
	return stats["merges"], stats["closing_ns"]


def run(rounds, count):
	kinds = list(itertools.product(("http", "https"), (4, 6), (PASS, INSPECT)))
	times = {(k, what): [] for k in kinds for name, what, *_ in MEASURED if name == k[2]}
	other = {k: 0 for k in kinds}
	lags = []
	with open_lab() as lab:
		unleash(lab)
		Web(lab)
		seam = start_seam(lab, POLICY)
		for kind in kinds:	# not measured: caches, neighbours, the daemon's memory
			connect(lab, *kind, 5)
		for r in range(rounds):
			before = closing_lag(lab)
			for i in range(len(kinds)):	# each round begins with another
				kind = kinds[(i + r) % len(kinds)]
				known = histories(lab).keys()
				connect(lab, *kind, count)
				for flow in (h for i, h in histories(lab).items() if i not in known):
					# A hold that lasted too long was split by the timer; it has no verdict to time.
					if kind[2] == PASS and SPLITTING in flow or MERGED not in flow and kind[2] == INSPECT:
						other[kind] += 1
						continue
					if MERGED in flow:	# at rest when it was let go: one step
						flow.setdefault(MERGING, flow[MERGED])
					for name, what, start, payload, end in MEASURED:
						if name == kind[2]:
							times[kind, what].append((flow[end][0] - flow[start][payload]) / 1000)
			merges, lag = (b - a for a, b in zip(before, closing_lag(lab)))
			lags.append(lag / merges / 1000)
		seam.stop()
	return report(times, other, lags)


def report(times, other, lags):
	say("Transitions, microseconds (one connection at a time):")
	rows, result = [], []
	for (kind, what), values in sorted(times.items(), key=lambda x: (x[0][0][2] != PASS,)):
		scheme, family, _name = kind
		s = spread(values)
		proto = "TLS 1.3" if scheme == "https" else "HTTP"
		result.append({"protocol": proto, "family": family, "what": what.strip(), "us": s, "not_measured": other[kind]})
		rows.append((what, proto, f"IPv{family}", s["n"], *(f"{s[k]:.0f}" if k in s else "" for k in ("median", "p10", "p90", "max")),
			other[kind] or ""))
	table(("", "protocol", "", "n", "median", "p10", "p90", "max", "otherwise"), rows)
	lag = spread(lags)
	say(f"From merged to both legs closed, means of a round: median {lag['median']:.0f} us "
		f"({lag['min']:.0f} to {lag['max']:.0f}).")
	say("\"otherwise\": split by the timer before a verdict, or ended before it came to rest.\n")
	return {"transitions": result, "closing_us": lag}
