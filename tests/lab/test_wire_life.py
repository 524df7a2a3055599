#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A wire from its first daemon to `seam detach`: what is in the way of it, what outlives the daemon, when it is cut."""
import json
import signal
import time

from byhand import ByHand, flow_to
from lab import NOTICED, SERVER, SERVER4, LabError, scenario, seam_binary, seam_json, start_seam, wait_for
from sockets import accept, connect, exchange, listen
from transfer import Transfer
from wires import POLICY, TAGGED, XDP, WireLab

RATE = 40_000_000	# bytes a second, of transfers that are to last
ALL = 'rules = ( { name = "all"; action = "inspect"; inspectors = ["count"]; until = { bytes = 1; }; } );'


def link(lab, ns, iface):
	"""(flags, MTU) of an interface."""
	found, = json.loads(lab.run(ns, ["ip", "-j", "-d", "link", "show", "dev", iface]).stdout)
	return set(found["flags"]), found["promiscuity"]


def ipv6_off(lab, iface):
	return lab.run("box", ["sysctl", "-n", f"net.ipv6.conf.{iface}.disable_ipv6"]).stdout.strip()


def ports_now(lab):
	return {i: ("UP" in link(lab, "box", i)[0], "PROMISC" in link(lab, "box", i)[0], ipv6_off(lab, i)) for i in ("cli", "srv")}


def talks(lab, port):
	"""Whether a new connection works, both ways."""
	listener = listen(lab, port)
	try:
		with connect(lab, SERVER4, port, timeout=2) as a, accept(listener, timeout=2) as b:
			return exchange(a, b)
	except OSError:
		return False
	finally:
		listener.close()


# What is in the way

def refused(lab, conf, *setup):
	"""What seam says that does not start."""
	for argv in setup:
		lab.run("box", argv)
	try:
		start_seam(lab, conf).stop()
	except LabError as e:
		return str(e)
	return "it started"


def in_the_way(tap):
	with WireLab() as lab:
		cases = [
			("an address", POLICY, "it has the address 10.98.0.1", ["ip", "addr", "add", "10.98.0.1/24", "dev", "srv"],
				["ip", "addr", "flush", "dev", "srv"]),
			("an IPv6 address", POLICY, "it has the address fd98::1", ["ip", "addr", "add", "fd98::1/64", "dev", "cli"],
				["ip", "addr", "flush", "dev", "cli"]),
			("a bridge", POLICY, "it is part of br0", ["ip", "link", "set", "srv", "master", "br0"], ["ip", "link", "set", "srv", "nomaster"]),
			("a route", POLICY, "there is a route by it", ["ip", "route", "add", "10.98.0.0/24", "dev", "cli", "proto", "static"],
				["ip", "route", "del", "10.98.0.0/24"]),
			("another MTU", POLICY, "a wire wants the same at both", ["ip", "link", "set", "srv", "mtu", "1400"],
				["ip", "link", "set", "srv", "mtu", "1500"]),
		]
		lab.run("box", ["ip", "link", "add", "br0", "type", "bridge"])
		lab.run("box", ["ip", "link", "set", "cli", "up"])
		for what, conf, expected, before, after in cases:
			said = refused(lab, conf, before)
			tap.ok(expected in said, f"{what} is in the way", said)
			lab.run("box", after)
			tap.equal(lab.run("box", ["tc", "filter", "show", "dev", "cli", "ingress"]).stdout, "", f"{what}: nothing is left attached")
		lab.run("box", ["ip", "link", "set", "cli", "down"])
		for what, conf, expected in (
			("one port too many", POLICY.replace('"cli"', '["cli", "br0"]'), "expected as many"),
			("mirror_link without a wire", POLICY.replace('"wire"', '"route"') + "mirror_link = true;", '"mirror_link" is for wires')):
			said = refused(lab, conf)
			tap.ok(expected in said, f"{what} is an error of the policy", said)
		out = lab.run("box", [seam_binary(), "run", "--client", "cli", "--server", "srv", "--mode", "bridge"], check=False)
		tap.ok(out.returncode == 2 and "mode" in out.stderr, "a mode that there is not", out.stderr)


