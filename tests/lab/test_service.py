#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Seam as a service: what its manager, the journal and a restart get of it."""
import contextlib
import ctypes
import os
import socket
import subprocess
import time
from pathlib import Path

from lab import Lab, LabError, scenario, seam_binary, seam_json, start_seam, wait_for
from peers import SPLIT_ALL, Pair, both_ways, flow, state

FLOWS = 'client = "cli";\nserver = "srv";\n'
LATER = 'rules = ( { name = "later"; action = "inspect"; inspectors = "count"; after = { bytes = "1M"; }; until = { bytes = "1T"; }; } );\n'


PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p


def ptrace(request, tid):
	if _libc.ptrace(request, tid, None, None):
		raise LabError(f"ptrace: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def hanging(pid):
	"""The process's first thread stands still; its others do not, as they would by SIGSTOP. The states of all of them."""
	ptrace(PTRACE_SEIZE, pid)
	ptrace(PTRACE_INTERRUPT, pid)
	os.waitpid(pid, WALL)
	stats = [(t / "stat").read_text() for t in Path(f"/proc/{pid}/task").iterdir()]
	yield sorted(s[s.rindex(")") + 2] for s in stats)
	ptrace(PTRACE_DETACH, pid)


class Manager:
	"""The socket of a service manager, and what it was told."""

	def __init__(self, lab, address):
		self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		self.sock.bind(address.replace("@", "\0", 1))
		self.sock.setblocking(False)
		self.told = []
		self.env = {**os.environ, "NOTIFY_SOCKET": address}

	def heard(self):
		with contextlib.suppress(BlockingIOError):
			while True:
				self.told.append(self.sock.recv(256).decode())
		return self.told


def notifies(tap):
	with Lab() as lab:
		policy = lab.tmp / "seam.conf"
		policy.write_text(SPLIT_ALL + "workers = 1;\n")	# one thread more than the loop's
		manager = Manager(lab, str(lab.tmp / "notify"))
		argv = [seam_binary(), "run", "-c", policy]
		daemon = lab.popen("box", argv, env={**manager.env, "WATCHDOG_USEC": "400000"}, stderr=subprocess.PIPE)
		wait_for(manager.heard, "a word")
		tap.equal((manager.told[0], seam_json(lab, "status")["heartbeat"]), ("READY=1", True), "READY=1 comes once it is ready")
		manager.heard().clear()
		start = time.monotonic()
		wait_for(lambda: len(manager.heard()) > 4, "the watchdog to be told")
		took = time.monotonic() - start
		tap.ok(set(manager.told) == {"WATCHDOG=1"} and took > 0.5, "the watchdog is told once in half the time that it allows for", manager.told, took)
		with hanging(daemon.pid) as states:
			manager.heard().clear()
			time.sleep(0.5)
			tap.equal((states, manager.heard()), (["S", "t"], []), "nothing of one whose loop hangs, though another thread does not")
		wait_for(lambda: manager.heard().count("WATCHDOG=1") > 1, "the watchdog to be told again, once it goes on")
		tap.equal(lab.stop(daemon)[0], 0, "it ends")
		tap.equal(manager.heard()[-1], "STOPPING=1", "STOPPING=1 at the end")

		daemon = lab.popen("box", argv, env=manager.env, stderr=subprocess.PIPE)
		manager.told.clear()
		wait_for(lambda: "READY=1" in manager.heard(), "READY=1")
		time.sleep(0.3)
		tap.ok("WATCHDOG=1" not in manager.heard(), "without a watchdog it is not told", manager.told)
		lab.stop(daemon)
		manager.heard().clear()
		policy.write_text(SPLIT_ALL.replace('"srv"', '"none"'))
		tap.equal((lab.run("box", argv, check=False, env=manager.env).returncode, manager.heard()), (1, []), "nothing of one that cannot start")


def logs(tap, lab):
	"""The journal tells priorities apart by what is in front of each line; a reload takes another `log`."""
	policy, log = lab.tmp / "seam.conf", lab.tmp / "log"
	policy.write_text(SPLIT_ALL)
	start = f'exec 2>{log}; JOURNAL_STREAM=$(stat -L -c %d:%i /dev/fd/2) exec {seam_binary()} run -c {policy}'
	daemon = lab.popen("box", ["sh", "-c", start])
	wait_for(lambda: log.exists() and "ready" in log.read_text(), "it to be ready")
	tap.ok(all(line.startswith("<6>seam: ") for line in log.read_text().splitlines()), "to the journal, with a priority", log.read_text())
	policy.write_text(SPLIT_ALL + "".join(f"nonsense{i} = 1;\n" for i in range(40)))
	done = lab.run("box", [seam_binary(), "reload"], check=False)
	lines = [x for x in log.read_text().splitlines() if "nonsense" in x]
	tap.ok(done.returncode == 1 and len(lines) == 40 and all(x.startswith("<3>seam: error: ") for x in lines), "each error of a policy has it", lines)
	tap.equal(sum("nonsense" in x for x in done.stderr.splitlines()), 40, "and is told to who asked, however many there are")
	policy.write_text(SPLIT_ALL + 'log = "debug";\n')
	done = lab.run("box", [seam_binary(), "reload"])
	tap.equal(done.stderr, "", "a new `log` needs no start")
	policy.write_text(SPLIT_ALL + 'congestion = "nonsuch";\n')
	done = lab.run("box", [seam_binary(), "reload", "-j"], check=False)
	tap.ok(done.returncode == 1 and "nonsuch" in done.stderr and "tcp_available_congestion_control" in done.stderr,
		"a congestion control that there is not: refused", done)
	lab.stop(daemon)
	done = lab.run("box", [seam_binary(), "run", "-c", policy], check=False)
	tap.ok(done.returncode == 1 and "nonsuch" in done.stderr, "nor does it start with one", done)


def restarts(tap):
	"""A restart loses no flow that would be lost without its entry."""
	for more, why in (('untracked = "block";\n', "would be dropped as untracked"), (LATER, "1 are to be inspected later")):
		with Lab() as lab:
			daemon = start_seam(lab, FLOWS + more)
			with Pair(lab) as p:
				p.prime()
				was = state(lab, p)
				tap.equal(daemon.stop(), 0, "seam ends")
				tap.ok("left in place to forward 1 flows" in daemon.log and why in daemon.log, f"a flow that {why} keeps things in place", daemon.log)
				daemon = start_seam(lab, FLOWS + more)
				p.prime()
				tap.equal(state(lab, p), was, "after a restart it goes on as before")
				if more == LATER:
					both_ways(tap, p.client, p.server, "more than its rule waits for")
					wait_for(lambda: state(lab, p) == "split", "it to be inspected")
					history = seam_json(lab, "flow", str(flow(lab, p)["flow_id"]))["history"]
					tap.equal([x["reason"] for x in history if x["to"] == "splitting"], ["after"], "and is inspected when it is due")
			wait_for(lambda: {f["flow"]["state"] for f in seam_json(lab, "flows")} <= {"closing"}, "it to end")
			tap.equal(daemon.stop(), 0, "with no flow left it ends")
			tap.ok("nothing is left" in daemon.log, "and takes all away", daemon.log)


def warns(tap, lab):
	"""A table that is full is told of in the log, and not for each connection."""
	daemon = start_seam(lab, FLOWS + 'default = "inspect";\nmax_flows = 1;\n')
	with contextlib.ExitStack() as open_pairs:
		pairs = [open_pairs.enter_context(Pair(lab)) for _ in range(4)]
		pairs[0].prime()
		warned = lambda: daemon.errors.read_text().count("warning: no room for another flow")
		wait_for(warned, "a warning")
		for _ in range(4):
			open_pairs.enter_context(Pair(lab)).prime()
		time.sleep(1.5)	# it looks once a second
		tap.equal(warned(), 1, "a full table is warned of once a minute")
		tap.ok("raise `max_flows`" in daemon.errors.read_text(), "with what to do")
		tap.ok(" of 1: " in lab.run("box", [seam_binary(), "status"]).stdout, "status tells how full it is")
	daemon.stop()


@scenario
def main(tap):
	notifies(tap)
	with Lab() as lab:
		logs(tap, lab)
		warns(tap, lab)
	restarts(tap)
