#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""More flows to split than the daemon has descriptors for: the fail answer of each, and nothing stuck."""
import sockets
from daemon import Daemon
from lab import CLIENT4, SERVER, SERVER4, Lab, reasons, scenario, seam_json, start_seam, wait_for
from peers import open_socket

POLICY = """
client = "cli";
server = "srv";
timeouts = { closing = "1s"; blocked = "1s"; };
rules = (
	{ name = "passes"; server_port = 7000; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; },
	{ name = "blocks"; server_port = 7001; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; };
	  fail = "block"; },
	{ name = "undecided"; server_port = 7002; host = "inspect.test"; action = "inspect"; inspectors = ["http"];
	  fail = "block"; }
);
"""
ROOM, MANY = 20, 30	# descriptors for legs, two a flow; flows
SPARE = 16	# descriptors that the daemon gives to no leg


def states(lab, port):
	return sorted(f["flow"]["state"] for f in seam_json(lab, "flows", "-p", str(port)))


def short_of_memory(lab):
	return reasons(lab).get("no_memory", 0)


def pair(lab, listener, port, family=4):
	return sockets.connect(lab, SERVER[family], port), sockets.accept(listener)


def blocked(tap, lab, listener, port, what, data):
	client, server = pair(lab, listener, port)
	before = short_of_memory(lab)
	tap.equal((sockets.outcome(client, data)[1], sockets.outcome(server)), ("ECONNRESET", (b"", "ECONNRESET")),
		f"{what}: both ends get a RST, and no byte")
	tap.equal(short_of_memory(lab), before + 1, f"{what}: counted as no_memory")
	client.close()
	server.close()


@scenario
def main(tap):
	with Lab() as lab:
		listeners = {port: sockets.listen(lab, port) for port in (7000, 7001, 7002)}
		seam = start_seam(lab, POLICY)
		daemon = Daemon(lab)
		before, unsplit = daemon.descriptors(), short_of_memory(lab)
		limit = before + ROOM + SPARE
		lab.run("box", ["prlimit", "--pid", daemon.pid, f"--nofile={limit}:{limit}"])

		pairs = [pair(lab, listeners[7000], 7000, 4 if n % 2 else 6) for n in range(MANY)]
		tap.ok(all(sockets.exchange(*p, b"seam" * 1000) for p in pairs), f"{MANY} connections work, whether split or not")
		seen = states(lab, 7000)
		split = seen.count("split")
		tap.ok(ROOM // 2 - 2 <= split <= ROOM // 2 and seen.count("passed") == MANY - split,
			f"{split} of them are split, the others passed", seen)
		tap.equal(short_of_memory(lab) - unsplit, MANY - split, "these are counted as no_memory")
		tap.equal(daemon.conns()["split"], split, "the daemon still has a descriptor to answer with")
		blocked(tap, lab, listeners[7001], 7001, "fail = block", b"hello")
		# Half a request: no rule is chosen when its hold becomes a split.
		blocked(tap, lab, listeners[7002], 7002, "fail = block of a rule not chosen yet", b"GET / HTTP/1.1\r\nHost: ")
		tap.ok(all(sockets.exchange(*p, b"seam" * 1000) for p in pairs), "the others go on")

		for client, server in pairs:
			client.close()
			server.close()
		wait_for(lambda: daemon.descriptors() == before, "the legs to be gone")
		wait_for(lambda: set(states(lab, 7000)) <= {"closing"}, "the flows to be closed")
		again = pair(lab, listeners[7000], 7000)
		tap.ok(sockets.exchange(*again), "with descriptors again")
		tap.equal([s for s in states(lab, 7000) if s != "closing"], ["split"], "the next flow is split")
		for s in again:
			s.close()
		wait_for(lambda: not daemon.table("flows"), "the flows to be forgotten")
		tap.equal([daemon.table(t) for t in ("holds", "legs")], [[], []], "no entry is left in the tables")
		tap.ok(not any(daemon.conns().values()), "nor anything in the daemon", daemon.conns())
		tap.equal((daemon.descriptors(), daemon.sockets()), (before, ""), "nor a descriptor or socket")
		tap.equal(seam.stop(), 0, "seam ends")
	with Lab() as lab:
		start_seam(lab, POLICY.replace("closing", 'handshake = "1s"; closing'))
		lab.run("server", ["ip", "route", "add", "blackhole", CLIENT4])
		unanswered = open_socket(lab, "client")
		unanswered.setblocking(False)
		unanswered.connect_ex((SERVER4, 7000))
		known = wait_for(lambda: [f for f in seam_json(lab, "flows", "--all") if f["flow"]["state"] == "handshake"], "the handshake")
		unanswered.close()
		wait_for(lambda: not seam_json(lab, "flows", "--all"), "the handshake to be forgotten", timeout=5)
		tap.equal(len(known), 1, "a handshake that nobody completes is forgotten after its timeout")
