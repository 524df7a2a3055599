#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What inspectors saw is in the flow's record, while it is inspected and after it was merged."""
import subprocess

from hello import client_hello, fixture
from lab import ROOT, SERVER, SERVER4, Lab, scenario, seam_json, start_seam, wait_for
from scripted import Counter, run_clients
from servers import Nginx

POLICY = """
client = "cli";
server = "srv";
decide = "daemon";
rules = (
	{ name = "web"; server_port = 80; action = "inspect"; inspectors = "http"; },
	{ name = "tls"; server_port = [ 443, 7000 ]; action = "inspect"; inspectors = "tls"; },
	{ name = "named"; server_port = 7001; sni = "example.com"; action = "pass"; },
	{ name = "words"; server_port = 7002; action = "inspect"; inspectors = "pattern";
	  patterns = ( { name = "seam"; regex = "seam[0-9]"; action = "let go"; } ); until = { bytes = "1M"; }; },
	{ name = "all"; server_port = 7003; action = "inspect"; inspectors = "count"; until = { bytes = 1000; }; }
);
"""


def record_of(lab, port):
	"""Record of the flow to a server port, which the test has made one of, and its history."""
	flow = wait_for(lambda: next((f for f in seam_json(lab, "flows") if f["dest_port"] == port), None), "the flow")
	flow = seam_json(lab, "flow", str(flow["flow_id"]))
	return flow.get("record", {}), [t["to"] for t in flow["history"]]


def reference(lab, capture):
	"""What the reference makes of the ClientHello in a capture: version, ECH, SNI, ALPN, JA4."""
	packets = [p for p in capture.stop() if p.tcp and p.dport == 443 and p.payload_len]
	hello = lab.tmp / "hello.bin"
	hello.write_bytes(b"".join(p.payload for p in packets))
	out = subprocess.run(["/usr/bin/python3", ROOT / "tests/unit/ja4_reference.py", hello], check=True, capture_output=True, text=True)
	return out.stdout.split()[1:]


def real_tls(tap, lab, what, argv, sni, alpn):
	capture = lab.capture("client", "eth0", "tcp dst port 443 and tcp[13] & 8 != 0")
	lab.run("client", argv, input="", check=False)
	_version, _ech, _sni, _alpn, ja4 = reference(lab, capture)
	flows = [f for f in seam_json(lab, "flows") if f["dest_port"] == 443]
	flow = seam_json(lab, "flow", str(max(flows, key=lambda f: f["flow_id"])["flow_id"]))
	tls = flow.get("record", {}).get("tls", {})
	tap.equal(tls, {"sni": sni, "version": "TLS 1.3", "ja4": ja4, "client_alpns": alpn, "ech": False}, f"{what}: its ClientHello")
	tap.ok(flow["record"].get("inspected", {}).get("bytes_toserver", 0) > 100, f"{what}: bytes that were inspected", flow["record"])


@scenario
def main(tap):
	with Lab() as lab:
		Nginx(lab, {"page": 5000})
		Counter(lab, {7000: None, 7001: None, 7002: None, 7003: None})
		start_seam(lab, POLICY)
		lab.curl("http://www.web.test/page", "--connect-to", f"::{SERVER4}:")
		record, history = record_of(lab, 80)
		http = record.get("http", {})
		tap.equal({k: http.get(k) for k in ("http_method", "hostname", "url", "status")},
			{"http_method": "GET", "hostname": "www.web.test", "url": "/page", "status": 200}, "curl: its request and the answer")

		real_tls(tap, lab, "curl", ["curl", "-sko", "/dev/null", "--connect-to", f"::{SERVER4}:", "https://www.tls.test/page"],
			"www.tls.test", ["h2", "http/1.1"])
		real_tls(tap, lab, "openssl", ["openssl", "s_client", "-connect", f"{SERVER4}:443", "-servername", "WWW.Other.Test",
			"-alpn", "spdy,http/1.1"], "www.other.test", ["spdy", "http/1.1"])

		rest = [["count"], ["sleep", 0.2], ["send", b"behind".hex()], ["count"], ["sleep", 0.1], ["fin"]]
		hello = fixture("grease_ech")
		first = b"xy" * 10 + b"sea"
		cases = {
			"ech": (7000, [["send", hello.hex()]]), "held": (7001, [["send", client_hello().hex()]]),
			"pattern": (7002, [["send", first.hex()], ["count"], ["send", b"m7 and so on".hex()]]),
			"count": (7003, [["send", "00" * 600], ["count"], ["send", "00" * 500]]),
		}
		run_clients(lab, {k: {"host": SERVER[6], "port": port, "steps": steps + rest} for k, (port, steps) in cases.items()})
		record, history = record_of(lab, 7000)
		tap.ok("merged" in history and record.get("tls", {}).get("ech") is True and
			record["tls"]["ja4"] == "t13d1517h2_8daaf6152771_b1ff8ab2d16f", "ECH is present, after the merge", record, history)
		record, history = record_of(lab, 7001)
		tap.ok("splitting" not in history and record.get("tls", {}).get("sni") == "example.com",
			"what decided a flow that was only held", record, history)
		record, history = record_of(lab, 7002)
		alert = record.get("alert", {})
		tap.ok("merged" in history and (alert.get("signature"), alert.get("offset"), alert.get("direction"), alert.get("matches"))
			== ("seam", len(first) + 2, "to_server", 1), "a match across two segments, after the merge", record, history)
		record, history = record_of(lab, 7003)
		tap.ok("merged" in history and record.get("inspected", {}).get("bytes_toserver") == 1100,
			"bytes counted, after the merge", record, history)
