#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""seam-json(5) names every key and every flag of what the verbs write."""
import contextlib
import json
import re
import socket
import subprocess
import time

from byhand import SOCKET, ByHand, flow_to
from lab import ROOT, SERVER4, Lab, scenario, seam_binary, seam_json, start_seam, wait_for
from peers import listen, open_socket
from tracing import Trace

POLICY = """
client = "cli";
server = "srv";
rules = (
	{ name = "web"; server_port = "80-81"; action = "inspect"; inspectors = [ "http", "count", "pattern" ];
	  patterns = ( { name = "word"; regex = "seam"; action = "let go"; } ); until = { bytes = "1M"; }; },
	{ name = "tls"; server_port = 443; sni = "a.test"; action = "pass"; },
	{ name = "later"; server_port = 7001; action = "inspect"; inspectors = "count";
	  after = { bytes = "1M"; time = "1h"; request = 9; again = true; }; until = { bytes = 1; }; },
	{ name = "edits"; server_port = 7002; action = "inspect"; inspectors = [ "replace", "proxy" ]; proxy = "v2";
	  replace = ( { find = "a"; with = "bc"; direction = "up"; } ); },
	{ name = "heads"; server_port = 7003; action = "inspect"; inspectors = "headers";
	  request = { set = ( { name = "X-A"; value = "b"; } ); }; until = { message = 2; }; },
	{ name = "all"; action = "inspect"; inspectors = "count"; until = { bytes = 1; }; }
);
"""
PAGE = ROOT / "man/seam-json.5"
# Objects whose keys are states.
BY_STATE = {"states", "flows"}


def documented():
	"""The words of the page that may be keys."""
	text = re.sub(r"\\f[A-Z]", " ", PAGE.read_text()).replace("\\-", "-")
	return set(re.findall(r"[A-Za-z_0-9]+", text))


def keys(value, under=""):
	"""(key, the key it is under) of every object in it."""
	if isinstance(value, list):
		for one in value:
			yield from keys(one, under)
	elif isinstance(value, dict):
		for key, one in value.items():
			yield key, under
			yield from keys(one, key)


def asked(**request):
	"""The daemon's answer on its control socket."""
	with socket.socket(socket.AF_UNIX) as s:
		s.connect(SOCKET)
		s.sendall(json.dumps(request).encode() + b"\n")
		return json.loads(s.makefile().readline())


@contextlib.contextmanager
def talking(lab, port, first):
	"""A connection whose client has sent its first bytes; (client's socket, server's)."""
	with listen(lab, port=port) as listener, open_socket(lab, "client") as client:
		client.connect((SERVER4, port))
		server = listener.accept()[0]
		with server:
			client.sendall(first)
			yield client, server


def of_flows(lab, stack, out):
	"""What the verbs write about flows in many states."""
	head = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	for port, first in ((80, head + b"seam"), (81, b"\0\1\2\3"), (7001, b"x"), (7002, b"aaa"), (7003, head)):
		stack.enter_context(talking(lab, port, first))
	client, server = stack.enter_context(talking(lab, 7000, b"x"))
	hand = ByHand(flow_to(lab, 7000))
	number = str(hand.id)
	trace = Trace(lab, number, "--time", "30s")
	out["split"] = seam_json(lab, "split", number)
	wait_for(lambda: seam_json(lab, "flow", number)["state"] == "split", "the split")
	out["relay"] = seam_json(lab, "relay", number, "kernel")
	ids = [f["flow_id"] for f in seam_json(lab, "flows")]
	out["flow"] = [seam_json(lab, "flow", str(i)) for i in ids]
	out["record"] = [asked(cmd="record", id=i) for i in ids]
	out["merge"] = seam_json(lab, "merge", number)
	client.sendall(b"y")
	wait_for(lambda: seam_json(lab, "flow", number)["state"] == "merged", "the merge")
	out["merged"] = seam_json(lab, "flow", number)
	for verb in ("status", "stats", "flows", "features", "reload"):
		out[verb] = seam_json(lab, verb)
	trace.stop()
	out["trace"] = [trace.flow, *trace.packets, *trace.moves]


def of_policies(lab):
	good, bad = lab.tmp / "good.conf", lab.tmp / "bad.conf"
	good.write_text(POLICY)
	bad.write_text("rules = 5;")
	for what in ("port=80 proto=other", "port=7001", "port=7002", "port=7003", "port=443 sni=a.test alpn=h2"):
		yield seam_json(lab, "check", "-e", f"client=10.0.0.1 server=10.0.0.2 client_port=9 {what}", good)
	yield json.loads(lab.run("box", [seam_binary(), "check", "-j", bad], check=False).stdout)


@scenario
def main(tap):
	known, out = documented(), {}
	with Lab() as lab:
		start_seam(lab, POLICY)
		monitor = lab.popen("box", [seam_binary(), "monitor", "-j"], stdout=subprocess.PIPE, text=True)
		wait_for(lambda: seam_json(lab, "status")["daemon"]["monitors"], "the monitor")
		with contextlib.ExitStack() as stack:
			of_flows(lab, stack, out)
		time.sleep(0.3)
		out["monitor"] = [json.loads(line) for line in lab.stop(monitor)[1].splitlines()]
		out["check"] = list(of_policies(lab))
	for verb, value in out.items():
		missing = sorted({key for key, under in keys(value) if key not in known and under not in BY_STATE})
		tap.ok(value and not missing, f"{verb}: seam-json(5) has its keys", missing, str(value)[:500])
	flags = {word for flow in out["flow"] for at in (flow, flow.get("client", {}), flow.get("server", {}))
		for word in at.get("flags", [])}
	tap.ok({"bypass", "armed", "edited", "legs", "sockmap", "data"} <= flags <= known, "and their flags", sorted(flags))
	tap.ok(any(flow.get("record", {}).get("http", {}).get("malformed") for flow in out["flow"]),
		"what was not HTTP/1 from its first byte on is malformed")
	tap.ok(not {"legs", "sockmap"} & set(out["merged"]["flags"]), "a merged flow has neither legs nor a relay", out["merged"])
	tap.ok(out["merged"].get("record", {}).get("inspected"), "and the record of the split before the one by hand", out["merged"])
