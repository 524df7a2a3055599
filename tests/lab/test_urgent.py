#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Urgent data through a split: not a byte lost, and the mark at the right one."""
import fcntl
import select
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

from lab import Lab, scenario, wait_for
from peers import FAMILY, Case, Pair, data, reasons, through_both

SIOCATMARK = 0x8905
INLINE = (socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
PARTS = (data(2001, 1), data(302, 2), data(40_003, 3), data(704, 4))


def at_mark(s):
	return bool(struct.unpack("i", fcntl.ioctl(s, SIOCATMARK, b"\0" * 4))[0])


class Reader:
	"""Reads to the end: all in its order, the urgent bytes if they come apart, else offsets of the marks."""

	def __init__(self, sock, inline):
		self.sock, self.inline = sock, inline
		self.stream, self.urgent, self.marks = b"", b"", []

	def run(self):
		s, deadline = self.sock, time.monotonic() + 20
		s.setblocking(False)	# or Python waits for data before it asks for the urgent byte
		while time.monotonic() < deadline:
			ready, _, special = select.select([s], [], [] if self.inline else [s], 1)
			mark = at_mark(s)
			if special or (mark and not self.inline):
				try:
					self.urgent += s.recv(1, socket.MSG_OOB)
				except OSError:	# told of until the mark is read past, but there once
					time.sleep(0.001)
			elif mark and len(self.stream) not in self.marks:
				self.marks.append(len(self.stream))
			if ready:
				try:
					some = s.recv(65536)
				except BlockingIOError:	# only the urgent byte was there
					continue
				if not some:
					return self.stream, self.urgent, self.marks
				self.stream += some
		return "timeout"

	def has(self, n):
		return len(self.stream) + len(self.urgent) >= n


def conversation(lab, family, reverse, inline, primed, at_once, ready=lambda _pair: None):
	"""The last byte of each part is urgent. The reader sees each, or with all sent at once the last.

	ready(pair): waits for what a primed flow is to be.
	"""
	options = [INLINE] if inline else []
	with Pair(lab, family, reverse, client_options=options, server_options=options) as p:
		if primed:
			p.prime()
			ready(p)
		reader, sent = Reader(p.b, inline), 0
		with ThreadPoolExecutor(1) as pool:
			heard = None if at_once else pool.submit(reader.run)
			for part in PARTS:
				p.a.sendall(part[:-1])
				p.a.send(part[-1:], socket.MSG_OOB)
				sent += len(part)
				if not at_once:
					wait_for(lambda: reader.has(sent), f"{sent} bytes to arrive")
			p.a.sendall(b"the end")
			p.a.shutdown(socket.SHUT_WR)
			if at_once:
				time.sleep(0.2)
				return reader.run()
			return heard.result()


def heard(inline, at_once):
	"""What the reader gets of conversation()."""
	whole = b"".join(PARTS) + b"the end"
	ends = [sum(map(len, PARTS[:n])) - 1 for n in range(1, len(PARTS) + 1)]
	marked = ends[-1:] if at_once else ends
	if inline:
		return whole, b"", marked
	return bytes(c for i, c in enumerate(whole) if i not in marked), bytes(whole[i] for i in marked), []


@scenario
def main(tap):
	with Lab() as lab:
		cases = [Case(f"IPv{family}: {'down' if reverse else 'up'}, {'inline' if inline else 'out of band'}"
			f"{'' if primed else ', first payload'}{', at once' if at_once else ''}",
			lambda how=(family, reverse, inline, primed, at_once): conversation(lab, *how), heard(inline, at_once), True)
			for family in FAMILY for reverse in (False, True) for inline in (True, False)
			for primed in (True, False) for at_once in (True, False)]
		seam = through_both(tap, lab, cases)
		counted = reasons(lab)
		tap.equal(counted["legs_ready"], len(cases), "each was split")
		tap.ok(not counted.get("leg_died"), "no leg ended by itself", counted)
		tap.equal(seam.stop(), 0, "seam ends")
