#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A pattern that blocks is told by `seam monitor` (lost once: the flow's record was gone before the event was read)."""
import json
import subprocess

import sockets
from lab import SERVER, Lab, scenario, seam_binary, seam_json, start_seam, wait_for

POLICY = """
client = "cli";
server = "srv";
rules = ( { name = "words"; server_port = 7000; action = "inspect"; inspectors = ["pattern"];
	patterns = ( { name = "virus"; regex = "VIRUS"; action = "block"; } ); } );
"""


def event(monitor):
	"""The next of a flow that is blocked."""
	while line := monitor.stdout.readline():
		seen = json.loads(line)
		if seen["seam"]["to"] == "blocked":
			return seen
	return {}


def block(tap, lab, listener, monitor, family, up):
	what = f"IPv{family}, {'client' if up else 'server'} sends it"
	client, server = sockets.connect(lab, SERVER[family], 7000), sockets.accept(listener)
	tap.ok(sockets.exchange(client, server, b"harmless"), f"{what}: what comes before passes")
	sender, other = (client, server) if up else (server, client)
	sender.sendall(b"a VIR")
	sockets.read(other, 5)
	tap.equal((sockets.outcome(sender, b"US and more")[1], sockets.outcome(other)), ("ECONNRESET", (b"", "ECONNRESET")),
		f"{what}: both ends get a RST, and nothing more")
	seen = event(monitor)
	alert = seen.get("alert", {})
	tap.equal({k: alert.get(k) for k in ("signature", "action", "direction", "offset", "matches")},
		{"signature": "virus", "action": "blocked", "direction": "to_server" if up else "to_client",
			"offset": len("harmless" "a VIRUS"), "matches": 1}, f"{what}: the alert is told")
	tap.equal((seen["src_port"], seen["seam"]["rule_name"], seen["flow"]["reason"]),
		(client.getsockname()[1], "words", "inspector"), f"{what}: of that flow, with the rule and the reason")
	client.close()
	server.close()


@scenario
def main(tap):
	with Lab() as lab:
		listener = sockets.listen(lab, 7000)
		seam = start_seam(lab, POLICY)
		monitor = lab.popen("box", [seam_binary(), "monitor", "-j"], stdout=subprocess.PIPE, text=True)
		wait_for(lambda: seam_json(lab, "status")["daemon"]["monitors"], "the monitor to be there")
		for family in (4, 6):
			for up in (True, False):
				block(tap, lab, listener, monitor, family, up)
		lab.stop(monitor)
		tap.equal(seam.stop(), 0, "seam ends")
