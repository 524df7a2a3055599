#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Split flows whose bytes the kernel moves: nothing is lost, repeated or out of order, whatever happens."""
import contextlib
import signal
import socket
import time
import traceback

import test_endings
import test_urgent
from byhand import ByHand, flow_to
from daemon import Daemon
from lab import (NOTICED_AT_LEGS, REGIMES, SERVER, Lab, LabError, Link, scenario, seam_binary, start_seam,
	wait_for)
from peers import FAMILY, Case, Pair, data, error_of, hearing, reasons, send_until_blocked, state, through_both
from promises import Watch
from servers import LoadServer, client, finish_client, start_client
from transfer import WAYS, Transfer, silent, starved

# Nobody reads: it only counts, for longer than any of this takes.
POLICY = """
client = "cli";
server = "srv";
rules = ( { name = "all"; action = "inspect"; inspectors = ["count"]; relay = "%s";
	until = { verdict = false; time = "1h"; }; } );
"""
KERNEL, BY_HAND, AUTO = POLICY % "kernel", POLICY % "userspace", POLICY % "auto"
BULK = {"on": 100_000_000, "box": 30_000_000, "off": 20_000_000}
# To be switched 50 times meanwhile; no buffer may fill: bytes, and bytes a second.
LONG = {"on": (300_000_000, 0), "box": (45_000_000, 30_000_000), "off": (45_000_000, 30_000_000)}
ASK = 100	# bytes of the client before the server sends its own
PAUSE = 0.005


def bulk(tap, lab, port, way, family):
	"""From its first byte to its FIN; every byte goes by the kernel."""
	what = f"{lab.regime}, IPv{family}, {way}"
	before = Daemon(lab).stats()
	with lab.deltas("client", "server", "legs") as d:
		# With its end said before it is split it could not be: a leg that is half closed is no source.
		t = Transfer(lab, port, way, BULK[lab.regime], family, ASK, no_hash=True, end="wait" if way == "down" else "fin")
		wait_for(lambda: not t.runs(), "the transfer", 60)
	t.arrived(tap, what)
	after = Daemon(lab).stats()
	moved = {k: after[k] - before[k] for k in ("bytes", "kernel_bytes")}
	total = t.size * (t.up + t.down) + t.asked
	tap.ok(sum(moved.values()) == total and moved["bytes"] < total / 50, f"{what}: the kernel moved nearly all", moved)
	silent(tap, d, what)


def promises(tap, lab):
	whole = lab.regime == "off"
	with Watch(lab, "port 7009", 262144 if whole else 128) as watch:
		report, = client(lab, "source", SERVER[4], 7009, send=2_000_000, recv=2_000_000, seed=7, expect=7)
	tap.equal(report["tx_sha256"], report["rx_sha256"], f"{lab.regime}: 2 MB come back")
	watch.kept(tap, f"{lab.regime}: relayed")


def switch(hand, t, most):
	"""Kernel and userspace by turns; (how often there and back, why not)."""
	n, refused = 0, []
	while n < most and t.runs() and not refused:
		for how in ("userspace", "kernel"):
			why = hand.relay(how)
			if why:
				refused.append(why)
				break
			time.sleep(PAUSE)
		else:
			n += 1
	return n, refused


def switching(tap, lab, what, port, way, size, most=50, family=4, quiet=True, **more):
	for again in range(3):
		with lab.deltas("client", "server", "legs") as d:
			t = Transfer(lab, port + 100 * again, way, size, family, ASK, no_hash=True,
				end="wait" if way == "down" else "fin", **more)
			n, refused = switch(ByHand(flow_to(lab, port + 100 * again, ("relayed",))), t, most)
			wait_for(lambda: not t.runs(), "the transfer", 60)
		t.arrived(tap, f"{what}, {way}: switched {n} times there and back", refused)
		tap.ok(n >= min(most, 10), f"{what}, {way}: while it ran", n, refused)
		if not starved(tap, d, f"{what}, {way}"):
			break
	if quiet:
		silent(tap, d, f"{what}, {way}: switched")


def merging(tap, lab, port, way, size, most=30):
	"""Split, relayed and merged, again and again under load."""
	with lab.deltas("client", "server", "legs") as d:
		t = Transfer(lab, port, way, size, no_hash=True, end="wait" if way == "down" else "fin")
		hand, n, refused = ByHand(flow_to(lab, port, ("split", "relayed"))), 0, []
		while n < most and t.runs() and not refused:
			for go in (lambda: hand.relay("kernel"), hand.merge, hand.split):
				why = go()
				if why:
					refused.append(why)
					break
				time.sleep(PAUSE)
			else:
				n += 1
		wait_for(lambda: not t.runs(), "the transfer", 60)
	t.arrived(tap, f"{way}: relayed and merged {n} times", refused)
	tap.ok(n >= min(most, 10), f"{way}: while it ran", n, refused)
	silent(tap, d, f"{way}: relayed and merged", NOTICED_AT_LEGS)


