#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Every way first bytes come, by every condition, to every verdict: and no sender ever probes.

All connections run at once over a link with a delay, with tail loss probes on at the ends.
"""
from collections import Counter as Counted

from hello import client_hello, http_head, in_records
from lab import SERVER, Lab, Link, scenario, seam_json, start_seam
from scripted import Counter, run_clients

POLICY = """
client = "cli";
server = "srv";
decide = "daemon";
rules = (
	{ name = "sni-pass"; server_port = 7001; sni = "passing.com"; action = "pass"; },
	{ name = "sni-inspect"; server_port = 7001; sni = "inspect.com"; action = "inspect"; inspectors = "tls"; },
	{ name = "sni-block"; server_port = 7001; sni = "blocked.com"; action = "block"; },
	{ name = "alpn-pass"; server_port = 7002; alpn = "p2"; action = "pass"; },
	{ name = "alpn-inspect"; server_port = 7002; alpn = "i2"; action = "inspect"; inspectors = "tls"; },
	{ name = "alpn-block"; server_port = 7002; alpn = "b2"; action = "block"; },
	{ name = "host-pass"; server_port = 7003; host = "passing.com"; action = "pass"; },
	{ name = "host-inspect"; server_port = 7003; host = "inspect.com"; action = "inspect";
	  inspectors = "http"; until = { bytes = 1; }; },
	{ name = "host-block"; server_port = 7003; host = "blocked.com"; action = "block"; },
	{ name = "unknown-pass"; server_port = 7011; unrecognised = true; action = "pass"; },
	{ name = "unknown-inspect"; server_port = 7012; unrecognised = true; action = "inspect";
	  inspectors = "count"; until = { bytes = 1; }; },
	{ name = "unknown-block"; server_port = 7013; unrecognised = true; action = "block"; },
	{ name = "first-pass"; server_port = 7021; server_first = true; action = "pass"; },
	{ name = "first-inspect"; server_port = 7022; server_first = true; action = "inspect";
	  inspectors = "count"; until = { bytes = 1; }; },
	{ name = "first-block"; server_port = 7023; server_first = true; action = "block"; }
);
"""
VERDICTS = {"pass": "passing.com", "inspect": "inspect.com", "block": "blocked.com"}
GREETING = b"220 scripted\r\n"
RST_SEEN = ("ECONNRESET", "EPIPE")
# The reactions of an end that something took too long for, or was lost. Blocked ends are reset.
PROBED = ("TcpRetransSegs", "TcpExtTCPTimeouts", "TcpExtTCPLossProbes", "TcpExtTCPSpuriousRTOs",
	"TcpExtPAWSEstab", "TcpExtTCPChallengeACK", "TcpExtTCPDSACKRecv", "TcpExtTCPDSACKOldSent",
	"TcpExtBeyondWindow", "TcpInErrs")

# Ways to send the deciding bytes: steps for them, whether it takes longer than a hold may.
BEHIND = bytes(range(256)) * 12
WAYS = {
	"whole": (lambda b: [["send", b.hex()]], False),
	"in two segments": (lambda b: [["send", b[:200].hex()], ["send", b[200:].hex()]], False),
	"with more behind it": (lambda b: [["send", (b + BEHIND).hex()]], False),
	"byte by byte": (lambda b: [["slow", b[:24].hex(), 1, 0.003], ["send", b[24:].hex()]], True),
	"piece by piece, each acknowledged": (lambda b: [["send", b[:2].hex()], ["acked"], ["send", b[2:100].hex()],
		["acked"], ["send", b[100:].hex()]], True),
	"by Nagle": (lambda b: [["send", b[:2].hex()], ["send", b[2:].hex()]], True),
}
# Afterwards: all has arrived; then something more, in whatever state the flow has come to.
REST = [["count"], ["sleep", 0.3], ["send", b"the rest".hex()], ["count"], ["fin"]]


def cases():
	"""{name: (rule, action, slow, case)}"""
	out = {}

	def add(what, rule, action, way, port, data, family=4):
		steps, slow = WAYS[way]
		out[f"{what}, {way}: {action}"] = (rule, action, slow, {"host": SERVER[family], "port": port,
			"nagle": "Nagle" in way, "steps": steps(data) + REST})

	for action, name in VERDICTS.items():
		for way in WAYS:
			add("sni", f"sni-{action}", action, way, 7001, client_hello(sni=name))
			add("host", f"host-{action}", action, way, 7003, http_head(name), 6)
		for way in ("whole", "byte by byte"):
			add("sni in many records", f"sni-{action}", action, way, 7001, in_records(client_hello(sni=name), 50), 6)
			add("alpn", f"alpn-{action}", action, way, 7002, client_hello(alpn=f"{action[0]}2"))
			port = 7011 + list(VERDICTS).index(action)
			# "G" might be a request yet, "GG" is none: that comes well before the hold is over.
			add("unknown", f"unknown-{action}", action, way, port, b"G" * 30)
			last, entry = out.popitem()
			out[last] = (*entry[:2], False, entry[3])
		port = 7021 + list(VERDICTS).index(action)
		out[f"server first: {action}"] = (f"first-{action}", action, False, {"host": SERVER[4], "port": port,
			"steps": [["read", len(GREETING)], ["send", b"EHLO".hex()], *REST]})
	return out


def path(flow):
	return [t["to"] for t in flow["history"]]


def judge(tap, lab, server, name, rule, action, slow, report):
	flows = {f["src_port"]: f for f in seam_json(lab, "flows")}
	flow = seam_json(lab, "flow", str(flows[report["port"]]["flow_id"]))
	what = [report | {"read": ""}, path(flow), [t["reason"] for t in flow["history"]], flow.get("rule_name")]
	good = flow.get("rule_name") == rule
	reasons = [t["reason"] for t in flow["history"]]
	if action == "block":
		seen = server.seen(report["port"])
		good &= report["error"] in RST_SEEN and path(flow)[-1] == "blocked"
		good &= bool(seen) and seen["bytes"] == 0 and seen["end"] in RST_SEEN
		what.append(seen)
	else:
		good &= report["good"] and not report["error"]
		if slow:
			good &= "hold_time" in reasons
		elif slow is None:
			good &= path(flow)[1] == "held"
		# "two segments" and the like need no more than a moment.
		elif action == "pass":
			good &= "splitting" not in path(flow) and path(flow)[:3] == ["monitored", "held", "passed"]
		if slow or action == "inspect":
			good &= "merged" in path(flow)
	tap.ok(good, name, *what)


def out_of_order(tap):
	"""ClientHellos whose segments overtake each other; how they come is another matter for each."""
	with Lab(client_link=Link(delay=5, up={"reorder": 50, "reorder_by": 2}, seed=3), server_link=Link(delay=5)) as lab:
		server = Counter(lab, {7001: None})
		seam = start_seam(lab, POLICY)
		todo = {}
		for action, name in VERDICTS.items():
			hello = client_hello(sni=name)
			steps = [["send", hello[i:i + 250].hex()] for i in range(0, len(hello), 250)]
			for n in range(6):
				case = {"host": SERVER[4 if n % 2 else 6], "port": 7001, "steps": steps + REST}
				todo[f"out of order, number {n}: {action}"] = (f"sni-{action}", action, None, case)
		reports = run_clients(lab, {name: case for name, (*_, case) in todo.items()})
		for name, (rule, action, slow, _case) in todo.items():
			judge(tap, lab, server, name, rule, action, slow, reports[name])
		seam.stop()
		counters = lab.impair_counters("client")["up"]
		tap.ok(counters["reordered"] > 20, "segments were out of order", counters)


@scenario
def main(tap):
	out_of_order(tap)
	with Lab(loss_probes=True, client_link=Link(delay=5), server_link=Link(delay=5)) as lab:
		ports = {7001: None, 7002: None, 7003: None, 7011: None, 7012: None, 7013: None}
		server = Counter(lab, ports | {p: (GREETING, 0.05) for p in (7021, 7022, 7023)})
		seam = start_seam(lab, POLICY)
		todo = cases()
		for host in SERVER.values():	# neighbours get to know each other
			run_clients(lab, {"first": {"host": host, "port": 7001, "steps": [["sleep", 0.1]]}})
		with lab.deltas() as d:
			reports = run_clients(lab, {name: case for name, (*_, case) in todo.items()})
		for name, (rule, action, slow, _case) in todo.items():
			judge(tap, lab, server, name, rule, action, slow, reports[name])
		counted = {r["name"]: r["flows"] for r in seam_json(lab, "stats")["rules"] if r["flows"]}
		tap.equal(counted, Counted(rule for rule, *_ in todo.values()) | {"default": 2}, "each rule counts its flows")
		for end, counters in d.items():
			if not tap.zero(counters, PROBED, f"the {end} never probed nor sent anything twice"):
				tap.diag({k: v for k, v in counters.items() if v and k.startswith("TcpExt")}, lab.drops())
		left = seam_json(lab, "flows", *(f"--state={s}" for s in ("held", "splitting", "split", "merging")))
		tap.equal(left, [], "nothing is left half done")
		tap.equal(seam.stop(), 0, "seam ends")
