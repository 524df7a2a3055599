#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Many flows are held at once, more than the kernel may have timers for: each of them is inspected."""
import os
import signal
import socket
import subprocess
import sys
import time

from lab import SERVER4, Lab, reasons, scenario, seam_json, start_seam
from servers import Nginx

POLICY = """
client = "cli";
server = "srv";
rules = ( { name = "inspect-web"; host = "inspect.test"; action = "inspect"; inspectors = ["http"]; } );
"""
COUNT = 1000


def clients():
	"""Half of a request head each, a pause, the rest; how many had an answer."""
	socks = [socket.create_connection((SERVER4, 80)) for _ in range(COUNT)]
	for s in socks:
		s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
	print("connected", flush=True)
	input()
	for byte in b"GET /1b ":	# a packet each: what is to be read takes the daemon longer than it is patient
		for s in socks:
			s.sendall(bytes((byte,)))
	for s in socks:
		s.sendall(b"HTTP/1.1\r\n")
	time.sleep(0.3)
	for s in socks:
		s.sendall(b"Host: inspect.test\r\nConnection: close\r\n\r\n")
	answers = 0
	for s in socks:
		answer = b""
		while data := s.recv(65536):
			answer += data
		answers += answer.startswith(b"HTTP/1.1 200 ")
	print(answers)


if sys.argv[1:] == ["clients"]:
	clients()
	sys.exit()


@scenario
def main(tap):
	with Lab() as lab:
		Nginx(lab, {"1b": 1})
		seam = start_seam(lab, POLICY)
		with lab.deltas() as d:
			proc = lab.popen("client", ["/usr/bin/python3", __file__, "clients"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
			assert proc.stdout.readline() == "connected\n"
			os.kill(seam.proc.pid, signal.SIGSTOP)
			proc.stdin.write("\n")
			proc.stdin.flush()
			time.sleep(0.2)
			os.kill(seam.proc.pid, signal.SIGCONT)
			hurried = False
			while proc.poll() is None:
				hurried |= os.sched_getscheduler(seam.proc.pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR
				time.sleep(0.001)
			answers = proc.stdout.read().strip()
		tap.equal(answers, str(COUNT), f"{COUNT} requests are answered")
		count = reasons(lab)
		tap.equal(count.get("legs_ready", 0), COUNT, "every flow was split for want of its host")
		tap.diag(f"{count.get('no_memory', 0)} holds had no timer")
		behind = seam_json(lab, "status")["daemon"]["stats"]["hold_behind"]
		tap.ok(behind and hurried, "a daemon that is behind with them goes before others", behind, hurried)
		tap.equal(os.sched_getscheduler(seam.proc.pid), os.SCHED_OTHER, "and not any more")
		for end, counters in d.items():
			tap.zero(counters, ("TcpOutRsts", "TcpEstabResets"), f"{end}: no RST")
		tap.equal(seam.stop(), 0, "seam ends")
