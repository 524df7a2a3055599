#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Split and merged while a sender is at the edge of a closed window: it goes on as soon as the reader does."""
import socket
import time

from byhand import POLICY, ByHand, flow_to
from hostile import ACK, Peer
from lab import NOTICED, SERVER, Lab, scenario, seam_json, start_seam, wait_for
from peers import CLIENT, HOST, Pair, data, read_all, send_until_blocked, state
from sockets import inside
from test_hostile import links

BODY = data(400_000, 3)
RCVBUF = (socket.SOL_SOCKET, socket.SO_RCVBUF, 40_000)


def asked(packets, since, sender):
	"""What the sender said from `since` until it was told of a window again, or sent on."""
	out = []
	for p in packets:
		if p.time < since:
			continue
		if str(p.src) != sender and p.window:
			break
		if str(p.src) == sender:
			out.append(str(p))
	return out


def closed_window(tap, lab, what, family, reverse, go):
	"""a fills b's window; go(hand) makes transitions; b reads: a must not have to ask."""
	name = f"{what}: IPv{family}, {'down' if reverse else 'up'}"
	a_ns = "server" if reverse else "client"
	capture = lab.capture(a_ns, "eth0")
	with lab.deltas() as d, Pair(lab, family, reverse, client_options=[RCVBUF], server_options=[RCVBUF]) as p:
		p.prime()
		hand = ByHand(flow_to(lab, p.server.getsockname()[1]))
		refused = go[0](hand)
		# Its first probe is 200 ms away: the leg's answer to it would tell what else nobody says.
		sent = send_until_blocked(p.a, BODY, patience=0.05)
		refused = refused or go[1](hand)
		opened = time.time()
		got = read_all(p.b, sent)[0]
		more = data(50_000, 5)
		p.a.sendall(more)
		got += read_all(p.b, len(more))[0]
	tap.ok(not refused, f"{name}: it is done", refused)
	tap.ok(got == (BODY * (sent // len(BODY) + 1))[:sent] + more, f"{name}: {sent} bytes, and more, arrive whole")
	tap.equal(asked(capture.stop(), opened, HOST[a_ns][family]), [], f"{name}: a learns that b reads again without having to ask")
	for end in ("client", "server"):
		tap.zero(d[end], NOTICED, f"{name}: the {end} noticed nothing")


def probed(tap, lab, family):
	"""The sender fills the window and probes it with a byte, as RFC 9293 3.8.6.1 has it: beyond what it was told."""
	name = f"probed by a byte: IPv{family}"
	with Pair(lab, family, client_options=[RCVBUF], server_options=[RCVBUF]) as p:
		p.prime()
		hand = ByHand(flow_to(lab, p.server.getsockname()[1]))
		sent = send_until_blocked(p.a, BODY, patience=0.05)
		flow = seam_json(lab, "flow", hand.id)
		client, server = flow["client"], flow["server"]
		at, left = (client["nxt"] - client["isn"] - 2) % 2**32, (server["edge"] - client["nxt"]) % 2**32
		with inside(lab, "client"):
			end = Peer(links(lab, "box")["cli"], CLIENT[4], SERVER[4], CLIENT[6], SERVER[6])
		end.send(end.ip(family, end.tcp(family, p.port, p.server.getsockname()[1], ACK, client["nxt"], client["ack"],
			data=BODY[at:at + left + 1])))
		wait_for(lambda: seam_json(lab, "flow", hand.id)["client"]["nxt"] == (client["nxt"] + left + 1) % 2**32, "the probe")
		reply = hand.begin("split")
		tap.ok(reply["ok"], f"{name}: the split is accepted", reply)
		got = read_all(p.b, sent)[0]
		wait_for(lambda: state(lab, p) == "split", "the legs to have it")
		tap.equal(hand.merge(), None, f"{name}: and merged")
		tap.ok(got == BODY[:sent], f"{name}: {sent} bytes arrive whole")


def nothing(_hand):
	return None


def both(hand):
	return hand.split() or hand.merge()


CASES = {
	"split": (nothing, ByHand.split),
	"merged": (ByHand.split, ByHand.merge),
	"split and merged": (nothing, both),
}


@scenario
def main(tap):
	with Lab() as lab:
		start_seam(lab, POLICY)
		for what, go in CASES.items():
			for family, reverse in ((4, False), (6, True)):
				closed_window(tap, lab, what, family, reverse, go)
		probed(tap, lab, 4)
		probed(tap, lab, 6)
