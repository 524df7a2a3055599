#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Flow control of split flows: windows of every size, readers that stop, and a bounded backlog."""
import re
import socket
import time
from pathlib import Path

from lab import NOTICED, Lab, scenario, seam_json
from peers import HOST, Pair, data, hearing, read_all, reasons, saying, send_until_blocked, state, through_both

BODY = data(400_000, 3)
RCVBUF = (socket.SOL_SOCKET, socket.SO_RCVBUF)
CLAMP = (socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP)
# Of what the legs may hold of one direction: unsent (SPLIT_LOWAT), and one chunk on its way.
UNSENT = 256 * 1024 + 65536


def both_ways(lab, size, family=4, options=(), sysctls=None):
	"""A transfer in both directions at once; (what each received, what they noticed, their scales)."""
	restore = {k: lab.run("client", ["sysctl", "-n", k]).stdout.strip() for k in sysctls or {}}
	set_sysctls(lab, sysctls or {})
	try:
		up, down = data(size, 1), data(size, 2)
		with lab.deltas() as d, Pair(lab, family, client_options=options, server_options=options) as p:
			p.prime()
			heard = [hearing(s, limit=size) for s in (p.client, p.server)]
			sent = [saying(s, x)
				for s, x in ((p.client, up), (p.server, down))]
			for job in sent:
				job.result()
			got = [job.result() for job in heard]
			scale = re.findall(r"wscale:(\d+,\d+)|\b(sack)\b|\b(ts)\b", " ".join(lab.ss("client", "sport", "=", f":{p.port}")))
	finally:
		set_sysctls(lab, restore)
	noticed = sorted({k for end in d.values() for k in NOTICED if end.get(k)})
	return got == [(down, "more"), (up, "more")], scale, noticed


def right(seen, sysctls=None, **_how):
	"""Of both_ways(), whether everything arrived, with the options that are on, and nobody noticed anything."""
	whole, options, noticed = seen
	on = [(sysctls or {}).get(f"net.ipv4.tcp_{x}") != 0 for x in ("window_scaling", "sack", "timestamps")]
	return whole and [any(x[i] for x in options) for i in range(3)] == on and not noticed


def set_sysctls(lab, values):
	for end in ("client", "server"):
		if values:
			lab.run(end, ["sysctl", "-qw", *(f"{k}={v}" for k, v in values.items())])


CASES = {
	"as usual": {"size": 2_000_000},
	"IPv6": {"size": 2_000_000, "family": 6},
	"receive buffer of 2 KB": {"size": 20_000, "options": [(*RCVBUF, 2048)]},
	"window of less than a segment": {"size": 20_000, "options": [(*CLAMP, 1000)]},
	"window scale 0": {"size": 500_000, "options": [(*RCVBUF, 16384)]},
	"window scale 14": {"size": 2_000_000, "sysctls": {"net.ipv4.tcp_rmem": f"4096 131072 {1 << 30}"}},
	"no window scaling": {"size": 2_000_000, "sysctls": {"net.ipv4.tcp_window_scaling": 0}},
	"no timestamps": {"size": 2_000_000, "sysctls": {"net.ipv4.tcp_timestamps": 0}},
	"no SACK": {"size": 2_000_000, "sysctls": {"net.ipv4.tcp_sack": 0}},
	"none of the three": {"size": 2_000_000, "family": 6, "sysctls": {"net.ipv4.tcp_sack": 0,
		"net.ipv4.tcp_timestamps": 0, "net.ipv4.tcp_window_scaling": 0}},
}


def scale_of(packets, sender):
	syn = next(p for p in packets if p.flags & 2 and str(p.src) == sender)
	return syn.option("wscale") or 0


def edges(packets, sender, scale):
	"""[(time, right edge)] of the window in what `sender` says, SYN apart."""
	return [(p.time, p.ack + (p.window << scale)) for p in packets if str(p.src) == sender and not p.flags & 2]


