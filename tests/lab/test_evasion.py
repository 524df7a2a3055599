#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A verdict is on the bytes that the server takes: segments that it discards, or that others come
to stand in for, lead to none on bytes it never gets.
"""
from lab import Lab, scenario, seam_json, start_seam, wait_for
from scripted import Counter
from test_hostile import neighbours, peer

POLICY = """
client = "cli";
server = "srv";
decide = "%s";
rules = ({ name = "block"; server_port = 7003; host = "blocked.com"; action = "block"; fail = "block"; });
"""
PORT = 7003
TRICKS = {41000: "nothing but the request", 41001: "a wrong checksum", 41002: "no ACK flag", 41003: "a RST that is not exact",
	41004: "a TSval of long ago", 41005: "the end of the request first, and another in its place",
	41006: "a priority tag", 41007: "a priority tag, IPv6", 41008: "five extension headers", 41009: "fragments with an extension header",
	41010: "an option for which the server discards it"}
# Nobody can know of every segment whether the server will have it; of what a leg has received it is known.
ONLY_SPLIT = 41010


def evade(tap, decider):
	with Lab() as lab:
		neighbours(lab)
		server = Counter(lab, {PORT: None})
		seam = start_seam(lab, POLICY % decider)
		peer(lab, "evade", PORT)
		for port, trick in TRICKS.items():
			if port == ONLY_SPLIT and decider != "split":
				continue

			def state():
				return next((f["flow"]["state"] for f in seam_json(lab, "flows") if f["src_port"] == port), None)
			wait_for(lambda: state() == "blocked", f"{trick}: blocked", timeout=10)
			seen = server.seen(port)
			tap.ok(seen and seen["bytes"] == 0, f"the {decider} decides; {trick}: the server gets nothing of the request", seen)
		tap.equal(seam.stop(), 0, "seam ends with 0 on SIGTERM")


@scenario
def main(tap):
	for decider in ("kernel", "daemon", "split"):
		evade(tap, decider)
