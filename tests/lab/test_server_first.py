#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Servers that speak first, under rules that ask for a name or for just that: nobody waits.

The deadline of a hold is a minute, longer than any of this may take.
"""
from hello import client_hello
from lab import NOTICED, SERVER, Lab, scenario, seam_json, start_seam
from scripted import Counter, run_clients
from servers import Greeter, Sshd

POLICY = """
client = "cli";
server = "srv";
hold = { time = "60s"; };
rules = (
	{ name = "speaks"; server_port = ( 26, "8000-8099" ); server_first = true; action = "inspect";
	  inspectors = "count"; until = { bytes = 1; }; },
	{ name = "sni"; sni = "never.com"; action = "block"; },
	{ name = "alpn"; alpn = "never"; action = "block"; },
	{ name = "host"; host = "never.com"; action = "block"; }
);
"""
# What MySQL says first, near enough: length, sequence number, protocol, version.
MYSQL = b"\x4a\x00\x00\x00\x0a8.0.36\x00" + bytes(66)


def path(lab, port):
	flow, = [f for f in seam_json(lab, "flows") if f["src_port"] == port]
	flow = seam_json(lab, "flow", str(flow["flow_id"]))
	return [t["to"] for t in flow["history"]], flow.get("rule_name")


def scripted(tap, lab):
	greeting, login = MYSQL.hex(), (b"\x20\x00\x00\x01" + bytes(32)).hex()
	rest = [["sleep", 0.2], ["send", b"quit".hex()], ["count"], ["fin"]]
	for base, rule in ((7000, "default"), (8000, "speaks")):
		cases = {
			"the client waits for the greeting": (base, [["read", len(MYSQL)], ["send", login], ["count"], *rest]),
			"both are silent for a while": (base + 1, [["read", len(MYSQL)], ["send", login], ["count"], *rest]),
			"the client ends after the greeting": (base, [["read", len(MYSQL)], ["fin"]]),
			"both speak at once": (base + 2, [["send", login], ["read", len(MYSQL)], ["count"], *rest]),
			"the client has begun a hello when the server speaks":
				(base + 1, [["send", client_hello()[:100].hex()], ["read", len(MYSQL)], *rest]),
		}
		reports = run_clients(lab, {f"IPv{family}, rule {rule}: {what}": {"host": host, "port": port, "steps": steps}
			for what, (port, steps) in cases.items() for family, host in SERVER.items()})
		for name, report in reports.items():
			states, decided = path(lab, report["port"])
			first = "speak at once" not in name and "has begun" not in name
			good = report["good"] and bytes.fromhex(report["read"]).startswith(bytes.fromhex(greeting))
			if rule == "default" or first:
				good &= decided == rule
			if rule == "default" and first:
				good &= "splitting" not in states and "passed" in states
			if rule == "speaks" and first and "ends" not in name:
				good &= "merged" in states
			tap.ok(good, name, report | {"read": len(report["read"]) // 2}, states, decided)


@scenario
def main(tap):
	with Lab() as lab:
		ports = {}
		for base in (7000, 8000):
			ports |= {base: (MYSQL, 0), base + 1: (MYSQL, 1.5), base + 2: (MYSQL, 0)}
		Counter(lab, ports)
		mail, late, shell = Greeter(lab, 25), Greeter(lab, 26, delay=1), Sshd(lab)
		seam = start_seam(lab, POLICY)
		for host in SERVER.values():	# neighbours get to know each other
			run_clients(lab, {"first": {"host": host, "port": 7000, "steps": [["read", len(MYSQL)]]}})
		body = "seam\n" * 1000
		with lab.deltas() as d:
			for host in SERVER.values():
				tap.ok(mail.send(body, host), "SMTP, a rule asks for names")
				tap.ok(late.send(body, host), "SMTP, a rule asks whether the server speaks first, after a while")
				tap.equal(shell.run("echo through", host).stdout, "through\n", "SSH, where both speak at once")
			scripted(tap, lab)
		for end, counters in d.items():
			tap.zero(counters, NOTICED, f"the {end} noticed nothing")
		states = [f"--state={s}" for s in ("held", "splitting", "split", "merging")]
		tap.equal(seam_json(lab, "flows", *states), [], "no flow is left half done")
		tap.equal(seam.stop(), 0, "seam ends")
