#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A verdict is on the bytes that the server takes: segments that it discards, or that others come
to stand in for, lead to none on bytes it never gets.
"""
import contextlib

from lab import SERVER, Lab, scenario, seam_json, start_seam, wait_for
from peers import Pair, both_ways, reasons
from scripted import Counter, run_clients
from test_hostile import neighbours, peer
from wires import WireLab

POLICY = """
client = "cli";
server = "srv";
decide = "%s";
rules = ({ name = "block"; server_port = 7003; host = "blocked.com"; action = "block"; fail = "block"; });
"""
PORT = 7003
BOX = {4: "10.99.1.1", 6: "fd99:1::1"}
TRICKS = {41000: "nothing but the request", 41001: "a wrong checksum", 41002: "no ACK flag", 41003: "a RST that is not exact",
	41004: "a TSval of long ago", 41005: "the end of the request first, and another in its place",
	41006: "a priority tag", 41007: "a priority tag, IPv6", 41008: "five extension headers", 41009: "fragments with an extension header",
	41010: "a RST amid the handshake that the server discards", 41012: "urgent data",
	41013: "a wrong checksum of IPv4", 41014: "an option for which the server discards it", 41015: "a FIN that the server discards"}
FRAGMENTS = 41011	# of its SYN: there is no connection
# Nobody can know of every segment whether the server will have it; of what a leg has received it is known.
ONLY_SPLIT = (41014, 41015)


def evade(tap, decider, kind=Lab, mode="route"):
	with kind() as lab:
		neighbours(lab)
		server = Counter(lab, {PORT: None})
		seam = start_seam(lab, POLICY % decider + f'mode = "{mode}";\n')
		peer(lab, "evade", PORT)
		for port, trick in TRICKS.items():
			if port in ONLY_SPLIT and decider != "split":
				continue

			def state():
				return next((f["flow"]["state"] for f in seam_json(lab, "flows") if f["src_port"] == port), None)
			wait_for(lambda: state() == "blocked", f"{trick}: blocked", timeout=10)
			seen = server.seen(port)
			tap.ok(seen and seen["bytes"] == 0, f"{mode}, the {decider} decides; {trick}: the server gets nothing of the request", seen)
		tap.equal(server.seen(FRAGMENTS, timeout=0.1), None, f"{mode}, the {decider} decides; a SYN in fragments does not get to the server")
		tap.equal(seam.stop(), 0, "seam ends with 0 on SIGTERM")


def controls(tap):
	"""What is kept from the server above it would have taken."""
	with Lab() as lab:
		neighbours(lab)
		Counter(lab, {PORT: None})
		seam = start_seam(lab, 'client = "cli";\nserver = "srv";\n')
		peer(lab, "evade", PORT, "control")
		for port in (41008, 41009, 41010, FRAGMENTS):
			socket = lab.run("server", ["ss", "-tinH", f"dport = :{port}"]).stdout
			tap.ok("bytes_received" in socket, f"{TRICKS.get(port, 'a SYN in fragments')}: where nothing fails closed it arrives", socket)
		tap.equal(seam.stop(), 0, "seam ends with 0 on SIGTERM")


def untracked(tap):
	"""`untracked`: what began before Seam goes on or does not, and no blocked connection outlives its entry."""
	policy = (POLICY % "daemon").replace('"block"; fail', '"block"; with = "drop"; fail') + 'timeouts = { blocked = "1s"; };\n'
	for answer, passes in (("pass", True), ("block", False)):
		with Lab() as lab:
			server = Counter(lab, {PORT: None, 7004: None})
			with Pair(lab) as before:
				before.prime()
				seam = start_seam(lab, policy + f'untracked = "{answer}";\n')
				before.client.sendall(b"more")
				before.server.settimeout(1)
				arrived = None
				with contextlib.suppress(TimeoutError):
					arrived = before.server.recv(4)
				tap.equal(arrived, b"more" if passes else None, f"{answer}: what began before Seam")
			blocked = lab.popen("client", ["curl", "-s", "-m", "15", "--local-port", "42000", "-H", "Host: blocked.com",
				f"http://{SERVER[4]}:{PORT}/"])
			wait_for(lambda: reasons(lab).get("block_drop"), "the request to be dropped", 5)
			wait_for(lambda: not seam_json(lab, "flows"), "the flow to be forgotten", 10)
			lab.stop(blocked, signum=0, timeout=20)
			seen = server.seen(42000)
			tap.equal(bool(seen and seen["bytes"]), passes, f"{answer}: a client that sends again what was blocked, when that is forgotten")
			case = run_clients(lab, {"new": {"host": SERVER[4], "port": 7004, "steps": [["send", b"hello".hex()], ["count"], ["fin"]]}})
			tap.ok(case["new"]["good"], f"{answer}: a new connection passes", case)
			tap.equal(seam.stop(), 0, f"{answer}: seam ends")


def own(tap):
	"""Of the router's own connections Seam sees one direction only: where all fails closed they go on all the same."""
	with Lab() as lab:
		seam = start_seam(lab, POLICY % "daemon" + 'fail = "block";\nuntracked = "block";\ndefault = "inspect";\n')
		for family in SERVER:
			for ends, host in ((("client", "box"), BOX[family]), (("box", "server"), None)):
				with Pair(lab, family, ends=ends, host=host) as p:
					both_ways(tap, p.client, p.server, f"IPv{family}: a connection of the box itself, as its {'client' if ends[0] == 'box' else 'server'}")
			with Pair(lab, family) as p:
				both_ways(tap, p.client, p.server, f"IPv{family}: one through it")
		tap.equal(seam.stop(), 0, "seam ends")


@scenario
def main(tap):
	own(tap)
	for decider in ("kernel", "daemon", "split"):
		evade(tap, decider)
		evade(tap, decider, WireLab, "wire")
	controls(tap)
	untracked(tap)
