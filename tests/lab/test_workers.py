#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Threads that share the split flows: each has its part, and what they carry is whole."""
import json
from pathlib import Path

from byhand import POLICY, ByHand, flow_to, wave
from daemon import Daemon
from lab import NOTICED_AT_LEGS, SERVER4, Lab, scenario, seam_binary, seam_json, start_seam, wait_for
from servers import LoadServer, finish_client, start_client
from transfer import silent

WORKERS, FLOWS, CYCLES = 2, 6, 10
FOREVER, RATE = 10**12, 4_000_000
SIZE = 12_000_000	# 3 s
CROWD = 300


def workers(lab):
	return seam_json(lab, "status")["daemon"]["workers"]


def threads(pid):
	return [(t / "comm").read_text().strip() for t in Path(f"/proc/{pid}/task").iterdir()]


def moved(lab, before):
	"""Whether each of them has moved bytes since."""
	return all(w["bytes"] > b["bytes"] for w, b in zip(workers(lab), before))


def long_lived(tap, lab):
	"""A few connections that are split and merged all along, each of them by turns with the others."""
	ports = range(7000, 7000 + FLOWS)
	servers = [LoadServer(lab, "both", p, send=FOREVER, rate=RATE, seed=8, expect=7) for p in ports]
	with lab.deltas("client", "server", "legs") as d:
		clients = [start_client(lab, "both", SERVER4, p, send=FOREVER, rate=RATE, seed=7, expect=8) for p in ports]
		hands = [ByHand(flow_to(lab, p)) for p in ports]
		refused = [h.split() for h in hands]
		spread = workers(lab)
		tap.equal([w["conns"] for w in spread], [FLOWS // WORKERS] * WORKERS, "each has as many of the flows")
		wait_for(lambda: moved(lab, spread), "bytes to be moved by each of them")
		refused += [h.merge() for h in hands]
		for _ in range(CYCLES - 1):
			refused += [h.split() for h in hands] + [h.merge() for h in hands]
	tap.equal([why for why in refused if why], [], f"{CYCLES} times each is split, and merged")
	silent(tap, d, "the connections", NOTICED_AT_LEGS)
	for c in clients:
		lab.stop(c)
	reports = [json.loads(c.log.read_text()) for c in clients] + [r for s in servers for r in s.stop()]
	bad = [r for r in reports if r["mismatch_at"] != -1 or r["rx_bytes"] < 1000]
	tap.ok(len(reports) == 2 * FLOWS and not bad, "and what arrived is what was sent, both ways", *bad)


def crowd(tap, lab, port):
	"""Many at once, whose splits, merges and ends come in between each other."""
	flows, bad, refused = wave(lab, port, CROWD, True)
	tap.ok(flows == CROWD and not bad and not refused, f"{CROWD} at once, each split and merged: all whole",
		*bad[:5], *refused[:5])


def left_split(tap, lab, seam, port):
	"""What is split while the daemon ends is merged first."""
	server = LoadServer(lab, "both", port, send=SIZE, rate=RATE, seed=8, expect=7)
	client = start_client(lab, "both", SERVER4, port, send=SIZE, rate=RATE, seed=7, expect=8)
	tap.ok(not ByHand(flow_to(lab, port)).split(), "another is split")
	tap.equal(seam.stop(), 0, "the daemon ends in the midst of it")
	reports = finish_client(lab, client) + server.results(1)
	tap.ok(all(r["mismatch_at"] == -1 and r["rx_bytes"] == SIZE for r in reports), "and the connection goes on", *reports)
	server.stop()


@scenario
def main(tap):
	with Lab() as lab:
		seam = start_seam(lab, POLICY + f"workers = {WORKERS}; timeouts = {{ closing = \"1s\"; }};")
		daemon = Daemon(lab)
		tap.equal(sorted(n for n in threads(daemon.pid) if "worker" in n), [f"seam-worker-{i}" for i in range(WORKERS)],
			"a thread for each")
		tap.ok("workers: 2, with 0 + 0 connections" in lab.run("box", [seam_binary(), "status"]).stdout,
			"seam status shows them")
		before = daemon.descriptors()
		long_lived(tap, lab)
		crowd(tap, lab, 8000)
		wait_for(lambda: not daemon.table("flows"), "the flows to be forgotten", timeout=30)
		tap.equal((daemon.descriptors(), [w["conns"] for w in workers(lab)]), (before, [0] * WORKERS), "nothing is left")
		left_split(tap, lab, seam, 9000)
