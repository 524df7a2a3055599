# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a running Seam has and does, as the kernel counts it."""
import json
import os

from lab import seam_json, wait_for


class Daemon:
	"""The daemon of the lab's box; started by start_seam()."""

	def __init__(self, lab):
		self.lab, self.pid = lab, seam_json(lab, "status")["daemon"]["pid"]

	def stats(self):
		return seam_json(self.lab, "status")["daemon"]["stats"]

	def asked(self):
		"""Whether one of its control connections is open: for a moment still, after `seam status` has ended."""
		with open(f"/proc/{self.pid}/net/unix") as f:
			return any(" 03 " in line and line.rstrip().endswith("/seam/default.sock") for line in f)

	def descriptors(self):
		wait_for(lambda: not self.asked(), "the control connections to be closed")
		return len(os.listdir(f"/proc/{self.pid}/fd"))

	def cpu(self):
		"""Seconds."""
		with open(f"/proc/{self.pid}/stat") as f:
			utime, stime = f.read().rpartition(")")[2].split()[11:13]
		return (int(utime) + int(stime)) / os.sysconf("SC_CLK_TCK")

	def sockets(self):
		"""TCP sockets of the inner namespace."""
		return self.lab.run("box", ["nsenter", "-t", self.pid, "-n", "ss", "-Htan"]).stdout

	def memory(self):
		"""Resident bytes."""
		with open(f"/proc/{self.pid}/statm") as f:
			return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

	def table(self, name):
		"""Entries of a pinned map, as bpftool shows them."""
		pin = f"/sys/fs/bpf/seam/default/{name}"
		return json.loads(self.lab.run("box", ["bpftool", "-j", "map", "dump", "pinned", pin]).stdout)

	def conns(self):
		"""What it knows of flows itself, {"held": 0, ...}: nothing, once they are merged or over."""
		return seam_json(self.lab, "status")["daemon"]["conns"]
