#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Short connections on one 4-tuple, into a server's TIME_WAIT, with Seam, without, and in between.

A server in TIME_WAIT takes a SYN whose sequence number or timestamp is newer than what it saw last,
and answers an older one with an ack; the client resets, and tries again after a second.
"""
import errno
import socket
import time

import sockets
from lab import NOTICED, SERVER, Lab, LabError, reasons, scenario, start_seam, wait_for

POLICY = """
client = "cli";
server = "srv";
decide = "daemon";
rules = (
	{ name = "merged"; host = "merge.test"; action = "inspect"; inspectors = ["http"]; },
	{ name = "split"; host = "split.test"; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; },
	{ name = "released"; host = "pass.test"; action = "pass"; }
);
"""
ASK, ANSWER = b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SOURCE = 40000
STATE, TCP_CLOSE = (socket.IPPROTO_TCP, socket.TCP_INFO), 7	# what is left of a socket whose connection waits
ROUNDS = 25


def again(lab, host, port, source):
	"""Connect from the port as soon as the client's last connection is gone: its FIN was acknowledged."""
	for _ in range(1000):
		try:
			return sockets.connect(lab, host, port, bind=(source, SOURCE))
		except OSError as e:
			if e.errno != errno.EADDRNOTAVAIL:
				raise
			time.sleep(0.001)
	raise LabError("the client's last connection does not end")


def short(lab, listener, family, host):
	"""One connection from the port that all have; the server closes first. True if all went well."""
	a = again(lab, SERVER[family], listener.getsockname()[1], "::" if family == 6 else "0.0.0.0")
	b = sockets.accept(listener)
	ask = ASK % host
	a.sendall(ask)
	good = sockets.read(b, len(ask)) == ask
	b.sendall(ANSWER)
	good = good and sockets.read(a, len(ANSWER)) == ANSWER
	if host == b"merge.test":
		time.sleep(0.005)	# it is merged before it ends, more often than not
	b.shutdown(socket.SHUT_WR)
	good = good and a.recv(1) == b"" and b.getsockopt(*STATE) != TCP_CLOSE
	a.close()
	# A leg acknowledges the client's FIN, and the server has it a moment later.
	wait_for(lambda: b.getsockopt(*STATE) == TCP_CLOSE, "the server to be in TIME_WAIT")
	b.close()
	return good


def count(lab, reason):
	return reasons(lab).get(reason, 0)


def rounds(tap, lab, listener, what, hosts, n=ROUNDS):
	"""n connections in a row for each kind; no SYN had to be sent twice, nobody sent a RST."""
	for family in SERVER:
		with lab.deltas() as d:
			good = all(short(lab, listener, family, host) for _ in range(n) for host in hosts)
		tap.ok(good, f"{what}: IPv{family}: {n * len(hosts)} connections, whole")
		reused = d["server"].get("TcpPassiveOpens")
		tap.equal(reused, n * len(hosts), f"{what}: IPv{family}: the server took each")
		for end, counters in d.items():
			tap.zero(counters, NOTICED, f"{what}: IPv{family}: the {end} noticed nothing")


@scenario
def main(tap):
	kinds = (b"pass.test", b"merge.test", b"split.test", b"other.test")
	for timestamps in (1, 0):
		with Lab(sysctls={"net.ipv4.tcp_timestamps": timestamps}) as lab:
			listener = sockets.listen(lab, 7000)
			kind = "with timestamps" if timestamps else "without timestamps"
			for family in SERVER:
				short(lab, listener, family, b"first.test")	# neighbours are found now
			rounds(tap, lab, listener, f"{kind}, before Seam", kinds[:1])
			for turn in ("first", "second") if timestamps else ("first",):
				seam = start_seam(lab, POLICY)
				rounds(tap, lab, listener, f"{kind}, {turn} run", kinds)
				tap.ok(count(lab, "quiet") + count(lab, "crossed") >= ROUNDS and count(lab, "legs_ready") >= 4 * ROUNDS,
					"many were split, many merged", reasons(lab))
				tap.ok(count(lab, "reused") > 0, "tuples were taken again while the old flow was known")
				tap.equal(seam.stop(), 0, "Seam ends")
				rounds(tap, lab, listener, f"{kind}, after the {turn} run", kinds[:1])
			waiting = wait_for(lambda: lab.run("server", ["ss", "-tnHO", "state", "time-wait"]).stdout, "TIME_WAIT")
			tap.ok(str(SOURCE) in waiting, "the server was in TIME_WAIT", waiting)
