#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Scripted ends of a connection: both sockets in this process, each in its namespace.

A case is a function of a Pair that returns what the ends saw. The same case runs through plain
forwarding and through a split, and must return the same.
"""
import collections
import concurrent.futures
import contextlib
import errno
import fcntl
import select
import socket
import struct
import termios
from pathlib import Path

from lab import CLIENT4, CLIENT6, SERVER, LabError, reasons, seam_binary, seam_json, start_seam, wait_for
from sockets import inside

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
CLIENT = {4: CLIENT4, 6: CLIENT6}
HOST = {"client": CLIENT, "server": SERVER}
SIOCOUTQNSD = 0x894b

# Every flow is split at its first payload, and stays so.
SPLIT_ALL = """
client = "cli";
server = "srv";
rules = ( { name = "all"; action = "inspect"; inspectors = ["count"]; until = { bytes = "1T"; }; } );
"""

_threads = concurrent.futures.ThreadPoolExecutor(8)
AT_ONCE = 4	# cases of through_both(), which take up to two threads each


def open_socket(lab, ns, family=4, protocol=0, options=()):
	"""A TCP socket in a namespace; options are triples for setsockopt."""
	with inside(lab, ns):
		s = socket.socket(FAMILY[family], socket.SOCK_STREAM, protocol)
	s.settimeout(20)
	for option in options:
		s.setsockopt(*option)
	return s


def listen(lab, family=4, port=0, ns="server", **more):
	s = open_socket(lab, ns, family, **more)
	s.bind(("::" if family == 6 else "0.0.0.0", port))
	s.listen(64)
	return s


class Pair:
	"""A connection from `client` to `server`, both of them sockets.

	a, b: the one that acts in a case and its peer; the client and the server, or the reverse.
	"""

	def __init__(self, lab, family=4, reverse=False, protocol=0, client_options=(), server_options=(),
		     host=None, ends=("client", "server")):
		listener = listen(lab, family, ns=ends[1], protocol=protocol, options=server_options)
		self.client = open_socket(lab, ends[0], family, protocol, client_options)
		host = host or HOST[ends[1]][family]
		try:
			self.client.connect((host, listener.getsockname()[1]))
			self.server = listener.accept()[0]
		finally:
			listener.close()
		self.server.settimeout(20)
		self.port, self.server_port = self.client.getsockname()[1], self.server.getsockname()[1]
		self.a, self.b = (self.server, self.client) if reverse else (self.client, self.server)

	def __enter__(self):
		return self

	def __exit__(self, *_exc):
		self.client.close()
		self.server.close()

	def prime(self):
		"""A byte each way: what follows meets a flow that is split."""
		for x, y in ((self.client, self.server), (self.server, self.client)):
			x.sendall(b"!")
			if y.recv(1) != b"!":
				raise LabError("priming")


def data(n, seed=1):
	"""n bytes in which a shift shows."""
	word = 0x9e3779b97f4a7c15 * (2 * seed + 1) & (1 << 64) - 1
	return b"".join(struct.pack("!Q", (i * word) & (1 << 64) - 1) for i in range(n // 8 + 1))[:n]


def read_all(s, limit=1 << 30, timeout=20):
	"""(what could be read, how it ended: "eof", "more" at the limit, or the name of an errno)."""
	got = bytearray()
	s.settimeout(timeout)
	while len(got) < limit:
		try:
			some = s.recv(min(1 << 16, limit - len(got)))
		except TimeoutError:
			return bytes(got), "timeout"
		except OSError as e:
			return bytes(got), errno.errorcode[e.errno]
		if not some:
			return bytes(got), "eof"
		got += some
	return bytes(got), "more"


def hearing(s, **how):
	"""read_all() in the background; result() of what it returns waits for it."""
	return _threads.submit(read_all, s, **how)


def saying(s, what):
	"""sendall() in the background; result() waits for it."""
	return _threads.submit(s.sendall, what)


def both_ways(tap, a, b, what, size=1_000_000):
	"""So many bytes from a to b, then from b to a; everything is acknowledged to b when it returns."""
	for x, y in ((a, b), (b, a)):
		body = data(size)
		heard = hearing(y, limit=len(body))
		saying(x, body).result()
		tap.ok(heard.result() == (body, "more"), f"{what}: arrives whole")
	wait_acked(b)


def send_until_blocked(s, stream, patience=0.5):
	"""Sends `stream` over and over until nothing was taken for `patience` seconds; returns how much was."""
	sent = 0
	s.setblocking(False)
	while select.select([], [s], [], patience)[1]:
		with contextlib.suppress(BlockingIOError):
			sent += s.send(stream[sent % len(stream):])
	s.settimeout(20)
	return sent


def unacked(s):
	"""Bytes that nobody has acknowledged to it, those that it has not sent yet among them."""
	return struct.unpack("i", fcntl.ioctl(s, termios.TIOCOUTQ, b"\0" * 4))[0]


def unsent(s):
	"""Bytes that it has not sent yet."""
	return struct.unpack("i", fcntl.ioctl(s, SIOCOUTQNSD, b"\0" * 4))[0]


def wait_acked(s):
	wait_for(lambda: unacked(s) == 0, "everything to be acknowledged")


def error_of(s, timeout=20):
	"""Name of the error that the socket gets without doing anything, or None."""
	p = select.poll()
	p.register(s, 0)
	p.poll(timeout * 1000)
	code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
	return errno.errorcode[code] if code else None


def abort(s):
	"""Close with RST."""
	s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
	s.close()


def flow(lab, pair):
	"""What Seam knows of the pair's flow, or None."""
	ports = {pair.port, pair.server_port}	# one alone may be another's as well
	return next((f for f in seam_json(lab, "flows") if {f["src_port"], f["dest_port"]} == ports), None)