def xdp_sees_no_tags(tap):
	with WireLab() as lab:
		seam = start_seam(lab, POLICY + XDP)
		ports = {p["name"]: (p["xdp"], p["xdp_why"]) for p in seam_json(lab, "status")["ports"]}
		tap.ok(all(mode == "off" and f"ethtool -K {name} rxvlan off" in why for name, (mode, why) in ports.items()),
			"where the device takes tags off there is no XDP, and status says what would help", ports)
		tap.ok(talks(lab, 7000), "TC does the work")
		seam.stop()
		tap.ok("native XDP on a veth" not in seam.log, "nor is it warned of what native XDP would need", seam.log)
		seam = start_seam(lab, POLICY)
		why = {p["xdp_why"] for p in seam_json(lab, "status")["ports"]}
		tap.ok(not any("rxvlan" in x for x in why), "where there would be none anyway, nothing is to be switched off", why)
		not_mirrored(tap, lab, seam)
		tap.equal(seam.stop(), 0, "seam ends")


# Its life

def survives(tap, tags):
	with WireLab(tags=tags) as lab:
		lab.run("box", ["sysctl", "-qw", "net.ipv6.conf.cli.disable_ipv6=1"])	# so before, so after
		before = ports_now(lab)
		seam = start_seam(lab, None, ["--client", "cli", "--server", "srv", "--mode", "wire", "--inspect"])
		tap.equal(ports_now(lab), {"cli": (True, True, "1"), "srv": (True, True, "1")}, "the ports are up, promiscuous, without IPv6")
		tap.ok(talks(lab, 7000), "a connection works")
		seam.stop()
		tap.ok("left in place" in seam.log, "what stops says that the wire stays", seam.log)
		tap.ok(talks(lab, 7001), "and it does")
		said = refused(lab, POLICY.replace('mode = "wire";', ""))
		tap.ok('was left in mode "wire"' in said, "the other mode waits for `seam detach`", said)

		begun = time.monotonic()
		seam = start_seam(lab, POLICY + ALL)
		seconds = 2 + 1.5 * (time.monotonic() - begun)	# it is to outlast another start
		with lab.deltas() as d:
			t = Transfer(lab, 7002, "up down", int(seconds * RATE), 6, rate=RATE, timeout=60)
			hand = ByHand(flow_to(lab, 7002))
			tap.equal((hand.split(), hand.merge()), (None, None), "split and merged")
			tap.equal(seam.stop(signal.SIGKILL), -9, "the daemon is killed")
			tap.ok(t.runs() and talks(lab, 7003), "the wire goes on, for a new connection")
			seam = start_seam(lab, POLICY + ALL)
			tap.ok(t.runs(), "a new daemon takes it over")
			flow_to(lab, 7002)
			t.arrived(tap, "the merged flow")
		for end in ("client", "server"):
			tap.zero(d[end], NOTICED, f"{end}: noticed nothing of its death")

		seam.stop(signal.SIGKILL)
		out = lab.run("box", [seam_binary(), "detach"]).stdout
		tap.ok("the wire from cli to srv is cut" in out, "detach says that the wire is cut", out)
		tap.equal(ports_now(lab), before, "the ports are as they were")
		for iface in ("cli", "srv"):
			lab.run("box", ["ip", "link", "set", iface, "up"])
			tap.equal(lab.run("box", ["tc", "qdisc", "show", "dev", iface, "clsact"]).stdout, "", f"{iface}: nothing is left")
		tap.ok(not talks(lab, 7004), "it is cut")


# Links

def carrier(lab, ns, iface):
	return "LOWER_UP" in link(lab, ns, iface)[0]


def mirrors(tap):
	with WireLab() as lab:
		seam = start_seam(lab, POLICY + "mirror_link = true;")
		wait_for(lambda: all(p["link"] == "up" for p in seam_json(lab, "status")["ports"]), "links")
		for here, there, port in (("client", "server", "srv"), ("server", "client", "cli")):
			lab.run(here, ["ip", "link", "set", "eth0", "down"])
			wait_for(lambda: not carrier(lab, there, "eth0"), f"the {there} to lose its link")
			tap.ok("UP" not in link(lab, "box", port)[0], f"the {here}'s link is lost: so is the {there}'s")
			told = {p["name"]: p["link"] for p in seam_json(lab, "status")["ports"]}
			tap.equal(told[port], "held down", "status says why")
			lab.run(here, ["ip", "link", "set", "eth0", "up"])
			wait_for(lambda: carrier(lab, there, "eth0"), f"the {there} to have its link again")
			wait_for(lambda: all(p["link"] == "up" for p in seam_json(lab, "status")["ports"]), "both links")
			tap.ok(talks(lab, 7000), f"the {here}'s link is back: so is the wire")
		lab.run("client", ["ip", "link", "set", "eth0", "down"])
		wait_for(lambda: not carrier(lab, "server", "eth0"), "the server to lose its link")
		seam.stop(signal.SIGKILL)
		lab.run("client", ["ip", "link", "set", "eth0", "up"])
		seam = start_seam(lab, POLICY + "mirror_link = true;")
		wait_for(lambda: carrier(lab, "server", "eth0"), "the server to have its link again")
		tap.ok(talks(lab, 7001), "a daemon that was killed leaves no port down for the next one")
		lab.run("client", ["ip", "link", "set", "eth0", "down"])
		wait_for(lambda: not carrier(lab, "server", "eth0"), "the server to lose its link")
		seam.stop()
		tap.ok(carrier(lab, "server", "eth0"), "nor does one that stops")


