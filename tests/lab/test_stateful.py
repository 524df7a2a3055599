#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Connection tracking on the box drops what it has not seen: flows live on, with Seam and after it."""
import errno
import socket
from pathlib import Path

import sockets
from lab import SERVER, SERVER4, Lab, scenario, seam_binary, seam_json, start_seam, wait_for
from peers import wait_acked

POLICY = """
client = "cli";
server = "srv";
decide = "daemon";
grace = "1s";
timeouts = { closing = "1s"; };
rules = (
	{ name = "passed"; server_port = 7001; action = "pass"; },
	{ name = "split"; server_port = 7100; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; },
	{ name = "merged"; server_port = 7200; host = "merge.test"; action = "inspect"; inspectors = ["http"]; },
	{ name = "refused"; server_port = 7200; host = "block.test"; action = "block"; with = "drop"; }
);
"""
PAIR = b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BULK = b"seam" * 50_000	# more than the window that conntrack saw in the handshake


class Pair:
	"""Both ends of a connection."""

	def __init__(self, lab, listener, host=SERVER4):
		self.client = sockets.connect(lab, host, listener.getsockname()[1])
		self.server = sockets.accept(listener)

	def request(self, name):
		"""An HTTP exchange by hand; True if it arrived."""
		ask, answer = PAIR[0] % name, PAIR[1]
		self.client.sendall(ask)
		if sockets.read(self.server, len(ask)) != ask:
			return False
		self.server.sendall(answer)
		return sockets.read(self.client, len(answer)) == answer

	def lives(self):
		return sockets.exchange(self.client, self.server, BULK)

	def close(self):
		self.client.close()
		self.server.close()


def deaf(lab, pair):
	"""From now on the server gets nothing of this connection: what its leg has, it keeps."""
	lab.run("server", ["nft", "add table inet deaf; add chain inet deaf input { type filter hook input priority 0; };"
		f"add rule inet deaf input tcp sport {pair.client.getsockname()[1]} drop"])


def tracked(lab):
	"""Connections that the host's connection tracking knows."""
	return int(lab.run("box", ["sysctl", "-n", "net.netfilter.nf_conntrack_count"]).stdout)


def port_states(lab, port):
	return sorted(f["flow"]["state"] for f in seam_json(lab, "flows") if f["dest_port"] == port)


def traces(lab):
	"""What Seam has on the box: devices, filters, pins, files, mounts."""
	links = {x.split(": ")[1].split("@")[0] for x in lab.run("box", ["ip", "-o", "link"]).stdout.splitlines()}
	tc = [lab.run("box", ["tc", what, "show", "dev", port, *where]).stdout
		for port in ("cli", "srv") for what, where in (("filter", ["ingress"]), ("qdisc", []))]
	return links, tc, sorted(Path("/sys/fs/bpf").glob("seam*")), [
		*Path("/run").glob("seam/*.sock"), *Path("/proc/self/mounts").read_text().splitlines()]


