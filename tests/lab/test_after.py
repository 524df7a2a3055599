#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Split by policy in mid-stream: after so many bytes, so long, at a later request, before any payload."""
import os
import signal
import time

import sockets
from byhand import flow_to
from daemon import Daemon
from lab import NOTICED, NOTICED_AT_LEGS, SERVER4, SERVER6, Lab, Link, scenario, seam_binary, seam_json, start_seam, wait_for
from servers import Greeter, Nginx
from transfer import Transfer, silent
from webclient import WebClient

POLICY = """
client = "cli";
server = "srv";
rules = (
	{ name = "named"; server_port = 80; server = "%(v4)s"; host = "named.test"; action = "inspect"; inspectors = "http";
	  after = { request = 2; }; },
	{ name = "third"; server_port = 80; server = "%(v4)s"; action = "inspect"; inspectors = "http"; after = { request = 3; }; },
	{ name = "each"; server_port = 80; action = "inspect"; inspectors = "http"; after = { request = 2; again = true; }; },
	{ name = "greeting"; server_port = 25; action = "inspect"; inspectors = "count"; after = { bytes = 0; };
	  until = { bytes = 10; }; },
	{ name = "once"; server_port = 7000; action = "inspect"; inspectors = "count"; after = { bytes = "4M"; };
	  until = { bytes = "1M"; }; },
	{ name = "bytes"; server_port = "7001-7009"; action = "inspect"; inspectors = "count";
	  after = { bytes = "4M"; again = true; }; until = { bytes = "1M"; }; },
	{ name = "time"; server_port = "7011-7019"; action = "inspect"; inspectors = "count";
	  after = { time = "20ms"; again = true; }; until = { bytes = "1M"; }; },
	{ name = "open"; server_port = 7020; action = "inspect"; inspectors = "count"; after = { bytes = 1000; };
	  until = { bytes = 1; }; fail = "pass"; },
	{ name = "closed"; server_port = 7021; action = "inspect"; inspectors = "count"; after = { bytes = 1000; };
	  until = { bytes = 1; }; fail = "block"; }
);
""" % {"v4": SERVER4}
PATHS = ("/64k", "/1b", "/64k", "/1b", "/64k")


def shown(lab, port, states=("merged",)):
	"""What `seam flow` says of the flow to this server port, or of the client's port."""
	return seam_json(lab, "flow", str(flow_to(lab, port, states)["flow_id"]))


def by_source(lab, port):
	flow, = [f for f in seam_json(lab, "flows") if f["src_port"] == port]
	return seam_json(lab, "flow", str(flow["flow_id"]))


def splits(flow):
	return [t for t in flow["history"] if t["to"] == "splitting"]


def transfer(tap, lab, what, port, way, size, least, family=4, quiet=True):
	"""Bulk both ways under a rule that splits it again and again."""
	merges = Daemon(lab).stats()["merges"]
	with lab.deltas("client", "server", "legs") as d:
		t = Transfer(lab, port, way, size, family)
		t.arrived(tap, f"{what}: {way}")
	merges = Daemon(lab).stats()["merges"] - merges
	flow = shown(lab, port, ("closing", "merged", "split", "merging"))
	tap.ok(merges >= least and {t["reason"] for t in splits(flow)} == {"after"},
		f"{what}: {way}: split and merged {merges} times, by its rule, while it ran", merges, flow["history"])
	if quiet:
		silent(tap, d, f"{what}: {way}", NOTICED_AT_LEGS)


def under_load(tap):
	for regime in ("on", "off"):
		with Lab(regime) as lab:
			start_seam(lab, POLICY)
			for i, way in enumerate(("up", "down", "up down")):
				family = 6 if way == "down" else 4
				transfer(tap, lab, f"{regime}, every 4M", 7001 + i, way, 24_000_000, 3, family)
				transfer(tap, lab, f"{regime}, every 20 ms", 7011 + i, way, 24_000_000, 3, family)
			tap.equal(lab.queue_drops(), {}, f"{regime}: no queue dropped a packet")
	lossy = {"loss": 1, "dup": 0.5, "reorder": 0.5, "delay": 2}
	with Lab(client_link=Link(seed=3, **lossy), server_link=Link(seed=4, **lossy)) as lab:
		start_seam(lab, POLICY)
		transfer(tap, lab, "with loss", 7012, "up down", 4_000_000, 2, quiet=False)


