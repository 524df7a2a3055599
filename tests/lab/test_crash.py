#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The daemon is killed, or stopped, in mid-traffic: what goes on, what ends, and how."""
import hashlib
import signal
import threading
import time
from pathlib import Path

import sockets
from daemon import Daemon
from lab import NOTICED, SERVER, SERVER4, Lab, scenario, seam_binary, seam_json, start_seam, wait_for
from servers import LoadServer, Nginx, client, finish_client, start_client

POLICY = """
client = "cli";
server = "srv";
rules = (
	{ name = "passed"; server_port = "7001-7002"; action = "pass"; },
	{ name = "merged"; server_port = 80; host = "merge.test"; action = "inspect"; inspectors = ["http"]; },
	{ name = "split"; server_port = "7100-7199"; action = "inspect"; inspectors = ["count"];
	  until = { bytes = "1T"; }; },
	{ name = "shut"; server_port = 7301; unrecognised = true; action = "pass"; fail = "block"; },
	{ name = "open"; server_port = 7300; unrecognised = true; action = "pass"; }
);
"""
LONG = 1 << 29	# ten seconds, at the pace of body()
HELD, SPLITTING = 3, 4	# enum flow_state
REQUEST = "GET /{} HTTP/1.1\r\nHost: merge.test\r\n\r\n"
RESET = {"ECONNRESET", "EPIPE"}	# EPIPE: to who has had the other's FIN already


def states(lab):
	"""{server port: {state: number of flows}}."""
	found = {}
	for f in seam_json(lab, "flows"):
		port, state = found.setdefault(f["dest_port"], {}), f["flow"]["state"]
		port[state] = port.get(state, 0) + 1
	return found


def body(s, slowly=lambda: False):
	"""One HTTP response: (its length, its sha256); for as long as `slowly` says some 50 MB a second."""
	head = b""
	while b"\r\n\r\n" not in head:
		head += s.recv(1 << 16)
	head, _, rest = head.partition(b"\r\n\r\n")
	left = int(head.lower().split(b"content-length:")[1].split()[0]) - len(rest)
	digest, buf = hashlib.sha256(rest), bytearray(1 << 20)
	total = len(rest)
	while left:
		n = s.recv_into(buf, min(left, len(buf)))
		if not n:
			break
		digest.update(memoryview(buf)[:n])
		left -= n
		total += n
		if slowly():
			time.sleep(n / 50e6)
	return total, digest.hexdigest()


def held_now(daemon, port):
	"""Whether a flow to that port is held or about to be split. Asks no daemon."""
	wanted = int.from_bytes(port.to_bytes(2, "big"), "little")
	return any(e["formatted"]["key"]["server_port"] == wanted and e["formatted"]["value"]["state"] in (HELD, SPLITTING)
		for e in daemon.table("flows"))


class Fetch(threading.Thread):
	"""Fetches over a connection that is open already, and takes its time until `hurry` is set."""

	def __init__(self, s, name):
		super().__init__(daemon=True)
		self.s, self.name, self.got, self.hurry = s, name, None, False
		self.start()

	def run(self):
		self.s.sendall(REQUEST.format(self.name).encode())
		self.got = body(self.s, lambda: not self.hurry)


def held_by(lab):
	"""What Seam has on the box: devices, filters, pins."""
	links = lab.run("box", ["ip", "-o", "link"]).stdout.splitlines()
	pins = sorted(p.name for p in Path("/sys/fs/bpf").glob("seam/*/*"))
	return sorted(x.split(": ")[1].split("@")[0] for x in links), pins