@scenario
def main(tap):
	with Lab(stateful=True) as lab:
		clean = traces(lab)
		listener = {port: sockets.listen(lab, port) for port in (7001, 7100, 7200)}
		before = Pair(lab, listener[7001])
		seam = start_seam(lab, POLICY)

		flows = {
			"released": [Pair(lab, listener[7200], h) for h in SERVER.values()],
			"merged": [Pair(lab, listener[7200], h) for h in SERVER.values()],
			"passed": [Pair(lab, listener[7001], h) for h in SERVER.values()],
			"split": [Pair(lab, listener[7100], h) for h in SERVER.values()],
			"monitored": [Pair(lab, listener[7200], h) for h in SERVER.values()],
		}
		tap.ok(all(p.request(b"pass.test") for p in flows["released"]), "held, released by the Host header")
		tap.ok(all(p.request(b"merge.test") for p in flows["merged"]), "held, split, inspected")
		tap.ok(all(p.lives() for p in flows["split"]), "split, and kept so")
		wait_for(lambda: port_states(lab, 7200) == ["merged"] * 2 + ["monitored"] * 2 + ["passed"] * 2, "the states")
		for kind in ("released", "merged", "passed"):
			tap.ok(all(p.lives() for p in flows[kind]), f"{kind}: goes on")
		tap.ok(before.lives(), "begun before Seam: goes on")
		refused = Pair(lab, listener[7200])
		refused.client.sendall(PAIR[0] % b"block.test")
		wait_for(lambda: "blocked" in port_states(lab, 7200), "a flow to be blocked")

		stuck = Pair(lab, listener[7100])
		tap.ok(stuck.lives(), "a flow that will not merge")
		deaf(lab, stuck)
		stuck.client.sendall(b"what the box answers for")
		wait_acked(stuck.client)	# until then the client does, and it can merge
		tap.equal(seam.stop(), 0, "SIGTERM: ends")
		tap.ok("split flows that were reset: 1" in seam.log and "not merged within the grace time" in seam.log, "it was reset", seam.log)
		tap.equal(stuck.client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), errno.ECONNRESET, "by a RST at the client")
		lab.run("server", ["nft", "delete", "table", "inet", "deaf"])
		stuck.server.sendall(b"hello?")
		tap.equal(sockets.outcome(stuck.server), (b"", "ECONNRESET"), "and one at the server, as soon as it asks")
		tap.ok("left in place to forward 6 flows: 0 need a delta, 6 are unknown" in seam.log,
			"what the host does not know stays forwarded: released, merged, and split ones that merged", seam.log)
		links, tc, pins, other = traces(lab)
		tap.equal((links, other), (clean[0], clean[3]), "no device is left")
		tap.ok(pins and all("seam_" in f for f in tc[::2]), "the programs and pins are", tc, pins)
		for kind in ("released", "merged", "split", "passed", "monitored"):
			tap.ok(all(p.lives() for p in flows[kind]), f"without a daemon: {kind}: goes on")
		fresh = Pair(lab, listener[7200])
		tap.ok(fresh.request(b"merge.test") and fresh.lives(), "without a daemon: a new one is served")

		seam = start_seam(lab, POLICY)
		tap.ok("took over" in seam.log, "the next daemon takes over", seam.log)
		tap.equal([x for x in port_states(lab, 7100) if x != "blocked"], ["merged"] * 2, "the flows keep their states")
		for kind in ("released", "merged", "split", "passed", "monitored"):
			tap.ok(all(p.lives() for p in flows[kind]), f"the next daemon: {kind}: goes on")
		tap.ok(fresh.lives(), "the next daemon: one that began without any goes on")
		late = Pair(lab, listener[7200])
		tap.ok(late.request(b"merge.test"), "a new one is served")
		wait_for(lambda: port_states(lab, 7200).count("merged") == 3, "it to be merged")

		many = [Pair(lab, listener[7200], h) for h in SERVER.values() for _ in range(10)]
		tap.ok(all(p.request(b"merge.test") for p in many), "twenty more are inspected")
		wait_for(lambda: port_states(lab, 7200).count("merged") == 23, "them to be merged")
		there = tracked(lab)
		for p in many:
			p.close()
		wait_for(lambda: tracked(lab) <= there - 20, "the host's connection tracking to forget them", timeout=20)
		tap.ok(late.lives(), "and none that lives")

		# Taken down one after the other; what still depends is told each time.
		for p in (*flows["released"], *flows["merged"], *flows["split"]):
			p.close()
		done = lab.run("box", [seam_binary(), "detach"])
		tap.ok("1 " in done.stdout and "connection tracking" in done.stdout, "seam detach says who is cut", done.stdout)
		tap.diag(done.stdout)
		lab.stop(seam.proc)
		tap.equal(traces(lab), clean, "and leaves no trace")
		tap.equal(sorted(Path("/run").glob("seam*")), [], "no file either")
		for kind in ("passed", "monitored"):
			tap.ok(all(p.lives() for p in flows[kind]), f"detached: {kind}: goes on")
		tap.ok(fresh.lives() and before.lives(), "detached: and what Seam never held")

		seam = start_seam(lab, POLICY)
		last = Pair(lab, listener[7200])
		tap.ok(last.request(b"merge.test"), "again: a flow is inspected")
		wait_for(lambda: "merged" in port_states(lab, 7200), "it to be merged")
		last.close()
		refused = Pair(lab, listener[7200])
		refused.client.sendall(PAIR[0] % b"block.test")
		wait_for(lambda: "blocked" in port_states(lab, 7200), "a flow to be blocked")
		tap.equal(seam.stop(), 0, "SIGTERM with no flow that depends on it: ends")
		tap.ok("nothing is left" in seam.log, "says that nothing is left", seam.log)
		tap.equal(traces(lab), clean, "and that is so")
