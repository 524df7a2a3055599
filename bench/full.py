# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A table full of merged flows: what its sweeps do to packets, and how long the daemon needs to start with it."""
import contextlib
import os
import signal
import socket
import time

import sockets
from byhand import flow_to
from common import HERE, say, spread, table
from daemon import Daemon
from lab import SERVER4, Lab, seam_json, start_seam

FILL = HERE.parent / ".output" / "bench" / "fill"
SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "most": 1}
POLICY = """
client = "cli";
server = "srv";
max_flows = {};
timeouts = {{ merged = "1h"; }};
rules = ( {{ name = "all"; action = "inspect"; inspectors = ["count"]; until = {{ bytes = 1; }}; }} );
"""


def echo(s):
	"""In a process of its own, which ends with the connection."""
	pid = os.fork()
	if not pid:
		with contextlib.suppress(OSError):
			while byte := s.recv(1):
				s.sendall(byte)
		os._exit(0)
	return pid


def requests(lab, port, seconds):
	"""{share: us} of the time that a byte and its echo take on a merged flow."""
	with sockets.listen(lab, port) as listener, sockets.connect(lab, SERVER4, port) as a:
		with sockets.accept(listener) as b:
			sockets.exchange(a, b)
			flow_to(lab, port)
			a.settimeout(None)
			b.settimeout(None)
			child = echo(b)
		took, end = [], time.monotonic() + seconds
		while time.monotonic() < end:
			began = time.perf_counter_ns()
			a.sendall(b"z")
			a.recv(1)
			took.append(time.perf_counter_ns() - began)
		a.shutdown(socket.SHUT_RDWR)
		os.waitpid(child, 0)
	took.sort()
	return {name: took[min(len(took) - 1, int(len(took) * share))] / 1000 for name, share in SHARES.items()}


def start(lab, flows):
	"""(Seam, seconds until it is ready)."""
	began = time.monotonic()
	seam = start_seam(lab, POLICY.format(flows + 10000))
	return seam, time.monotonic() - began


def one_round(flows, seconds):
	out = {}
	with Lab(pace=100_000) as lab:
		seam, _took = start(lab, flows)
		if flows:
			lab.run("box", [FILL, flows])
		# A kill, so that the next one finds all of them.
		seam.stop(signal.SIGKILL)
		seam, out["start"] = start(lab, flows)
		daemon, began = Daemon(lab), time.monotonic()
		cpu = daemon.cpu()
		out |= requests(lab, 7000, seconds)
		out["cpu"] = 100 * (daemon.cpu() - cpu) / (time.monotonic() - began)
		began = time.monotonic()
		seam_json(lab, "status")
		out["status"] = time.monotonic() - began
		seam.stop()
	return out


def run(rounds, sizes, seconds=20):	# of a million flows, a sweep begins every 4 seconds or so
	found = {n: [] for n in (0, *sizes)}
	for i in range(rounds):
		order = list(found)
		for n in order[i % len(order):] + order[:i % len(order)]:
			found[n].append(one_round(n, seconds))
	result = {n: {k: spread([r[k] for r in all_of]) for k in all_of[0]} for n, all_of in found.items()}
	say("A byte and its echo on a merged flow, in microseconds, while the table holds so many others and is swept as ever; the\n"
		"CPU time of the daemon meanwhile; and seconds until `seam run` is ready that finds them, and of `seam status`:")
	rows = [(label, *(f"{r[k]['median']:.{digits}f} ({r[k]['min']:.{digits}f}-{r[k]['max']:.{digits}f})" for r in result.values()))
		for label, k, digits in (("p50", "p50", 0), ("p99", "p99", 0), ("p99.9", "p99.9", 0), ("the most", "most", 0),
			("daemon, % of a CPU", "cpu", 1), ("start, s", "start", 2), ("status, s", "status", 2))]
	table(("", *(f"{n:,} flows" for n in result)), rows)
	return {"full": result}
