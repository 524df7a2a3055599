#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Split and merged while a sender is at the edge of a closed window: it goes on as soon as the reader does."""
import contextlib
import socket
import time

from byhand import POLICY, ByHand, flow_to
from hostile import ACK, Peer
from lab import NOTICED, SERVER, Lab, LabError, scenario, seam_json, start_seam, wait_for
from peers import CLIENT, HOST, Pair, data, read_all, state, unacked, unsent
from sockets import inside
from test_hostile import links

BODY = data(400_000, 3)
RCVBUF = (socket.SOL_SOCKET, socket.SO_RCVBUF, 40_000)


def stream(length):
	"""The first bytes of BODY over and over."""
	return (BODY * (length // len(BODY) + 1))[:length]


def fill_window(s, sent=0):
	"""Sends of stream(), from `sent` on, until the window is closed; returns how much the socket has taken by then."""
	s.setblocking(False)

	def closed():
		nonlocal sent
		with contextlib.suppress(BlockingIOError):
			while True:
				sent += s.send(BODY[sent % len(BODY):])
		# Nothing is in flight, though more waits than a window may have left that is too small to be used.
		return unsent(s) > 4096 and unacked(s) == unsent(s)
	wait_for(closed, "the window to be closed")
	s.settimeout(20)
	return sent


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
		sent = fill_window(p.a)
		refused = refused or go[1](hand)
		sent = fill_window(p.a, sent)	# a leg may have told it less than b's own window
		opened = time.time()
		got = read_all(p.b, sent)[0]
		more = data(50_000, 5)
		p.a.sendall(more)
		got += read_all(p.b, len(more))[0]
	tap.ok(not refused, f"{name}: it is done", refused)
	tap.ok(got == stream(sent) + more, f"{name}: {sent} bytes, and more, arrive whole")
	tap.equal(asked(capture.stop(), opened, HOST[a_ns][family]), [], f"{name}: a learns that b reads again without having to ask")
	for end in ("client", "server"):
		tap.zero(d[end], NOTICED, f"{name}: the {end} noticed nothing")


def probed(tap, lab, family):
	"""The sender fills the window and probes it with a byte, as RFC 9293 3.8.6.1 has it: beyond what it was told."""
	name = f"probed by a byte: IPv{family}"
	with Pair(lab, family, client_options=[RCVBUF], server_options=[RCVBUF]) as p:
		p.prime()
		hand = ByHand(flow_to(lab, p.server.getsockname()[1]))
		sent = fill_window(p.a)
		flow = seam_json(lab, "flow", hand.id)
		client, server = flow["client"], flow["server"]
		at, left = (client["nxt"] - client["isn"] - 2) % 2**32, (server["edge"] - client["nxt"]) % 2**32
		# Of the byte at the edge only the client itself can send what the server is to get.
		if sent <= at + left:
			raise LabError(f"{sent} bytes, of which {at} are sent, do not go beyond a window of {left} more")
		with inside(lab, "client"):
			end = Peer(links(lab, "box")["cli"], CLIENT[4], SERVER[4], CLIENT[6], SERVER[6])
		end.send(end.ip(family, end.tcp(family, p.port, p.server.getsockname()[1], ACK, client["nxt"], client["ack"],
			data=stream(at + left + 1)[at:])))
		beyond = lambda: (seam_json(lab, "flow", hand.id)["client"]["nxt"] - client["nxt"] - left - 1) % 2**32
		wait_for(lambda: beyond() < 2**31, "the probe")
		reply = hand.begin("split")
		tap.ok(reply["ok"], f"{name}: the split is accepted", reply)
		got = read_all(p.b, sent)[0]
		wait_for(lambda: state(lab, p) == "split", "the legs to have it")
		tap.equal(hand.merge(), None, f"{name}: and merged")
		tap.ok(got == stream(sent), f"{name}: {sent} bytes arrive whole")


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
