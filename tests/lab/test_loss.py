#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Loss, duplication and reordering on either side of the box, in every state a flow can be in.

Environment: SEED, the seed of the links (default 1). ONLY, a pattern for the names of the links
below. Both are in the output, so that a run can be repeated.
"""
import os
import re

import pcap
from lab import SERVER, Lab, LabError, Link, reasons, scenario, start_seam
from promises import Watch
from servers import LoadServer, finish_client, start_client

POLICY = """
client = "cli";
server = "srv";
decide = "daemon";
rules = (
	{ name = "passed"; server_port = "7000-7009"; action = "pass"; },
	{ name = "split"; server_port = "7020-7029"; action = "inspect"; inspectors = ["count"];
	  until = { bytes = "1T"; }; },
	{ name = "merged"; server_port = "7030-7039"; action = "inspect"; inspectors = ["count"];
	  until = { bytes = "1"; }; },
	{ name = "held"; host = "nobody.test"; action = "block"; }
);
"""
# By state: the first port of its servers. What is no HTTP is held, and released: "held".
STATES = {"passed": 7000, "held": 7010, "split": 7020, "merged": 7030}
WAYS = ("up", "down", "both")
RST = "tcp[13] & 4 != 0 or (ip6 and ip6[6] == 6 and ip6[53] & 4 != 0)"
# All of a flow at once, or in exchanges with pauses, in which it can be merged.
EXCHANGES = 4
PAUSE = 20	# ms
# Patience with one connection, seconds: some RTOs, doubled each time, are no fault.
PATIENCE = 20

LINKS = {
	"client side 1 %": ({"loss": 1}, None, 1_200_000),
	"client side 5 %": ({"loss": 5}, None, 300_000),
	"server side 1 %": (None, {"loss": 1}, 1_200_000),
	"server side 5 %": (None, {"loss": 5}, 300_000),
	"disorder": ({"dup": 2, "reorder": 2}, {"dup": 2, "reorder": 2}, 1_200_000),
	"all of it": ({"loss": 2, "dup": 2, "reorder": 2}, {"loss": 2, "dup": 2, "reorder": 2}, 300_000),
}


def servers(lab, size):
	"""By way: a sink, a source that is asked first, an echo."""
	found = {}
	for state, port in STATES.items():
		found[state, "up"] = LoadServer(lab, "sink", port, expect=7)
		found[state, "down"] = LoadServer(lab, "source", port + 1, send=size, seed=8, after_rx=100, recv=100)
		found[state, "both"] = LoadServer(lab, "echo", port + 2, expect=7)
	return found


def start(lab, state, way, family, size):
	options = {
		"up": {"send": size, "seed": 7, "recv": 0},
		"down": {"send": 100, "seed": 7, "recv": size, "expect": 8},
		"both": {"send": size, "seed": 7, "recv": size, "expect": 7},
	}[way]
	if state == "merged":
		options |= {"chunk": max(options["send"] // EXCHANGES, 1), "pause": PAUSE, "pingpong": way == "both"}
	return start_client(lab, "source", SERVER[family], STATES[state] + WAYS.index(way), timeout=PATIENCE, **options)


def ended(server):
	"""Reports of a server whose clients have all ended; fewer if one of them hangs."""
	try:
		return server.results(len(SERVER))
	except LabError:
		return server.results()


def arrived(tap, what, size, reports, served, watch):
	"""Each connection ended by FIN at both ends, with all its bytes, and the right ones."""
	bad = []
	for (state, way, family), report in reports.items():
		want_tx, want_rx = {"up": (size, 0), "down": (100, size), "both": (size, size)}[way]
		if (report["end"] != "eof" or report["mismatch_at"] != -1 or report["tx_bytes"] != want_tx
				or report["rx_bytes"] != want_rx):
			bad += [f"IPv{family} {state} {way}: {report}", *watch.trace(int(report["local"].rpartition(":")[2]))]
	tap.ok(not bad, f"{what}: {len(reports)} connections arrive whole and end", *bad)
	bad = []
	for (state, way), at_server in served.items():
		sent = sorted(r["tx_sha256"] for (s, w, _f), r in reports.items() if (s, w) == (state, way))
		if (any(r["end"] != "eof" or r["mismatch_at"] != -1 for r in at_server)
				or sorted(r["rx_sha256"] for r in at_server) != sent):
			bad.append(f"{state} {way}: {at_server}")
	tap.ok(not bad, f"{what}: the servers saw the same", *bad)


def aborts(packets):
	"""RSTs of an end, or of a leg, that gave up: they acknowledge.

	A bare one is the answer of a socket that is closed already: to a packet that came twice, or to
	the second ack of a FIN that was sent twice, as with no box in between.
	"""
	return [str(p) for p in packets if p.flags & pcap.ACK]


def states_seen(tap, lab, what):
	"""The policy did to the flows what it is meant to: else the run would show nothing."""
	count = reasons(lab)
	tap.ok(count.get("first_payload", 0) >= 6 * 2, f"{what}: flows were held", count)
	tap.ok(count.get("legs_ready", 0) >= 6, f"{what}: flows were split", count)
	merged = count.get("quiet", 0) + count.get("crossed", 0)
	tap.ok(merged >= 1, f"{what}: {merged} flows were merged", count)
	tap.equal({k: count[k] for k in ("leg_died", "leg_failed", "daemon_gone", "hold_lost", "leg_silenced")
		if count.get(k)}, {}, f"{what}: nothing went wrong on the box")


def impaired(tap, what, client_link, server_link, size, seed):
	links = [Link(delay=1, seed=seed + i, **x) if x else None for i, x in enumerate((client_link, server_link))]
	with Lab(client_link=links[0], server_link=links[1], loss_probes=True) as lab:
		served = servers(lab, size)
		seam = start_seam(lab, POLICY)
		captures = [lab.capture(ns, "eth0", RST) for ns in ("client", "server")]
		with Watch(lab) as watch:
			procs = {(state, way, family): start(lab, state, way, family, size)
				for state in STATES for way in WAYS for family in SERVER}
			reports = {key: finish_client(lab, proc, timeout=PATIENCE + 10)[0] for key, proc in procs.items()}
			at_server = {key: ended(server) for key, server in served.items()}
		arrived(tap, what, size, reports, at_server, watch)
		tap.equal([r for c in captures for r in aborts(c.stop())], [], f"{what}: no connection was aborted")
		watch.kept(tap, what, disordered=True)
		states_seen(tap, lab, what)
		tap.equal(seam.stop(), 0, f"{what}: seam ends")


@scenario
def main(tap):
	seed = int(os.environ.get("SEED", 1))
	tap.diag(f"SEED={seed}")
	for what, (client_link, server_link, size) in LINKS.items():
		if re.search(os.environ.get("ONLY", ""), what):
			impaired(tap, what, client_link, server_link, size, seed)
