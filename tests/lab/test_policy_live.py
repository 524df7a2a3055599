#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A policy in force: what the SYN decides costs the daemon nothing, and a reload is all or nothing."""
import itertools
import os
import signal
import threading
import time
from pathlib import Path

from lab import SERVER, Lab, scenario, seam_binary, seam_json, start_seam, wait_for
from scripted import Counter, run_clients
from servers import LoadServer, client

PORTS = """
client = "cli";
server = "srv";
rules = (
	{ name = "here"; client = "10.99.1.0/24"; server_port = 7000; action = "pass"; },
	{ name = "there"; server_port = 7001; action = "block"; }
);
"""
OLD = """
client = "cli";
server = "srv";
rules = ( { name = "old"; server_port = 7002; action = "inspect"; inspectors = "count"; until = { bytes = 100; }; } );
"""
NEW = OLD.replace('"old"', '"new"').replace("bytes = 100", "bytes = 5")
BAD = """client = "cli";
server = "srv";
rules = (
	{ name = "new"; server_port = 70000; action = "pass"; },
	{ name = "newer"; colour = "red"; action = "pass"; }
);
"""
CONNECTIONS = 500
_sequence = itertools.count()


def cost(pid):
	"""Voluntary context switches, and nanoseconds on a CPU."""
	status = Path(f"/proc/{pid}/status").read_text()
	switches = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary"))
	return switches, int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def measured(pid, fn):
	"""What fn() returns, and what the daemon spent per second meanwhile and all in all."""
	start, before = time.monotonic(), cost(pid)
	result = fn()
	seconds, after = time.monotonic() - start, cost(pid)
	return result, seconds, after[0] - before[0], after[1] - before[1]


def connections(lab):
	passed = client(lab, "source", SERVER[4], 7000, count=CONNECTIONS, every=2, send=100, recv=100, expect=1)
	refused = client(lab, "source", SERVER[4], 7001, count=100, send=1)
	return passed, refused


def syn_costs_nothing(tap, lab):
	seam = start_seam(lab, PORTS)
	pid = seam_json(lab, "status")["daemon"]["pid"]
	_, idle_s, idle_switches, idle_ns = measured(pid, lambda: time.sleep(2))
	(passed, refused), busy_s, switches, ns = measured(pid, lambda: connections(lab))
	tap.ok(len(passed) == CONNECTIONS and all(r["rx_bytes"] == 100 for r in passed), f"{CONNECTIONS} connections pass", passed[:3])
	tap.ok(len(refused) == 100 and all(r["end"] != "eof" for r in refused), "100 are refused", refused[:3])
	by_timer = idle_switches / idle_s * busy_s
	tap.diag(f"idle: {idle_switches} switches, {idle_ns / 1e6:.2f} ms CPU in {idle_s:.2f} s; "
		f"with connections: {switches}, {ns / 1e6:.2f} ms in {busy_s:.2f} s")
	# The sweep of the table, once a second, has a few hundred flows to read: that is all.
	tap.ok(switches <= by_timer + 10, "the daemon wakes for its timer only", switches, by_timer)
	tap.ok(ns <= idle_ns / idle_s * busy_s * 2 + 10e6, "and uses no more of the CPU", ns, idle_ns)
	seam.stop()


def moves(flow):
	"""Its transitions; not their times of day, which each `seam flow` reckons by the clocks of its own moment."""
	return [(t["from"], t["to"], t["reason"], t["seq"], t["ack"]) for t in flow["history"]]


