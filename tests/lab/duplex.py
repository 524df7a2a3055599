#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Two peers that send each other files, both at once, and keep what they get.

	duplex.py serve PORT OUT FILE...
	duplex.py connect HOST PORT OUT FILE...

Each of the FILEs is sent as soon as it is there; after the last one the peer half-closes. What
arrives goes to OUT, and a JSON report to standard output. Pair does all of it.
"""
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

from lab import LabError

SO_MAX_PACING_RATE = 47
# As the lab's standard pace: what is on its way must fit in the backlog of a CPU.
PACE, WINDOW = 100_000_000, 1 << 20


def _paced(sock):
	sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, PACE)
	sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
	return sock


def _send(sock, files):
	for name in files:
		while not os.path.exists(name):
			time.sleep(0.002)
		with open(name, "rb") as f:
			sock.sendfile(f)
	sock.shutdown(socket.SHUT_WR)


def _exchange(sock, out, files):
	report = {"end": "eof"}
	sender = threading.Thread(target=_send, args=(sock, files), daemon=True)
	sender.start()
	with open(out, "wb", buffering=0) as f:
		try:
			while data := sock.recv(1 << 18):
				f.write(data)
		except OSError as e:
			report["end"] = e.strerror
	sender.join(30)
	print(json.dumps(report), flush=True)


class Pair:
	"""A connection between client and server of the lab that is running."""

	def __init__(self, lab, host, port, name, ups, downs):
		"""ups, downs: names of the files to be sent, below lab.tmp; they may come to be there later."""
		self.lab, self.out = lab, [lab.tmp / f"{name}.up", lab.tmp / f"{name}.down"]
		def peer(end, *args):
			return lab.popen(end, ["/usr/bin/python3", __file__, *map(str, args)], stdout=subprocess.PIPE,
				stderr=subprocess.PIPE)
		self.server = peer("server", "serve", port, self.out[0], *(lab.tmp / n for n in downs))
		lab.wait_line(self.server, "ready")
		self.client = peer("client", "connect", host, port, self.out[1], *(lab.tmp / n for n in ups))

	def finish(self, timeout=60):
		"""(what the server got, what the client got), in bytes, or raises."""
		for who, proc in (("client", self.client), ("server", self.server)):
			out, err = proc.communicate(timeout=timeout)
			if proc.returncode or json.loads(out)["end"] != "eof":
				raise LabError(f"{who}: {out.decode()} {err.decode()}")
		return tuple(p.read_bytes() for p in self.out)

	def arrived(self):
		"""How much has arrived at the server, and at the client."""
		return tuple(p.stat().st_size if p.exists() else 0 for p in self.out)


def put(lab, name, data):
	"""Puts a file there as a whole."""
	part = lab.tmp / f"{name}.part"
	part.write_bytes(data)
	part.rename(lab.tmp / name)


def digest(data):
	return f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}"


def _main():
	if sys.argv[1] == "serve":
		listener = _paced(socket.create_server(("::", int(sys.argv[2])), family=socket.AF_INET6, dualstack_ipv6=True))
		print("ready", file=sys.stderr, flush=True)
		_exchange(listener.accept()[0], pathlib.Path(sys.argv[3]), sys.argv[4:])
	else:
		host = sys.argv[2]
		sock = _paced(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
		sock.connect((host, int(sys.argv[3])))
		_exchange(sock, sys.argv[4], sys.argv[5:])


if __name__ == "__main__":
	_main()