def state(lab, pair):
	f = flow(lab, pair)
	return f and f["flow"]["state"]


def reload(lab, seam, conf_text):
	"""The running Seam takes another policy; what start_seam() adds to one stays as it was."""
	conf = Path(seam.proc.args[-1])
	added = [line for line in conf.read_text().splitlines() if line.startswith(("workers = ", "congestion = "))]
	conf.write_text("\n".join([conf_text, *added, ""]))
	lab.run("box", [seam_binary(), "reload"])


# A case of through_both(). seen: what its ends see without Seam, or a function of that which tells whether it is
# right; None: whatever it is. beside: others may run at the same time.
Case = collections.namedtuple("Case", "name run seen beside", defaults=(None, False))


def _run_all(cases):
	"""What each of them returns: first those that want to be alone, then the others, a few at a time."""
	seen = [None if case.beside else case.run() for case in cases]
	# In threads of their own: cases wait for what they have given to _threads.
	with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
		jobs = [pool.submit(case.run) if case.beside else None for case in cases]
		return [job.result() if job else x for job, x in zip(jobs, seen)]


def through_both(tap, lab, cases, policy=SPLIT_ALL):
	"""Runs the cases (Case, or its fields) through plain forwarding, then through Seam: the ends see the same.

	Returns the running Seam.
	"""
	cases = [Case(*case) for case in cases]
	plain = _run_all(cases)
	seam = start_seam(lab, policy)
	for case, want, got in zip(cases, plain, _run_all(cases)):
		right = case.seen is None or (case.seen(want) if callable(case.seen) else want == case.seen)
		tap.ok(right and got == want, f"{case.name}: the ends see what they see without Seam",
			f"got:  {short(got)}", f"want: {short(want)}", *([] if right else ["which is wrong already",
			*([] if callable(case.seen) else [f"right: {short(case.seen)}"])]))
	return seam


def short(x):
	"""For diagnostics: long byte strings by length and first difference only."""
	if isinstance(x, bytes) and len(x) > 40:
		return f"<{len(x)} bytes, {hash(x) & 0xffff:04x}>"
	if isinstance(x, (tuple, list)):
		return type(x)(short(y) for y in x)
	return x