def reload_is_all_or_nothing(tap, lab):
	conf = lab.tmp / "live.conf"
	conf.write_text(OLD)
	seam = start_seam(lab, args=["-c", conf])
	silent = run_in_background(lab, [])
	seen = run_in_background(lab, [["send", "00" * 50], ["count"]])
	flow = wait_for(lambda: next(iter(seam_json(lab, "flows", "--state=split")), None), "a flow to be split")
	history = moves(seam_json(lab, "flow", str(flow["flow_id"])))

	conf.write_text(BAD)
	check = lab.run("box", [seam_binary(), "check", conf], check=False)
	told = lab.run("box", [seam_binary(), "reload"], check=False)
	errors = [line for line in check.stderr.splitlines() + check.stdout.splitlines() if line.startswith(f"{conf}:")]
	tap.ok(check.returncode and len(errors) == 2, "seam check finds both errors", check.stdout, check.stderr)
	tap.ok(told.returncode == 1 and all(e in told.stderr for e in errors), "seam reload fails with the same", told.stderr)
	logged = lambda: min(seam.errors.read_text().count(e) for e in errors)
	wait_for(logged, "the errors to be in the log")
	tap.equal(logged(), 1, "and so does the log")
	os.kill(seam.proc.pid, signal.SIGHUP)
	wait_for(lambda: logged() == 2, "SIGHUP to be answered in the log")
	tap.equal(decided_by(lab), "old", "new flows are decided by the old policy")

	conf.write_text(NEW)
	told = lab.run("box", [seam_binary(), "reload"])
	tap.equal(decided_by(lab), "new", "after a good one by the new policy")
	conf.write_text(OLD.replace('"old"', '"newest"'))
	os.kill(seam.proc.pid, signal.SIGHUP)
	wait_for(lambda: seam.errors.read_text().count("reloaded: 1 rules") == 2, "SIGHUP to reload")
	tap.equal(decided_by(lab), "newest", "after SIGHUP by the newest")

	known = lab.run("box", [seam_binary(), "flows", "--rule", "newest"], check=False)
	unknown = lab.run("box", [seam_binary(), "flows", "--rule", "nosuch"], check=False)
	tap.equal((known.returncode, unknown.returncode), (0, 1), "flows are listed by rules that exist")

	now = seam_json(lab, "flow", str(flow["flow_id"]))
	tap.ok(now["state"] == "split" and moves(now) == history, "a flow that was split all along is untouched", now)
	report = finish(seen)
	tap.ok(report["good"], "and goes on", report)
	report = finish(silent)
	tap.ok(report["good"] and rule_of(lab, report) == "newest",
		"one that had said nothing is decided by the policy of when it speaks", report, rule_of(lab, report))
	history = [(t["to"], t["reason"]) for t in seam_json(lab, "flow", str(flow["flow_id"]))["history"]]
	tap.ok(("merging", "let_go") in history or ("merging", "until") in history, "until its own rule's end", history)
	seam.stop()


def rule_of(lab, report):
	flow, = [f for f in seam_json(lab, "flows") if f["src_port"] == report["port"]]
	return seam_json(lab, "flow", str(flow["flow_id"])).get("rule_name")


def decided_by(lab):
	"""Name of the rule that decides a new connection."""
	report = run_clients(lab, {"it": {"host": SERVER[6], "port": 7002, "steps": [["send", "00" * 10], ["count"], ["fin"]]}})["it"]
	return rule_of(lab, report)


def run_in_background(lab, steps):
	"""A client that runs the steps, waits for finish(), and says 60 bytes more."""
	seen = {"go": lab.tmp / f"go{next(_sequence)}"}

	def run():
		seen["report"] = run_clients(lab, {"it": {"host": SERVER[4], "port": 7002, "steps": [*steps,
			["await", str(seen["go"])], ["send", "00" * 60], ["count"], ["sleep", 0.2], ["fin"]]}})["it"]
	seen["thread"] = threading.Thread(target=run)
	seen["thread"].start()
	return seen


def finish(seen):
	seen["go"].touch()
	seen["thread"].join()
	return seen["report"]


@scenario
def main(tap):
	with Lab() as lab:
		LoadServer(lab, "echo", 7000)
		Counter(lab, {7002: None})
		syn_costs_nothing(tap, lab)
		reload_is_all_or_nothing(tap, lab)
