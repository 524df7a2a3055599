#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Names that the kernel decides by: the same verdicts, no hold and no wake-up, and with no daemon, too.

What it cannot settle goes the daemon's way.
"""
import json
import signal
import subprocess
import threading

from hello import client_hello, http_head
from lab import CLIENT4, CLIENT6, NOTICED, REGIMES, SERVER, SERVER4, Lab, reasons, scenario, seam_binary, seam_json, start_seam, wait_for
from scripted import Counter, run_clients
from servers import Nginx
from test_policy_live import measured

CLIENT = {4: CLIENT4, 6: CLIENT6}
HEAD = 'client = "cli";\nserver = "srv";\n'
RULES = """
rules = (
	{ name = "reset"; sni = "*.reset.test"; action = "block"; fail = "block"; },
	{ name = "reset-web"; host = "*.reset.test"; action = "block"; },
	{ name = "drop"; sni = "drop.test"; action = "block"; with = "drop"; },
	{ name = "look"; sni = "look.test"; action = "inspect"; inspectors = "tls"; },
	{ name = "exact"; sni = "pass.test"; action = "pass"; },
	{ name = "below"; sni = "*.pass.test"; action = "pass"; },
	{ name = "elsewhere"; server = "192.0.2.0/24"; host = "*.pass.test"; action = "block"; },
	{ name = "web"; host = [ "pass.test", "*.pass.test" ]; action = "pass"; },
	{ name = "scripted"; server_port = 7001; sni = "passing.com"; action = "pass"; },
	{ name = "blocked"; server_port = 7001; sni = "blocked.com"; host = "x"; action = "pass"; },
	{ name = "no"; server_port = 7001; sni = "blocked.com"; action = "block"; }
);
"""
# curl: it got an answer, was reset in the handshake (35) or after its request (56), or waited in vain (28).
OK, RESET, SILENT = (0,), (35, 56), (28,)
CASES = {	# URL: what curl says, the flow's rule, its states and the reason of the last
	"https://pass.test/1k": (OK, "exact", ["passed"], "rule"),
	"https://www.pass.test/1k": (OK, "below", ["passed"], "rule"),
	"https://a.b.pass.test/1k": (OK, "below", ["passed"], "rule"),
	"https://nobody.test/1k": (OK, "default", ["passed"], "default"),
	"https://www.reset.test/1k": (RESET, "reset", ["blocked"], "rule"),
	"https://drop.test/1k": (SILENT, "drop", ["blocked"], "rule"),
	"https://look.test/1k": (OK, "look", ["held", "splitting", "split"], None),
	"http://pass.test/1k": (OK, "web", ["passed"], "rule"),
	"http://www.pass.test/1k": (OK, "web", ["passed"], "rule"),
	"http://nobody.test/1k": (OK, "default", ["passed"], "default"),
	"http://www.reset.test/1k": (RESET, "reset-web", ["blocked"], "rule"),
}


def newest(lab, **what):
	flows = [f for f in seam_json(lab, "flows") if all(f[k] == v for k, v in what.items())]
	return seam_json(lab, "flow", str(max(flows, key=lambda f: f["flow_id"])["flow_id"]))


def reason_count(lab, name):
	return reasons(lab).get(name, 0)


def curl(lab, url, family=4, patience=2):
	host = SERVER[family] if family == 4 else f"[{SERVER[family]}]"
	argv = ["curl", "-sk", "-m", str(patience), "-o", "/dev/null", "--connect-to", f"::{host}:", url]
	return lab.run("client", argv, check=False).returncode


def real_clients(tap, lab, family):
	settled, held = reason_count(lab, "settled"), reason_count(lab, "first_payload")
	for url, (codes, rule, path, reason) in CASES.items():
		code = curl(lab, url, family, 0.6 if codes == SILENT else 2)
		flow = newest(lab, dest_port=443 if url.startswith("https") else 80, src_ip=CLIENT[family])
		states = [t["to"] for t in flow["history"]]
		name = flow.get("record", {}).get("tls", {}).get("sni") or flow.get("record", {}).get("http", {}).get("hostname")
		good = code in codes and flow.get("rule_name") == rule and states[1:1 + len(path)] == path
		if reason:
			good &= states == ["monitored", *path] or (states[:2] == ["monitored", *path] and states[2:] == ["closing"])
			good &= flow["history"][1]["reason"] == reason and name == url.split("/")[2]
		tap.ok(good, f"IPv{family}: {url}: {' '.join(path)} by {rule}", code, flow.get("rule_name"), flow["history"], flow.get("record"))
	by_kernel = sum(1 for *_, reason in CASES.values() if reason)
	tap.equal((reason_count(lab, "settled") - settled, reason_count(lab, "first_payload") - held),
		(by_kernel, len(CASES) - by_kernel), f"IPv{family}: the kernel settles what it can, the daemon the rest")


def other_clients(tap, lab):
	out = lab.run("client", ["openssl", "s_client", "-connect", f"{SERVER4}:443", "-servername", "www.pass.test", "-brief"],
		input="", check=False)
	flow = newest(lab, dest_port=443)
	tap.ok("CONNECTION ESTABLISHED" in out.stderr and flow.get("rule_name") == "below" and
		[t["to"] for t in flow["history"]][:2] == ["monitored", "passed"], "openssl is passed", out.stderr, flow["history"])
	lab.run("client", ["openssl", "s_client", "-connect", f"{SERVER4}:443", "-noservername", "-brief"], input="", check=False)
	flow = newest(lab, dest_port=443)
	tap.equal((flow.get("rule_name"), [t["to"] for t in flow["history"]][:2]), ("default", ["monitored", "passed"]),
		"without a server name the default")


def told(tap, lab):
	"""`seam monitor` tells of them as of others, with the name."""
	monitor = lab.popen("box", [seam_binary(), "monitor", "-j"], stdout=subprocess.PIPE, text=True)
	wait_for(lambda: seam_json(lab, "status")["daemon"]["monitors"], "the monitor to be there")
	for url in ("https://www.reset.test/1k", "https://pass.test/1k"):
		curl(lab, url)
		seen = next(e for e in map(json.loads, monitor.stdout) if e["seam"]["to"] not in ("monitored", "closing"))
		_codes, rule, path, reason = CASES[url]
		tap.equal((seen["seam"]["to"], seen["seam"]["rule_name"], seen["flow"]["reason"], seen.get("tls", {}).get("sni")),
			(path[0], rule, reason, url.split("/")[2]), f"seam monitor tells of {url}")
	lab.stop(monitor)


def pieces(tap, lab, server):
	"""What comes in more than one segment is the daemon's, with the same end."""
	cases, wanted = {}, {}
	for name, rule in (("passing.com", "scripted"), ("blocked.com", "no"), ("another.com", "default")):
		hello = client_hello(sni=name, name="ja4_spec")
		for way, steps in {"whole": [["send", hello.hex()]],
				"in two": [["send", hello[:200].hex()], ["sleep", 0.001], ["send", hello[200:].hex()]],
				"with more behind it": [["send", (hello + bytes(2000)).hex()]]}.items():
			cases[f"{name} {way}"] = {"host": SERVER[4], "port": 7001, "steps": [*steps, ["count"], ["fin"]]}
			wanted[f"{name} {way}"] = (rule, way)
	for what, report in run_clients(lab, cases).items():
		rule, way = wanted[what]
		flow = newest(lab, src_port=report["port"])
		states = [t["to"] for t in flow["history"]]
		good = flow.get("rule_name") == rule and (("held" in states) == (way == "in two"))
		if rule == "no":
			seen = server.seen(report["port"])
			good &= report["error"] == "ECONNRESET" and bool(seen) and not seen["bytes"]
		else:
			good &= report["good"]
		tap.ok(good, f"{what}: by {rule}", report, flow["history"], flow.get("rule_name"))


