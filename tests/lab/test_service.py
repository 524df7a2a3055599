#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Seam as a service: what its manager, the journal and a restart get of it."""
import contextlib
import os
import signal
import socket
import subprocess
import time

from lab import Lab, scenario, seam_binary, seam_json, start_seam, wait_for
from peers import SPLIT_ALL, Pair, both_ways, state

FLOWS = 'client = "cli";\nserver = "srv";\n'
LATER = 'rules = ( { name = "later"; action = "inspect"; inspectors = "count"; after = { bytes = "1M"; }; until = { bytes = "1T"; }; } );\n'


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
		policy.write_text(SPLIT_ALL)
		manager = Manager(lab, str(lab.tmp / "notify"))
		argv = [seam_binary(), "run", "-c", policy]
		daemon = lab.popen("box", argv, env={**manager.env, "WATCHDOG_USEC": "400000"}, stderr=subprocess.PIPE)
		wait_for(manager.heard, "a word")
		tap.equal((manager.told[0], seam_json(lab, "status")["heartbeat"]), ("READY=1", True), "READY=1 comes once it is ready")
		wait_for(lambda: manager.heard().count("WATCHDOG=1") > 3, "the watchdog to be told")
		daemon.send_signal(signal.SIGSTOP)
		time.sleep(0.1)
		manager.heard().clear()
		time.sleep(0.5)
		tap.equal(manager.heard(), [], "nothing of one that hangs")
		daemon.send_signal(signal.SIGCONT)
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


def logs(tap):
	"""The journal tells priorities apart by what is in front of each line; a reload takes another `log`."""
	with Lab() as lab:
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
					wait_for(lambda: state(lab, p) == "split", "it to be inspected when it is due")
					tap.ok(True, "and is inspected when it is due")
			wait_for(lambda: {f["flow"]["state"] for f in seam_json(lab, "flows")} <= {"closing"}, "it to end")
			tap.equal(daemon.stop(), 0, "with no flow left it ends")
			tap.ok("nothing is left" in daemon.log, "and takes all away", daemon.log)


def warns(tap):
	"""A table that is full is told of in the log, and not for each connection."""
	with Lab() as lab:
		daemon = start_seam(lab, FLOWS + 'default = "inspect";\nmax_flows = 1;\n')
		with contextlib.ExitStack() as open_pairs:
			pairs = [open_pairs.enter_context(Pair(lab)) for _ in range(4)]
			pairs[0].prime()
			warned = lambda: daemon.errors.read_text().count("warning: no room for another flow")
			wait_for(warned, "a warning")
			for _ in range(4):
				open_pairs.enter_context(Pair(lab)).prime()
			time.sleep(2.5)
			tap.equal(warned(), 1, "a full table is warned of once a minute")
			tap.ok("raise `max_flows`" in daemon.errors.read_text(), "with what to do")
			tap.ok(" of 1: " in lab.run("box", [seam_binary(), "status"]).stdout, "status tells how full it is")
		daemon.stop()


@scenario
def main(tap):
	for part in (notifies, logs, restarts, warns):
		part(tap)
