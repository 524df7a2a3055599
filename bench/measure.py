# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""CPU time: of the whole machine, since softirqs have no other owner, and of the lab's processes."""
import contextlib
import os
import resource
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
CPUS = os.cpu_count()
STRANGERS = """"strangers": the part
of it, at least, that neither a process of the lab nor softirqs account for: whatever else ran on the
machine, and kernel threads. Where there are many a figure is measured again."""


def _stat():
	"""Ticks that all CPUs together spent: idle or waiting or taken away, and in softirqs."""
	fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
	return fields[3] + fields[4] + fields[7], fields[6]


def _processes():
	return [p.name for p in Path("/proc").glob("[0-9]*")]


def processes_busy(pids=None):
	"""CPU seconds of these processes, or of all in the lab that still run."""
	total = 0
	for pid in pids if pids is not None else _processes():
		for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
			with contextlib.suppress(FileNotFoundError, ProcessLookupError):
				total += int(stat.read_text().split()[0])
	return total / 1e9


def _children_busy():
	"""Of those that have been waited for, who are no longer in /proc."""
	usage = resource.getrusage(resource.RUSAGE_CHILDREN)
	return usage.ru_utime + usage.ru_stime


class Busy:
	"""with Busy(pids) as b: ...; then CPU seconds: b.machine, all CPUs together; b.box, of these processes.

	b.strangers: see STRANGERS. A process's time has the softirqs in it that ran on its back; so
	this may be too little, never too much.
	"""

	def __init__(self, pids=()):
		self.pids = pids

	def _now(self):
		idle, softirq = _stat()
		return (time.monotonic() * CPUS - idle / TICK, softirq / TICK, processes_busy(self.pids),
			processes_busy() + _children_busy())

	def __enter__(self):
		self._before = self._now()
		return self

	def __exit__(self, *_exc):
		self.machine, softirq, self.box, lab = (b - a for a, b in zip(self._before, self._now()))
		self.strangers = max(0, self.machine - softirq - lab) / self.machine if self.machine else 0


class Patience:
	"""With a machine that does other things too: seconds to wait, and to measure again, in all."""

	WINDOW, IDLE = 0.1, 0.1	# seconds to look; the part that may be busy
	FEW, TRIES = 0.05, 3	# strangers that do no harm

	def __init__(self, seconds):
		self.left = seconds

	def _wait(self, seconds=2):
		"""Until the machine is idle, or for so many seconds."""
		deadline = time.monotonic() + seconds
		while self.left > 0 and time.monotonic() < deadline:
			with Busy() as busy:
				time.sleep(self.WINDOW)
			self.left -= self.WINDOW
			if busy.machine <= self.IDLE * self.WINDOW * CPUS:
				break

	def quietest(self, attempt):
		"""Of the figures that attempt() returns, {"strangers", ...}, those with the least of them; the first
		with few enough will do. What is kept does not depend on any other figure."""
		best = None
		for _ in range(self.TRIES):
			self._wait()
			began = time.monotonic()
			found = attempt()
			if best is not None:
				self.left -= time.monotonic() - began
			if best is None or found["strangers"] < best["strangers"]:
				best = found
			if best["strangers"] <= self.FEW or self.left <= 0:
				break
		return best


@contextlib.contextmanager
def on_one_cpu(*labs):
	"""All that the labs have, processes and softirqs, on the last CPU: nothing waits for another's wake-up."""
	last = CPUS - 1
	_pin({last})
	for lab in labs:
		lab.steer(box=last, ends=last)
	try:
		yield
	finally:
		for lab in labs:
			lab.steer()
		_pin(range(CPUS))


def _pin(cpus):
	for pid in _processes():
		for task in Path(f"/proc/{pid}/task").glob("[0-9]*"):
			with contextlib.suppress(FileNotFoundError, ProcessLookupError):
				os.sched_setaffinity(int(task.name), cpus)