def wakes_nobody(tap, lab):
	"""As test_policy_live.py has it of what the SYN decides."""
	pid = seam_json(lab, "status")["daemon"]["pid"]
	head = http_head("pass.test").hex()

	def connect():
		cases = {str(n): {"host": SERVER[4], "port": 7002, "steps": [["sleep", n * 0.002], ["send", head], ["count"], ["fin"]]}
			for n in range(300)}
		return run_clients(lab, cases)
	_, idle_s, idle, _ = measured(pid, lambda: threading.Event().wait(2))
	reports, busy_s, switches, _ = measured(pid, connect)
	tap.ok(all(r["good"] for r in reports.values()), "300 connections are passed by name")
	tap.ok(switches <= idle / idle_s * busy_s + 10, "and the daemon wakes for its timer only", switches, idle, idle_s, busy_s)


def reload_meanwhile(tap, lab):
	"""Two policies whose rules have other numbers: each flow is decided by one of them, whole."""
	conf = lab.tmp / "names.conf"
	rules = ('{ name = "a"; host = "a.test"; action = "pass"; }', '{ name = "b"; host = "b.test"; action = "block"; }')
	texts = [f"{HEAD} rules = ( {one}, {other} );" for one, other in (rules, rules[::-1])]
	conf.write_text(texts[0])
	seam = start_seam(lab, args=["-c", conf])
	stop = threading.Event()
	reloads = 0

	def reload():
		nonlocal reloads
		while not stop.is_set():
			reloads += 1
			conf.write_text(texts[reloads % 2])
			lab.run("box", [seam_binary(), "reload"])
	thread = threading.Thread(target=reload)
	thread.start()
	try:
		cases = {f"{name} {n}": {"host": SERVER[4], "port": 7002, "steps": [["sleep", n * 0.005], ["send", http_head(f"{name}.test").hex()],
			["count"], ["fin"]]} for n in range(200) for name in "ab"}
		reports = run_clients(lab, cases)
	finally:
		stop.set()
		thread.join()
	flows = {f["src_port"]: f for f in seam_json(lab, "flows")}
	odd = []
	for what, report in reports.items():
		flow, ok = flows.get(report["port"]), report["good"]
		if not flow:
			odd.append((what, report))
			continue
		# The first policy is of generation 1, and of every odd one.
		number = (1 if what[0] == "a" else 2) if flow["seam"]["generation"] % 2 else (2 if what[0] == "a" else 1)
		if ok != (what[0] == "a") or flow["seam"]["rule"] != number:
			odd.append((what, report, flow))
	tap.ok(not odd, f"{len(reports)} connections during {reloads} reloads, each decided by one policy", odd[:3])
	settled = reason_count(lab, "settled")
	tap.ok(settled > len(reports) * 0.9 and reloads > 5, f"{settled} of them in the kernel", reloads)
	tap.equal(seam.stop(), 0, "seam ends")


