#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A thousand connections at once under a mixed policy: each ends as its rule says, and nothing is left of them."""
import collections

from crowd import Crowd, Group
from daemon import Daemon
from lab import Lab, LabError, scenario, seam_json, start_seam, wait_for
from servers import Greeter, LoadServer, Nginx

POLICY = """
client = "cli";
server = "srv";
timeouts = { closing = "1s"; blocked = "5s"; };
rules = (
	{ name = "pass-port"; server_port = 7000; action = "pass"; },
	{ name = "merge-port"; server_port = 7001; action = "inspect"; inspectors = ["count"]; until = { bytes = "30k"; }; },
	{ name = "split-port"; server_port = 7002; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; },
	{ name = "reset-port"; server_port = 7003; action = "block"; },
	{ name = "drop-port"; server_port = 7004; action = "block"; with = "drop"; },
	{ name = "pattern"; server_port = 7005; action = "inspect"; inspectors = ["pattern"];
	  patterns = ( { name = "virus"; regex = "VIRUS"; action = "block"; } ); },
	{ name = "first-inspect"; server_port = 26; server_first = true; action = "inspect"; inspectors = ["count"];
	  until = { bytes = 10; }; },
	{ name = "first-pass"; server_first = true; action = "pass"; },
	{ name = "inspect-host"; host = "inspect.test"; action = "inspect"; inspectors = ["http"]; },
	{ name = "reset-host"; host = "reset.test"; action = "block"; },
	{ name = "drop-host"; host = "drop.test"; action = "block"; with = "drop"; },
	{ name = "inspect-sni"; sni = "*.inspect.test"; action = "inspect"; inspectors = ["tls"]; },
	{ name = "reset-sni"; sni = "*.reset.test"; action = "block"; },
	{ name = "drop-sni"; sni = "*.drop.test"; action = "block"; with = "drop"; },
	{ name = "pass-sni"; sni = "*.pass.test"; action = "pass"; },
	{ name = "pass-rest"; action = "pass"; }
);
"""
# By rule, in the policy's order: connections, kind, port, what else the client is to know; how they end; the state they rest in.
# A hold that the daemon is late for becomes a split, and `pass` then means merge.
RULES = {
	"pass-port": (200, "echo", 7000, {}, "ok", {"passed"}),
	"merge-port": (150, "echo", 7001, {}, "ok", {"merged"}),
	"split-port": (100, "echo", 7002, {}, "ok", {"split"}),
	"reset-port": (50, "echo", 7003, {}, "reset", set()),
	"drop-port": (25, "echo", 7004, {"patience": 3}, "silent", set()),
	"pattern": (50, "echo", 7005, {"text": "VIRUS"}, "reset", {"blocked"}),
	"first-inspect": (10, "greeted", 26, {}, "ok", {"merged"}),
	"first-pass": (15, "greeted", 25, {}, "ok", {"passed", "merged"}),
	"inspect-host": (75, "http", 80, {"host": "inspect.test"}, "ok", {"merged"}),
	"reset-host": (50, "http", 80, {"host": "reset.test"}, "reset", {"blocked"}),
	"drop-host": (25, "http", 80, {"host": "drop.test", "patience": 3}, "silent", {"blocked"}),
	"inspect-sni": (50, "tls", 443, {"host": "www.inspect.test"}, "ok", {"merged"}),
	"reset-sni": (25, "tls", 443, {"host": "www.reset.test"}, "reset", {"blocked"}),
	"drop-sni": (25, "tls", 443, {"host": "www.drop.test", "patience": 3}, "silent", {"blocked"}),
	"pass-sni": (50, "tls", 443, {"host": "www.pass.test"}, "ok", {"passed", "merged"}),
	"pass-rest": (100, "http", 80, {"host": "pass.test"}, "ok", {"passed", "merged"}),
}
WAVES = 2
TABLES = ("flows", "embryos", "holds", "legs")


def groups(web):
	page = {"path": "/8k", "sha256": web.sha256["8k"]}
	return [Group(name, count, kind, port, **(page | extra if kind in ("http", "tls") else extra))
		for name, (count, kind, port, extra, _end, _states) in RULES.items()]


def misplaced(lab):
	"""Rules with flows in other states, or in other numbers, than RULES says: {rule: what is there}."""
	seen, wrong = collections.defaultdict(collections.Counter), {}
	for flow in seam_json(lab, "flows"):
		seen[flow["seam"]["rule"]][flow["flow"]["state"]] += 1
	for number, (name, (count, _kind, _port, _extra, _end, states)) in enumerate(RULES.items(), 1):
		got = seen[number]
		# Blocked ones may be forgotten before all others have got their answers.
		if got.keys() - states or (got.total() != count and "blocked" not in states and states):
			wrong[name] = dict(got)
	return wrong


def eventually(predicate, timeout):
	"""Whether it comes true in that many seconds."""
	try:
		return wait_for(predicate, "", timeout)
	except LabError:
		return False


def wave(tap, lab, web, daemon, n):
	crowd = Crowd(lab, groups(web))
	there = crowd.gather()
	opened = sum(g.get("open", 0) for g in there.values())
	tap.ok(eventually(lambda: not misplaced(lab), 10),
		f"wave {n}: {opened} of {crowd.total} open at once, each flow in its rule's state", misplaced(lab))
	ends = crowd.finish()
	want = {name: {end: count} for name, (count, _kind, _port, _extra, end, _states) in RULES.items()}
	tap.equal(ends, want, f"wave {n}: every connection ended as its rule says, content verified")
	tap.ok(eventually(lambda: not any(daemon.table(t) for t in TABLES), 15),
		f"wave {n}: no entry is left in {', '.join(TABLES)}", {t: len(daemon.table(t)) for t in TABLES})
	tap.ok(not any(daemon.conns().values()), f"wave {n}: nor anything in the daemon", daemon.conns())
	tap.equal(daemon.sockets(), "", f"wave {n}: nor a socket")
	return daemon.descriptors(), daemon.memory()


@scenario
def main(tap):
	# Windows of 16 kB: a thousand of them must not overrun the queues between the namespaces.
	with Lab(sysctls={"net.ipv4.tcp_rmem": "4096 16384 16384"}) as lab:
		web = Nginx(lab, {"8k": 8192})
		for port in (7000, 7001, 7002, 7003, 7004, 7005):
			LoadServer(lab, "echo", port, rcvbuf=8192, no_hash=True)
		for port in (25, 26):
			Greeter(lab, port)
		seam = start_seam(lab, POLICY)
		daemon = Daemon(lab)
		after = [wave(tap, lab, web, daemon, n + 1) for n in range(WAVES)]
		tap.equal({fds for fds, _memory in after}, {after[0][0]}, "no descriptor leaks from wave to wave")
		grown = after[-1][1] - after[0][1]
		tap.ok(grown < 1 << 19, f"nor memory: {grown >> 10} KiB more after wave {WAVES} than after the first", after)
		tap.diag(f"resident after each wave: {[m >> 10 for _fds, m in after]} KiB")
		tap.equal(seam.stop(), 0, "seam ends")
