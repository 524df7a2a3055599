#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A connection kept open over many requests costs nothing once it is merged between two of them."""
import time

import pcap
from daemon import Daemon
from lab import CLIENT4, NOTICED, SERVER, SERVER4, Lab, scenario, seam_binary, seam_json, start_seam, wait_for
from servers import Nginx
from webclient import WebClient

POLICY = """
client = "cli";
server = "srv";
rules = (
	{ name = "web"; host = "inspect.test"; action = "inspect"; inspectors = ["http"]; },
	{ name = "tls"; sni = "www.inspect.test"; action = "inspect"; inspectors = ["tls"]; }
);
"""
SIZES = {"64k": 64 << 10, "200m": 200_000_000}


def nothing_left(tap, daemon, what, descriptors):
	tap.equal((daemon.table("legs"), daemon.sockets(), daemon.descriptors()), ([], "", descriptors),
		f"{what}: no leg, socket or descriptor is left")


def same_packets(tap, lab, client, what):
	"""A request that is captured on both sides of the box."""
	before, after = lab.capture("client", "eth0"), lab.capture("server", "eth0")
	client.get("/64k")
	client.put("/up/small", 100_000)
	up, down = before.stop(), after.stop()
	tap.equal(pcap.same_above_link(up, down, ignore_tcp_checksum=True), [],
		f"{what}: the same {len(up)} packets on both sides of the box")


def history(tap, lab, client, what):
	"""What `seam flow` says."""
	flow, = [f for f in seam_json(lab, "flows", "-a", CLIENT4) if f["src_port"] == client.port]
	shown = seam_json(lab, "flow", str(flow["flow_id"]))
	steps = [(t["from"], t["to"], t["reason"]) for t in shown["history"]]
	# It was quiet, perhaps at once, or was merged while the first answer was on its way: "crossed".
	tap.ok(shown["state"] == "merged" and steps[-1] in
		[("split", "merged", "quiet"), ("merging", "merged", "quiet"), ("merging", "merged", "crossed")],
		f"{what}: `seam flow -j` shows the merge", steps)
	text = lab.run("box", [seam_binary(), "flow", str(flow["flow_id"])]).stdout
	tap.ok(f"{steps[-1][0]} -> merged: {shown['reason_text']} ({shown['reason']})" in text, f"{what}: and so does `seam flow`", text)


def bulk(tap, lab, web, daemon, client, what):
	"""Hundreds of megabytes both ways, which the daemon must not notice."""
	before, cpu, began = daemon.stats(), daemon.cpu(), time.monotonic()
	for _ in range(2):
		digest, _length = client.get("/200m")
		tap.equal(digest, web.sha256["200m"], f"{what}: 200 MB down arrive whole")
	tap.equal(client.put("/up/bulk", 200_000_000), web.uploaded("bulk"), f"{what}: 200 MB up arrive whole")
	took, cpu = time.monotonic() - began, daemon.cpu() - cpu
	tap.equal(daemon.stats(), before, f"{what}: the daemon moved no byte, held no packet")
	# Its heartbeat goes on: 20 turns a second. Moving all that takes it half a second and more.
	tap.ok(cpu <= 0.05 + 0.02 * took, f"{what}: and used no time on it: {cpu:.2f} s of {took:.1f} s")


def keep_open(tap, lab, web, daemon, family, tls):
	what = f"IPv{family} {'https' if tls else 'http'}"
	descriptors, merges = daemon.descriptors(), daemon.stats()["merges"]
	with WebClient(lab, SERVER[family], "www.inspect.test" if tls else "inspect.test", tls) as client:
		tap.equal(client.get("/64k"), (web.sha256["64k"], SIZES["64k"]), f"{what}: the first answer arrives whole")
		wait_for(lambda: daemon.stats()["merges"] == merges + 1, "the flow to be merged")
		nothing_left(tap, daemon, what, descriptors)
		same_packets(tap, lab, client, what)
		if family == 4:
			history(tap, lab, client, what)
			bulk(tap, lab, web, daemon, client, what)
		tap.equal(client.get("/64k"), (web.sha256["64k"], SIZES["64k"]), f"{what}: and the last one as well")
	nothing_left(tap, daemon, f"{what}, closed", descriptors)


@scenario
def main(tap):
	with Lab() as lab:
		web = Nginx(lab, SIZES)
		seam = start_seam(lab, POLICY)
		daemon = Daemon(lab)
		with lab.deltas() as d:
			for tls in (False, True):
				for family in (4, 6):
					keep_open(tap, lab, web, daemon, family, tls)
		for end, counters in d.items():
			tap.zero(counters, NOTICED, f"the {end} noticed nothing")
		tap.equal({a["addr"] for a in web.accesses() if a["server"] == SERVER4}, {CLIENT4}, "the server saw the client")
		tap.equal(seam.stop(), 0, "seam ends")
