#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A flow is gone and its event did not reach the daemon: what the daemon held for it goes, too."""
import sockets
from daemon import Daemon
from lab import SERVER, Lab, scenario, start_seam, wait_for

POLICY = """
client = "cli";
server = "srv";
rules = ( { name = "all"; server_port = 7000; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; } );
"""
FLOWS = "/sys/fs/bpf/seam/default/flows"


@scenario
def main(tap):
	with Lab() as lab:
		listener = sockets.listen(lab, 7000)
		seam = start_seam(lab, POLICY)
		daemon = Daemon(lab)
		before = daemon.descriptors()
		client = sockets.connect(lab, SERVER[4], 7000)
		server = sockets.accept(listener)
		tap.ok(sockets.exchange(client, server, b"seam" * 1000), "a connection works")
		tap.equal((daemon.conns()["split"], daemon.descriptors()), (1, before + 2), "split, with two legs")

		# No program of Seam takes it away without an event: it is as if that had been lost.
		entry, = daemon.table("flows")
		lab.run("box", ["bpftool", "map", "delete", "pinned", FLOWS, "key", *entry["key"]])
		wait_for(lambda: not daemon.conns()["split"], "the daemon to notice")
		tap.equal(daemon.descriptors(), before, "the legs are gone")

		again = sockets.connect(lab, SERVER[4], 7000)
		tap.ok(sockets.exchange(again, sockets.accept(listener), b"seam" * 1000), "the next connection works")
		tap.equal(daemon.conns()["split"], 1, "split")
		seam.stop()
