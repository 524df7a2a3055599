#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Passed flows stay with the host's stack, or with `bypass` leave it after the handshake; each end of it as it was sent."""
import json

from byhand import flow_to
from lab import NOTICED, SERVER, Lab, scenario, seam_binary, start_seam
from peers import both_ways
from sockets import accept, connect, listen

POLICY = """
client = "cli";
server = "srv";
default = "pass";
"""
COUNTED = """
table inet seen {
	counter touched { }
	chain forward { type filter hook forward priority 0; tcp dport 7001 counter name touched; tcp sport 7001 counter name touched; }
}
"""


def seen(lab):
	"""Packets of the flow that the host's firewall has seen."""
	return next(x["counter"]["packets"] for x in json.loads(lab.run("box", ["nft", "-j", "list", "counters"]).stdout)["nftables"]
		if "counter" in x)


def flow(tap, lab, family, bypass):
	what = f"IPv{family}, {'bypass' if bypass else 'the stack'}"
	before, listener = seen(lab), listen(lab, 7001)
	with lab.deltas() as d, connect(lab, SERVER[family], 7001) as a, accept(listener) as b:
		flow_to(lab, 7001, ("passed",))
		shaken = seen(lab) - before
		both_ways(tap, a, b, what)
		after = seen(lab) - before
	listener.close()
	tap.ok(2 <= shaken <= 3, f"{what}: the stack sees the handshake", shaken)
	if bypass:
		tap.equal(after, shaken, f"{what}: and nothing else")
	else:
		tap.ok(after > shaken + 30, f"{what}: and all the rest", after)
	for end in ("client", "server"):
		tap.zero(d[end], NOTICED, f"{what}: the {end} noticed nothing")


@scenario
def main(tap):
	with Lab() as lab:
		lab.run("box", ["nft", "-f", "-"], input=COUNTED)
		for bypass in (False, True):
			seam = start_seam(lab, POLICY + ("bypass = true;" if bypass else ""))
			for family in SERVER:
				flow(tap, lab, family, bypass)
			tap.equal(seam.stop(), 0, "seam ends")
			lab.run("box", [seam_binary(), "detach"], check=False)	# nothing may be left
