#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An end resets while a flow whose bytes are edited is being split: the other one hears of it.

Before the boundary is crossed nothing is edited, and this one never will be.
"""
import socket
import struct

from byhand import flow_to
from lab import Lab, LabError, Link, scenario, seam_json, start_seam, wait_for
from peers import Pair, read_all, saying

POLICY = """
client = "cli";
server = "srv";
rules = ( {
	name = "edit";
	action = "inspect";
	inspectors = ["replace"];
	replace = ( { find = "<<MARK>>"; with = "[[instead]]"; } );
	after = { bytes = "30k"; };
	until = { bytes = "1G"; };
} );
"""


def reset(tap, lab, family):
	with Pair(lab, family) as p:
		p.prime()
		said, port = saying(p.server, bytes(400_000)), p.server.getsockname()[1]
		flow = flow_to(lab, port, ("splitting",))
		p.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
		p.client.close()
		why = said.exception(20)	# all of it may have fitted into its buffer
		end = "ECONNRESET" if isinstance(why, ConnectionResetError) else read_all(p.server, timeout=10)[1]
		tap.equal(end, "ECONNRESET", f"IPv{family}: the server hears of it")

		def steps():
			return [t["to"] for t in seam_json(lab, "flow", str(flow["flow_id"]))["history"]]
		try:
			wait_for(lambda: steps()[-1] in ("closing", "none"), "the flow to be over", 20)
		except LabError as e:
			raise LabError(f"{e}: {steps()}") from None
		tap.ok("split" not in steps(), f"IPv{family}: it was still being split", steps())


@scenario
def main(tap):
	with Lab(client_link=Link(delay=300)) as lab:
		start_seam(lab, POLICY)
		for family in (4, 6):
			reset(tap, lab, family)
