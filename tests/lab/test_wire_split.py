#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Splits and merges on a wire: the ends notice nothing, and what legs send has the ends' MAC addresses and tags."""
import struct

from byhand import ByHand, cycles, flow_to
from lab import NOTICED_AT_LEGS, REGIMES, SERVER, scenario, seam_json, start_seam
from peers import reasons
from promises import Watch
from servers import Nginx
from transfer import WAYS, Transfer, silent, starved
from wires import NAMES, POLICY, UNTAGGED, XDP, WireLab, macs

RULES = """
rules = (
	{ name = "inspect-web"; host = "inspect.test"; action = "inspect"; inspectors = ["http"]; },
	{ name = "inspect-tls"; sni = "inspect.test"; action = "inspect"; inspectors = ["tls"]; },
	{ name = "block-web"; host = "block.test"; action = "block"; },
	{ name = "by-hand"; server_port = "7000-7999"; action = "inspect"; inspectors = ["count"]; until = { bytes = 1; }; }
);
"""
# What was on its way to a leg that a merge made vanish is answered with a RST, which nobody gets (leg_stray).
AT_LEGS = tuple(c for c in NOTICED_AT_LEGS if c != "TcpOutRsts")
SIZES = {"1b": 1, "64k": 64 << 10, "2m": 2_000_000}
SIZE, RATE = 8_000_000, 60_000_000	# about as long as ten splits and merges take


def links(tap, lab, watch, what):
	"""Every frame of TCP that an end got or sent has both ends' MAC addresses, the tags, and the TTL that they send."""
	tags = b"".join(struct.pack("!HH", *t) for t in lab.tags)
	mac = macs(lab)
	wrong, seen = set(), 0
	for p in watch.at_client + watch.at_server:
		if not p.tcp:
			continue
		up = str(p.src) in ("10.99.1.2", "fd99:1::2")
		want = (mac["server"] + mac["client"] if up else mac["client"] + mac["server"]) + tags
		seen += 1
		if p.frame[:p.l3 - 2] != want or p.ttl != 64:
			wrong.add(f"{p.frame[:p.l3].hex()} ttl {p.ttl}")
	tap.ok(seen > 100 and not wrong, f"{what}: every frame has the ends' own addresses, tags and TTL", seen, *wrong)


def one_by_hand(tap, lab, port, family, way, name, last):
	"""Taken over and let go while it runs; what the ends and the legs counted.

	None: it was over before, or an end was starved().
	"""
	with lab.deltas("client", "server", "legs") as d:
		t = Transfer(lab, port, way, SIZE, family, rate=RATE, no_hash=True)
		n, refused = cycles(t.proc, ByHand(flow_to(lab, port)), 10, 0)
		t.arrived(tap, name)
	short = starved(tap, d, name)
	if not last and not refused and (n < 2 or short):
		return None
	tap.ok(n >= 2 and not refused, f"{name}: after {n} splits and merges", refused)
	return d


def by_hand(tap, lab, what):
	for i, way in enumerate(WAYS):
		for family in SERVER if lab.tags == UNTAGGED else (6 if way == "down" else 4,):
			name, port = f"{what}, IPv{family}, {way}", 7000 + 100 * family + 10 * i
			for again in range(3):
				d = one_by_hand(tap, lab, port + again, family, way, f"{name}, once more" if again else name, again == 2)
				if d:
					break
			silent(tap, d, name, AT_LEGS)


def web(tap, lab, what):
	"""Real clients and servers: held and let go, inspected and merged."""
	server = Nginx(lab, SIZES)
	with lab.deltas("client", "server", "legs") as d:
		for family, host in SERVER.items():
			address = f"[{host}]" if family == 6 else host
			for scheme in ("http", "https"):
				for name in ("inspect.test", "other.test"):
					for size, digest in server.sha256.items():
						got = lab.curl(f"{scheme}://{name}/{size}", "--connect-to", f"::{address}:")[0]
						tap.ok(got == digest, f"{what}, IPv{family}: {scheme}://{name}/{size} arrives whole")
	silent(tap, d, what, NOTICED_AT_LEGS)


def blocked(tap, lab, what):
	out = lab.run("client", ["curl", "-s", "-m", "5", "--connect-to", f"::{SERVER[4]}:", "http://block.test/1"], check=False)
	tap.equal(out.returncode, 56, f"{what}: what is blocked is reset")


def scenes():
	"""(tags, regime, XDP) to run all of it with."""
	for tags in NAMES:
		for regime in REGIMES if tags == UNTAGGED else ("on", "off"):
			yield tags, regime, ""
	yield UNTAGGED, "off", XDP


@scenario
def main(tap):
	for tags, regime, xdp in scenes():
		with WireLab(regime, tags=tags) as lab:
			what = f"{NAMES[tags]}, {regime}" + (", XDP" if xdp else "")
			if xdp:
				lab.ready_for_xdp()
			seam = start_seam(lab, POLICY + RULES + xdp)
			with Watch(lab, "", 128) as watch:
				web(tap, lab, what)
				by_hand(tap, lab, what)
			links(tap, lab, watch, what)
			blocked(tap, lab, what)
			if tags == UNTAGGED and regime == "off" and not xdp:	# whose packets are looked at one by one
				watch.kept(tap, what)
			count = reasons(lab)
			tap.ok(count.get("legs_ready", 0) >= 20 and count.get("rule", 0) >= 12, f"{what}: split, and held and let go", count)
			by_xdp = count.get("xdp", 0)
			tap.ok(by_xdp > 1000 if xdp else not by_xdp, f"{what}: XDP forwarded {by_xdp} packets")
			tap.equal([count.get(r, 0) for r in ("asymmetric", "vlan", "mtu", "no_route")], [0] * 4, f"{what}: nothing went astray")
			tap.equal(seam_json(lab, "status")["daemon"]["conns"]["split"], 0, f"{what}: nothing is left split")
			tap.equal(seam.stop(), 0, f"{what}: seam ends")