def not_mirrored(tap, lab, seam):
	lab.run("client", ["ip", "link", "set", "eth0", "down"])
	wait_for(lambda: {p["name"]: p["link"] for p in seam_json(lab, "status")["ports"]} == {"cli": "lost", "srv": "up"}, "the link to be lost")
	tap.ok(carrier(lab, "server", "eth0"), "unless asked for, links are their own")
	lab.run("box", ["ip", "link", "set", "srv", "mtu", "1400"])
	wait_for(lambda: "has an MTU of 1400" in seam.errors.read_text(), "a warning about the MTU")


# Two wires

def asymmetric(tap):
	two = POLICY.replace('"cli"', '["cli", "cli2"]').replace('"srv"', '["srv", "srv2"]')
	with WireLab(wires=2, sysctls={"net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.eth0.rp_filter": 0,
			"net.ipv4.conf.default.rp_filter": 0}) as lab:
		start_seam(lab, two + ALL)
		other_way = lambda verb: lab.second_way("server", verb)
		with lab.deltas() as d:
			for family in SERVER:
				port = 7000 + family
				t = Transfer(lab, port, "up down", 3 * RATE, family, rate=RATE, timeout=60)
				hand = ByHand(flow_to(lab, port))
				tap.equal((hand.split(), hand.merge()), (None, None), f"IPv{family}: one wire: split and merged")
				other_way("add")
				wait_for(lambda: seam_json(lab, "flow", str(hand.id))["server"]["iface"] == "srv2", "the other wire")
				tap.ok("different wires" in (hand.split() or ""), f"IPv{family}: two wires: not split, and told why")
				tap.equal(flow_to(lab, port)["flow"]["state"], "merged", f"IPv{family}: it goes on, merged")
				other_way("del")
				wait_for(lambda: seam_json(lab, "flow", str(hand.id))["server"]["iface"] == "srv", "the wire that it was")
				tap.equal((hand.split(), hand.merge()), (None, None), f"IPv{family}: one wire again: split and merged")
				tap.ok(t.runs(), f"IPv{family}: all of that while it ran")
				t.arrived(tap, f"IPv{family}")
		for end in ("client", "server"):
			tap.zero(d[end], NOTICED, f"{end}: noticed nothing")
		other_way("add")
		for family in SERVER:
			port = 7100 + family
			t = Transfer(lab, port, "up down", 20_000_000, family)
			t.arrived(tap, f"IPv{family}: on two wires from the start")
			flow, = [f for f in seam_json(lab, "flows") if f["dest_port"] == port]
			told = seam_json(lab, "flow", str(flow["flow_id"]))
			tap.equal((told["state"], told["why_not_split"]), ("closing", "asymmetric"), f"IPv{family}: passed, as it is asymmetric")


def fails_to_start(tap):
	"""What was stopped stays so if the next daemon finds something in the way: nothing is held, or blocked."""
	with WireLab() as lab:
		policy = POLICY + ALL + 'fail = "block"; untracked = "block";'
		start_seam(lab, policy).stop()
		tap.ok(talks(lab, 7001), "stopped: a new connection passes")
		why = refused(lab, policy, ["ip", "link", "set", "srv", "mtu", "1400"])
		tap.ok("a wire wants the same at both" in why, "started with something in the way: it ends", why)
		lab.run("box", ["ip", "link", "set", "srv", "mtu", "1500"])
		tap.ok(talks(lab, 7002), "and a new connection passes as before")
		tap.equal(seam_json(lab, "flows"), [], "and is not tracked, for nobody would sweep it")
		seam = start_seam(lab, policy)
		tap.ok(talks(lab, 7003), "started again: inspected")
		tap.equal(len(seam_json(lab, "flows")), 1, "and tracked")
		tap.equal(seam.stop(), 0, "it ends")


@scenario
def main(tap):
	in_the_way(tap)
	fails_to_start(tap)
	xdp_sees_no_tags(tap)
	survives(tap, ())
	survives(tap, TAGGED)
	mirrors(tap)
	asymmetric(tap)