def regime(tap, name):
	with Lab(name) as lab:
		seam = start_seam(lab, KERNEL)
		LoadServer(lab, "echo", 7009, expect=7)
		for i, way in enumerate(WAYS):
			bulk(tap, lab, 7000 + i, way, 6 if way == "down" else 4)
		promises(tap, lab)
		for i, way in enumerate(WAYS):
			size, rate = LONG[name]
			switching(tap, lab, name, 7010 + i, way, size, family=4 if way == "down" else 6, rate=rate)
		tap.equal(lab.queue_drops(), {}, f"{name}: no queue dropped a packet")
		tap.equal(seam.stop(), 0, f"{name}: seam ends")
		tap.ok("error" not in seam.log and "lost" not in seam.log, f"{name}: without an error", seam.log)


def merges(tap):
	with Lab() as lab:
		seam = start_seam(lab, BY_HAND)
		for i, way in enumerate(WAYS):
			merging(tap, lab, 7020 + i, way, 200_000_000)
		with Pair(lab) as p:
			p.prime()
			p.client.shutdown(socket.SHUT_WR)
			p.server.recv(1)
			hand = ByHand(flow_to(lab, p.server.getsockname()[1], ("split",)))
			tap.ok("closed its half" in (hand.relay("kernel") or ""), "a half-closed flow is refused")
			tap.equal(state(lab, p), "split", "and stays what it is")
		tap.equal(seam.stop(), 0, "seam ends")


def automatic(tap):
	"""`auto`: the kernel moves what comes in big packets, the daemon what does not, each as long as it is so."""
	def segments(n):	# in one packet of the client
		lab.run("client", ["ip", "link", "set", "dev", "eth0", "gso_max_segs", n])

	def becomes(state):
		return wait_for(lambda: flow_to(lab, 7040, ("split", "relayed"))["flow"]["state"] == state, f"the flow to be {state}", 10)

	with Lab() as lab:
		seam = start_seam(lab, AUTO)
		t = Transfer(lab, 7040, "up", 10**12, rate=60_000_000, no_hash=True)
		becomes("relayed")
		before = Daemon(lab).stats()
		time.sleep(0.5)
		after = Daemon(lab).stats()
		tap.ok(after["kernel_bytes"] > before["kernel_bytes"] and after["bytes"] == before["bytes"], "big packets are the kernel's",
			before, after)
		segments(1)
		becomes("split")
		time.sleep(2.5)	# two more looks at its packets, and there is one a second
		tap.equal(flow_to(lab, 7040, ("split", "relayed"))["flow"]["state"], "split", "small ones the daemon's")
		segments(65535)
		becomes("relayed")
		hand = ByHand(flow_to(lab, 7040, ("relayed",)))
		tap.equal(hand.relay("userspace"), None, "by hand to the daemon")
		becomes("split")
		tap.ok(hand.begin("relay", how="auto")["ok"], "and to whom its packets are for")
		becomes("relayed")
		tap.ok(hand.begin("relay", how="auto")["ok"], "once more, which changes nothing")
		t.stopped(tap, "relayed by turns")
		counted = reasons(lab)
		tap.equal((counted.get("relay"), counted.get("small_packets"), counted.get("operator")), (2, 1, 2),
			"each turn has its reason")
		tap.equal(seam.stop(), 0, "seam ends")


def endings(lab):
	"""Half-closes, FINs and RSTs in every order."""
	def end(case, family, reverse):
		with Pair(lab, family, reverse) as p:
			return case(p)

	return [Case(f"{case.__name__}, IPv{family}, {'server' if reverse else 'client'} first",
		lambda case=case, how=(family, reverse): end(case, *how), seen, True)
		for case, seen in test_endings.CASES.items() for family in FAMILY for reverse in (False, True)]


def urgent(lab):
	"""Urgent data; the kernel relays each flow by then, where there is a Seam."""
	def relayed(p):
		if lab.run("box", [seam_binary(), "status"], check=False).returncode != 3:	# 3: there is no Seam
			wait_for(lambda: state(lab, p) == "relayed", "the kernel to relay")

	return [Case(f"urgent, IPv{family}: {'down' if reverse else 'up'}, {'inline' if inline else 'out of band'}"
		f"{', at once' if at_once else ''}",
		lambda how=(family, reverse, inline, True, at_once): test_urgent.conversation(lab, *how, relayed),
		test_urgent.heard(inline, at_once), True)
		for family in FAMILY for reverse in (False, True) for inline in (True, False) for at_once in (True, False)]


