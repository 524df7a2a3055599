#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What is inspected, edited or judged is what the server's program reads: not more, and not something else.

Each of these got something by a rule, or was served under a name that a rule blocks.
"""
import socket
import time

import sockets
from hello import client_hello
from lab import SERVER4, Lab, scenario, start_seam
from peers import reload

POLICY = """
client = "cli";
server = "srv";
decide = "%s";
fail = "block";
rules = (
	{ name = "pattern"; server_port = 7100; action = "inspect"; inspectors = "pattern";
	  patterns = ( { name = "eicar"; regex = "EICAR-STANDARD"; action = "block"; } ); },
	{ name = "removed"; server_port = 7101; action = "inspect"; inspectors = "headers"; request = { remove = "X-Internal"; }; until = { verdict = true; }; },
	{ name = "time"; server_port = 7102; action = "inspect"; inspectors = "headers";
	  request = { set = ( { name = "X-Forwarded-For"; value = "$client"; } ); }; until = { time = "100ms"; }; },
	{ name = "bytes"; server_port = 7103; action = "inspect"; inspectors = "headers";
	  request = { set = ( { name = "X-Forwarded-For"; value = "$client"; } ); }; until = { bytes = "1k"; }; },
	{ name = "host"; server_port = 7104; action = "inspect"; inspectors = "headers";
	  request = { set = ( { name = "Host"; value = "app.example"; } ); }; until = { verdict = true; }; },
	{ name = "sni"; server_port = 7105; sni = "blocked.web"; action = "block"; },
	{ name = "odd"; server_port = 7106; unrecognised = true; action = "block"; }
);
"""
HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
RESET = ("ECONNRESET", "EPIPE")


def ask(lab, port, *steps):
	"""A client that does that, and ends: (what the server's program read, how that ended)."""
	listener = sockets.listen(lab, port)
	with sockets.connect(lab, SERVER4, port) as c, sockets.accept(listener, timeout=2) as s:
		listener.close()
		try:
			for n, (data, urgent) in enumerate(steps):
				if n:
					time.sleep(0.3)
				c.send(data, socket.MSG_OOB if urgent else 0)
			time.sleep(0.1)
			c.shutdown(socket.SHUT_WR)
		except OSError:
			pass
		return sockets.outcome(s)


def plain(*parts):
	return [(part, False) for part in parts]


def urgent(before, byte, behind):
	return [(before, False), (byte, True), (behind, False)]


def contents(tap, lab, who):
	got, end = ask(lab, 7100, *plain(b"hello EICAR-STANDARD bye"))
	tap.ok(end in RESET and b"STANDARD" not in got, f"{who}: what is looked for is blocked", got, end)
	got, end = ask(lab, 7100, *urgent(b"hello EICAR-", b"X", b"STANDARD bye"))
	tap.equal((got, end), (b"hello EICAR-XSTANDARD bye", "FIN"), f"{who}: an urgent byte in it is in it for the server, too")
	got, _end = ask(lab, 7101, *plain(HEAD + b"X-Internal: 1\r\n\r\n"))
	tap.equal(got, HEAD + b"\r\n", f"{who}: a field that is removed")
	got, _end = ask(lab, 7101, *urgent(HEAD + b"X-In", b"Z", b"ternal: 1\r\n\r\n"))
	tap.ok(b"X-InZternal" in got, f"{who}: with an urgent byte in its name it is another one", got)
	for alias in (b"X_Internal", b"x.internal"):
		got, _end = ask(lab, 7101, *plain(HEAD + alias + b": 1\r\n\r\n"))
		tap.equal(got, HEAD + b"\r\n", f"{who}: by a name that CGI takes for the same ({alias.decode()})")
	forged = b"X-Forwarded-For: 6.6.6.6\r\n\r\n"
	for port, what, parts in ((7102, "time", (HEAD, forged)), (7103, "bytes", (HEAD + b"X: " + bytes(1024).replace(b"\0", b"x") + b"\r\n", forged))):
		got, _end = ask(lab, port, *plain(*parts))
		tap.ok(b"6.6.6.6" not in got and b"X-Forwarded-For: 10." in got, f"{who}: a limit of {what} that is passed amid a head counts from its end", got)
	got, end = ask(lab, 7104, *plain(b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"))
	tap.ok(b"evil" not in got and end in RESET, f"{who}: a host in the target, where Host is set, is blocked", got, end)
	got, end = ask(lab, 7102, *plain(HEAD + b"Connection: close, X-Forwarded-For\r\n\r\n"))
	tap.ok(end in RESET, f"{who}: one that has a further proxy remove what is set, too", got, end)
	got, end = ask(lab, 7102, *plain(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6"))
	tap.ok(end in RESET, f"{who}: the client's end amid a head that is edited, too", got, end)


def names(tap, lab, who):
	for name, there in (("blocked.web", False), ("blocke.web:1", True), ("blocked.web.", False), ("blocked.web:443", False),
			("blocked.web.:443", False), ("other.web:443", True)):
		got, end = ask(lab, 7105, *plain(hello_to(name)))
		tap.equal((bool(got), end in RESET), (there, not there), f"{who}: a ClientHello to {name} is {'passed' if there else 'blocked'}")
	got, end = ask(lab, 7106, *plain(hello_to("two words")))
	tap.ok(not got and end in RESET, f"{who}: one to what is no name is not recognised", got, end)
	for what, data in (("in an empty record and others", b"\x16\x03\x01\0\0" + client_hello()), ("of a version 4.4", version(0x0404))):
		got, end = ask(lab, 7106, *plain(data))
		tap.ok(got == data and end == "FIN", f"{who}: a ClientHello {what} is one", len(got), end)


def version(number):
	hello = bytearray(client_hello())
	hello[9:11] = number.to_bytes(2, "big")
	return bytes(hello)


def hello_to(name):
	"""A ClientHello that OpenSSL makes, but for the name, which it would not take."""
	import ssl
	ours, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
	stand_in = "x" * len(name)
	tls = ssl.create_default_context().wrap_bio(ours, sent, server_hostname=stand_in)
	try:
		tls.do_handshake()
	except ssl.SSLWantReadError:
		pass
	return sent.read().replace(stand_in.encode(), name.encode())


@scenario
def main(tap):
	with Lab() as lab:
		seam = start_seam(lab, POLICY % "kernel")
		for decider in ("kernel", "daemon", "split"):
			reload(lab, seam, POLICY % decider)
			contents(tap, lab, decider)
			names(tap, lab, decider)
		tap.equal(seam.stop(), 0, "seam ends with 0 on SIGTERM")
