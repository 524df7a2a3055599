#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The daemon stopped, and killed: held flows and new ones get their rule's fail answer from the kernel."""
import os
import signal
import time

from hello import client_hello
from lab import SERVER, Lab, scenario, seam_json, start_seam
from scripted import Counter, run_clients

POLICY = """
client = "cli";
server = "srv";
decide = "daemon";
rules = (
	{ name = "open"; server_port = 7001; sni = "blocked.com"; action = "block"; fail = "pass"; },
	{ name = "closed"; server_port = 7002; sni = "blocked.com"; action = "block"; fail = "block"; },
	{ name = "syn"; server_port = 7003; action = "pass"; }
);
"""
ANSWERS = {"open": (7001, True), "closed": (7002, False)}
# What a server would count if packets came late that were sent again long ago.
STALE = ("TcpExtTCPDSACKOldSent", "TcpExtPAWSEstab", "TcpExtTCPChallengeACK")


def flow_of(lab, report):
	flow, = [f for f in seam_json(lab, "flows") if f["src_port"] == report["port"]]
	return seam_json(lab, "flow", str(flow["flow_id"]))


def clients(lab, say, ports=ANSWERS):
	return run_clients(lab, {f"IPv{family} {name}": {"host": host, "port": port,
		"steps": [["send", say.hex()], ["count"], ["sleep", 0.1], ["send", b"more".hex()], ["count"], ["fin"]]}
		for name, (port, _) in ports.items() for family, host in SERVER.items()})


def as_their_rule_says(tap, lab, server, what, reports):
	for name, report in reports.items():
		flow = flow_of(lab, report)
		history = [(t["to"], t["reason"]) for t in flow["history"]]
		if ANSWERS[name.split()[1]][1]:
			good, last = report["good"], ("passed", "daemon_gone")
		else:
			seen = server.seen(report["port"])
			good = report["error"] == "ECONNRESET" and seen and seen["end"] == "ECONNRESET" and not seen["bytes"]
			last = ("blocked", "daemon_gone")
		tap.ok(good and last in history, f"{what}: {name}", report, history)


@scenario
def main(tap):
	with Lab() as lab:
		server = Counter(lab, {7001: None, 7002: None, 7003: None})
		seam = start_seam(lab, POLICY)
		for report in clients(lab, client_hello()).values():
			tap.ok(report["good"] and flow_of(lab, report)["reason"] in ("fin", "default"), "the daemon decides", report)

		with lab.deltas() as d:
			os.kill(seam.proc.pid, signal.SIGSTOP)
			held, new = clients(lab, client_hello()), clients(lab, client_hello())
			report = run_clients(lab, {"it": {"host": SERVER[4], "port": 7003, "steps": [["send", "00"], ["fin"]]}})["it"]
			tap.ok(report["good"], "what the SYN decides needs no daemon", report)
			time.sleep(0.5)
			os.kill(seam.proc.pid, signal.SIGCONT)
			time.sleep(0.3)
		as_their_rule_says(tap, lab, server, "held as the daemon stops", held)
		as_their_rule_says(tap, lab, server, "new while it is stopped", new)
		for end, counters in d.items():
			tap.zero(counters, STALE, f"the {end} gets nothing late when the daemon goes on")
		reports = clients(lab, client_hello(sni="blocked.com"))
		tap.ok(all(r["error"] == "ECONNRESET" for r in reports.values()), "then it decides again", reports)
		states = [f"--state={s}" for s in ("held", "splitting", "split", "merging")]
		tap.equal(seam_json(lab, "flows", *states), [], "and no flow is left half done")

		seam.stop(signal.SIGKILL)
		as_their_rule_says(tap, lab, server, "new after it was killed", clients(lab, client_hello()))
		seam = start_seam(lab, POLICY)
		reports = clients(lab, client_hello(sni="blocked.com"))
		tap.ok(all(r["error"] == "ECONNRESET" for r in reports.values()), "a new one decides again", reports)
		tap.equal(seam.stop(), 0, "and ends as it should")
