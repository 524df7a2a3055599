#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Scripted peers: clients that say what they are told, when they are told, and a server that counts.

The server answers whatever it reads with a line "TOTAL" of how many bytes it has by now, and the
end of the stream with "sha256 HEX"; before that, on request, it greets. What became of each
connection is in its log. A client runs a list of steps:

    ["send", HEX]      with TCP_NODELAY, unless the case says nagle
    ["slow", HEX, N, S] N bytes at a time, S seconds apart
    ["acked"]          wait until all is acknowledged
    ["count"]          wait for the line that counts all bytes sent so far
    ["read", N]        wait until N bytes have been read, the greeting for example
    ["sleep", S]
    ["await", PATH]    wait until that file is there
    ["rst"]            close with RST
    ["fin"]            half-close, and read to the end
"""
import errno
import fcntl
import hashlib
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

from lab import LabError, wait_for

SIOCOUTQ = 0x5411
# Every client has a port of its own, over both families: it tells whose a report is.
_ports = itertools.count(20000)
_log_lock = threading.Lock()


class Counter:
	"""The counting server on several ports: Counter(lab, {7000: None, 7001: (b"220 hi\r\n", 0.5)}).

	A greeting is sent after so many seconds; negative: as soon as anything has been read.
	"""

	def __init__(self, lab, ports):
		self.lab = lab
		self.log = lab.tmp / f"counter-{min(ports)}.json"
		spec = {port: (g[0].hex(), g[1]) if g else None for port, g in ports.items()}
		with self.log.open("w") as out:
			self.proc = lab.popen("server", ["/usr/bin/python3", __file__, "serve", json.dumps(spec)],
				stdout=out, stderr=subprocess.PIPE)
		lab.wait_line(self.proc, "ready")

	def seen(self, port, timeout=5):
		"""How the connection from that client port ended: {"port", "bytes", "end"}; None if it has not."""
		def look():
			return next((r for r in map(json.loads, self.log.read_text().splitlines()) if r["port"] == port), None)
		try:
			return wait_for(look, "", timeout)
		except LabError:
			return None


def run_clients(lab, cases, timeout=60):
	"""Run the clients of {name: {"host", "port", "steps", ...}} at once: {name: report}.

	A report has the client's own "port", "error" ("" or as in ECONNRESET), "read" (hex), "total"
	(bytes sent), "good" (the server got exactly what was sent) and "seconds" from the first step
	to the end.
	"""
	cases = {name: case | {"from": next(_ports)} for name, case in cases.items()}
	done = lab.run("client", ["/usr/bin/python3", __file__, "clients"], input=json.dumps(cases), timeout=timeout)
	return json.loads(done.stdout)


def _serve_one(sock, peer, greeting, out):
	total, digest, end = 0, hashlib.sha256(), "eof"
	try:
		if greeting and greeting[1] >= 0:
			time.sleep(greeting[1])
			sock.sendall(bytes.fromhex(greeting[0]))
		while data := sock.recv(65536):
			if greeting and greeting[1] < 0 and not total:
				sock.sendall(bytes.fromhex(greeting[0]))
			total += len(data)
			digest.update(data)
			sock.sendall(f"{total}\n".encode())
		sock.sendall(f"sha256 {digest.hexdigest()}\n".encode())
	except OSError as e:
		end = errno.errorcode[e.errno]
	sock.close()
	with _log_lock:
		print(json.dumps({"port": peer[1], "bytes": total, "end": end}), file=out, flush=True)


def _serve(spec):
	for port, greeting in json.loads(spec).items():
		listener = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)

		def accept(listener=listener, greeting=greeting):
			while True:
				sock, peer = listener.accept()
				sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
				threading.Thread(target=_serve_one, args=(sock, peer, greeting, sys.stdout), daemon=True).start()
		threading.Thread(target=accept, daemon=True).start()
	print("ready", file=sys.stderr, flush=True)
	threading.Event().wait()


class _Client:
	def __init__(self, case):
		self.case, self.sent, self.got, self.digest = case, 0, b"", hashlib.sha256()
		self.report = {"error": "", "good": False, "port": case["from"]}

	def send(self, data):
		self.sock.sendall(data)
		self.sent += len(data)
		self.digest.update(data)

	def read(self):
		data = self.sock.recv(65536)
		self.got += data
		return data

	def step(self, what, *args):
		if what == "send":
			self.send(bytes.fromhex(args[0]))
		elif what == "slow":
			data, n = bytes.fromhex(args[0]), args[1]
			for at in range(0, len(data), n):
				self.send(data[at:at + n])
				time.sleep(args[2])
		elif what == "acked":
			while struct.unpack("i", fcntl.ioctl(self.sock, SIOCOUTQ, b"\0" * 4))[0]:
				time.sleep(0.001)
		elif what == "count":
			line = b"%d\n" % self.sent
			while not self.got.endswith(line) and self.read():
				pass
		elif what == "read":
			while len(self.got) < args[0] and self.read():
				pass
		elif what == "sleep":
			time.sleep(args[0])
		elif what == "await":
			while not os.path.exists(args[0]):
				time.sleep(0.01)
		elif what == "rst":
			self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
			self.sock.close()
		elif what == "fin":
			self.sock.shutdown(socket.SHUT_WR)
			while self.read():
				pass
			self.report["good"] = self.got.endswith(b"sha256 %s\n" % self.digest.hexdigest().encode())

	def run(self):
		case, start = self.case, time.monotonic()
		try:
			self.sock = socket.create_connection((case["host"], case["port"]), timeout=case.get("timeout", 20),
				source_address=("", case["from"]))
			self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, not case.get("nagle"))
			start = time.monotonic()
			for step in case["steps"]:
				self.step(*step)
			self.sock.close()
		except TimeoutError:
			self.report["error"] = "TIMEOUT"
		except OSError as e:
			self.report["error"] = errno.errorcode[e.errno]
		self.report |= {"read": self.got.hex(), "total": self.sent, "seconds": time.monotonic() - start}


def _clients():
	clients = {name: _Client(case) for name, case in json.load(sys.stdin).items()}
	threads = [threading.Thread(target=c.run) for c in clients.values()]
	for t in threads:
		t.start()
		time.sleep(0.002)	# or their SYNs and first bytes come in one burst
	for t in threads:
		t.join()
	print(json.dumps({name: c.report for name, c in clients.items()}))


if __name__ == "__main__":
	{"serve": _serve, "clients": _clients}[sys.argv[1]](*sys.argv[2:])
