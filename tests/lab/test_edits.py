#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Bytes replaced, inserted and removed in both directions; then merged, and on it goes.

The oracle is a search of the whole stream: the first so many marks are replaced, none behind, since
the moment at which the flow is let go is not the test's.
"""
import random
import time
from concurrent.futures import ThreadPoolExecutor

from byhand import ByHand, flow_to
from duplex import Pair, digest, put
from lab import NOTICED, SERVER, Lab, Link, scenario, seam_json, start_seam, wait_for
from peers import Pair as Sockets, read_all, saying, state

# By how many bytes each changes the stream: see _mark().
SHIFTS = {"a": -1, "b": 0, "c": 1, "d": 65000, "e": -20}
POLICY = """
client = "cli";
server = "srv";
rules = ( {
	name = "edit";
	action = "inspect";
	inspectors = ["replace"];
	replace = ( %s );
	until = { bytes = "%s"; };
} );
"""


def _mark(kind):
	return f"<<MARK {kind} {'=' * 20}>>"


def _instead(kind):
	return f"[[{kind}]".ljust(len(_mark(kind)) + SHIFTS[kind] - 1, "#") + "]"


REPLACE = ", ".join(f'{{ find = "{_mark(k)}"; with = "{_instead(k)}"; }}' for k in SHIFTS)


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
	out, at, n = [], 0, 0
	while most is None or n < most:
		found = min(((i, k) for k in SHIFTS if (i := data.find(_mark(k).encode(), at)) >= 0), default=None)
		if not found:
			break
		i, kind = found
		out += (data[at:i], _instead(kind).encode())
		at, n = i + len(_mark(kind)), n + 1
	return b"".join(out) + data[at:]


def _count(data):
	return sum(data.count(_instead(k).encode()) for k in SHIFTS)


def _flow(lab, port):
	return seam_json(lab, "flow", str(flow_to(lab, port, ("merged", "split", "merging", "closing"))["flow_id"]))


def _merged(lab, port):
	wait_for(lambda: any(f["dest_port"] == port and f["flow"]["state"] == "merged" for f in seam_json(lab, "flows")),
		"the flow to be merged", 20)


def still(tap, lab, what, port, family, kinds="abcde"):
	"""Edits of all sizes, then merged while nothing is on its way, then split and merged under load."""
	first = [_stream(port + i, 60_000, 9000, kinds) for i in (1, 2)]
	first = [data + _mark("b").encode() for data in first]
	then = [_stream(port + i, 40_000_000, 800_000) for i in (3, 4)]
	for name, data in zip(("u1", "d1"), first):
		put(lab, f"{what}.{name}", data)
	with lab.deltas("client", "server") as d:
		pair = Pair(lab, SERVER[family], port, what, [f"{what}.u1", f"{what}.u2"], [f"{what}.d1", f"{what}.d2"])
		expected = [_edited(data) for data in first]
		wait_for(lambda: pair.arrived() == tuple(map(len, expected)), "both to have the edited bytes", 20)
		hand = ByHand(flow_to(lab, port, ("split",)))
		tap.equal(hand.merge(), None, f"{what}: merged")
		for name, data in zip(("u2", "d2"), then):
			put(lab, f"{what}.{name}", data)
		cycles = 0
		while cycles < 5 and not hand.split() and not hand.merge():
			cycles += 1
			time.sleep(0.005)
		got = pair.finish()
	shown = [t for t in _flow(lab, port)["history"] if t["to"] == "merged"]
	by = [len(e) - len(f) for e, f in zip(expected, first)]
	tap.ok(shown and all([t["seq_delta"]["client"], t["seq_delta"]["server"]] == by for t in shown)
		and shown[-1]["packets_held"] > 0, f"{what}: each merge is shown with its deltas", shown, by)
	for way, seen, edited, rest in zip(("up", "down"), got, expected, then):
		tap.equal(digest(seen), digest(edited + rest), f"{what}: {way}: edited as the oracle says, and not after the merge")
	tap.ok(cycles >= 1, f"{what}: split and merged again {cycles} times, with deltas")
	for end in ("client", "server"):
		tap.zero(d[end], NOTICED, f"{what}: the {end} noticed nothing")


def loaded(tap, lab, what, port, family, size=30_000_000, silent=True):
	"""Merged in the middle of both streams: the marks behind are left alone."""
	streams = [_stream(port + i, size, size // 150) for i in (1, 2)]
	for name, data in zip(("u", "d"), streams):
		put(lab, f"{what}.{name}", data)
	with lab.deltas("client", "server") as d:
		pair = Pair(lab, SERVER[family], port, what, [f"{what}.u"], [f"{what}.d"])
		_merged(lab, port)
		got = pair.finish(100)
	for way, seen, data in zip(("up", "down"), got, streams):
		n, all_ = _count(seen), _count(_edited(data))
		tap.equal(digest(seen), digest(_edited(data, n)), f"{what}: {way}: the first {n} of {all_} marks were replaced")
		tap.ok(0 < n < all_, f"{what}: {way}: it was merged in between", n, all_)
	if silent:
		for end in ("client", "server"):
			tap.zero(d[end], NOTICED, f"{what}: the {end} noticed nothing")


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
	with Sockets(lab) as p:
		p.client.sendall(b"ab" * 50)
		tap.equal(read_all(p.server, 50)[0], b"-" * 50, "edited")
		wait_for(lambda: state(lab, p) == "merged", "it to be merged")
		time.sleep(3.5)
		more = bytes(range(256)) * 40
		sent = saying(p.client, more)
		tap.equal(read_all(p.server, len(more), timeout=5), (more, "more"), "after three times as long as it may be silent, every byte arrives")
		sent.result()
		tap.equal(state(lab, p), "merged", "for it is not forgotten")


@scenario
def main(tap):
	with Lab() as lab:
		start_seam(lab, POLICY % ('{ find = "ab"; with = "-"; }', "100") + 'timeouts = { merged = "1s"; };\n')
		silent(tap, lab)
	with Lab() as lab:
		start_seam(lab, POLICY % ('{ find = "a"; with = "bc"; }', "1G"))
		every_byte(tap, lab)
	for regime in ("on", "box", "off"):
		with Lab(regime) as lab:
			start_seam(lab, POLICY % (REPLACE, "1G"))
			still(tap, lab, f"{regime}-v4", 7000, 4)
			still(tap, lab, f"{regime}-v6", 7001, 6)
		with Lab(regime) as lab:
			start_seam(lab, POLICY % (REPLACE, "6M"))
			loaded(tap, lab, f"{regime}-load", 7010, 4)
	with Lab(client_link=Link(delay=5), server_link=Link(delay=5)) as lab:
		start_seam(lab, POLICY % (REPLACE, "6M"))
		loaded(tap, lab, "20ms", 7011, 6)
	lossy = {"loss": 1, "dup": 0.5, "reorder": 0.5, "delay": 2}
	with Lab(client_link=Link(seed=5, **lossy), server_link=Link(seed=6, **lossy)) as lab:
		start_seam(lab, POLICY % (REPLACE, "1M"))
		loaded(tap, lab, "loss", 7012, 4, size=6_000_000, silent=False)
		loaded(tap, lab, "loss6", 7013, 6, size=6_000_000, silent=False)
