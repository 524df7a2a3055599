#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What is held because it may be the beginning of bytes to replace gets out, whatever ends the wait."""
import socket

from byhand import ByHand, flow_to
from lab import Lab, scenario, start_seam
from peers import Pair, read_all

POLICY = """
client = "cli";
server = "srv";
rules = ( {
	name = "edit";
	action = "inspect";
	inspectors = ["replace"];
	replace = ( { find = "<<MARK>>"; with = "[[instead]]"; } );
	until = { %s };
} );
"""


def held(tap, lab, what, reverse, end):
	"""The peer is there to the last byte before those that may become a mark; `end` ends the wait."""
	with Pair(lab, 4, reverse) as p:
		p.prime()
		p.a.sendall(b"<<MARK>> and <<MA")
		seen = read_all(p.b, len("[[instead]] and "), timeout=5)
		tap.equal(seen, (b"[[instead]] and ", "more"), f"{what}: the mark is replaced, and what comes before the next")
		tap.equal(read_all(p.b, 1, timeout=0.3), (b"", "timeout"), f"{what}: what may be the next is held")
		expected = end(p)
		seen = read_all(p.b, len(expected), timeout=5)
		tap.equal(seen, (expected, "more"), f"{what}: it gets out")
		p.a.sendall(b"RK>>, unchanged")
		seen = read_all(p.b, 15, timeout=5)
		tap.equal(seen, (b"RK>>, unchanged", "more"), f"{what}: and what comes behind it")


def waits(_pair):
	"""Until the rule's time has passed."""
	return b"<<MA"


@scenario
def main(tap):
	with Lab() as lab:
		start_seam(lab, POLICY % 'bytes = "1G"; time = "1500ms";')
		held(tap, lab, "time, up", False, waits)
		held(tap, lab, "time, down", True, waits)
	with Lab() as lab:
		start_seam(lab, POLICY % 'bytes = "1G";')

		def merges(pair):
			port = pair.server.getsockname()[1]
			tap.equal(ByHand(flow_to(lab, port, ("split",))).merge(10), None, "merged by hand")
			return b"<<MA"

		def urgent(pair):
			pair.a.send(b"!", socket.MSG_OOB)
			pair.a.sendall(b".")
			return b"<<MA."

		held(tap, lab, "by hand", False, merges)
		held(tap, lab, "urgent, up", False, urgent)
		held(tap, lab, "urgent, down", True, urgent)
