#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A small emitter for the Test Anything Protocol, version 13."""
import sys
import time


class Tap:
	"""Collects test points; the plan is printed at the end."""

	def __init__(self, out=None):
		self.out = out or sys.stdout
		self.count = 0
		self.failed = 0
		self.bailed = False
		self.start = time.monotonic()
		self._line("TAP version 13")

	def _line(self, text):
		print(text, file=self.out, flush=True)

	def diag(self, *things):
		"""Print things as comment lines."""
		for thing in things:
			for line in str(thing).splitlines():
				self._line(f"# {line}")

	def ok(self, passed, name, *diagnostics):
		"""One test point; the diagnostics are shown only if it failed. Returns passed."""
		self.count += 1
		self._line(f"{'ok' if passed else 'not ok'} {self.count} - {name}")
		if not passed:
			self.failed += 1
			self.diag(*diagnostics)
		return bool(passed)

	def equal(self, got, want, name):
		"""A test point that holds if got == want."""
		return self.ok(got == want, name, f"got:  {got!r}", f"want: {want!r}")

	def zero(self, counters, names, name):
		"""A test point that holds if all of the named counters are there, and 0."""
		bad = {k: counters.get(k, "no such counter") for k in names if counters.get(k) != 0}
		return self.ok(not bad, name, bad)

	def skip(self, name, why):
		"""A test point that could not run here."""
		self.count += 1
		self._line(f"ok {self.count} - {name} # SKIP {why}")

	def bail(self, why):
		"""Nothing after this makes sense."""
		self.bailed = True
		self._line(f"Bail out! {why}")

	def finish(self):
		"""Print plan and time; returns the exit code."""
		if not self.bailed:
			self._line(f"1..{self.count}")
		self.diag(f"{self.failed} of {self.count} failed, {time.monotonic() - self.start:.1f} s")
		return 1 if self.failed or self.bailed or not self.count else 0