def goes_on(tap, lab, web):
	"""Monitored, passed and merged connections, while the daemon is killed and another one started."""
	seam = start_seam(lab, POLICY)
	fresh, count = held_by(lab), Daemon(lab).descriptors()
	server = LoadServer(lab, "sink", 7001)
	quiet = sockets.listen(lab, 7300)
	monitored = sockets.connect(lab, SERVER4, 7300), sockets.accept(quiet)
	later = sockets.connect(lab, SERVER4, 7300), sockets.accept(quiet)
	merged = {4: sockets.connect(lab, SERVER[4], 80, timeout=60), 6: sockets.connect(lab, SERVER[6], 80)}
	for s in merged.values():
		s.sendall(REQUEST.format("64k").encode())
		body(s)
	wait_for(lambda: states(lab).get(80) == {"merged": 2}, "both flows to be merged")
	with lab.deltas() as d:
		bulk = Fetch(merged[4], "long")
		load = start_client(lab, "source", SERVER4, 7001, send=150_000_000, rate=25_000_000)
		time.sleep(1)
		tap.equal(seam.stop(signal.SIGKILL), -9, "the daemon is killed")
		wait_for(lambda: states(lab)[80] == {"merged": 2}, "seam flows to show them without a daemon")
		merged[6].sendall(REQUEST.format("64k").encode())
		tap.equal(body(merged[6])[1], web.sha256["64k"], "another one answers while there is no daemon")
		time.sleep(1.2)
		tap.ok(sockets.exchange(*monitored, b"x" * 3000), "a monitored one gets its first payload across")
		tap.ok(bulk.is_alive(), "the long one is under way still")
		second = start_seam(lab, POLICY)
		tap.equal(states(lab)[80], {"merged": 2}, "the next daemon finds the merged flows")
		tap.ok(bulk.is_alive(), "all of it in mid-traffic")
		bulk.hurry = True
		bulk.join(60)
		report, = finish_client(lab, load)
	tap.equal(bulk.got, (LONG, web.sha256["long"]), "merged: 512 MiB arrive whole")
	tap.equal(server.results(1)[0]["rx_sha256"], report["tx_sha256"], "passed: so does what was sent on a passed one")
	for end, counters in d.items():
		tap.zero(counters, NOTICED, f"the {end} noticed nothing")
	tap.ok(sockets.exchange(*later, b"y" * 3000), "one that was silent all the time goes on with the next daemon")
	tap.equal(states(lab)[7300].get("monitored", 0), 0, "and was decided by it")
	tap.equal(held_by(lab), fresh, "as many devices and pins as before")
	tap.equal(Daemon(lab).descriptors(), count, "as many descriptors")
	url = f"http://{SERVER4}/64k"
	splits = lambda: seam_json(lab, "status")["daemon"]["stats"]["splits"]
	before = splits()
	tap.equal(lab.curl(url, "-H", "Host: merge.test")[0], web.sha256["64k"], "a new connection is served")
	tap.equal(splits(), before + 1, "and inspected")
	for s in (*monitored, *later, *merged.values(), quiet):
		s.close()
	return second


def torn(tap, lab, seam):
	"""Split flows: in full flow, with a receiver that does not keep up, half closed, and silent."""
	kinds = {
		"in full flow": (7100, {"count": 8, "rate": 3_000_000}, {}),
		"into a full receiver": (7101, {"count": 4}, {"rate": 100_000, "rcvbuf": 65536, "read_chunk": 16384, "read_pause": 5}),
		"half closed": (7102, {"count": 4, "send": 100_000}, {"rate": 3_000_000}),
	}
	servers, clients = {}, {}
	for kind, (port, ours, theirs) in kinds.items():
		servers[kind] = LoadServer(lab, "both", port, **{"send": LONG, "seed": 2, "expect": 1} | theirs)
		clients[kind] = start_client(lab, "both", SERVER4, port, **{"send": LONG, "seed": 1, "expect": 2} | ours)
	listener = sockets.listen(lab, 7110)
	silent = [(sockets.connect(lab, SERVER[v], 7110), sockets.accept(listener)) for v in (4, 6)]
	tap.ok(all(sockets.exchange(*pair) for pair in silent), "split flows carry data")
	time.sleep(1)
	tap.equal({p: s for p, s in states(lab).items() if 7100 <= p < 7200},
		{7100: {"split": 8}, 7101: {"split": 4}, 7102: {"split": 4}, 7110: {"split": 2}}, "all of them are split")
	seam.stop(signal.SIGKILL)
	for a, b in silent:
		tap.equal((sockets.outcome(a), sockets.outcome(b)), ((b"", "ECONNRESET"), (b"", "ECONNRESET")),
			"silent: both ends get a RST at once")
	for kind in kinds:
		count = kinds[kind][1]["count"]
		theirs = servers[kind].results(count, timeout=20)
		ours = finish_client(lab, clients[kind])
		for end, reports, sent in (("client", ours, theirs), ("server", theirs, ours)):
			tap.ok({r["end"] for r in reports} <= RESET, f"{kind}: a RST ends all {count} at the {end}",
				[r["end"] for r in reports])
			most = max(r["tx_bytes"] for r in sent)
			tap.ok(all(r["mismatch_at"] == -1 and r["rx_bytes"] <= most for r in reports),
				f"{kind}: what the {end} got is the beginning of what was sent", reports)
	listener.close()


