#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A policy that takes long to read: what is split goes on meanwhile, and requests are answered in order."""
import json
import os
import signal
import socket
import time

import sockets
from lab import SERVER, Lab, scenario, seam_json, start_seam

POLICY = """
client = "cli";
server = "srv";
rules = ( { name = "old"; server_port = 7000; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; } );
"""
PATIENCE = 1  # seconds without the daemon until the kernel side gives up on it
SOCKET = "/run/seam/default.sock"


def ask(*requests):
	"""A connection that has asked all of them at once."""
	s = socket.socket(socket.AF_UNIX)
	s.settimeout(60)
	s.connect(SOCKET)
	s.sendall(b"".join(json.dumps({"cmd": r}).encode() + b"\n" for r in requests))
	return s


def answers(s, n):
	with s, s.makefile() as lines:
		return [json.loads(lines.readline()) for _ in range(n)]


def answered(s):
	s.setblocking(False)
	try:
		return bool(s.recv(1, socket.MSG_PEEK))
	except BlockingIOError:
		return False
	finally:
		s.settimeout(60)


@scenario
def main(tap):
	with Lab() as lab:
		listener = sockets.listen(lab, 7000)
		conf = lab.tmp / "reload.conf"
		conf.write_text(POLICY)
		seam = start_seam(lab, args=["-c", conf])
		pair = sockets.connect(lab, SERVER[4], 7000), sockets.accept(listener)
		tap.ok(sockets.exchange(*pair, b"seam" * 1000), "a connection works")
		flow, = seam_json(lab, "flows", "--state=split")
		counted = lambda: {r.get("name"): r["flows"] for r in seam_json(lab, "stats")["rules"]}
		tap.equal(counted(), {"default": 0, "old": 1}, "and is counted for its rule")
		same = ask("reload")
		answers(same, 1)
		tap.equal(counted(), {"default": 0, "old": 1}, "also after the same policy was read again")

		# Opening the other end of a pipe tells that the reading has begun; closing it ends it.
		conf.unlink()
		os.mkfifo(conf)
		first = ask("reload", "status")
		with conf.open("w") as policy:
			start = time.monotonic()
			going = True
			while going and time.monotonic() < start + 2 * PATIENCE:
				going = sockets.exchange(*pair, b"seam" * 1000)
			tap.ok(going, "bytes are relayed while it is read")
			before, = answers(ask("status"), 1)
			tap.equal(before["rules"][0]["name"], "old", "and the old policy is in force")
			tap.ok(not answered(first), "there is no answer yet")
			others = [ask("reload"), ask("reload", "status")]
			ask("reload").close()
			# These have been heard by when it answers this.
			answers(ask("status"), 1)
			policy.write(POLICY.replace('"old"', '"new"'))
		reloaded, status = answers(first, 2)
		tap.ok(reloaded["ok"] and reloaded["generation"] == before["generation"] + 1, "it is reloaded", reloaded)
		tap.equal((status["generation"], status["rules"][0]["name"]), (reloaded["generation"], "new"),
			"what was asked behind it is answered behind it")
		tap.equal(counted(), {"default": 0, "new": 0}, "and what was counted for the old rule is not told of the new one")

		with conf.open("w") as policy:
			policy.write(POLICY.replace('"old"', '"newest"'))
		late = [answers(others[0], 1)[0], *answers(others[1], 2)]
		tap.equal([r["generation"] for r in late], [reloaded["generation"] + 1] * 3,
			"those who asked while it was read have it read again, once")
		tap.equal(late[2]["rules"][0]["name"], "newest", "which is in force")
		now, = seam_json(lab, "flows", "--state=split")
		tap.ok(now["flow_id"] == flow["flow_id"] and sockets.exchange(*pair), "the connection is split all along", now)

		other = ask("reload")
		with conf.open("w") as policy:
			policy.write('instance = "other"; max_flows = 1000;' + POLICY)
		reply, = answers(other, 1)
		tap.equal(reply.get("restart"), ["instance", "max_flows"], "what only a restart changes is told")

		last = ask("reload")
		with conf.open("w") as policy:
			seam.proc.send_signal(signal.SIGTERM)
			for s in pair:
				s.close()
			policy.write(POLICY)
		tap.equal(seam.stop(signum=0), 0, "it ends while it reads")
		tap.ok("seam" not in lab.run("box", ["tc", "filter", "show", "dev", "cli", "ingress"]).stdout,
			"and is detached, though the file now has another instance")
		last.close()
