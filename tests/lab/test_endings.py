#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How connections end while they are split: FIN and RST in every order, and neither end can tell."""
import errno
import os
import select
import signal
import socket
import time

from lab import SERVER, Lab, LabError, Link, scenario, seam_json, start_seam, wait_for
from peers import (FAMILY, Case, Pair, abort, data, error_of, hearing, listen, open_socket, read_all, reasons,
	send_until_blocked, state, through_both, unacked, wait_acked)

HEAD, BODY = data(3000, 1), data(300_000, 2)
GROWS = """
client = "cli";
server = "srv";
rules = ( {
	name = "grows";
	action = "inspect";
	inspectors = ["replace"];
	replace = ( { find = "a"; with = "a%s"; } );
	until = { bytes = 5050; };
} );
""" % ("-" * 50)


def half_close(p):
	"""a has said all, b has not: its data go on."""
	p.prime()
	p.a.sendall(HEAD)
	p.a.shutdown(socket.SHUT_WR)
	heard = read_all(p.b)
	answer = hearing(p.a)
	p.b.sendall(BODY)
	time.sleep(0.1)
	p.b.sendall(BODY)
	p.b.close()
	return heard, answer.result()


def fin_with_data(p):
	"""The FIN rides on the last segment."""
	p.prime()
	p.a.send(HEAD[:700], socket.MSG_MORE)
	p.a.shutdown(socket.SHUT_WR)
	heard = read_all(p.b)
	p.b.send(HEAD, socket.MSG_MORE)
	p.b.shutdown(socket.SHUT_WR)
	return heard, read_all(p.a)


def fin_behind_first_payload(p):
	"""Payload and FIN are both in the hold."""
	p.a.sendall(HEAD)
	p.a.shutdown(socket.SHUT_WR)
	heard = read_all(p.b)
	answer = hearing(p.a)
	p.b.sendall(BODY)
	p.b.close()
	return heard, answer.result()


def fin_in_first_payload(p):
	p.a.send(HEAD[:700], socket.MSG_MORE)
	p.a.shutdown(socket.SHUT_WR)
	heard = read_all(p.b)
	answer = hearing(p.a)
	p.b.sendall(BODY)
	p.b.close()
	return heard, answer.result()


def rst_behind_first_payload(p):
	p.a.sendall(HEAD[:700])
	abort(p.a)
	return read_all(p.b)[1]


def simultaneous_close(p):
	p.prime()
	for s in (p.a, p.b):
		s.sendall(HEAD)
		s.shutdown(socket.SHUT_WR)
	return read_all(p.a), read_all(p.b)


def close_unread(p):
	"""b closes with data it has not read: RST, and a learns of it by its next call."""
	p.prime()
	p.a.sendall(HEAD)
	select.select([p.b], [], [])
	wait_acked(p.a)
	p.b.close()
	return error_of(p.a)


def abort_after_data(p):
	"""What was acknowledged arrives before the RST."""
	p.prime()
	p.a.sendall(HEAD)
	wait_acked(p.a)
	time.sleep(0.1)
	abort(p.a)
	error = error_of(p.b)
	return error, read_all(p.b)[0] == HEAD


def abort_after_half_close(p):
	p.prime()
	p.a.sendall(HEAD)
	p.a.shutdown(socket.SHUT_WR)
	heard = read_all(p.b)
	p.b.sendall(HEAD)
	read_all(p.a, len(HEAD))
	abort(p.b)
	return heard, error_of(p.a)


def abort_at_zero_window(p):
	"""b does not read. All that was told to be there is there, then the RST."""
	p.prime()
	sent = send_until_blocked(p.a, BODY)
	told = sent - unacked(p.a)
	abort(p.a)
	error, got = error_of(p.b), read_all(p.b)[0]
	return error, (BODY * (sent // len(BODY) + 1)).startswith(got), 0 < told <= len(got)


def abort_by_blocked_reader(p):
	p.prime()
	send_until_blocked(p.a, BODY)
	abort(p.b)
	return error_of(p.a)


# And what they return without Seam.
CASES = {
	half_close: ((HEAD, "eof"), (BODY + BODY, "eof")),
	fin_with_data: ((HEAD[:700], "eof"), (HEAD, "eof")),
	fin_behind_first_payload: ((HEAD, "eof"), (BODY, "eof")),
	fin_in_first_payload: ((HEAD[:700], "eof"), (BODY, "eof")),
	simultaneous_close: ((HEAD, "eof"), (HEAD, "eof")),
	rst_behind_first_payload: "ECONNRESET",
	close_unread: "ECONNRESET",
	abort_after_data: ("ECONNRESET", True),
	abort_after_half_close: ((HEAD, "eof"), "ECONNRESET"),
	abort_at_zero_window: ("ECONNRESET", True, True),
	abort_by_blocked_reader: "ECONNRESET",
}


def refused(lab, family):
	s = open_socket(lab, "client", family)
	try:
		s.connect((SERVER[family], 9))
	except OSError as e:
		return errno.errorcode[e.errno]
	finally:
		s.close()


def rst_in_handshake(lab, family):
	"""The client has gone when the SYN-ACK comes: its RST reaches the server, which never accepts."""
	with listen(lab, family) as listener:
		with lab.deltas("server") as d:
			with open_socket(lab, "client", family) as s:
				s.setblocking(False)
				s.connect_ex((SERVER[family], listener.getsockname()[1]))
			time.sleep(0.1)
		listener.settimeout(0.1)
		try:
			listener.accept()
		except TimeoutError:
			return d["server"]["TcpPassiveOpens"], len(lab.ss("server", "state", "syn-recv"))
	return "accepted"


def case(lab, fn, family, reverse):
	def run():
		with Pair(lab, family, reverse, client_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)],
			  server_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)]) as p:
			return fn(p)
	way = "server" if reverse else "client"
	return Case(f"IPv{family}: {fn.__name__.replace('_', ' ')}, {way} first", run, CASES[fn], True)


