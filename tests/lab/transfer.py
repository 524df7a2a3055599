# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""One connection that moves bytes while something is done to it, and what its ends notice of that."""
import json

from lab import NOTICED, SERVER
from servers import LoadServer, finish_client, start_client

WAYS = ("up", "down", "up down")
SERVES = {"up": "sink", "down": "source", "up down": "echo"}


class Transfer:
	"""`size` bytes up, down, or there and back; `ask`: what the client sends before the server sends them down.

	Each end compares what it gets with what it should be, byte by byte; no_hash: no SHA-256 is made besides.
	"""

	def __init__(self, lab, port, way, size, family=4, ask=0, rate=0, no_hash=False, **more):
		self.lab, self.size, self.no_hash = lab, size, no_hash
		self.up, self.down = "up" in way, "down" in way
		pace = {"rate": rate} if rate else {}
		self.asked = 0 if self.up else ask
		self.server = LoadServer(lab, SERVES[way], port, expect=7, no_hash=no_hash,
			**({} if self.up else {"send": size, "seed": 7} | pace), **({"after_rx": ask} if self.asked else {}))
		send = size if self.up else ask
		self.proc = start_client(lab, "source" if send else "sink", SERVER[family], port, no_hash=no_hash,
			**({"send": send, "seed": 7} | pace if send else {}), **({"recv": size, "expect": 7} if self.down else {}), **more)

	def runs(self):
		return self.proc.poll() is None

	def arrived(self, tap, what, *why):
		"""Waits for its end, and checks every byte."""
		report, = finish_client(self.lab, self.proc)
		seen, = self.server.results(1)
		tap.ok(report["end"] == seen["end"] == "eof" and report["mismatch_at"] == seen["mismatch_at"] == -1
			and seen["rx_bytes"] == (self.size if self.up else self.asked) and report["rx_bytes"] == self.size * self.down
			and (not self.down or report["rx_sha256"] == (report if self.up else seen)["tx_sha256"])
			and (not self.up or report["tx_sha256"] == seen["rx_sha256"]),
			f"{what}: arrives whole{'' if self.no_hash else ', sha256 equal'}", report, seen, *why)

	def stopped(self, tap, what):
		"""Ends one that goes up, in mid-stream: what the client has sent by then arrives."""
		self.lab.stop(self.proc)
		report, = map(json.loads, self.proc.log.read_text().splitlines())
		seen, = self.server.results(1)
		tap.ok(report["end"] == "killed" and seen["end"] == "eof" and report["mismatch_at"] == seen["mismatch_at"] == -1
			and seen["rx_bytes"] == report["tx_bytes"] > 0, f"{what}: {seen['rx_bytes']} bytes, all that were sent, arrive whole",
			report, seen)


def starved(tap, deltas, what):
	"""Of lab.deltas(): whether an end had no memory for what its own window had promised; the log says which.

	A veth hands the memory of the box's buffers on to the end, and what is relayed in pieces takes more of it
	than the end's window allows for: one that is slow to read has none left for what it asked for.
	"""
	full = {end for end in ("client", "server") if deltas[end].get("TcpExtTCPRcvQDrop")}
	if full:
		tap.diag(f"{what}: no memory at {full}")
	return bool(full)


def unless_lost(tap, lab, what, attempt, ends=("client", "server")):
	"""(lab.deltas() of it, what it returned) of an attempt to move something.

	One in which the lab's own queues dropped packets (see PACE) says nothing of Seam: it is made
	again, up to three times, and the last is judged whatever was dropped. The log says what.
	"""
	for left in (2, 1, 0):
		before = lab.queue_drops()
		with lab.deltas(*ends) as d:
			found = attempt()
		lost = {k: n - before.get(k, 0) for k, n in lab.queue_drops().items() if n > before.get(k, 0)}
		if lost:
			tap.diag(f"{what}: the lab lost {lost}")
		if not lost or not left:
			return d, found


def silent(tap, deltas, what, at_legs=NOTICED):
	"""Of lab.deltas("client", "server", "legs")."""
	for end in ("client", "server"):
		tap.zero(deltas[end], NOTICED, f"{what}: the {end} noticed nothing")
	tap.zero(deltas["legs"], at_legs, f"{what}: nor did the legs")
