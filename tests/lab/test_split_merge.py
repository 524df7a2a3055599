#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Real HTTP and TLS through the box: passed, inspected and merged, blocked, as the policy says."""

import pcap
from lab import CLIENT4, CLIENT6, NOTICED, NOTICED_AT_LEGS, REGIMES, SERVER, SERVER4, Lab, reasons, scenario, start_seam
from promises import Watch
from servers import SIZES, Greeter, Nginx

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

# What is not "on" moves single packets.
SMALL = {"1b": 1, "64k": 64 << 10, "2m": 2_000_000}
# The kernel counts a leg that disappears in a merge as a reset; nothing of it is sent.
UNNOTICED = {"client": NOTICED, "server": NOTICED, "legs": NOTICED_AT_LEGS}


def fetch(tap, lab, web, what, hosts=None):
	"""Every file, by the host that each scheme asks for, or by the server's addresses."""
	for family, host in SERVER.items():
		address = f"[{host}]" if family == 6 else host
		extra = ["--connect-to", f"::{address}:"] if hosts else []
		for scheme, server in (hosts or {"http": address, "https": address}).items():
			for name in web.sha256:
				digest, _length, seconds = lab.curl(f"{scheme}://{server}/{name}", *extra)
				tap.ok(digest == web.sha256[name],
					f"{lab.regime}: {what}: IPv{family} {scheme} {name} arrives whole, {seconds:.2f} s")


def blocked(tap, lab):
	for scheme in ("http", "https"):
		out = lab.run("client", ["curl", "-sk", "-m", "5", "--connect-to", f"::{SERVER4}:", f"{scheme}://block.test/1"],
			check=False)
		tap.equal(out.returncode, 56 if scheme == "http" else 35, f"{lab.regime}: {scheme}://block.test is reset")


def watched(tap, lab, web):
	"""Every packet of inspected transfers, by what was promised; and its checksums, where there are some."""
	whole = lab.regime == "off"
	with Watch(lab, "port 80 or port 443", 262144 if whole else 128) as watch:
		fetch(tap, lab, web, "inspected", {"http": "inspect.test", "https": "www.inspect.test"})
	watch.kept(tap, f"{lab.regime}: inspected")
	if whole:
		tap.equal([str(p) for p in pcap.checksum_errors(watch.at_client + watch.at_server)], [],
			f"{lab.regime}: checksums are right")


def web_of(tap, lab):
	web = Nginx(lab, SIZES if lab.regime == "on" else SMALL)
	with lab.deltas("client", "server", "legs") as d:
		fetch(tap, lab, web, "passed")
		watched(tap, lab, web)
		body = "seam\n" * 200
		tap.ok(Greeter(lab).send(body), f"{lab.regime}: a server that speaks first is not kept waiting")
	for end, counters in d.items():
		tap.zero(counters, UNNOTICED[end], f"{lab.regime}: {end}: noticed nothing")
	seen = {a["addr"] for a in web.accesses()}
	tap.equal(seen, {CLIENT4, CLIENT6}, f"{lab.regime}: the server saw the client's addresses")
	count = reasons(lab)
	# Each size over both families: http with the host, https with the SNI.
	tap.ok(count.get("legs_ready", 0) >= 4 * len(web.sha256), f"{lab.regime}: the inspected connections were split",
		count)
	tap.ok(count.get("quiet", 0) + count.get("crossed", 0) > 0, f"{lab.regime}: and the ones that came to rest were merged", count)


@scenario
def main(tap):
	for regime in REGIMES:
		with Lab(regime) as lab:
			seam = start_seam(lab, POLICY)
			web_of(tap, lab)
			blocked(tap, lab)
			tap.equal(seam.stop(), 0, f"{regime}: seam ends with 0 on SIGTERM")
			text = lab.run("box", ["tc", "filter", "show", "dev", "cli", "ingress"]).stdout
			tap.equal(text, "", f"{regime}: and leaves no filter behind")
