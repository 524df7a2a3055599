#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A router whose ports are bridges, as where its LAN is several sockets: nothing is different there."""
from byhand import POLICY, ByHand, flow_to
from lab import NOTICED_AT_LEGS, Lab, scenario, seam_json, start_seam
from peers import SPLIT_ALL, Pair, state
from transfer import Transfer, silent


class BridgeLab(Lab):
	"""Each end is on a bridge of the box, which has the addresses and the port's name."""

	def _addresses(self):
		for port in ("cli", "srv"):
			self._ip_batch("box", f"link set dev {port} name nic{port}\nlink add {port} type bridge\n"
				f"link set dev nic{port} master {port} up\n")
		super()._addresses()


@scenario
def main(tap):
	with BridgeLab("on") as lab:
		seam = start_seam(lab, POLICY)
		for family in (4, 6):
			port, what = 7000 + family, f"IPv{family}"
			with lab.deltas("client", "server", "legs") as d:
				t = Transfer(lab, port, "up down", 100_000_000, family, no_hash=True, timeout=60)
				hand = ByHand(flow_to(lab, port))
				refused = [why for _ in range(10) for why in (hand.split(), hand.merge()) if why]
				tap.equal(refused, [], f"{what}: split and merged ten times under way")
				t.arrived(tap, what)
			silent(tap, d, what, NOTICED_AT_LEGS)
		tap.equal(seam.stop(), 0, "seam ends")
	with BridgeLab("on") as lab:
		start_seam(lab, SPLIT_ALL)
		with Pair(lab) as p:
			p.prime()
			tap.equal(state(lab, p), "split", "a flow whose first payload is held is split")
		tap.equal([p["xdp"] for p in seam_json(lab, "status")["ports"]], ["off"] * 2, "no XDP on a bridge")
