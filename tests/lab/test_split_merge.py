#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Real HTTP and TLS through the box: passed, inspected and merged, blocked, as the policy says."""

from lab import CLIENT4, CLIENT6, SERVER, SERVER4, Lab, scenario, seam_json, start_seam
from servers import Greeter, Nginx

POLICY = """
client = "cli";
server = "srv";
rules = (
	{ name = "inspect-web"; host = "inspect.test"; action = "inspect"; inspectors = ["http"]; },
	{ name = "block-web"; host = "block.test"; action = "block"; },
	{ name = "inspect-tls"; server_port = 443; sni = "*.inspect.test"; action = "inspect";
	  inspectors = ["tls"]; },
	{ name = "block-tls"; sni = "block.test"; action = "block"; }
);
"""

# What must be zero at both ends and at the legs.
COUNTERS = ("TcpRetransSegs", "TcpExtTCPTimeouts", "TcpExtPAWSEstab", "TcpOutRsts", "TcpExtTCPChallengeACK")


def fetch(tap, lab, web, what, *args):
	for family, host in SERVER.items():
		address = f"[{host}]" if family == 6 else host
		for scheme in ("http", "https"):
			for name in web.sha256:
				extra = ["--connect-to", f"::{address}:"] if args else []
				server = args[0] if args else address
				digest, _length, seconds = lab.curl(f"{scheme}://{server}/{name}", *extra)
				tap.ok(digest == web.sha256[name], f"{what}: IPv{family} {scheme} {name} arrives whole, {seconds:.2f} s")


def blocked(tap, lab):
	for scheme in ("http", "https"):
		out = lab.run("client", ["curl", "-sk", "-m", "5", "--connect-to", f"::{SERVER4}:", f"{scheme}://block.test/1"],
			check=False)
		tap.equal(out.returncode, 56 if scheme == "http" else 35, f"{scheme}://block.test is reset")


@scenario
def main(tap):
	with Lab() as lab:
		web = Nginx(lab)
		seam = start_seam(lab, POLICY)
		with lab.deltas() as d:
			fetch(tap, lab, web, "passed")
			fetch(tap, lab, web, "inspected", "inspect.test")
			fetch(tap, lab, web, "inspected tls", "www.inspect.test")
			body = "seam\n" * 200
			tap.ok(Greeter(lab).send(body), "a server that speaks first is not kept waiting")
		for end, counters in d.items():
			tap.zero(counters, COUNTERS, f"the {end} noticed nothing")
		seen = {a["addr"] for a in web.accesses()}
		tap.equal(seen, {CLIENT4, CLIENT6}, "the server saw the client's addresses")
		stats = seam_json(lab, "stats")
		count = {r["reason"]: r["count"] for r in stats["reasons"]}
		# 4 sizes over 2 families: http with the host, https with the SNI.
		tap.ok(count.get("legs_ready", 0) >= 16, "the inspected connections were split", stats["reasons"])
		tap.ok(count.get("quiet", 0) > 0, "and the ones that came to rest were merged", stats["reasons"])
		blocked(tap, lab)
		tap.equal(seam.stop(), 0, "seam ends with 0 on SIGTERM")
		text = lab.run("box", ["tc", "filter", "show", "dev", "cli", "ingress"]).stdout
		tap.equal(text, "", "and leaves no filter behind")
