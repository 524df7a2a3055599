# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Connections that are long: every system beside plain forwarding.

Saturated, one stream and four: throughput, and the CPU time of the whole machine per
gigabit. Requests and answers of 64 bytes on one connection, with everything on one CPU;
a twentieth of a second by turns with the same through a forwarding box that is always
there, for the speed of a machine may change from second to second by more than a system
makes of it. Throughput once more with MTU-sized packets, as a wire carries them.
"""
import statistics

from common import OUTPUT, Asking, open_lab, say, spread, table, unleash
from measure import STRANGERS, Busy, Patience, on_one_cpu
from proxies import Haproxy, HaproxySplice, NginxStream, Splice
from servers import LoadServer
from systems import (ECHO, SINK, Conntrack, Direct, Forwarding, Redirect, SeamBypass, SeamDeltas, SeamMerged, SeamMonitored,
	SeamPassed, SeamRelayed, SeamSplit, SeamWorkers, choose, say_missing)

SYSTEMS = (Direct, Forwarding, Conntrack, Redirect, SeamMonitored, SeamPassed, SeamBypass, SeamMerged, SeamDeltas, SeamSplit,
	SeamWorkers, SeamRelayed, Splice, HaproxySplice, Haproxy, NginxStream)
STREAMS = (1, 4)
SIZE = 64	# bytes of a request, and of its answer
EXCHANGES, TURNS = 4_000, 10
PATIENCE = 40	# seconds in a round
# By the lab's regime: what it is, bytes of a transfer, and an upper bound of the receive buffers such that
# four streams do not overrun the queue between two veths (see lab.py).
REGIMES = {
	"on": ("64 KB packets (GSO)", 2 << 30, None),
	"off": ("MTU-sized packets", 256 << 20, 512 << 10),
}


def transfer(lab, system, streams, size):
	"""{"gbits", "cpu_ms", "strangers"}: per second, per gigabit, and as Busy has it."""
	with Busy() as busy:
		seconds = float(lab.run("client", [OUTPUT / "load", "send", system.address, SINK, size, streams]).stdout)
	gbit = size * 8 / 1e9
	return {"gbits": gbit / seconds, "cpu_ms": busy.machine / gbit * 1e3, "strangers": busy.strangers}


def exchanges(system, beside):
	"""{"rr", "p50", "p99", "rr ratio", "p99 ratio", "strangers"}: per second, microseconds, and to `beside`; medians."""
	turns, strangers = [], []
	for turn in range(TURNS):
		asking = {s: Asking(s.lab, s.address, ECHO, SIZE, EXCHANGES) for s in (system, beside)}
		system.check()
		with on_one_cpu(system.lab, beside.lab), Busy() as busy:
			found = {s: asking[s].go() for s in ((system, beside) if turn % 2 else (beside, system))}
		turns.append({k: found[system][k] for k in ("rr", "p50", "p99")}
			| {f"{k} ratio": found[system][k] / found[beside][k] for k in ("rr", "p99")})
		strangers.append(busy.strangers)
	return {k: statistics.median(t[k] for t in turns) for k in turns[0]} | {"strangers": statistics.median(strangers)}


def measure(lab, kind, regime, patience, beside):
	system = kind(lab)
	system.start()
	seen = {}
	for n in STREAMS:
		found = patience.quietest(lambda: transfer(lab, system, n, REGIMES[regime][1]))
		seen |= {f"{k}, {n}": v for k, v in found.items()}
	if regime == "on":
		seen |= patience.quietest(lambda: exchanges(system, beside))
	system.stop()
	return seen


def run(rounds, names=()):
	"""names: parts of the names of the systems to measure; () is all."""
	wanted, missing = choose(SYSTEMS, names)
	result = []
	for regime, (title, _size, window) in REGIMES.items():
		seen = {s: [] for s in wanted}
		with open_lab(regime, window=window) as lab, open_lab(regime) as other:
			for l in (lab, other):
				unleash(l)
				LoadServer(l, "echo", ECHO, no_hash=True, nodelay=True)
			LoadServer(lab, "sink", SINK, no_hash=True)
			beside = Forwarding(other)
			for r in range(rounds):
				patience = Patience(PATIENCE)
				for i in range(len(wanted)):	# each round begins with another
					kind = wanted[(i + r) % len(wanted)]
					seen[kind].append(measure(lab, kind, regime, patience, beside))
		result += report(regime, title, seen)
	say_missing(missing)
	say("CPU: of the whole machine, milliseconds per gigabit. Ratios are to forwarding. Exchanges: requests\n"
		f"and answers of {SIZE} bytes on one connection, all on one CPU; their ratios are medians of {TURNS} turns with a\n"
		f"forwarding box beside. {STRANGERS}\n")
	return {"bulk": result, "not_measured": missing}


def _figure(s, base, digits):
	"""Median, spread, ratio."""
	return (f"{s['median']:.{digits}f}", f"{s['min']:.{digits}f}-{s['max']:.{digits}f}", f"{s['median'] / base['median']:.2f}")


def report(regime, title, seen):
	of = {kind: {k: spread([r[k] for r in runs]) for k in runs[0]} for kind, runs in seen.items()}
	base, result = of[Forwarding], []
	rows, latency = [], []
	for kind, s in of.items():
		ratio = {k: s[k]["median"] / base[k]["median"] for k in s if not k.startswith("strangers") and "ratio" not in k}
		ratio |= {k.split()[0]: s[k]["median"] for k in s if "ratio" in k}
		result.append({"regime": regime, "system": kind.name, "ratio": ratio, **s})
		rows.append((kind.name, *(x for n in STREAMS for x in (*_figure(s[f"gbits, {n}"], base[f"gbits, {n}"], 1),
			*_figure(s[f"cpu_ms, {n}"], base[f"cpu_ms, {n}"], 0), f"{s[f'strangers, {n}']['median']:.0%}"))))
		if "rr" in s:
			latency.append((kind.name, *_figure(s["rr"], base["rr"], 0)[:2], *(x for k in ("rr", "p99") for x in
				(f"{s[f'{k} ratio']['median']:.2f}", f"{s[f'{k} ratio']['min']:.2f}-{s[f'{k} ratio']['max']:.2f}")),
				*(x for p in ("p50", "p99") for x in _figure(s[p], base[p], 1)[:2]), f"{s['strangers']['median']:.0%}"))
	say(f"{title}, median of {of[Forwarding]['gbits, 1']['n']}:")
	columns = [x for n in STREAMS for x in (f"Gbit/s, {n}", "spread", "ratio", "CPU ms/Gbit", "spread", "ratio", "strangers")]
	table(("", *columns), rows)
	if latency:
		table(("", "exchanges/s", "spread", "ratio", "spread", "p99 ratio", "spread", "p50 us", "spread", "p99 us", "spread",
			"strangers"), latency)
	return result
