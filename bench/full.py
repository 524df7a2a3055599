# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A table full of merged flows: what its sweeps do to packets, and how long the daemon needs to start with it."""
import signal
import time

from common import OUTPUT, Asking, say, spread, table	# first: it finds the lab
from byhand import flow_to
from daemon import Daemon
from lab import SERVER4, Lab, seam_json, start_seam
from servers import LoadServer

COUNT = 1_000_000	# requests: while a table of a million flows is swept every few seconds
POLICY = """
client = "cli";
server = "srv";
max_flows = {};
timeouts = {{ merged = "1h"; }};
rules = ( {{ name = "all"; action = "inspect"; inspectors = ["count"]; until = {{ bytes = 1; }}; }} );
"""


def requests(lab, port, count):
	"""As Asking has it: of a byte and its echo on a merged flow."""
	LoadServer(lab, "echo", port)
	asking = Asking(lab, SERVER4, port, 1, count)
	flow_to(lab, port)
	return asking.go(timeout=300)


def start(lab, flows):
	"""(Seam, seconds until it is ready)."""
	began = time.monotonic()
	seam = start_seam(lab, POLICY.format(flows + 10000))
	return seam, time.monotonic() - began


def one_round(flows):
	out = {}
	with Lab(pace=100_000) as lab:
		seam, _took = start(lab, flows)
		if flows:
			lab.run("box", [OUTPUT / "fill", flows])
		# A kill, so that the next one finds all of them.
		seam.stop(signal.SIGKILL)
		seam, out["start"] = start(lab, flows)
		daemon, began = Daemon(lab), time.monotonic()
		cpu = daemon.cpu()
		out |= requests(lab, 7000, COUNT)
		out["cpu"] = 100 * (daemon.cpu() - cpu) / (time.monotonic() - began)
		began = time.monotonic()
		seam_json(lab, "status")
		out["status"] = time.monotonic() - began
		seam.stop()
	return out


def run(rounds, sizes):
	found = {n: [] for n in (0, *sizes)}
	for i in range(rounds):
		order = list(found)
		for n in order[i % len(order):] + order[:i % len(order)]:
			found[n].append(one_round(n))
	result = {n: {k: spread([r[k] for r in all_of]) for k in all_of[0]} for n, all_of in found.items()}
	say("A byte and its echo on a merged flow, in microseconds, while the table holds so many others and is swept as ever; the\n"
		"CPU time of the daemon meanwhile; and seconds until `seam run` is ready that finds them, and of `seam status`:")
	rows = [(label, *(f"{r[k]['median']:.{digits}f} ({r[k]['min']:.{digits}f}-{r[k]['max']:.{digits}f})" for r in result.values()))
		for label, k, digits in (("p50", "p50", 0), ("p99", "p99", 0), ("p99.9", "p99.9", 0), ("the most", "most", 0),
			("daemon, % of a CPU", "cpu", 1), ("start, s", "start", 2), ("status, s", "status", 2))]
	table(("", *(f"{n:,} flows" for n in result)), rows)
	return {"full": result}
