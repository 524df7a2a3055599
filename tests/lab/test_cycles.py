#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Split and merged again and again, one connection or a crowd of them: nothing is left behind.

Environment: CYCLES, of the one connection (default 300); FLOWS, how many connections are each
split and merged once (default 1000). `make check-cycles` has 1,000 and 10,000.
"""
import json
import os

import isolate
from byhand import POLICY, ByHand, flow_to, wave
from daemon import Daemon
from lab import NOTICED, NOTICED_AT_LEGS, SERVER4, Lab, LabError, scenario, seam_json, start_seam, wait_for
from servers import LoadServer, start_client
from transfer import silent

CYCLES = int(os.environ.get("CYCLES", 300))
FLOWS = int(os.environ.get("FLOWS", 1000))
os.environ.setdefault(isolate.LIMIT, str(isolate.USUAL_LIMIT + CYCLES // 10 + FLOWS // 20))
WAVE = 1000	# connections at once: their windows together must not overrun the lab's queues
HISTORY = 16	# transitions kept of one flow
SLACK = 1 << 20	# bytes that the daemon may grow by, once it has had its first flows


class Left:
	"""What a daemon and the kernel hold for its flows, before something and after it."""

	def __init__(self, lab):
		self.daemon = Daemon(lab)
		self.before = self.now()
		self.memory = self.daemon.memory()

	def now(self):
		return {"descriptors": self.daemon.descriptors(), "sockets": len(self.daemon.sockets().splitlines()),
			"legs": len(self.daemon.table("legs")), "holds": len(self.daemon.table("holds")),
			"conns": {k: n for k, n in self.daemon.conns().items() if n}}

	def nothing(self, tap, what):
		try:
			wait_for(lambda: self.now() == self.before, what)
		except LabError:
			raise LabError(f"{what}: left: {self.now()}, before it: {self.before}") from None
		grown = self.daemon.memory() - self.memory
		tap.ok(grown < SLACK, f"{what}: nothing is left, and the daemon grew by {grown} bytes")


def one_connection(tap, lab):
	"""Splits and merges of one connection, which carries data both ways all along."""
	server = LoadServer(lab, "both", 7000, send=10**12, rate=6_000_000, seed=8, expect=7)
	proc = start_client(lab, "both", SERVER4, 7000, send=10**12, rate=6_000_000, seed=7, expect=8)
	flow = flow_to(lab, 7000)
	hand = ByHand(flow)
	for _ in range(10):	# the daemon's buffers have their size after that
		hand.split()
		hand.merge()
	left = Left(lab)
	with lab.deltas("client", "server", "legs") as d:
		done = 0
		for _ in range(CYCLES):
			why = hand.split() or hand.merge()
			if why:
				tap.diag(why)
				break
			done += 1
		left.nothing(tap, f"{CYCLES} cycles of one connection")
	seen = seam_json(lab, "flow", str(flow["flow_id"]))
	tap.equal(done, CYCLES, "each of them took place")
	silent(tap, d, "one connection", NOTICED_AT_LEGS)
	tap.ok(len(seen["history"]) <= HISTORY and seen["transitions"] > 2 * CYCLES,
		f"of {seen['transitions']} transitions the last {len(seen['history'])} are kept")
	# Both stop in the middle of a stream that both of them know.
	lab.stop(proc)
	at_client = json.loads(proc.log.read_text())
	at_server, = server.stop()
	tap.ok(at_client["mismatch_at"] == at_server["mismatch_at"] == -1 and at_client["rx_bytes"] > 1000
		and at_server["rx_bytes"] > 1000, "what arrived is what was sent", at_client, at_server)
	return done


def crowd(tap, lab, what, ports, by_hand):
	flows, bad, refused = 0, [], []
	with lab.deltas() as d:
		for n, port in enumerate(ports):
			got = wave(lab, port, min(WAVE, FLOWS - n * WAVE), by_hand)
			flows, bad, refused = flows + got[0], bad + got[1], refused + got[2]
	tap.ok(flows == FLOWS and not bad, f"{what}: {flows} connections arrive whole", *bad[:5])
	return d, refused


@scenario
def main(tap):
	waves = (FLOWS + WAVE - 1) // WAVE
	with Lab() as lab:
		plain, _ = crowd(tap, lab, "plain forwarding", range(7100, 7100 + waves), False)
		seam = start_seam(lab, POLICY + 'timeouts = { closing = "1s"; };')
		one_connection(tap, lab)
		wave(lab, 7001, min(WAVE, FLOWS), True)	# the size that a crowd gives the daemon once
		left = Left(lab)
		stats = left.daemon.stats()
		seen, refused = crowd(tap, lab, "split and merged", range(8000, 8000 + waves), True)
		tap.equal(refused, [], "no split or merge was refused")
		after = left.daemon.stats()
		for verb in ("splits", "merges"):
			tap.equal(after[verb] - stats[verb], 2 * FLOWS, f"{verb}: one by policy, one by hand, of each")
		for end, counters in plain.items():
			tap.zero({k: max(0, seen[end][k] - n) for k, n in counters.items()}, NOTICED,
				f"the {end}'s connections noticed no more than those of plain forwarding")
		wait_for(lambda: not left.daemon.table("flows"), "the flows to be forgotten", timeout=30)
		left.nothing(tap, f"{FLOWS} connections")
		tap.equal(seam.stop(), 0, "seam ends")
