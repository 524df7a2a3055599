#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A fast sender and a slow way on: what Seam has accepted and not delivered is bounded, and told.

The bound is the policy's, or the window that was promised before the split if that is larger.
"""
import time

import pcap
from byhand import ByHand, flow_to
from lab import SERVER4, Lab, scenario, seam_json, start_seam, wait_for
from promises import Watch
from servers import LoadServer, finish_client, start_client

LIMIT = 128 << 10
POLICY = """
client = "cli";
server = "srv";
backlog = "128K";
rules = (
	{ name = "split"; server_port = "7000-7009"; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; },
	{ name = "merged"; action = "inspect"; inspectors = ["count"]; until = { bytes = 1; }; }
);
"""
SIZE = 16_000_000
# A reader of 8 MB/s, behind a window of 2 MB.
SLOW = {"read_chunk": 65536, "read_pause": 8, "rcvbuf": 4 << 20}
# A window counts in units of its scale, and a leg's ack may be under way.
UNIT = 4096


def custody(watch, sender, port, since=0):
	"""By the captures, of what acknowledges the sender's bytes: (the most that was acknowledged to it and
	not yet by the receiver, the window that it had been promised: when its first byte came, or just before `since`)."""
	near, far = (watch.at_client, watch.at_server) if sender == "client" else (watch.at_server, watch.at_client)
	from_receiver = [(p.time, who, p) for who, of in (("told", near), ("said", far)) for p in of
		if p.tcp and (p.sport == port) == (sender == "client")]
	scale = next(p.option("wscale") for _when, _who, p in from_receiver if p.flags & pcap.SYN)
	first = min(p.time for p in near if p.tcp and p.payload_len)
	acks, most, window, before = {}, 0, 0, since - 0.1
	for when, who, p in sorted(from_receiver, key=lambda x: x[0]):
		if when < first and not since:
			window = max(window, p.window << (0 if p.flags & pcap.SYN else scale))
		if p.flags & (pcap.SYN | pcap.RST):
			continue
		if who not in acks or pcap.seq_after(p.ack, acks[who]):
			acks[who] = p.ack
		if len(acks) == 2 and who == "told" and before < when <= since:
			window = max(window, (p.ack + (p.window << scale) - acks["said"]) & 0xffffffff)
		if len(acks) == 2 and when > since:
			ahead = (acks["told"] - acks["said"]) & 0xffffffff
			most = max(most, ahead if ahead < 1 << 31 else 0)
	return most, window


def start(lab, way, port):
	up = way == "up"
	server = LoadServer(lab, "sink" if up else "source", port, **({"expect": 7} | SLOW if up else {"send": SIZE, "seed": 7}))
	proc = start_client(lab, "source" if up else "sink", SERVER4, port,
		**({"send": SIZE, "seed": 7} if up else {"expect": 7, "recv": SIZE} | SLOW))
	return server, proc, "client" if up else "server"


def arrived(tap, lab, what, server, proc):
	here, = finish_client(lab, proc)
	there, = server.results(1)
	server.stop()
	tap.ok(here["mismatch_at"] == there["mismatch_at"] == -1 and max(here["rx_bytes"], there["rx_bytes"]) == SIZE,
		f"{what}: a slow reader gets everything", here, there)


def from_the_start(tap, lab, way, port):
	"""Split at the first payload: nothing had been promised that a leg could not have."""
	what = f"{way}, split at once"
	with Watch(lab, f"port {port}") as watch:
		server, proc, sender = start(lab, way, port)
		flow = flow_to(lab, port, ("split",))
		memory, shown = 0, {}
		while proc.poll() is None:
			now = seam_json(lab, "flow", str(flow["flow_id"]))
			if now["state"] != "split":
				break
			shown = now
			memory = max(memory, now.get("leg_memory", 0))
			time.sleep(0.05)
		arrived(tap, lab, what, server, proc)
	watch.kept(tap, what)
	(most, inherited), told = custody(watch, sender, port), shown[sender]["backlog_max"]
	tap.ok(LIMIT // 2 < most <= max(LIMIT, inherited) + UNIT,
		f"{what}: {most} bytes were in the box at most, {inherited} had been promised")
	tap.ok(abs(told - most) <= UNIT + 3 * 1448 * 45, f"{what}: that is what Seam tells, {told}")
	# In the kernel's own way to count, a byte costs up to four.
	tap.ok(0 < memory <= 4 * (max(LIMIT, inherited) + UNIT) + (512 << 10), f"{what}: its legs took {memory} bytes of memory at most")


def by_hand(tap, lab, way, port):
	"""Split when a window larger than the bound had been promised: that promise is kept."""
	what = f"{way}, split under way"
	with Watch(lab, f"port {port}") as watch:
		server, proc, sender = start(lab, way, port)
		hand = ByHand(flow_to(lab, port))
		time.sleep(0.3)
		why = hand.split()
		split = time.time()
		time.sleep(0.5)
		most = seam_json(lab, "flow", str(hand.id))[sender]["backlog_max"]
		why = why or hand.merge()
		tap.ok(not why, f"{what}: split and merged", why)
		arrived(tap, lab, what, server, proc)
	watch.kept(tap, what)
	seen, inherited = custody(watch, sender, port, split)
	tap.ok(max(seen, most) <= max(LIMIT, inherited) + UNIT,
		f"{what}: {most} bytes were in the box at most, {seen} by captures; {inherited} were promised before")


@scenario
def main(tap):
	with Lab() as lab:
		seam = start_seam(lab, POLICY)
		for i, way in enumerate(("up", "down")):
			from_the_start(tap, lab, way, 7000 + i)
			by_hand(tap, lab, way, 7010 + i)
		status = seam_json(lab, "status")
		tap.ok(status["backlog_max"] > 0, f"seam status tells the most of one flow, {status['backlog_max']}")
		wait_for(lambda: not any(seam_json(lab, "status")["daemon"]["conns"][k] for k in ("split", "merging", "leg_memory")),
			"no leg to be left")
		tap.equal(seam.stop(), 0, "seam ends")