def once(tap, lab):
	listener = sockets.listen(lab, 7000)
	with sockets.connect(lab, SERVER4, 7000) as a, sockets.accept(listener) as b:
		listener.close()
		tap.ok(sockets.exchange(a, b), "a connection works")
		flow = shown(lab, 7000, ("monitored",))
		tap.equal(flow["armed"], {"again": False, "bytes": (4 << 20) - 8}, "`seam flow` tells what it is waiting for")
		text = lab.run("box", [seam_binary(), "flow", str(flow["flow_id"])]).stdout
		tap.ok("  will be split after 3.9M more\n" in text, "in words as well", text)
		tap.ok(all(sockets.exchange(a, b, bytes(1 << 19)) for _ in range(4)), "4 MiB pass")
		flow = shown(lab, 7000, ("monitored",))
		tap.ok(not splits(flow) and flow["armed"]["bytes"] == 0, "up to there it is not split", flow)
		tap.ok(sockets.exchange(a, b), "the next payload arrives")
		flow = shown(lab, 7000, ("split",))
		at = splits(flow)[0]
		isn = [flow[end]["isn"] for end in ("client", "server")]
		tap.equal([(at["seq"][end] - isn[i]) % 2**32 for i, end in enumerate(("client", "server"))],
			[2**21 + 5] * 2, "and is the first that is the legs'")
		tap.ok(sockets.exchange(a, b, bytes(1 << 19)), "so does more, until its rule lets it go")
		flow = shown(lab, 7000)
		tap.ok(sockets.exchange(a, b, bytes(1 << 22)) and "armed" not in flow and len(splits(flow)) == 1,
			"once is all", flow)


def requests(tap, lab, web, host, address, first):
	"""Requests on one connection, and after each what was recorded of it last: {number: target}."""
	seen, states = {}, {}
	with WebClient(lab, address, host) as client:
		for n, path in enumerate(PATHS, 1):
			name = f"{path}?{n}"
			tap.equal(client.get(name)[0], web.sha256[path[1:]], f"{host}: answer {n} arrives whole")
			if n >= first:
				wait_for(lambda: by_source(lab, client.port)["state"] == "merged", f"{host}: the flow to be merged")
			flow = by_source(lab, client.port)
			seen[n] = flow.get("record", {}).get("http", {}).get("url")
			states[n] = flow["state"], len(splits(flow)), "armed" in flow
	return seen, states


def later_requests(tap, lab, web):
	with lab.deltas("client", "server") as d:
		seen, states = requests(tap, lab, web, "third.test", SERVER4, 3)
		tap.equal(seen, {1: "/64k?1", 2: "/64k?1"} | dict.fromkeys((3, 4, 5), "/64k?3"), "the third request, and no other")
		tap.equal(states, {n: ("monitored", 0, True) for n in (1, 2)} | {n: ("merged", 1, False) for n in (3, 4, 5)},
			"which merged it")
		seen, states = requests(tap, lab, web, "named.test", SERVER4, 2)
		tap.equal(seen, {1: "/64k?1"} | dict.fromkeys((2, 3, 4, 5), "/1b?2"), "the second, where the first has the name")
		seen, states = requests(tap, lab, web, "each.test", SERVER6, 2)
		tap.equal(seen, {1: None} | {n: f"{PATHS[n - 1]}?{n}" for n in range(2, 6)}, "every request from the second on")
		tap.equal(states, {n: ("monitored" if n == 1 else "merged", n - 1, True) for n in range(1, 6)}, "merged in between")
	for end, counters in d.items():
		tap.zero(counters, NOTICED, f"requests: the {end} noticed nothing")


def without_pause(tap, lab, web):
	"""Requests as fast as they are answered, many of them the acknowledgement that the merge before waits for."""
	count = 300
	with lab.deltas("client", "server") as d, WebClient(lab, SERVER6, "each.test") as client:
		missed = []
		for n in range(1, count + 1):
			client.get(f"/1b?{n}")
			flow = by_source(lab, client.port) if n % 20 == 0 else None
			if flow and wait_for(lambda: by_source(lab, client.port).get("record"), "a record")["http"]["url"] != f"/1b?{n}":
				missed.append((n, flow))
		flow = by_source(lab, client.port)
	tap.equal(missed, [], "requests without a pause: each is inspected")
	for end, counters in d.items():
		tap.zero(counters, NOTICED, f"requests without a pause: the {end} noticed nothing")
	tap.ok(flow["transitions"] > count, "and most by a split of its own", flow["transitions"])


def before_payload(tap, lab):
	mail = Greeter(lab, 25, delay=0.3)
	with lab.deltas("client", "server") as d:
		for host in (SERVER4, SERVER6):
			tap.ok(mail.send("seam\n" * 1000, host), "SMTP: the greeting arrives, and the mail")
			flow = shown(lab, 25, ("merged", "closing"))
			at = splits(flow)[0]
			isn = [flow[end]["isn"] for end in ("client", "server")]
			tap.ok(at["reason"] == "after" and [at["seq"]["client"], at["seq"]["server"]] == [(n + 1) % 2**32 for n in isn]
				and "merged" in [t["to"] for t in flow["history"]], "SMTP: it was split before any payload, and merged",
				flow["history"])
	for end, counters in d.items():
		tap.zero(counters, NOTICED, f"SMTP: the {end} noticed nothing")


