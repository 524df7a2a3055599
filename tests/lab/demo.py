#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What `make demo` shows: connections passed, split, inspected, merged and blocked, and the evidence."""
from lab import CLIENT4, SERVER4, Lab, scenario, seam_binary, seam_json, start_seam
from servers import Greeter, Nginx

POLICY = """
client = "cli";
server = "srv";
rules = (
	{ name = "inspect-web"; host = "inspect.test"; action = "inspect"; inspectors = ["http"]; },
	{ name = "block-web"; host = "block.test"; action = "block"; },
	{ name = "inspect-tls"; sni = "*.inspect.test"; action = "inspect"; inspectors = ["tls"]; },
	{ name = "pass-bank"; sni = "*.bank.test"; action = "pass"; }
);
"""
COUNTERS = ("TcpRetransSegs", "TcpExtTCPTimeouts", "TcpExtPAWSEstab", "TcpOutRsts", "TcpExtTCPChallengeACK")
NAME = "10m"


def fetch(tap, lab, web, url):
	digest, length, seconds = lab.curl(url, "--connect-to", f"::{SERVER4}:")
	tap.ok(digest == web.sha256[NAME], f"{url}: {length} bytes, sha256 equal, {seconds:.2f} s")


@scenario
def main(tap):
	with Lab() as lab:
		web = Nginx(lab)
		seam = start_seam(lab, POLICY)
		with lab.deltas() as d:
			fetch(tap, lab, web, f"https://www.bank.test/{NAME}")
			fetch(tap, lab, web, f"https://www.inspect.test/{NAME}")
			fetch(tap, lab, web, f"http://inspect.test/{NAME}")
			tap.ok(Greeter(lab).send("hello\n"), "a mail server, which speaks first, is not kept waiting")
		inspected = [f for f in seam_json(lab, "flows") if f["seam"]["rule"] == 1]
		tap.ok(inspected, "one of them, from its handshake to its end:")
		for flow in inspected[:1]:
			tap.diag(lab.run("box", [seam_binary(), "flow", str(flow["flow_id"])]).stdout)
		for end, counters in d.items():
			tap.zero(counters, COUNTERS, f"the {end}: no retransmission, timeout, reset or challenge ack")
		tap.equal({a["addr"] for a in web.accesses()}, {CLIENT4}, f"the server saw the client itself, {CLIENT4}")
		out = lab.run("client", ["curl", "-s", "-m", "5", "--connect-to", f"::{SERVER4}:", "http://block.test/1b"],
			check=False)
		tap.equal(out.returncode, 56, "http://block.test/: reset, as its rule says")
		inner = ["nsenter", "-t", str(seam_json(lab, "status")["daemon"]["pid"]), "-n", "ss", "-Htan"]
		tap.equal(lab.run("box", inner).stdout, "", "no socket is left in the inner namespace")
		tap.equal(seam.stop(), 0, "seam detached and ended")