def zero_window(tap, lab, family, reverse):
	"""b stops reading for a second. a is told no more than b has, and goes on when b does."""
	way = f"IPv{family}, {'down' if reverse else 'up'}"
	a_ns, b_ns = ("server", "client") if reverse else ("client", "server")
	near, far = (lab.capture(ns, "eth0") for ns in (a_ns, b_ns))
	with Pair(lab, family, reverse, client_options=[(*RCVBUF, 40_000)], server_options=[(*RCVBUF, 40_000)]) as p:
		p.prime()
		sent = send_until_blocked(p.a, BODY, patience=1)
		opened = time.time()
		got = read_all(p.b, sent)[0]
		tap.equal(state(lab, p), "split", f"{way}: it was split")
	near, far = near.stop(), far.stop()
	stream = (BODY * (sent // len(BODY) + 1))[:sent]
	tap.ok(got == stream, f"{way}: {sent} bytes arrive whole through a window that was closed")
	a, b = HOST[a_ns][family], HOST[b_ns][family]
	scale = scale_of(far, b)
	unit = 1 << scale
	told, real = edges(near, b, scale), edges(far, b, scale)
	beyond, back, high, last = 0, 0, 0, 0
	at = 0
	for when, edge in told:
		while at < len(real) and real[at][0] <= when:
			high = max(high, real[at][1])
			at += 1
		if high:
			beyond = max(beyond, edge - high)
		back = max(back, last - edge)
		last = edge
	tap.ok(beyond < unit and back < unit, f"{way}: a is never told more than b has promised, and nothing is taken back",
		f"beyond {beyond}, back {back}, unit {unit}")
	closed = max(e for t, e in real if t < opened)
	first_open = min(t for t, e in real if e > closed and t > opened)
	told_open = min(t for t, e in told if e > closed)
	asked = [str(x) for x in near if str(x.src) == a and first_open < x.time < told_open]
	tap.equal(asked, [], f"{way}: a learns that b reads again without having to ask")


def leg_queues(lab, port):
	"""(received and not read, written and not acknowledged) by the legs of the flow, bytes."""
	pid = seam_json(lab, "status")["daemon"]["pid"]
	lines = lab.run("box", ["nsenter", "-t", str(pid), "-n", "ss", "-tnHO", "sport", "=", f":{port}", "or", "dport", "=",
		f":{port}"]).stdout.splitlines()
	return [sum(int(line.split()[i]) for line in lines) for i in (1, 2)]


def resident(lab):
	pid = seam_json(lab, "status")["daemon"]["pid"]
	return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) << 10


def backlog(tap, lab, reverse):
	"""A fast sender and a reader that is slow: what waits on the box is bounded."""
	way = "down" if reverse else "up"
	size, window = 6_000_000, 400_000
	body = data(size, 4)
	with Pair(lab, 4, reverse, client_options=[(*RCVBUF, window // 2)], server_options=[(*RCVBUF, window // 2)]) as p:
		p.prime()
		before, most, fat = resident(lab), 0, 0
		sender = saying(p.a, body)
		got = bytearray()
		while len(got) < size:
			some, end = read_all(p.b, min(150_000, size - len(got)))
			got += some
			if end != "more":
				break
			most = max(most, sum(leg_queues(lab, p.port)))
			fat = max(fat, resident(lab))
		sender.result()
	tap.ok(bytes(got) == body, f"{way}: a slow reader gets everything")
	tap.ok(most <= window + UNSENT, f"{way}: at most {most} bytes waited in the legs")
	tap.ok(fat - before < 1 << 20, f"{way}: the daemon grew by {fat - before} bytes")


@scenario
def main(tap):
	with Lab() as lab:
		seam = through_both(tap, lab, [(name, lambda how=how: both_ways(lab, **how), lambda seen, how=how: right(seen, **how))
			for name, how in CASES.items()])
		tap.equal(reasons(lab)["legs_ready"], len(CASES), "each was split")
		lab.steer_seam()	# what is told to a arrives in the order in which it was decided
		for family in (4, 6):
			for reverse in (False, True):
				zero_window(tap, lab, family, reverse)
		backlog(tap, lab, False)
		backlog(tap, lab, True)
		tap.equal(seam.stop(), 0, "seam ends")
