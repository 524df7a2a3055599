#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Transitions by hand, over the control socket: what `seam split` and `seam merge` do, but quickly."""
import json
import re
import select
import signal
import socket
import time

from lab import SERVER4, LabError, seam_json, wait_for
from servers import LoadServer, finish_client, start_client

SOCKET = "/run/seam/default.sock"
# Every flow is split at its first payload and merged at once: from then on it is the operator's.
POLICY = """
client = "cli";
server = "srv";
rules = ( { name = "all"; action = "inspect"; inspectors = ["count"]; until = { bytes = 1; }; } );
"""


class _Stream:
	def __init__(self):
		self.sock = socket.socket(socket.AF_UNIX)
		self.sock.connect(SOCKET)
		self.buf = b""

	def send(self, **request):
		self.sock.sendall(json.dumps(request).encode() + b"\n")

	def line(self, timeout):
		"""The next object, or None after timeout seconds."""
		deadline = time.monotonic() + timeout
		while b"\n" not in self.buf:
			if not select.select([self.sock], [], [], max(0, deadline - time.monotonic()))[0]:
				return None
			got = self.sock.recv(1 << 16)
			if not got:
				raise LabError("the daemon closed its control socket")
			self.buf += got
		line, self.buf = self.buf.split(b"\n", 1)
		return json.loads(line)


def _key(flow):
	"""struct flow_key, in hexadecimal."""
	def address(a):
		return socket.inet_pton(socket.AF_INET6, a if ":" in a else "::ffff:" + a)
	return (address(flow["src_ip"]) + address(flow["dest_ip"]) + flow["src_port"].to_bytes(2, "big")
		+ flow["dest_port"].to_bytes(2, "big")).hex()


def _to(lab, port, states):
	return [f for f in seam_json(lab, "flows", "-p", str(port)) if f["dest_port"] == port and f["flow"]["state"] in states]


def flow_to(lab, port, states=("merged",)):
	"""The flow to this port, once it is in one of the states."""
	return wait_for(lambda: _to(lab, port, states), f"a flow to port {port} to be {' or '.join(states)}")[-1]


def each_once(lab, port, count):
	"""Splits all `count` flows to that port, and then merges them; what was refused, as text."""
	def in_state(state):
		found = _to(lab, port, (state,))
		return found if len(found) >= count - len(refused) else None

	def all_in(state):
		return wait_for(lambda: in_state(state), f"{count} flows to be {state}", timeout=30)

	ask, refused = _Stream(), []
	flows = all_in("merged")
	for verb, until in (("split", "split"), ("merge", "merged")):
		for flow in flows:
			# Refused while its last packets come out of the hold queue.
			for _ in range(1000):
				ask.send(cmd=verb, id=flow["flow_id"], key=_key(flow))
				reply = ask.line(5)
				if reply["ok"] or "still held" not in reply["error"]:
					break
				time.sleep(0.001)
			if not reply["ok"]:
				refused.append(f"{verb}: {reply['error']}")
		flows = all_in(until)
	return refused


LEFT_ALONE = 5	# seconds that a wave lasts of which no flow is split


def wave(lab, port, count, by_hand):
	"""`count` connections, which last until each was split and merged once, or left alone for a while.

	(how many, reports of what did not arrive, refusals)
	"""
	server = LoadServer(lab, "echo", port, expect=7, rcvbuf=8192)
	proc = start_client(lab, "source", SERVER4, port, send=10**9, rate=6000, chunk=1000, seed=7, expect=7,
		rcvbuf=8192, count=count, every=1, timeout=120)
	if by_hand:
		refused = each_once(lab, port, count)
	else:
		refused = []
		time.sleep(LEFT_ALONE)
	proc.send_signal(signal.SIGUSR1)	# that will do: they end what they have begun
	reports = finish_client(lab, proc)
	served = server.results(count)
	server.stop()
	bad = [r for r in reports + served
		if r["end"] != "eof" or r["mismatch_at"] != -1 or not r["rx_bytes"] == r["tx_bytes"] > 0]
	return len(reports), bad, refused


# What is refused for that both ends have said their last.
OVER = re.compile("closing|it is none|there is no flow")


def cycles(proc, hand, most, pause=0.005):
	"""Splits and merges until the client is done or `most` are, pausing after each.

	(how often, what was refused before the flow was over)
	"""
	n = 0
	while n < most and proc.poll() is None:
		for go in (hand.split, hand.merge):
			why = go()
			if why:
				return n, [] if OVER.search(why) else [why]
			time.sleep(pause)
		n += 1
	return n, []


class ByHand:
	"""One flow in the operator's hands."""

	def __init__(self, flow):
		self.id, self.key = flow["flow_id"], _key(flow)
		self.ask, self.events = _Stream(), _Stream()
		self.events.send(cmd="monitor")
		self.events.line(5)

	def _until(self, states, timeout):
		deadline = time.monotonic() + timeout
		while (left := deadline - time.monotonic()) > 0:
			event = self.events.line(left)
			if event and event.get("flow_id") == self.id and event["flow"]["state"] in states:
				return event["flow"]["state"]
		raise LabError(f"flow {self.id}: not {' or '.join(states)} within {timeout} s")

	def begin(self, verb, **more):
		"""What the daemon answers to "split", "merge" or "relay"."""
		self.ask.send(cmd=verb, id=self.id, key=self.key, **more)
		return self.ask.line(5)

	def _go(self, verb, until, timeout, **more):
		reply = self.begin(verb, **more)
		if not reply["ok"]:
			return reply["error"]
		state = self._until((until, "closing", "blocked", "none"), timeout)
		return None if state == until else f"it is {state}"

	def split(self, timeout=20):
		"""None once it is split, or why not."""
		deadline = time.monotonic() + timeout
		while "still held" in ((why := self._go("split", "split", timeout)) or "") and time.monotonic() < deadline:
			time.sleep(0.001)
		return why

	def merge(self, timeout=20):
		"""None once it is merged, or why not."""
		return self._go("merge", "merged", timeout)

	def relay(self, how, timeout=20):
		"""None once its bytes are moved by "kernel" or "userspace", or why not."""
		return self._go("relay", {"kernel": "relayed", "userspace": "split"}[how], timeout, how=how)