def backlog(tap, lab, family, reverse):
	"""b does not read: what the box keeps is no more than b has room for, and all of it arrives."""
	way = f"IPv{family}, {'down' if reverse else 'up'}"
	body = data(400_000, 3)
	with Pair(lab, family, reverse) as p:
		p.prime()
		wait_for(lambda: state(lab, p) == "relayed", "the kernel to relay")
		hand = ByHand(flow_to(lab, p.server.getsockname()[1], ("relayed",)))
		sent = send_until_blocked(p.a, body, patience=1)
		flow = next(e["formatted"]["value"] for e in Daemon(lab).table("flows")
			if e["formatted"]["value"]["id"] == hand.id)
		a, b = (flow["end"][i] for i in ((1, 0) if reverse else (0, 1)))
		kept = (a["told_ack"] - b["ack"]) & 0xffffffff
		room = (b["edge"] - b["ack"]) & 0xffffffff
		tap.ok(kept <= room + (1 << b["wscale"]), f"{way}: {kept} bytes in the box, of {sent} sent, while there is room for {room}")
		# Taken back with all of it on its way: nothing may be written before that has arrived.
		tap.equal(hand.relay("userspace"), None, f"{way}: taken back")
		heard = hearing(p.b, limit=sent + len(body))
		p.a.settimeout(20)
		p.a.sendall(body)
		got = heard.result()[0]
	stream = (body * (sent // len(body) + 1))[:sent] + body
	tap.ok(got == stream, f"{way}: {len(stream)} bytes arrive whole, in their order")


def killed(tap, lab):
	seam = start_seam(lab, KERNEL)
	LoadServer(lab, "echo", 7000)
	with Pair(lab) as idle:
		idle.prime()
		wait_for(lambda: state(lab, idle) == "relayed", "the kernel to relay")
		proc = start_client(lab, "source", SERVER[4], 7000, send=1 << 30, recv=1 << 30)
		flow_to(lab, 7000, ("relayed",))
		seam.stop(signal.SIGKILL)
		report, = finish_client(lab, proc)
		tap.ok(report["end"] in ("ECONNRESET", "EPIPE"), "the daemon is killed: a relayed transfer is reset, no clean end", report)
		tap.equal([error_of(s) for s in (idle.client, idle.server)], ["ECONNRESET"] * 2, "and so is an idle one")
	seam = start_seam(lab, KERNEL)
	report, = client(lab, "source", SERVER[4], 7000, send=1_000_000, recv=1_000_000, seed=7, expect=7)
	tap.equal(report["tx_sha256"], report["rx_sha256"], "the next daemon relays again")
	tap.equal(seam.stop(), 0, "and ends")


def scripted(tap):
	"""Both ends are this process: what they see, how much the box keeps for them, and what a kill leaves."""
	with Lab() as lab:
		ends, marks = endings(lab), urgent(lab)
		seam = through_both(tap, lab, ends + marks, KERNEL)
		counted = reasons(lab)
		tap.ok(counted["relay"] >= len(ends) // 2 + len(marks), "most were relayed by the kernel", counted)
		tap.equal(counted.get("urgent_mark"), len(marks), "and taken back from it where data are urgent")
		for family in FAMILY:
			for reverse in (False, True):
				backlog(tap, lab, family, reverse)
		tap.equal(seam.stop(), 0, "seam ends")
		killed(tap, lab)


def loss(tap):
	lossy = {"loss": 1, "dup": 0.5, "reorder": 0.5, "delay": 2}
	with Lab(client_link=Link(seed=5, **lossy), server_link=Link(seed=6, **lossy)) as lab:
		seam = start_seam(lab, KERNEL)
		for i, way in enumerate(WAYS):
			switching(tap, lab, "with loss", 7030 + i, way, 6_000_000, most=50, quiet=False)
		tap.equal(seam.stop(), 0, "seam ends")
		tap.ok("lost" not in seam.log, "nothing was lost in the kernel", seam.log)


@contextlib.contextmanager
def part(tap, what):
	"""Where the lab fails, this part does, and the others go on."""
	try:
		yield
	except LabError as e:
		tap.ok(False, f"{what}: to its end", traceback.format_exc(), e)


@scenario
def main(tap):
	for name in REGIMES:
		with part(tap, name):
			regime(tap, name)
	for fn in (merges, automatic, scripted, loss):
		with part(tap, fn.__name__):
			fn(tap)
