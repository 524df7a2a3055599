#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Ports that are deleted, replaced and renamed while Seam runs: what has the name is the port."""
import signal

from byhand import ByHand, flow_to
from lab import NOTICED, Lab, scenario, seam_binary, seam_json, start_seam, wait_for
from peers import SPLIT_ALL, Pair, hearing, reasons, state, wait_acked
from test_wire_life import ALL, carrier, talks
from transfer import Transfer
from wires import POLICY, WireLab


def told(lab, port):
	return next((p for p in seam_json(lab, "status")["ports"] if p["name"] == port), {})


def gone(tap, xdp="off"):
	"""A port that is deleted: what gets its name is attached to, and its flows are inspected."""
	with Lab("off") as lab:
		daemon = start_seam(lab, f'{SPLIT_ALL} xdp = "{xdp}";')
		with Pair(lab) as before:
			before.prime()
			tap.equal(state(lab, before), "split", "a flow is split")
			lab.run("box", ["ip", "link", "delete", "srv"])
			wait_for(lambda: told(lab, "srv").get("link") == "gone", "status to tell that the port is gone")
			tap.ok("srv (index" in daemon.errors.read_text() and "gone" in lab.run("box", [seam_binary(), "status"]).stdout,
				"a port that goes is told of, in the log and by status")
			lab.new_veth("server", "srv")
			wait_for(lambda: told(lab, "srv").get("ifindex"), "the new interface to be attached to")
			lab.configure("server")
			before.client.sendall(b"is it there?")
			tap.equal(before.server.recv(12), b"is it there?", "the flow that was split goes on")
		with Pair(lab) as after:
			after.prime()
			tap.equal(state(lab, after), "split", "and a new one is split")
		lab.run("box", ["ip", "link", "delete", "cli"])
		lab.new_veth("client", "cli")
		wait_for(lambda: told(lab, "cli").get("ifindex"), "a port of the other side")
		tap.equal([told(lab, port)["xdp"] for port in ("cli", "srv")], [xdp] * 2, f"with XDP {xdp} as before")
		lab.configure("client")
		with Pair(lab) as after:
			after.prime()
			tap.equal(state(lab, after), "split", "the same on the other side")
		lab.run("box", ["ip", "link", "delete", "cli"])
		wait_for(lambda: told(lab, "cli").get("link") == "gone", "the port to be gone again")
		tap.equal(daemon.stop(), 0, "the daemon ends as ever, with a port that is gone")


def replaced(tap):
	"""A port that is deleted: what gets its name is the wire's other end again."""
	with WireLab() as lab:
		seam = start_seam(lab, POLICY + ALL + "mirror_link = true;")
		ports = lambda: {p["name"]: (p["link"], p.get("partner")) for p in seam_json(lab, "status")["ports"]}
		both = {"cli": ("up", "srv"), "srv": ("up", "cli")}
		wait_for(lambda: ports() == both, "links")
		for end, port, other, at in (("server", "srv", "client", 7001), ("client", "cli", "server", 7002)):
			lab.run("box", ["ip", "link", "delete", port])
			wait_for(lambda: ports()[port][0] == "gone" and not carrier(lab, other, "eth0"), f"{port} to be gone, and the {other}'s link with it")
			lab.new_veth(end, port)
			wait_for(lambda: ports()[port][0] != "gone", f"the new {port} to be attached to")
			lab.configure(end)
			wait_for(lambda: ports() == both, "both links")
			lab.run(other, ["ip", "neigh", "flush", "all"])	# it has another address
			with lab.deltas() as d:
				t = Transfer(lab, at, "up down", 100_000_000, timeout=60)
				hand = ByHand(flow_to(lab, at))
				tap.equal((hand.split(), hand.merge()), (None, None), f"a new {port}: split and merged across it")
				t.arrived(tap, f"a new {port}")
			for who in d:
				tap.zero(d[who], NOTICED, f"a new {port}: the {who} noticed nothing")
		lab.run("box", ["ip", "link", "delete", "srv"])
		lab.mtu = 1400
		lab.new_veth("server", "srv")
		wait_for(lambda: "srv has an MTU of 1400, cli one of 1500" in seam.errors.read_text(), "a word about its MTU")
		tap.equal(ports()["srv"][0], "gone", "what does not fit in its place is not attached to")
		lab.run("box", ["ip", "link", "set", "srv", "mtu", "1500"])
		wait_for(lambda: ports()["srv"][0] != "gone", "srv to be attached to")
		lab.configure("server")
		wait_for(lambda: ports() == both, "both links")
		tap.ok(talks(lab, 7003), "once it does, it is")
		tap.equal(seam.stop(), 0, "seam ends")


