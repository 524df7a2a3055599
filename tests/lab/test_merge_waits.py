#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A merge that has to wait says for what, begins by itself when that is over, and can be given up until then."""
import socket

from byhand import POLICY, ByHand, flow_to
from lab import NOTICED, Lab, Link, scenario, seam_json, start_seam, wait_for
from peers import Pair, data, read_all, state



def shown(lab, hand):
	f = seam_json(lab, "flow", hand.id)
	return f["state"], f["reason"]


def send_urgent(lab, hand, p, reverse):
	p.a.send(b"!", socket.MSG_OOB)
	a = "server" if reverse else "client"
	wait_for(lambda: "urg_out" in seam_json(lab, "flow", hand.id)[a]["flags"], "the urgent byte to get to the box")


def urgent(tap, lab, family, reverse):
	"""a's urgent byte is on its way to b for a while."""
	name = f"IPv{family}, {'down' if reverse else 'up'}"
	body = data(100_000, 3)
	with lab.deltas() as d, Pair(lab, family, reverse) as p:
		p.b.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
		p.prime()
		hand = ByHand(flow_to(lab, p.server.getsockname()[1]))
		tap.equal(hand.split(), None, f"{name}: split")
		p.a.sendall(b"before")
		send_urgent(lab, hand, p, reverse)
		reply = hand.begin("merge")
		tap.ok(reply["ok"] and reply["state"] == "merging", f"{name}: the merge is accepted", reply)
		tap.equal(shown(lab, hand), ("merging", "urgent"), f"{name}: and waits for the urgent byte")
		reply = hand.begin("split")
		tap.ok(reply["ok"] and reply["state"] == "split", f"{name}: it can be given up", reply)
		tap.equal(shown(lab, hand), ("split", "operator"), f"{name}: then it is split as before")
		p.a.sendall(body)
		tap.equal(read_all(p.b, 7 + len(body)), (b"before!" + body, "more"), f"{name}: what was sent arrives")
		tap.equal(state(lab, p), "split", f"{name}: nobody merges it behind the operator's back")
		send_urgent(lab, hand, p, reverse)
		before = len(seam_json(lab, "flow", hand.id)["history"])
		reply = hand.begin("merge")
		tap.ok(reply["ok"] and reply["state"] == "merging", f"{name}: a merge again", reply)
		p.a.sendall(body)
		wait_for(lambda: state(lab, p) == "merged", "the merge to end by itself")
		steps = [(t["from"], t["to"], t["reason"]) for t in seam_json(lab, "flow", hand.id)["history"][before:]]
		# The packet that ends the wait may be the last that was on its way.
		ended = ([("merging", "merging", "operator"), ("merging", "merged", "crossed")], [("merging", "merged", "quiet")])
		tap.ok(steps[:1] == [("split", "merging", "urgent")] and steps[1:] in ended,
			f"{name}: it has waited, begun, and ended, and each is told once", steps)
		tap.equal(read_all(p.b, 1 + len(body)), (b"!" + body, "more"), f"{name}: nothing is lost")
	for end in ("client", "server"):
		tap.zero(d[end], NOTICED, f"{name}: the {end} noticed nothing")


@scenario
def main(tap):
	slow = Link(delay=75)
	with Lab(client_link=slow, server_link=slow) as lab:
		start_seam(lab, POLICY)
		urgent(tap, lab, 4, False)
		urgent(tap, lab, 6, True)
