#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A leg goes on with what was in flight when its flow was split, rather than with ten segments.

It stalled the receiver: for a round trip after each split no more than that came.
"""
import re
import socket
import time

from byhand import POLICY, ByHand, flow_to
from daemon import Daemon
from lab import SERVER, Lab, Link, scenario, seam_json, start_seam, wait_for
from peers import Pair, read_all
from servers import LoadServer, finish_client, start_client

MSS = 1448


def congestion_window(daemon, port):
	"""Segments, of the leg that faces the server."""
	pid = str(daemon.pid)
	text = daemon.lab.run("box", ["nsenter", "-t", pid, "-n", "ss", "-tniHO", "dport", "=", f":{port}"]).stdout
	return int(re.search(r"cwnd:(\d+)", text)[1])


def split(tap, lab, daemon, family, port):
	LoadServer(lab, "sink", port, no_hash=True)
	proc = start_client(lab, "source", SERVER[family], port, send=120_000_000, no_hash=True)
	hand = ByHand(flow_to(lab, port))
	for _ in range(3):
		time.sleep(0.4)
		why = hand.split()
		cwnd = congestion_window(daemon, port)
		flight = seam_json(lab, "flow", str(hand.id))["client"]["flight"]
		tap.ok(not why and flight > 10 * MSS and cwnd * MSS >= flight,
			f"IPv{family}: {flight} bytes were under way, the leg may send {cwnd} segments", why)
		why = hand.merge()
		tap.ok(not why, f"IPv{family}: merged again", why)
	report, = finish_client(lab, proc)
	tap.ok(report["end"] == "eof" and report["tx_bytes"] == 120_000_000, f"IPv{family}: all of it arrived", report)


def window_a_hair_too_small(tap, lab, daemon):
	"""Segments were counted without the timestamps in them: 129 of these as 127, for which 128 would do."""
	burst = bytes(129 * MSS)
	with Pair(lab, client_options=[(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)]) as p:
		p.prime()
		hand = ByHand(flow_to(lab, p.server_port))

		def flight():
			return seam_json(lab, "flow", str(hand.id))["client"]["flight"]

		def leaves_at_once():	# it is out before its first acknowledgement is back
			p.client.sendall(burst)
			read_all(p.server, len(burst))
			time.sleep(0.05)
			return flight() == len(burst)

		wait_for(leaves_at_once, "a burst to be under way as a whole")
		why = hand.split()
		cwnd = congestion_window(daemon, p.server_port)
		tap.equal((why, flight()), (None, len(burst)), "split after a burst that was under way as a whole")
		tap.ok(cwnd * MSS >= len(burst), f"{len(burst)} bytes were under way, the leg may send {cwnd} segments")


@scenario
def main(tap):
	with Lab(client_link=Link(delay=5), server_link=Link(delay=10), pace=200) as lab:
		seam = start_seam(lab, POLICY)
		daemon = Daemon(lab)
		for family in SERVER:
			split(tap, lab, daemon, family, 7000 + family)
		window_a_hair_too_small(tap, lab, daemon)
		tap.equal(seam.stop(), 0, "seam ends")