def silent(tap, kind, mode):
	"""What a leg has is delivered, though the end it speaks for says no more by its new port."""
	with kind("off") as lab:
		start_seam(lab, SPLIT_ALL + f'mode = "{mode}"; grace = "1s";')
		with Pair(lab) as p:
			p.prime()
			lab.run("client", ["nft", "-f", "-"], input="table inet deaf { chain c { type filter hook input priority 0; "
				f"tcp dport {p.client.getsockname()[1]} drop; }}; }}\n")
			heard = hearing(p.client, limit=30_000, timeout=20)
			p.server.sendall(bytes(30_000))
			wait_acked(p.server)	# the leg has it all
			lab.run("box", ["ip", "link", "delete", "srv"])
			wait_for(lambda: told(lab, "srv").get("link") == "gone", "the port to be gone")
			lab.run("client", ["nft", "delete", "table", "inet", "deaf"])
			got, why = heard.result()
			tap.equal(len(got), 30_000, f"{mode}: what was acknowledged arrives, though the server's port is gone ({why})")


def many(tap):
	"""Ports by the dozen come back at once, each with a program to load: the daemon goes on moving bytes."""
	with Lab("off") as lab:
		names = [f"nic{i}" for i in range(8)]
		make = lambda: lab._ip_batch("box", "".join(f"link add {n} type veth peer name p{n}\n" for n in names))
		make()
		start_seam(lab, SPLIT_ALL.replace('"srv"', str(["srv", *names]).replace("'", '"')) + 'xdp = "generic";')
		with Pair(lab) as p:
			p.prime()
			lab._ip_batch("box", "".join(f"link del {n}\n" for n in names))
			wait_for(lambda: all(told(lab, n).get("link") == "gone" for n in names), "them to be gone")
			make()
			turns = 0
			while turns < 50 or not all(told(lab, n).get("ifindex") for n in names):
				turns += 1
				for a, b in ((p.client, p.server), (p.server, p.client)):
					a.sendall(b"x")
					assert b.recv(1) == b"x"
			tap.equal((state(lab, p), reasons(lab).get("daemon_gone")), ("split", None), "a flow by other ports does not notice")


def renamed(tap):
	"""A stranger has the name for a moment."""
	with Lab("off") as lab:
		daemon = start_seam(lab, SPLIT_ALL)
		filters = lambda port: lab.run("box", ["tc", "filter", "show", "dev", port, "ingress"], check=False).stdout
		lab.run("box", ["ip", "link", "delete", "srv"])
		wait_for(lambda: told(lab, "srv").get("link") == "gone", "the port to be gone")
		lab.run("box", ["ip", "link", "add", "srv", "type", "veth", "peer", "name", "psrv"])
		wait_for(lambda: told(lab, "srv").get("ifindex"), "the stranger to be attached to")
		lab.run("box", ["ip", "link", "set", "srv", "name", "stranger"])
		lab.new_veth("server", "srv")
		wait_for(lambda: "seam_server" in filters("srv"), "the real one to be attached to")
		tap.ok("seam_server" not in filters("stranger"), "and the stranger no more")
		lab.configure("server")
		lab.run("box", ["ip", "link", "set", "cli", "down"])
		lab.run("box", ["ip", "link", "set", "cli", "name", "client0", "up"])
		with Pair(lab) as p:
			p.prime()
			tap.equal(state(lab, p), "split", "flows are inspected, by a port that was renamed as well")
		tap.equal(daemon.stop(), 0, "seam ends")
		tap.ok("seam_client" not in filters("client0"), "and leaves nothing at the one that was renamed")


def filter_taken(tap):
	"""A script that clears a port's queueing disciplines takes Seam's program with them."""
	with Lab("off") as lab:
		daemon = start_seam(lab, SPLIT_ALL)
		qdiscs = lambda: lab.run("box", ["tc", "qdisc", "show", "dev", "srv"]).stdout
		for n, argv in enumerate((["tc", "qdisc", "del", "dev", "srv", "clsact"], ["tc", "filter", "del", "dev", "srv", "ingress"]), 1):
			tap.ok(told(lab, "srv").get("tc") is True, "status says that TC is there", told(lab, "srv"))
			lab.run("box", argv)
			wait_for(lambda: daemon.errors.read_text().count("srv: Seam's filter was taken off") == n, "the log to tell")
			wait_for(lambda: told(lab, "srv").get("tc") is True, "it to be attached again")
			with Pair(lab) as p:
				p.prime()
				tap.equal(state(lab, p), "split", f"{' '.join(argv[1:3])}: flows are inspected as before")
		daemon.proc.send_signal(signal.SIGSTOP)
		lab.run("box", ["tc", "qdisc", "del", "dev", "srv", "clsact"])
		text = lab.run("box", [seam_binary(), "status"]).stdout
		tap.ok("TC missing: nothing is inspected there" in text, "a daemon that hangs does not, but status tells", text)
		daemon.proc.send_signal(signal.SIGCONT)
		wait_for(lambda: told(lab, "srv").get("tc") is True, "it to be attached again")
		tap.equal(daemon.stop(), 0, "seam ends")
		tap.ok("clsact" not in qdiscs(), "and takes the qdisc away that it made anew", qdiscs())


@scenario
def main(tap):
	filter_taken(tap)
	gone(tap)
	gone(tap, "generic")
	replaced(tap)
	silent(tap, Lab, "route")
	silent(tap, WireLab, "wire")
	many(tap)
	renamed(tap)
