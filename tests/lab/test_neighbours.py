#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""6,000 split flows between as many addresses leave the neighbour tables alone, and nothing behind."""
import json
import os
import resource
import time
from pathlib import Path

import sockets
from byhand import ByHand, flow_to
from lab import NOTICED, SERVER, Lab, reasons, scenario, seam_json, start_seam, wait_for
from peers import Pair

POLICY = """
client = "cli";
server = "srv";
rules = ( { name = "all"; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; } );
"""
FLOWS = 6000	# two descriptors each, here and in the daemon


def many_addresses(lab):
	"""10.64/16 is the client, 10.128/16 the server, both known to the box by one route each."""
	for end, net, gateway in (("client", "10.64.0.0/16", "10.99.1.2"), ("server", "10.128.0.0/16", "10.99.2.2")):
		lab.run(end, ["ip", "route", "add", "local", net, "dev", "lo"])
		lab.run("box", ["ip", "route", "add", net, "via", gateway])


def neighbours(lab, pid):
	"""Entries on the box and inside: all but those that failed."""
	argv = ["ip", "-o", "neigh", "show", "nud", "all"]
	inner = ["nsenter", "-t", str(pid), "-n", *argv]
	count = lambda text: sorted(x.split()[0] + " " + x.split()[2] for x in text.splitlines()
		if not x.split()[0].startswith(("ff", "fe80", "224.")))
	return count(lab.run("box", argv).stdout), count(lab.run("box", inner).stdout)


def opened(lab, listener, i):
	host = f"{i >> 8}.{i & 255}"
	a = sockets.connect(lab, f"10.128.{host}", listener.getsockname()[1], bind=(f"10.64.{host}", 0))
	return a, sockets.accept(listener)


def asked_after(tap, lab, family):
	"""A split flow is the only one that sends to a neighbour: the kernel asks whether it is still there."""
	hop = SERVER[family]
	where = lambda: json.loads(lab.run("box", ["ip", "-j", "neigh", "show", hop, "dev", "srv"]).stdout)[0]
	with Pair(lab, family) as p:
		p.prime()
		lab.run("box", ["ip", "neigh", "replace", hop, "lladdr", where()["lladdr"], "dev", "srv", "nud", "stale"])
		was = where()["state"]
		p.client.sendall(b"?")
		p.server.recv(1)
		tap.ok(was == ["STALE"] != where()["state"], f"IPv{family}: what a leg sends has its neighbour asked after", was, where())


def cluster(tap, lab, family):
	"""A next hop with a multicast address, as clusters have: the kernel's own way would drop what is sent there."""
	hop = SERVER[family]
	lab.run("box", ["ip", "neigh", "replace", hop, "lladdr", "03:bf:0a:63:02:02", "dev", "srv", "nud", "permanent"])
	with lab.deltas("client", "server") as d, Pair(lab, family) as p:
		p.prime()
		hand = ByHand(flow_to(lab, p.server.getsockname()[1], ("split",)))
		tap.equal(hand.merge(), None, f"IPv{family}: merged")
		for _ in range(25):
			p.prime()
			time.sleep(0.1)
	for end in d:
		tap.zero(d[end], NOTICED, f"IPv{family}: split and merged to a multicast address, the {end} noticed nothing")


@scenario
def main(tap):
	with Lab() as lab:
		start_seam(lab, POLICY)
		for family in SERVER:
			asked_after(tap, lab, family)
		# TCP takes nothing that came to a multicast address; a cluster's members see to that.
		lab.run("server", ["nft", "-f", "-"], input="table netdev t { chain c { type filter hook ingress device eth0 priority 0; "
			"meta pkttype set host; }; }\n")
		for family in SERVER:
			cluster(tap, lab, family)
	hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
	resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
	with Lab() as lab:
		many_addresses(lab)
		listener = sockets.listen(lab, 7000)
		seam = start_seam(lab, POLICY)
		pid = seam_json(lab, "status")["daemon"]["pid"]
		sockets_of = lambda: sum("socket:" in os.readlink(f) for f in Path(f"/proc/{pid}/fd").glob("*") if f.is_symlink())
		empty = sockets_of()
		first = opened(lab, listener, 1)
		tap.ok(sockets.exchange(*first), "a split flow")
		before = neighbours(lab, pid)
		pairs = [opened(lab, listener, i + 2) for i in range(FLOWS)]
		tap.ok(all(sockets.exchange(*p) for p in pairs), f"{FLOWS} more, at once")
		states = seam_json(lab, "status")["flows"]
		tap.ok(states["split"] == FLOWS + 1, "all of them are split", states, reasons(lab))
		after = neighbours(lab, pid)
		tap.equal(after, before, f"{len(after[0])} neighbours on the box and {len(after[1])} inside, as before")
		# At a pace: the veths would drop what 6,000 ends say at once.
		for i, (a, b) in enumerate([first, *pairs]):
			a.close()
			b.close()
			if not i % 50:
				time.sleep(0.01)
		# A client of the control socket may have been among those counted first.
		tap.ok(wait_for(lambda: sockets_of() <= empty, "the legs to be closed", timeout=20), "no leg is left")
		tap.equal(seam.stop(), 0, "seam ends")