def policy_changes(tap, lab, conf, web):
	"""Armed flows outlive their policy, and their daemon."""
	with WebClient(lab, SERVER6, "each.test") as client, WebClient(lab, SERVER6, "each.test") as other:
		client.get("/1b?1")
		other.get("/1b?1")
		conf.write_text(POLICY.replace('name = "each"', 'name = "all"; client_port = 1'))
		lab.run("box", [seam_binary(), "reload"])
		client.get("/1b?2")
		tap.equal(by_source(lab, client.port).get("record", {}).get("http", {}).get("url"), "/1b?2",
			"another policy: the flow is inspected by its own")
		wait_for(lambda: by_source(lab, client.port)["state"] == "merged", "the flow to be merged")
		conf.write_text(POLICY)
		yield
		other.get("/1b?2")
		tap.equal(by_source(lab, other.port).get("record", {}).get("http", {}).get("url"), "/1b?2",
			"another daemon: by the rule in its place")


def daemon_gone(tap, lab, seam):
	pairs = {}
	for port in (7020, 7021):
		listener = sockets.listen(lab, port)
		pairs[port] = sockets.connect(lab, SERVER4, port), sockets.accept(listener)
		listener.close()
		tap.ok(sockets.exchange(*pairs[port], bytes(500)), f"{port}: a connection works")
	os.kill(seam.proc.pid, signal.SIGSTOP)
	time.sleep(1.2)
	a, b = pairs[7020]
	tap.ok(sockets.exchange(a, b, bytes(1000)), "due while the daemon does not answer, fail = pass: it goes on")
	a, b = pairs[7021]
	ends = sockets.outcome(a, b"x"), sockets.outcome(b)
	tap.equal(ends, ((b"", "ECONNRESET"),) * 2, "fail = block: reset at both ends")
	os.kill(seam.proc.pid, signal.SIGCONT)
	flows = {port: shown(lab, port, (state,)) for port, state in ((7020, "passed"), (7021, "blocked"))}
	for flow in flows.values():
		tap.ok(flow["reason"] == "daemon_gone" and not splits(flow), f"it is {flow['state']} for that", flow)
	for pair in pairs.values():
		for s in pair:
			s.close()


def half_closed(tap, lab):
	for port in (7020, 7021):
		listener = sockets.listen(lab, port)
		with sockets.connect(lab, SERVER4, port) as a, sockets.accept(listener) as b:
			listener.close()
			a.sendall(bytes(1000))
			a.shutdown(1)
			sockets.read(b, 1001)
			b.sendall(b"x")
			tap.equal(a.recv(1), b"x", f"{port}: due when an end has ended its side: what the other one says arrives")
			flow = shown(lab, port)
			tap.ok(len(splits(flow)) == 1 and flow["record"]["inspected"]["bytes_toclient"] == 1, "inspected, and merged", flow)
			b.close()
			tap.equal(sockets.outcome(a), (b"", "FIN"), "and so does its end")


WAITING = """
client = "cli";
server = "srv";
decide = "split";
rules = (
	{ name = "second"; host = "second.test"; action = "inspect"; inspectors = "http"; after = { request = 2; }; },
	{ name = "third"; host = "third.test"; action = "inspect"; inspectors = "http"; after = { request = 3; }; },
	{ name = "each"; host = "each.test"; action = "inspect"; inspectors = "http"; after = { request = 3; again = true; }; }
);
"""


def while_it_waits(tap):
	"""Split for its verdict, and waiting to be merged, its request went by; or one was inspected too soon."""
	recorded = {"second.test": (1, 2, 2, 2, 2), "third.test": (1, 1, 3, 3, 3), "each.test": (1, 1, 3, 4, 5)}
	with Lab(client_link=Link(delay=0.5), server_link=Link(delay=50)) as lab:
		web = Nginx(lab, {"1b": 1})
		start_seam(lab, WAITING)
		for host, numbers in recorded.items():
			with WebClient(lab, SERVER4, host) as client:
				for n, last in enumerate(numbers, 1):
					tap.equal(client.get(f"/1b?{n}")[0], web.sha256["1b"], f"{host}: answer {n} arrives")
					flow = by_source(lab, client.port)
					tap.equal((flow["state"], flow["record"]["http"]["url"]), ("merging", f"/1b?{last}"),
						f"{host}: inspected while it waits: number {last} of {n}")
				wait_for(lambda: by_source(lab, client.port)["state"] == "merged", f"{host}: the flow to be merged")
				tap.equal("armed" in by_source(lab, client.port), host == "each.test", f"{host}: armed only for more")


@scenario
def main(tap):
	with Lab() as lab:
		web = Nginx(lab, {"1b": 1, "64k": 64 << 10})
		conf = lab.tmp / "after.conf"
		conf.write_text(POLICY)
		seam = start_seam(lab, args=["-c", conf])
		once(tap, lab)
		later_requests(tap, lab, web)
		without_pause(tap, lab, web)
		before_payload(tap, lab)
		for _ in policy_changes(tap, lab, conf, web):
			seam.stop(signal.SIGKILL)
			seam = start_seam(lab, args=["-c", conf])
		half_closed(tap, lab)
		daemon_gone(tap, lab, seam)
		states = [f"--state={s}" for s in ("held", "splitting", "split", "merging")]
		tap.equal(seam_json(lab, "flows", *states), [], "no flow is left half done")
		tap.equal(seam.stop(), 0, "seam ends")
	while_it_waits(tap)
	under_load(tap)
