#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Bytes replaced, inserted and removed in both directions; then merged, and on it goes.

The oracle is a search of the whole stream: the first so many marks are replaced, none behind, since
the moment at which the flow is let go is not the test's.
"""
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor

import sockets
from byhand import ByHand, flow_to
from duplex import Pair, digest, put
from lab import NOTICED, SERVER, SERVER4, Lab, Link, scenario, seam_json, start_seam, wait_for
from peers import Pair as Sockets, read_all, saying, state
from transfer import unless_lost

# By how many bytes each changes the stream: see _mark().
SHIFTS = {"a": -1, "b": 0, "c": 1, "d": 65000, "e": -20}
RULE = """{
	name = "to-%(ports)s";
	server_port = "%(ports)s";
	action = "inspect";
	inspectors = ["replace"];
	replace = ( %(replace)s );
	until = { bytes = "%(until)s"; };
}"""


def _policy(*rules):
	"""One that edits, by rules of (server ports, what to replace, until how many bytes)."""
	texts = [RULE % {"ports": ports, "replace": replace, "until": until} for ports, replace, until in rules]
	return f'client = "cli";\nserver = "srv";\nrules = ( {", ".join(texts)} );\n'


def _mark(kind):
	return f"<<MARK {kind} {'=' * 20}>>"


def _instead(kind):
	return f"[[{kind}]".ljust(len(_mark(kind)) + SHIFTS[kind] - 1, "#") + "]"


REPLACE = ", ".join(f'{{ find = "{_mark(k)}"; with = "{_instead(k)}"; }}' for k in SHIFTS)
MARKS = re.compile("|".join(re.escape(_mark(k)) for k in SHIFTS).encode())
INSTEAD = {_mark(k).encode(): _instead(k).encode() for k in SHIFTS}


def _stream(seed, size, every, kinds="abce"):
	"""Random bytes with a mark here and there, the first one at the very beginning."""
	rnd, out, n = random.Random(seed), [], 0
	while n < size:
		piece = _mark(rnd.choice(kinds)).encode() + rnd.randbytes(rnd.randrange(every))
		out.append(piece)
		n += len(piece)
	return b"".join(out)


def _edited(data, most=None):
	"""What the first `most` marks make of it."""
	return data if most == 0 else MARKS.sub(lambda mark: INSTEAD[mark[0]], data, most or 0)


def _count(data):
	return sum(data.count(_instead(k).encode()) for k in SHIFTS)


def _merged(lab, *ports):
	"""Waits for the flows to these ports to be merged, each at some time."""
	left = set(ports)

	def none():
		left.difference_update(f["dest_port"] for f in seam_json(lab, "flows") if f["flow"]["state"] == "merged")
		return not left
	wait_for(none, f"the flows to {ports} to be merged", 20)


def still(tap, lab, what, port, family, kinds="abcde"):
	"""Edits of all sizes, then merged while nothing is on its way, then split and merged under load."""
	first = [_stream(port + i, 60_000, 9000, kinds) for i in (1, 2)]
	first = [data + _mark("b").encode() for data in first]
	then = [_stream(port + i, 40_000_000, 800_000) for i in (3, 4)]
	expected = [_edited(data) for data in first]
	for name, data in zip(("u1", "d1"), first):
		put(lab, f"{what}.{name}", data)

	def attempt():
		pair = Pair(lab, SERVER[family], port, what, [f"{what}.u1", f"{what}.u2"], [f"{what}.d1", f"{what}.d2"])
		wait_for(lambda: pair.arrived() == tuple(map(len, expected)), "both to have the edited bytes", 20)
		hand = ByHand(flow_to(lab, port, ("split",)))
		why = hand.merge()
		for name, data in zip(("u2", "d2"), then):
			put(lab, f"{what}.{name}", data)
		cycles = 0
		while cycles < 5 and not hand.split() and not hand.merge():
			cycles += 1
			time.sleep(0.005)
		got = pair.finish()
		for name in ("u2", "d2"):
			(lab.tmp / f"{what}.{name}").unlink()
		return why, cycles, got, seam_json(lab, "flow", str(hand.id))["history"]

	d, (why, cycles, got, history) = unless_lost(tap, lab, what, attempt)
	tap.equal(why, None, f"{what}: merged")
	shown = [t for t in history if t["to"] == "merged"]
	by = [len(e) - len(f) for e, f in zip(expected, first)]
	tap.ok(shown and all([t["seq_delta"]["client"], t["seq_delta"]["server"]] == by for t in shown)
		and shown[-1]["packets_held"] > 0, f"{what}: each merge is shown with its deltas", shown, by)
	for way, seen, edited, rest in zip(("up", "down"), got, expected, then):
		tap.equal(digest(seen), digest(edited + rest), f"{what}: {way}: edited as the oracle says, and not after the merge")
	tap.ok(cycles >= 1, f"{what}: split and merged again {cycles} times, with deltas")
	for end in ("client", "server"):
		tap.zero(d[end], NOTICED, f"{what}: the {end} noticed nothing")


def loaded(tap, lab, flows, size=30_000_000, silent=True):
	"""Merged in the middle of both streams: the marks behind are left alone. Flows: (what, port, family), at once."""
	streams = {}
	for what, port, _family in flows:
		streams[what] = [_stream(port + i, size, size // 150) for i in (1, 2)]
		for name, data in zip(("u", "d"), streams[what]):
			put(lab, f"{what}.{name}", data)

	def attempt():
		pairs = {what: Pair(lab, SERVER[family], port, what, [f"{what}.u"], [f"{what}.d"]) for what, port, family in flows}
		_merged(lab, *(port for _what, port, _family in flows))
		return {what: pair.finish(100) for what, pair in pairs.items()}

	d, got = unless_lost(tap, lab, ", ".join(streams), attempt) if silent else (None, attempt())
	for what in streams:
		for way, seen, data in zip(("up", "down"), got[what], streams[what]):
			n, all_ = _count(seen), len(MARKS.findall(data))
			tap.equal(digest(seen), digest(_edited(data, n)), f"{what}: {way}: the first {n} of {all_} marks were replaced")
			tap.ok(0 < n < all_, f"{what}: {way}: it was merged in between", n, all_)
	if silent:
		for end in ("client", "server"):
			tap.zero(d[end], NOTICED, f"{', '.join(streams)}: the {end} noticed nothing")


def every_byte(tap, lab):
	"""A stream of nothing but edits took the daemon so long at a time that it was missed, and all that was split reset."""
	for what, piece in (("every byte", b"a"), ("every other byte", b"a-")):
		stream = piece * (300_000 // len(piece))
		with Sockets(lab) as hostile, Sockets(lab, 6) as other, ThreadPoolExecutor(2) as pool:
			arrived = pool.submit(read_all, hostile.server, len(stream.replace(b"a", b"bc")))
			sent = pool.submit(hostile.client.sendall, stream)
			echoes = 0
			while not arrived.done():
				other.client.sendall(b"?")
				if other.server.recv(1) != b"?":
					break
				echoes += 1
			sent.result()
			tap.ok(arrived.result()[0] == stream.replace(b"a", b"bc"), f"{what}: edited as it should be", arrived.result()[1])
			tap.ok(echoes >= 20, f"{what}: another flow goes on meanwhile: {echoes} bytes one by one")
			tap.equal([state(lab, pair) for pair in (hostile, other)], ["split", "split"], f"{what}: both are split still")


def silent(tap, lab):
	"""Silent for longer than its state allows: forgotten, its next bytes would be taken for others."""
	with sockets.listen(lab, 7020) as listener:
		client = sockets.connect(lab, SERVER4, 7020)
		server = sockets.accept(listener)
	with client, server:
		client.sendall(b"ab" * 50)
		tap.equal(read_all(server, 50)[0], b"-" * 50, "edited")
		flow_to(lab, 7020)
		time.sleep(3.5)
		more = bytes(range(256)) * 40
		sent = saying(client, more)
		tap.equal(read_all(server, len(more), timeout=5), (more, "more"), "after three times as long as it may be silent, every byte arrives")
		sent.result()
		tap.equal([f["flow"]["state"] for f in seam_json(lab, "flows") if f["dest_port"] == 7020], ["merged"], "for it is not forgotten")


@scenario
def main(tap):
	with Lab() as lab:
		start_seam(lab, _policy((7020, '{ find = "ab"; with = "-"; }', 100), ("1024-65535", '{ find = "a"; with = "bc"; }', "1G"))
			+ 'timeouts = { merged = "1s"; };\n')
		silent(tap, lab)
		every_byte(tap, lab)
	for regime in ("on", "box", "off"):
		with Lab(regime) as lab:
			start_seam(lab, _policy(("7000-7001", REPLACE, "1G"), (7010, REPLACE, "6M")))
			still(tap, lab, f"{regime}-v4", 7000, 4)
			still(tap, lab, f"{regime}-v6", 7001, 6)
			loaded(tap, lab, [(f"{regime}-load", 7010, 4)])
	with Lab(client_link=Link(delay=5), server_link=Link(delay=5)) as lab:
		start_seam(lab, _policy((7011, REPLACE, "6M")))
		loaded(tap, lab, [("20ms", 7011, 6)])
	lossy = {"loss": 1, "dup": 0.5, "reorder": 0.5, "delay": 2}
	with Lab(client_link=Link(seed=5, **lossy), server_link=Link(seed=6, **lossy)) as lab:
		start_seam(lab, _policy(("7012-7013", REPLACE, "1M")))
		loaded(tap, lab, [("loss", 7012, 4), ("loss6", 7013, 6)], size=6_000_000, silent=False)
