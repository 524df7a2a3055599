#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Random connections, split and merged at random: no end is told anything that is not so.

Without options: some hundred schedules in each regime, and that the oracle sees what it is there
to see. `make random` runs others, and more.
"""
import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lab"))

import isolate	# noqa: E402
from lab import NETNS, ROOT, Lab, LabError, scenario, seam_json, start_seam	# noqa: E402

PEERS = os.environ.get("PEERS", ROOT / ".output" / "tests" / "random_peers")
if sys.argv[1:]:
	os.environ.setdefault(isolate.LIMIT, "0")	# others, and more
# By server port, see POLICY_* in random.h; the edits are those of edit.c.
POLICY = """
client = "cli";
server = "srv";
grace = "1s";
rules = (
	{ name = "byte"; server_port = 7000; action = "inspect"; inspectors = ["count"]; until = { bytes = 1; }; },
	{ name = "some"; server_port = 7001; action = "inspect"; inspectors = ["count"]; until = { bytes = 20000; }; },
	{ name = "long"; server_port = 7002; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; },
	{ name = "header"; server_port = 7003; action = "inspect"; inspectors = ["proxy"]; proxy = "v1"; },
	{
		name = "edit"; server_port = 7004; action = "inspect"; inspectors = ["replace"]; until = { bytes = "1T"; };
		replace = (
			{ find = "{{token of up}}"; with = "<>"; },
			{ find = "{{token of down}}"; with = "<what stands in the place of the one of down>"; }
		);
	}
);
"""
# Of a machine whose CPUs stop for a while, ms; see random.h.
DISORDER = 50
# What the peers can do to a frame in the box's place, and what the oracle has to say of it.
SABOTAGE = {
	"byte": "should be",
	"checksum": "wrong checksum",
	"ack": "of what was sent the box can have",
	"edge": "window edge back",
	"beyond": "the receiver's is",
	"tsval": "TSval back",
	"tsecr": "TSecr",
	"sack": "SACK",
	"fin": "FIN that the other end did not send",
	"rst": "RST that the other end did not send",
	"mss": "its MSS leaves",
	"custody": "nothing moves",
	"silence": "nothing moves",
}
SABOTAGES_AT_ONCE = 4	# each has ports of its own, and takes no notice of others' frames


def prepare(lab, one_cpu=True):
	"""The peers' addresses are nobody's: the box is told where they are. It is on one CPU, or on all."""
	for end, port, net in (("client", "cli", 1), ("server", "srv", 2)):
		mac = link(lab, end, "eth0")
		for address in (f"10.99.{net}.77", f"fd99:{net}::77"):
			lab.run("box", ["ip", "neigh", "replace", address, "lladdr", mac, "dev", port, "nud", "permanent"])
	seam = start_seam(lab, POLICY)
	if one_cpu:
		lab.steer_seam()
	# Legs are as quick to repeat as the peers are.
	pid = seam_json(lab, "status")["daemon"]["pid"]
	lab.run("box", ["nsenter", "-t", pid, "-n", "sysctl", "-qw", "net.ipv4.tcp_rto_min_us=20000"], check=False)
	return seam


def link(lab, ns, iface):
	return json.loads(lab.run(ns, ["ip", "-j", "link", "show", "dev", iface]).stdout)[0]["address"]


def peers(lab, regime, *args, timeout=3600):
	"""Runs schedules; (what it counted, what it printed of failures)."""
	done = lab.run("box", [PEERS, "--client", f"{NETNS / lab.ns('client')},{link(lab, 'box', 'cli')}",
		"--server", f"{NETNS / lab.ns('server')},{link(lab, 'box', 'srv')}",
		*(["--gso"] if regime == "on" else []), *map(str, args)], check=False, timeout=timeout)
	if done.returncode not in (0, 1) or done.stderr:
		raise LabError(f"peers: exit {done.returncode}: {done.stderr}")
	*text, counts = done.stdout.splitlines()
	return json.loads(counts), text


def schedules(tap, lab, regime, one_cpu, seed, n, *args):
	seam = prepare(lab, one_cpu)
	counts, text = peers(lab, regime, "--seed", seed, "--schedules", n, "--disorder", 0 if one_cpu else DISORDER, *args)
	if "--verbose" in args and not counts["failed"]:
		tap.diag(*text)
	tap.ok(not counts["failed"], f"{regime}: {n} schedules from seed {seed} on: every promise is kept",
		*text, seam.errors.read_text()[-2000:])
	tap.diag(f"{regime}: {counts}")
	return counts


@scenario
def main(tap):
	p = argparse.ArgumentParser()
	p.add_argument("--seed", type=int)
	p.add_argument("--schedules", type=int)
	p.add_argument("--at-once", type=int, default=64)
	p.add_argument("--regime", action="append")
	p.add_argument("--one-cpu", action="store_true", help="keep the box on one: nothing may leave in another order")
	p.add_argument("--verbose", action="store_true")
	o = p.parse_args()
	more = ["--at-once", o.at_once, *(["--verbose"] if o.verbose else [])]
	if o.seed is not None:	# make random
		for regime in o.regime or ("off",):
			with Lab(regime) as lab:
				schedules(tap, lab, regime, o.one_cpu, o.seed, o.schedules, *more)
		return
	for regime in ("off", "on"):
		with Lab(regime) as lab:
			counts = schedules(tap, lab, regime, regime == "off", 1, 250, *more)
			tap.ok(counts["splits"] > 100 and counts["merges"] > 100 and counts["in_flight"] > 100
				and counts["lost"] and counts["doubled"] and counts["late"] and counts["resets"],
				f"{regime}: there were transitions, loss, disorder and resets", counts)
	with Lab("off") as lab, ThreadPoolExecutor(SABOTAGES_AT_ONCE) as pool:
		prepare(lab)
		runs = [pool.submit(peers, lab, "off", "--schedules", 12, "--sabotage", kind, "--port", 5000 + 100 * i,
			"--patience", 2) for i, kind in enumerate(SABOTAGE)]
		for run, (kind, says) in zip(runs, SABOTAGE.items()):
			counts, text = run.result()
			tap.ok(any(line.startswith("FAILED") and says in line for line in text),
				f"the oracle sees a box that does wrong: {kind}", counts, *[x for x in text if "FAILED" in x])