def held(tap, lab):
	"""Payload that is held when the daemon dies goes on, or is refused, as the rule's fail answer says."""
	seam = start_seam(lab, POLICY)
	daemon = Daemon(lab)
	tap.ok(not any(s in per for per in states(lab).values() for s in ("split", "splitting", "merging")),
		"the next daemon takes none of them for split", states(lab))
	listeners = {port: sockets.listen(lab, port) for port in (7300, 7301)}
	pairs = {port: (sockets.connect(lab, SERVER4, port), sockets.accept(x)) for port, x in listeners.items()}
	seam.proc.send_signal(signal.SIGSTOP)
	for a, _b in pairs.values():
		a.sendall(b"held")
	wait_for(lambda: all(held_now(daemon, port) for port in pairs), "both flows to be held")
	seam.stop(signal.SIGKILL)
	tap.equal(sockets.read(pairs[7300][1], 4), b"held", "held, and the fail answer is pass: it arrives")
	tap.ok(sockets.exchange(*pairs[7300]), "and the connection goes on")
	tap.equal(sockets.outcome(pairs[7301][0]), (b"", "ECONNRESET"), "held, and the fail answer is block: RST")
	tap.ok(sockets.exchange(sockets.connect(lab, SERVER4, 7300), sockets.accept(listeners[7300])),
		"a new connection is passed at once")
	a, b = sockets.connect(lab, SERVER4, 7301), sockets.accept(listeners[7301])
	tap.equal(sockets.outcome(a, b"new"), (b"", "ECONNRESET"), "or blocked")
	for x in listeners.values():
		x.close()


def stopped(tap, lab, web):
	"""The daemon does not run for a while, and then does: it finds what became of its flows."""
	seam = start_seam(lab, POLICY)
	listener = sockets.listen(lab, 7300), sockets.listen(lab, 7110)
	pair = lambda i, port: (sockets.connect(lab, SERVER4, port), sockets.accept(listener[i]))
	early, late, used, unused = pair(0, 7300), pair(0, 7300), pair(1, 7110), pair(1, 7110)
	merged = sockets.connect(lab, SERVER4, 80)
	merged.sendall(REQUEST.format("64k").encode())
	body(merged)
	tap.ok(sockets.exchange(*used) and sockets.exchange(*unused), "two flows are split")
	wait_for(lambda: states(lab)[80].get("merged") == 1, "a flow to be merged")

	seam.proc.send_signal(signal.SIGSTOP)
	tap.ok(sockets.exchange(*early), "stopped: what was held goes on by the fail answer")
	tap.equal(sockets.outcome(used[0], b"x"), (b"", "ECONNRESET"), "stopped: a split flow that is used gets a RST")
	tap.equal(sockets.outcome(used[1]), (b"", "ECONNRESET"), "at both ends")
	seam.proc.send_signal(signal.SIGCONT)
	alive = lambda: seam_json(lab, "status")["heartbeat"]
	wait_for(alive, "the daemon to wake up")
	tap.ok(sockets.exchange(*unused), "resumed: a split flow that was silent meanwhile goes on")
	tap.ok(sockets.exchange(*early), "and so does what was passed meanwhile")

	seam.proc.send_signal(signal.SIGSTOP)
	wait_for(lambda: not alive(), "the heartbeat to be old")
	told = lab.run("box", [seam_binary(), "monitor"], check=False)
	tap.ok(told.returncode == 1 and "does not answer" in told.stderr, "stopped: it is not waited for without end", told.stderr)
	server = LoadServer(lab, "sink", 7002)
	with lab.deltas() as d:
		report, = client(lab, "source", SERVER4, 7002, send=20_000_000)
		merged.sendall(REQUEST.format("64k").encode())
		tap.equal(body(merged)[1], web.sha256["64k"], "stopped: a merged flow does not notice")
		tap.ok(sockets.exchange(*late), "nor does one whose first payload comes now")
		tap.ok(sockets.exchange(*pair(0, 7300)), "nor a new one")
		seam.proc.send_signal(signal.SIGCONT)
		wait_for(alive, "the daemon to wake up")
		tap.ok(sockets.exchange(*late), "resumed: it goes on")
	tap.equal(server.results(1)[0]["rx_sha256"], report["tx_sha256"], "nor a passed one")
	for end, counters in d.items():
		tap.zero(counters, NOTICED, f"the {end} noticed nothing")
	url = f"http://{SERVER4}/64k"
	tap.equal(lab.curl(url, "-H", "Host: merge.test")[0], web.sha256["64k"], "a new connection is served")
	for s in (merged, *early, *late, *unused, *listener):
		s.close()
	conns = lambda: seam_json(lab, "status")["daemon"]["conns"]
	wait_for(lambda: not any(conns().values()), "the daemon to forget all flows")
	return seam


@scenario
def main(tap):
	with Lab() as lab:
		web = Nginx(lab, {"64k": 64 << 10, "long": LONG})
		before = held_by(lab)
		seam = goes_on(tap, lab, web)
		torn(tap, lab, seam)
		held(tap, lab)
		seam = stopped(tap, lab, web)
		tap.equal(seam.stop(), 0, "seam ends")
		tap.diag(seam.log)
		tap.equal(held_by(lab), before, "and leaves no device and no pin")
		for port in ("cli", "srv"):
			text = lab.run("box", ["tc", "qdisc", "show", "dev", port]).stdout
			tap.ok("clsact" not in text, f"nor anything on {port}", text)