def nobody_authorised(tap, lab):
	"""A leg that is ended by force: both ends are reset, neither is told a clean end."""
	pid = seam_json(lab, "status")["daemon"]["pid"]
	for end in ("client", "server"):
		with Pair(lab) as p:
			p.prime()
			p.a.sendall(HEAD)
			read_all(p.b, len(HEAD))
			leg = p.client.getsockname()[1] if end == "server" else p.client.getpeername()[1]
			watch = lab.capture(end, "eth0", f"tcp port {p.port} and tcp[tcpflags] & (tcp-fin|tcp-syn) != 0")
			# Or the daemon may learn of the leg's error before its RST has got anywhere.
			os.kill(pid, signal.SIGSTOP)
			done = lab.run("box", ["nsenter", "-t", str(pid), "-n", "ss", "-K", "-t", "sport", "=", f":{leg}"])
			time.sleep(0.05)
			os.kill(pid, signal.SIGCONT)
			tap.ok(str(leg) in done.stdout, f"{end} leg: ended by force", done.stdout, done.stderr)
			p.a.settimeout(20)
			error = None
			try:
				for _ in range(100):
					p.a.sendall(b"?")
					time.sleep(0.01)
			except OSError as e:
				error = errno.errorcode[e.errno]
			tap.equal((error, read_all(p.b, timeout=5)[1]), ("ECONNRESET", "ECONNRESET"), f"{end} leg: both ends are reset")
			tap.equal([str(x) for x in watch.stop()], [], f"{end} leg: no FIN or SYN leaves")
			tap.equal(state(lab, p), "blocked", f"{end} leg: and the flow is blocked")
	tap.equal(reasons(lab).get("leg_died"), 2, "leg_died: once for each of the two flows")


def let_go_after_reset(tap):
	"""That inspection is over does not put off for ever that an end hears of the other one's reset."""
	with Lab() as lab:
		start_seam(lab, GROWS)
		with Pair(lab, server_options=((socket.SOL_SOCKET, socket.SO_RCVBUF, 8192),)) as p:
			p.client.sendall(b"a" * 5000)
			wait_acked(p.client)
			tap.equal(state(lab, p), "split", "an edit has made more of it than the server, which does not read, has room for")
			abort(p.client)
			p.server.sendall(b"b" * 100)
			tap.equal(error_of(p.server, timeout=6), "ECONNRESET", "the client resets, the inspector is done: the server hears of it")


def nothing_left(tap, lab):
	pid = seam_json(lab, "status")["daemon"]["pid"]
	argv = ["nsenter", "-t", str(pid), "-n", "ss", "-tnH"]
	try:
		wait_for(lambda: not lab.run("box", argv).stdout.strip(), "no leg", timeout=5)
		left = ""
	except LabError:
		left = lab.run("box", argv).stdout
	tap.equal(left, "", "no leg is left")


@scenario
def main(tap):
	with Lab(server_link=Link(delay=1)) as lab:
		cases = [case(lab, fn, family, reverse) for fn in CASES for family in FAMILY for reverse in (False, True)]
		for family in FAMILY:
			cases.append(Case(f"IPv{family}: connection refused", lambda family=family: refused(lab, family), "ECONNREFUSED", True))
			# It counts what all the others do, too.
			cases.append(Case(f"IPv{family}: RST in the handshake", lambda family=family: rst_in_handshake(lab, family), (0, 0)))
		seam = through_both(tap, lab, cases)
		counted = reasons(lab)
		tap.ok(not counted.get("leg_died") and not counted.get("leg_silenced"), "no leg ended by itself", counted)
		tap.ok(counted["legs_ready"] >= 4 * (len(CASES) - 1), "the flows were split", counted)
		nothing_left(tap, lab)
		nobody_authorised(tap, lab)
		nothing_left(tap, lab)
		tap.equal(seam.stop(), 0, "seam ends")
	let_go_after_reset(tap)