def without_daemon(tap, lab, seam):
	seam.stop(signal.SIGKILL)
	for url, codes, why in (("https://www.pass.test/1k", OK, "passed"), ("https://www.reset.test/1k", RESET, "reset"),
			("http://www.reset.test/1k", RESET, "reset"), ("https://nobody.test/1k", OK, "the default"),
			("https://look.test/1k", RESET, "not settled: the fail answer")):
		code = curl(lab, url)
		tap.ok(code in codes, f"without a daemon, {url}: {why}", code)


@scenario
def main(tap):
	for regime in REGIMES:
		with Lab(regime) as lab:
			Nginx(lab, {"1k": 1024})
			server = Counter(lab, {7001: None, 7002: None})
			seam = start_seam(lab, HEAD + RULES)
			for host in SERVER.values():	# neighbours get to know each other
				run_clients(lab, {"first": {"host": host, "port": 7002, "steps": [["fin"]]}})
			with lab.deltas() as d:
				real_clients(tap, lab, 4)
				real_clients(tap, lab, 6)
			for end, counters in d.items():
				tap.zero(counters, [c for c in NOTICED if c not in ("TcpOutRsts", "TcpEstabResets")] if end == "server" else
					["TcpExtPAWSEstab", "TcpInErrs"], f"{regime}: the {end} notices nothing")
			if regime == "on":
				other_clients(tap, lab)
				told(tap, lab)
				pieces(tap, lab, server)
				wakes_nobody(tap, lab)
				without_daemon(tap, lab, seam)
			else:
				tap.equal(seam.stop(), 0, "seam ends")
	with Lab() as lab:
		Counter(lab, {7002: None})
		reload_meanwhile(tap, lab)
