#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Many connections at once from the client, of several kinds; each verifies what it gets.

	crowd = Crowd(lab, [Group("web", 100, "http", 80, host="inspect.test", path="/64k", sha256=...), ...])
	crowd.gather()		# every connection has got its first answer, or ended
	crowd.finish()		# a second exchange, and closed: {"web": {"ok": 100}, ...}

Kinds: "echo" sends 20 kB (or `text` in front of it) to a server that returns it; "http" and "tls" fetch
`path`; "greeted" waits for a server that speaks first. A connection ends "ok", "reset" (refused
included), "silent" (no answer within the group's patience; aborted then), "eof" or "wrong".
"""
import asyncio
import collections
import dataclasses
import hashlib
import json
import random
import socket
import ssl
import struct
import subprocess
import sys

from lab import SERVER, LabError

WINDOW = 8192	# SO_RCVBUF: together they must not overrun the queues between the namespaces
ECHO = 20_000


@dataclasses.dataclass
class Group:
	"""So many connections of one kind, by turns over IPv4 and IPv6."""
	name: str
	count: int
	kind: str
	port: int
	host: str = ""
	path: str = ""
	sha256: str = ""
	text: str = ""
	patience: int = 30	# seconds


class Crowd:
	def __init__(self, lab, groups):
		self.lab, self.total = lab, sum(g.count for g in groups)
		self.proc = lab.popen("client", ["/usr/bin/python3", __file__], text=True, stdin=subprocess.PIPE,
			stdout=subprocess.PIPE, stderr=subprocess.PIPE)
		self.proc.stdin.write(json.dumps([dataclasses.asdict(g) for g in groups]) + "\n")
		self.proc.stdin.flush()

	def gather(self):
		"""Waits for all of them; {group: {"open": 10, "reset": 3}}."""
		line = self.proc.stdout.readline()
		if not line:
			raise LabError(f"crowd: {self.proc.stderr.read()}")
		return json.loads(line)

	def finish(self):
		"""Lets them go on to their ends."""
		self.proc.stdin.write("\n")
		code, out, err = self.lab.stop(self.proc, signum=0, timeout=90)
		if code:
			raise LabError(f"crowd: exit {code}: {err}")
		return json.loads(out)


async def _exchange(group, n, reader, writer):
	"""One question and its answer; is it right?"""
	if group.kind == "echo":
		data = group.text.encode() + random.Random(n).randbytes(ECHO)
		writer.write(data)
		return await reader.readexactly(len(data)) == data
	if group.kind == "greeted":
		writer.write(b"NOOP\r\n")
		return await reader.readline() == b"250 ok\r\n"
	writer.write(f"GET {group.path} HTTP/1.1\r\nHost: {group.host}\r\n\r\n".encode())
	head = (await reader.readuntil(b"\r\n\r\n")).lower()
	length = int(head.partition(b"content-length:")[2].split()[0])
	return hashlib.sha256(await reader.readexactly(length)).hexdigest() == group.sha256


async def _first(group, n, sock):
	await asyncio.get_running_loop().sock_connect(sock, (SERVER[4 if sock.family == socket.AF_INET else 6], group.port))
	context = None
	if group.kind == "tls":
		context = ssl.create_default_context()
		context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
	reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=group.host if context else None)
	if group.kind == "greeted" and not (await reader.readline()).startswith(b"220 "):
		return None
	return (reader, writer) if await _exchange(group, n, reader, writer) else None


async def _close(group, reader, writer):
	if group.kind == "tls":
		writer.close()
		await writer.wait_closed()
		return "ok"
	writer.write_eof()
	left = await reader.read()
	writer.close()
	return "wrong" if left else "ok"


async def _guard(group, coroutine, sock):
	"""Its result, or how the connection ended."""
	try:
		return await asyncio.wait_for(coroutine, group.patience)
	except asyncio.TimeoutError:
		sock.close()
		return "silent"
	except (ConnectionResetError, ConnectionRefusedError, BrokenPipeError):
		return "reset"
	except asyncio.IncompleteReadError:
		return "eof"


async def _connection(group, n, gathered, go):
	sock = socket.socket(socket.AF_INET if n % 2 else socket.AF_INET6)
	sock.setblocking(False)
	sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
	# Until it is open, closing it aborts: an orderly end would be sent again and again, long after this.
	sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
	streams = await _guard(group, _first(group, n, sock), sock)
	opened = isinstance(streams, tuple)
	gathered(group.name, "open" if opened else streams or "wrong")
	if not opened:
		return streams or "wrong"
	sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
	await go.wait()
	again = await _guard(group, _exchange(group, n, *streams), sock)
	if again is not True:
		return again or "wrong"
	return await _guard(group, _close(group, *streams), sock)


async def _main():
	groups = [Group(**g) for g in json.loads(sys.stdin.readline())]
	work = [(g, n) for g in groups for n in range(g.count)]
	random.Random(1).shuffle(work)
	seen, go, all_here = collections.defaultdict(collections.Counter), asyncio.Event(), asyncio.Event()

	def gathered(name, how):
		seen[name][how] += 1
		if sum(c.total() for c in seen.values()) == len(work):
			all_here.set()

	tasks = [asyncio.create_task(_connection(g, n, gathered, go)) for g, n in work]
	await all_here.wait()
	print(json.dumps(seen), flush=True)
	await asyncio.to_thread(sys.stdin.readline)
	go.set()
	ends = collections.defaultdict(collections.Counter)
	for (group, _n), end in zip(work, await asyncio.gather(*tasks)):
		ends[group.name][end] += 1
	print(json.dumps(ends))


if __name__ == "__main__":
	asyncio.run(_main())
