# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a packet costs each program, path by path, and what many flows do to that: runs cost.c."""
import subprocess

from common import HERE, OUTPUT, say, table

KEYS = ("path", "became", "family", "median", "min", "max", "over_empty", "least_over_empty")


def _measure(*args):
	"""([a dict of KEYS per line], {other figures})."""
	out = subprocess.run([OUTPUT / "cost", *map(str, args)], check=True, stdout=subprocess.PIPE, text=True,
		cwd=HERE.parent).stdout
	lines = [line.split("\t") for line in out.splitlines()]
	found = [dict(zip(KEYS, (*x[:2], *map(int, x[2:])))) for x in lines if len(x) == len(KEYS)]
	return found, {k: int(v) for k, v in (x for x in lines if len(x) == 2)}


def _columns(f):
	if not f:	# what the bare programs cost is measured with IPv4 alone
		return "", "", ""
	return f"{f['over_empty']:+}", f"{f['least_over_empty']:+}", f"{f['median']} ({f['min']}-{f['max']})"


def run(rounds):
	found, _more = _measure(rounds)
	by_path = {}
	for f in found:
		by_path.setdefault((f["path"], f["became"]), {})[f["family"]] = f
	say("Nanoseconds per packet of one flow (BPF_PROG_TEST_RUN, hot), over a program that does nothing: medians, and\n"
		"the least of each, as on a machine that does nothing else:")
	rows = [(path, became, *(x for of in (4, 6) for x in _columns(f.get(of)))) for (path, became), f in by_path.items()]
	table(("", "", "IPv4", "least", "median (spread)", "IPv6", "least", "median (spread)"), rows)
	return {"cost": found}


def run_flows(rounds, sizes):
	"""The merged paths, each packet of another flow at random: what the caches no longer hold."""
	result, by_path, memory = [], {}, {}
	for n in sizes:
		found, more = _measure(rounds, n)
		memory[n] = more
		for f in found:
			by_path.setdefault((f["path"], f["became"]), []).append(f)
		result.append({"flows": n, "bytes_per_flow": more, "cost": found})
	say("Nanoseconds per packet over a program that does nothing, each packet of one of so many flows at random:")
	table(("", "", *(f"{n:,} flows" for n in sizes)),
		[(*name, *(f"{f['over_empty']:+} ({f['min'] - f['median']:+}..{f['max'] - f['median']:+})" for f in found))
		for name, found in by_path.items()])
	say("Bytes of kernel memory per flow:")
	table(("", *(f"{n:,} flows" for n in sizes)), [("by the map's account", *(m["accounted"] for m in memory.values())),
		("less memory available", *(m["taken"] for m in memory.values()))])
	return {"flows": result}
