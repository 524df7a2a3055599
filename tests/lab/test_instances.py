#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Several instances on one box, several interfaces on a side, and what comes off when they change."""
import signal
from pathlib import Path

import sockets
from lab import SERVER4, Lab, scenario, seam_binary, seam_json, start_seam, wait_for

POLICY = """
instance = "{}";
client = ({});
server = ({});
xdp = "{}";
rules = ( {{ name = "all"; action = "inspect"; inspectors = ["count"]; until = {{ bytes = 8; }}; }} );
"""
SECOND, CROSS = "10.99.4.2", "10.99.4.3"
PINS = Path("/sys/fs/bpf/seam")


def policy(name, client, server, xdp="off"):
	names = lambda v: ", ".join(f'"{x}"' for x in v)
	return POLICY.format(name, names(client), names(server), xdp)


def second_path(lab):
	"""client eth1 - cli2 box srv2 - eth1 server; CROSS goes up by cli and srv2, and down by srv and cli."""
	for end, port, net in (("client", "cli2", 3), ("server", "srv2", 4)):
		lab.run(end, ["ip", "link", "add", "eth1", "type", "veth", "peer", "name", port, "netns", lab.ns("box")])
		for ns, iface, host in ((end, "eth1", 2), ("box", port, 1)):
			lab.run(ns, ["ip", "addr", "add", f"10.99.{net}.{host}/24", "dev", iface])
			lab.run(ns, ["ip", "link", "set", iface, "up"])
	lab.run("server", ["ip", "addr", "add", f"{CROSS}/32", "dev", "eth1"])
	lab.run("client", ["ip", "route", "add", "10.99.4.0/24", "via", "10.99.3.1"])
	lab.run("client", ["ip", "route", "add", CROSS, "via", "10.99.1.1"])
	lab.run("server", ["ip", "route", "add", "10.99.3.0/24", "via", "10.99.4.1"])


def attached(lab, port):
	"""What is on a port, of TC and XDP."""
	text = lab.run("box", ["tc", "filter", "show", "dev", port, "ingress"]).stdout
	text += lab.run("box", ["tc", "qdisc", "show", "dev", port]).stdout
	return [word for word in ("seam_", "clsact") if word in text] + (
		["xdp"] if "xdp" in lab.run("box", ["ip", "link", "show", port]).stdout else [])


def attachments(lab):
	return {port: attached(lab, port) for port in ("cli", "srv", "cli2", "srv2")}


def pair(lab, listener, host):
	a = sockets.connect(lab, host, listener.getsockname()[1])
	return a, sockets.accept(listener)


def merged(lab, name):
	return [f["flow"]["state"] for f in seam_json(lab, "flows", "-i", name)].count("merged")


def run_refused(lab, text):
	"""Exit code and message of a daemon that cannot start."""
	conf = lab.tmp / "refused.conf"
	conf.write_text(text)
	done = lab.run("box", [seam_binary(), "run", "-c", conf], check=False, timeout=20)
	return done.returncode, done.stderr


def two_instances(tap, lab, listener):
	one = start_seam(lab, policy("one", ["cli"], ["srv"]))
	two = start_seam(lab, policy("two", ["cli2"], ["srv2"]))
	flows = pair(lab, listener, SERVER4), pair(lab, listener, SECOND)
	tap.ok(all(sockets.exchange(*p) for p in flows), "each has a connection")
	wait_for(lambda: merged(lab, "one") == merged(lab, "two") == 1, "each to have merged its own")
	before = attachments(lab)

	code, text = run_refused(lab, policy("one", ["cli"], ["srv"]))
	tap.ok(code == 1 and "is running already" in text, "the same instance a second time is refused", code, text)
	code, text = run_refused(lab, policy("three", ["srv2"], ["cli"]))
	tap.ok(code == 1 and "another instance" in text, "and so is another one on the same interface", code, text)
	tap.equal(sorted(p.name for p in PINS.iterdir()), ["one", "two"], "which leaves nothing")
	tap.equal(attachments(lab), before, "and takes nothing away")
	tap.ok(all(sockets.exchange(*p) for p in flows), "the connections go on")

	tap.equal(one.stop(), 0, "one ends")
	tap.equal(attachments(lab), {"cli": [], "srv": [], "cli2": ["seam_", "clsact"], "srv2": ["seam_", "clsact"]},
		"and leaves the other's interfaces alone")
	tap.ok(all(sockets.exchange(*p) for p in flows), "the connections go on")
	fresh = pair(lab, listener, SECOND)
	tap.ok(sockets.exchange(*fresh), "the other one takes a new connection")
	wait_for(lambda: merged(lab, "two") == 2, "it to be merged")
	tap.equal(two.stop(), 0, "the other ends")
	tap.equal(attachments(lab), dict.fromkeys(before, []), "nothing is attached any more")
	tap.ok(not PINS.exists(), "nothing is pinned any more")


def several_interfaces(tap, lab, listener):
	seam = start_seam(lab, policy("many", ["cli", "cli2"], ["srv", "srv2"], "generic"))
	hosts = (SERVER4, SECOND, CROSS)
	flows = [pair(lab, listener, host) for host in hosts]
	tap.ok(all(sockets.exchange(*p, b"x" * 200_000) for p in flows), "several: a connection by each way, and one across")
	wait_for(lambda: merged(lab, "many") == 3, "all to be merged")
	tap.ok(all(sockets.exchange(*p, b"y" * 200_000) for p in flows), "several: they go on merged")
	tap.equal(attachments(lab), {p: ["seam_", "clsact", "xdp"] for p in ("cli", "srv", "cli2", "srv2")},
		"several: all have programs of both kinds")
	pins = {p.name for p in (PINS / "many").iterdir()}
	seam.stop(signal.SIGKILL)

	seam = start_seam(lab, policy("many", ["cli"], ["srv"], "generic"))
	both = ["seam_", "clsact", "xdp"]
	tap.equal(attachments(lab), {"cli": both, "srv": both, "cli2": [], "srv2": []},
		"interfaces that the policy names no more are let go")
	tap.equal(len(pins) - len({p.name for p in (PINS / "many").iterdir()}), 2, "with their pins")
	tap.equal(sorted(p["name"] for p in seam_json(lab, "status", "-i", "many")["ports"]), ["cli", "srv"],
		"seam status does not show them")
	tap.ok(sockets.exchange(*flows[0]), "the connection by those that stay goes on")
	tap.equal(seam.stop(), 0, "several: ends")
	tap.equal(attachments(lab), dict.fromkeys(("cli", "srv", "cli2", "srv2"), []), "nothing is attached any more")


@scenario
def main(tap):
	loose = {f"net.ipv4.conf.{which}.rp_filter": 0 for which in ("all", "default", "eth0")}
	with Lab(sysctls=loose) as lab:
		second_path(lab)
		listener = sockets.listen(lab, 7000)
		two_instances(tap, lab, listener)
		several_interfaces(tap, lab, listener)
