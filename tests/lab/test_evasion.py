#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A verdict is on the bytes that the server takes: segments that it discards, or that others come
to stand in for, lead to none on bytes it never gets.
"""
import contextlib

from lab import SERVER, Lab, scenario, seam_json, start_seam, wait_for
from peers import Pair, abort, both_ways, reasons, reload
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
# In the order of evade() in hostile.py, whose ports follow each other.
TRICKS = ("nothing but the request", "a wrong checksum", "no ACK flag", "a RST that is not exact", "a TSval of long ago",
	"the end of the request first, and another in its place", "a priority tag", "a priority tag, IPv6", "five extension headers",
	"fragments with an extension header", "a payload length of 0", "a RST amid the handshake that the server discards", "a SYN in fragments", "urgent data",
	"a wrong checksum of IPv4", "an option for which the server discards it", "a FIN that the server discards")
# There is no connection.
FRAGMENTS = "a SYN in fragments"
# Nobody can know of every segment whether the server will have it; of what a leg has received it is known.
ONLY_SPLIT = TRICKS[-2:]
# What the server would have taken.
CONTROLS = TRICKS[8:13]


def sockets(lab, port):
	"""What the server has of the connection from that port, whatever its state."""
	return lab.run("server", ["ss", "-tainHO", f"dport = :{port}"]).stdout


def state(lab, port):
	return next((f["flow"]["state"] for f in seam_json(lab, "flows") if f["src_port"] == port), None)


def evade(tap, kind=Lab, mode="route"):
	with kind() as lab:
		neighbours(lab)
		server = Counter(lab, {PORT: None})
		policies = {decider: POLICY % decider + f'mode = "{mode}";\n' for decider in ("kernel", "daemon", "split")}
		seam, first = start_seam(lab, policies["kernel"]), 41000
		for decider, policy in policies.items():
			what = f"{mode}, the {decider} decides"
			reload(lab, seam, policy)
			peer(lab, "evade", PORT, first)
			for port, trick in enumerate(TRICKS, first):
				if trick == FRAGMENTS:
					tap.equal((sockets(lab, port), server.seen(port, timeout=0)), ("", None), f"{what}; {trick} does not get to the server")
				elif trick not in ONLY_SPLIT or decider == "split":
					wait_for(lambda: state(lab, port) == "blocked", f"{trick}: blocked", timeout=10)
					seen = server.seen(port)
					tap.ok(seen and seen["bytes"] == 0, f"{what}; {trick}: the server gets nothing of the request", seen)
			flow = next(f for f in seam_json(lab, "flows") if f["src_port"] == first)
			path = [x["to"] for x in seam_json(lab, "flow", str(flow["flow_id"]))["history"]]
			decided = {"kernel": "held" not in path, "daemon": "held" in path, "split": "split" in path}
			tap.ok(decided[decider], f"{what} indeed", path)
			first += 100
		if mode == "route":
			controls(tap, lab, seam, first)
		tap.equal(seam.stop(), 0, "seam ends with 0 on SIGTERM")


def controls(tap, lab, seam, first):
	"""What is kept from the server above it would have taken."""
	reload(lab, seam, 'client = "cli";\nserver = "srv";\n')
	peer(lab, "evade", PORT, first, "control")
	for port, trick in enumerate(TRICKS, first):
		if trick in CONTROLS:
			tap.ok("bytes_received" in sockets(lab, port), f"{trick}: where nothing fails closed it arrives", sockets(lab, port))


def untracked(tap):
	"""`untracked`: what began before Seam goes on or does not, and no blocked connection outlives its entry."""
	policy = (POLICY % "daemon").replace('"block"; fail', '"block"; with = "drop"; fail') + 'timeouts = { blocked = "1s"; };\n'
	with Lab() as lab, contextlib.ExitStack() as stack:
		server = Counter(lab, {PORT: None, 7004: None})
		before = stack.enter_context(Pair(lab))
		before.prime()
		before.server.settimeout(1)
		seam = start_seam(lab, policy)
		for source, answer, passes in ((42000, "pass", True), (42001, "block", False)):
			reload(lab, seam, policy + f'untracked = "{answer}";\n')
			before.client.sendall(b"more")
			arrived = None
			with contextlib.suppress(TimeoutError):
				arrived = before.server.recv(4)
			tap.equal(arrived, b"more" if passes else None, f"{answer}: what began before Seam")
			if not passes:	# or it goes on to send that again
				abort(before.client)
			counted = reasons(lab)
			more = lambda reason: reasons(lab).get(reason, 0) > counted.get(reason, 0)
			blocked = lab.popen("client", ["curl", "-s", "-m", "15", "--local-port", str(source), "-H", "Host: blocked.com",
				f"http://{SERVER[4]}:{PORT}/"])
			wait_for(lambda: more("block_drop"), "the request to be dropped", 5)
			counted = reasons(lab)	# nobody else sends anything now
			wait_for(lambda: state(lab, source) is None, "the flow to be forgotten", 10)
			wait_for(lambda: more("untracked"), "the client to send the request again", 10)
			if passes:
				seen = server.seen(source)
				tap.ok(seen and seen["bytes"], f"{answer}: what a client sends again that was blocked gets by, when that is forgotten", seen)
			else:
				there = sockets(lab, source)
				tap.ok("ESTAB" in there and "bytes_received" not in there, f"{answer}: it does not", there)
			lab.stop(blocked)
			case = run_clients(lab, {"new": {"host": SERVER[4], "port": 7004, "steps": [["send", b"hello".hex()], ["count"], ["fin"]]}})
			tap.ok(case["new"]["good"], f"{answer}: a new connection passes", case)
		tap.equal(seam.stop(), 0, "seam ends")


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
	evade(tap)
	evade(tap, WireLab, "wire")
	untracked(tap)
