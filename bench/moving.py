# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A transfer that runs for as long as it is looked at, and what is done to it meanwhile."""
import contextlib
import itertools
import json
import time
from array import array
from bisect import bisect_left

from byhand import ByHand, flow_to
from lab import NOTICED, SERVER4, Lab, LabError, Link
from servers import LoadServer, start_client

WAYS = ("up", "down", "both")
# Round trip in milliseconds between the box and the client, and the box and the server.
PATHS = {
	"0.1": None,
	"20": (10, 10),
	"100": (50, 50),
	"1+19": (1, 19),
	"1+99": (1, 99),
	"99+1": (99, 1),
}
ENDLESS = 10**13	# bytes
VANISHED = "TcpEstabResets"	# what the kernel counts of a leg that is closed without a sound
LIMITED = 50	# Mbit/s

_ports = itertools.count(7000)


def open_path(path, congestion="cubic", gso=True, limited=False, **more):
	"""A Lab with that path."""
	links = {}
	if PATHS[path]:
		links = {f"{end}_link": Link(delay=rtt / 2) for end, rtt in zip(("client", "server"), PATHS[path])}
		if not gso:	# more packets than that, and what is measured is the forwarder
			more.setdefault("pace", 400)
	if limited:
		more["pace"] = LIMITED
	return Lab("on" if gso else "off", congestion=congestion, **links, **more)


class Moving:
	"""The transfer: with Moving(lab, "up") as m: ...; then m.arrived has its arrivals.

	seam: whether Seam runs. hand: for its flow then, which has been merged.
	checked: every byte that arrives is compared with what was sent; else there is more speed.
	noticed: what the TCP of the ends and of the legs noticed inside the block, {(end, counter): n}.
	arrived: [(times in ns, bytes up to then)] of each end that receives.
	wrong: reports of ends that got something that was not sent.
	"""

	def __init__(self, lab, way, seam, checked=False):
		self.lab, self.way = lab, way
		self.at = ("client", "server", "legs") if seam else ("client", "server")
		self.port = next(_ports)
		mode = {"up": "sink", "down": "source", "both": "both"}[way]
		sends, hears = way != "up", way != "down"	# the server
		self.logs = [lab.tmp / f"arrivals-{self.port}-{end}" for end in ("server", "client")]
		data = {"seed": 7, "expect": 7} if checked else {}
		self.server = LoadServer(lab, mode, self.port, no_hash=True, arrivals=self.logs[0], **data,
			**({"send": ENDLESS} if sends else {}))
		self.client = start_client(lab, "both" if way == "both" else "source" if hears else "sink", SERVER4, self.port,
			no_hash=True, arrivals=self.logs[1], **data, **({"send": ENDLESS} if hears else {}))
		self.logs = [log for log, used in zip(self.logs, (hears, sends)) if used]
		self.hand = ByHand(flow_to(lab, self.port)) if seam else None

	def __enter__(self):
		self._before = self._counters()
		return self

	def _counters(self):
		return {(end, k): n for end in self.at for k, n in self.lab.nstat(end).items()
			if k in NOTICED and (end != "legs" or k != VANISHED)}

	def __exit__(self, kind, *_rest):
		after = self._counters()
		self.noticed = {k: n - self._before[k] for k, n in after.items() if n != self._before[k]}
		if self.client.poll() is not None and kind is None:
			raise LabError(f"{self.way}: the transfer ended by itself: {self.client.log.read_text()}")
		self.lab.stop(self.client)
		with contextlib.suppress(LabError):	# it may be reset before it is stopped: that is fine
			self.server.results(1, timeout=1)
		ended = self.server.stop() + [json.loads(line) for line in self.client.log.read_text().splitlines()]
		self.wrong = [report for report in ended if report["mismatch_at"] != -1]
		self.arrived = [_read(log) for log in self.logs]
		for log in self.logs:
			log.unlink()


def _read(log):
	raw = array("Q", log.read_bytes())
	return raw[0::2], array("Q", itertools.accumulate(raw[1::2]))


def second(arrivals, start, length=1.0):
	"""(longest gap in seconds, bytes) of what arrived from `start` on, CLOCK_MONOTONIC seconds."""
	times, total = arrivals
	begin, end = int(start * 1e9), int((start + length) * 1e9)
	a, b = bisect_left(times, begin), bisect_left(times, end)
	if not a or b == len(times):
		raise LabError("nothing arrived any more")
	edges = [begin, *times[a:b], end]
	return max(y - x for x, y in zip(edges, edges[1:])) / 1e9, total[b - 1] - total[a - 1]


def transitions(moving, count, every):
	"""Splits and merges by turns, one per `every` seconds, `count` of them; nothing if there is no hand.

	[(verb, when it was asked for)]; None for a transfer that was left alone.
	"""
	marks, at = [], time.monotonic()
	for n in range(count):
		verb = "merge" if n % 2 else "split"
		time.sleep(max(0, at - time.monotonic()))
		marks.append((verb, time.monotonic()))
		if moving.hand:
			why = getattr(moving.hand, verb)()
			if why:
				raise LabError(f"{moving.way}: {verb} {n}: {why}")
		at += every
	time.sleep(max(0, at - time.monotonic()))
	return marks
