# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Retransmissions under loss, duplication and reordering: split and merged, beside plain forwarding.

Transfers through Seam, split and merged all along, take turns with the same transfers through
plain kernel forwarding. Counted is what anybody sent again: both ends, and the legs. Links of a
round have seeds of their own.
"""
import math
import random
import statistics
import threading
import time

from byhand import POLICY, ByHand, flow_to
from common import say, table
from lab import SERVER4, Lab, LabError, Link, start_seam
from servers import LoadServer, finish_client, start_client

LIMIT = 1.05	# the 95 % interval of the ratio has to reach below it
SIDES = {"client side": (True, False), "server side": (False, True), "both sides": (True, True)}
# Displaced by three packets, but for no longer than that: where a sender waits for its window, a displaced
# packet would otherwise wait for the next burst, which is a loss to any TCP.
DISORDER = {"dup": 2, "reorder": 2, "reorder_for": 0.3}
# What is wrong with the links: (options, bytes of a transfer).
WRONG = {
	"loss 0.1 %": ({"loss": 0.1}, 60_000_000),
	"loss 1 %": ({"loss": 1}, 12_000_000),
	"loss 5 %": ({"loss": 5}, 2_000_000),
	"disorder": (DISORDER, 20_000_000),
	"1 % and disorder": (DISORDER | {"loss": 1}, 8_000_000),
}
SOME = (("loss 1 %", "both sides"), ("loss 5 %", "server side"), ("disorder", "both sides"))
# What tells why a segment was sent again.
WHY = ("TcpExtTCPFastRetrans", "TcpExtTCPSlowStartRetrans", "TcpExtTCPLossProbes", "TcpExtTCPTimeouts", "TcpExtTCPDSACKRecv")
PAUSE = 0.1	# seconds between a transition and the next
PATIENCE = 60


def transfer(lab, way, port, size, move):
	"""(segments sent again by anybody, of them by the ends, seconds, splits); LabError unless the hashes agree."""
	up = way == "up"
	server = LoadServer(lab, "sink" if up else "source", port, **({} if up else {"send": size, "seed": 7}))
	at = ("client", "server", "legs") if move else ("client", "server")
	with lab.deltas(*at) as d:
		start = time.monotonic()
		proc = start_client(lab, "source" if up else "sink", SERVER4, port, timeout=PATIENCE,
			**({"send": size, "seed": 7} if up else {}))
		done = []
		if move:
			mover = threading.Thread(target=_move, args=(lab, port, proc, done))
			mover.start()
		here, = finish_client(lab, proc, PATIENCE + 5)
		took = time.monotonic() - start
		if move:
			mover.join()
		there, = server.results(1)
	server.stop()
	sent, got = (here, there) if up else (there, here)
	if got["rx_bytes"] != size or got["rx_sha256"] != sent["tx_sha256"]:
		raise LabError(f"{way}: not what was sent: {here} {there}")
	again = {end: c["TcpRetransSegs"] for end, c in d.items()}
	return {"again": sum(again.values()), "ends": again["client"] + again["server"], "seconds": took, "splits": len(done),
		"why": {f"{end} {k.removeprefix('TcpExtTCP')}": c[k] for end, c in d.items() for k in WHY if c[k]}}


def _move(lab, port, proc, done):
	"""Splits and merges until the transfer is over."""
	try:
		hand = ByHand(flow_to(lab, port))
		while proc.poll() is None and not hand.split(PATIENCE):
			done.append(time.monotonic())
			time.sleep(PAUSE)
			if hand.merge(PATIENCE):
				break
			time.sleep(PAUSE)
	except LabError:	# it was over before
		pass


def measure(what, side, rounds, seed):
	options, size = WRONG[what]
	runs = []
	for r in range(rounds):
		links = [Link(delay=1, seed=seed + 10 * r + i, **options) if wrong else None for i, wrong in enumerate(SIDES[side])]
		with Lab(client_link=links[0], server_link=links[1], loss_probes=True) as lab:
			way, pair = "down" if r % 2 else "up", {}
			for kind in ("plain", "moved") if r // 2 % 2 else ("moved", "plain"):
				seam = start_seam(lab, POLICY) if kind == "moved" else None
				pair[kind] = transfer(lab, way, 7000 + len(pair), size, seam)
				if seam:
					seam.stop()
		runs.append({"way": way, **pair})
	return {"what": what, "side": side, "runs": runs}


def interval(runs, key="again", tries=4000):
	"""Ratio of the sums, and its 95 % interval: bootstrap over the rounds."""
	pairs = [(r["moved"][key], r["plain"][key]) for r in runs]
	rng = random.Random(1)

	def ratio(some):
		moved, plain = (sum(x) for x in zip(*some))
		return moved / plain if plain else math.inf if moved else 1.0

	found = sorted(ratio(rng.choices(pairs, k=len(pairs))) for _ in range(tries))
	return ratio(pairs), found[int(tries * 0.025)], found[int(tries * 0.975) - 1]


def row(result):
	ratio, low, high = interval(result["runs"])
	plain, moved = ([r[kind] for r in result["runs"]] for kind in ("plain", "moved"))
	result["ratio"] = {"value": ratio, "low": low, "high": high, "within": low <= LIMIT}
	return (f"{result['what']}, {result['side']}", len(plain), sum(x["again"] for x in plain), sum(x["again"] for x in moved),
		sum(x["ends"] for x in moved), f"{ratio:.3f}", f"{low:.3f}-{high:.3f}", "yes" if low <= LIMIT else "NO",
		sum(x["splits"] for x in moved),
		f"{statistics.median(y['seconds'] / x['seconds'] for x, y in zip(plain, moved)):.2f}")


def run(rounds, full=False, seed=1):
	cases = [(w, s) for w in WRONG for s in SIDES] if full else SOME
	results = [measure(what, side, rounds, seed) for what, side in cases]
	say("Segments sent again under loss, split and merged all along beside plain forwarding:")
	table(("", "rounds", "plain", "moved", "by the ends", "ratio", "95 %", f"<= {LIMIT}", "splits", "time"),
		[row(r) for r in results])
	say("Every hash was equal. Ratio: of what both ends and the legs sent again; the interval is a bootstrap\n"
		"over the rounds. Time: of a transfer, median of the rounds' ratios.\n")
	return {"loss": results}
