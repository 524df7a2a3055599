#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""One end has sent FIN and the other goes on: split and merged all the same, and closed end to end."""
import socket

from byhand import POLICY, ByHand, flow_to
from lab import NOTICED, Lab, Link, scenario, seam_json, start_seam, wait_for
from peers import Pair, data, hearing, saying, state

REQUEST, ANSWER = data(30_000, 1), data(3_000_000, 2)


def leg_sockets(lab, port):
	"""What is left of the legs of the flow, in any state."""
	pid = seam_json(lab, "status")["daemon"]["pid"]
	return lab.run("box", ["nsenter", "-t", str(pid), "-n", "ss", "-tnHOa", "sport", "=", f":{port}", "or", "dport", "=",
		f":{port}"]).stdout.split()


def half_closed(tap, lab, what, family, reverse, go):
	"""a sends, and its FIN; b has most of its answer left to send. go(hand, half_close) makes the transitions."""
	name = f"{what}: IPv{family}, {'down' if reverse else 'up'}"
	with lab.deltas() as d, Pair(lab, family, reverse) as p:
		p.prime()
		hand = ByHand(flow_to(lab, p.server.getsockname()[1]))
		a_hears, b_hears = hearing(p.a), hearing(p.b)
		answer = saying(p.b, ANSWER)
		p.a.sendall(REQUEST)

		def half_close(wait=False):
			p.a.shutdown(socket.SHUT_WR)
			if wait:
				wait_for(lambda: "fin" in seam_json(lab, "flow", hand.id)["server" if reverse else "client"]["flags"], "the FIN")
		refused = go(hand, half_close)
		answer.result()
		p.b.shutdown(socket.SHUT_WR)
		got = a_hears.result(), b_hears.result()
		final = wait_for(lambda: state(lab, p) in ("closing", None) and (state(lab, p) or "gone"), f"{name}: the flow to be over")
		tap.equal(leg_sockets(lab, p.port), [], f"{name}: no socket is left on the box ({final})")
	tap.equal(refused, None, f"{name}: all transitions were made")
	tap.ok(got == ((ANSWER, "eof"), (REQUEST, "eof")), f"{name}: both ends get all, and then the end")
	for end in ("client", "server"):
		tap.zero(d[end], NOTICED, f"{name}: the {end} noticed nothing")


def merged_after(hand, half_close):
	why = hand.split()
	half_close()
	return why or hand.merge()


def merged_before(hand, half_close):
	why = hand.split()
	reply = hand.begin("merge")
	half_close()
	if why or not reply["ok"]:
		return why or reply["error"]
	hand._until(("merged", "closing"), 20)
	return None


def split_after(hand, half_close):
	half_close(wait=True)
	return hand.split()


def split_and_merged(hand, half_close):
	half_close(wait=True)
	for _ in range(3):
		why = hand.split() or hand.merge()
		if why:
			return why
	return None


def split_around(hand, half_close):
	half_close()
	return hand.split() or hand.merge()


CASES = {
	"merged after the FIN": merged_after,
	"merged around the FIN": merged_before,
	"split after the FIN, and left so": split_after,
	"split and merged after the FIN, again and again": split_and_merged,
	"split around the FIN, and merged": split_around,
}


@scenario
def main(tap):
	for link in (None, Link(delay=10)):
		with Lab(client_link=link, server_link=link) as lab:
			start_seam(lab, POLICY)
			for what, go in CASES.items():
				for family, reverse in ((4, False), (6, True)):
					half_closed(tap, lab, f"{what}, {'40 ms' if link else '0 ms'}", family, reverse, go)
