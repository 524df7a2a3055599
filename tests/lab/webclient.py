#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""One HTTP or TLS connection from the client, kept open for as many requests as a scenario likes.

	with WebClient(lab, SERVER4, "inspect.test", tls=True) as web:
		digest, length = web.get("/64k")
"""
import hashlib
import http.client
import json
import random
import socket
import ssl
import subprocess
import sys

from lab import LabError


class WebClient:
	"""Connects at once; closed at the end of the block, from the client's side first."""

	def __init__(self, lab, address, host, tls=False, port=None):
		self.lab = lab
		self.proc = lab.popen("client", ["/usr/bin/python3", __file__, address, port or (443 if tls else 80), host,
			int(tls)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
		self.port = self._answer()["port"]

	def __enter__(self):
		return self

	def __exit__(self, *_):
		self.close()

	def _answer(self):
		line = self.proc.stdout.readline()
		if not line:
			raise LabError(f"web client: {self.proc.stderr.read()}")
		return json.loads(line)

	def _ask(self, *words):
		self.proc.stdin.write(" ".join(map(str, words)) + "\n")
		self.proc.stdin.flush()
		return self._answer()

	def get(self, path):
		"""(sha256, length) of what is there."""
		answer = self._ask("GET", path)
		if answer["status"] != 200:
			raise LabError(f"GET {path}: {answer}")
		return answer["sha256"], answer["length"]

	def put(self, path, size):
		"""Uploads so many bytes; their sha256."""
		answer = self._ask("PUT", path, size)
		if answer["status"] not in (201, 204):
			raise LabError(f"PUT {path}: {answer}")
		return answer["sha256"]

	def close(self):
		"""Both directions to their ends."""
		code, _out, err = self.lab.stop(self.proc, signum=0)
		if code:
			raise LabError(f"web client: exit {code}: {err}")


def _connect(address, port, host, tls):
	sock = socket.create_connection((address, port), timeout=60)
	if not tls:
		return sock
	context = ssl.create_default_context()
	context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
	return context.wrap_socket(sock, server_hostname=host)


def _get(conn, path):
	conn.request("GET", path)
	answer = conn.getresponse()
	digest, length, buf = hashlib.sha256(), 0, bytearray(1 << 18)
	while n := answer.readinto(buf):
		digest.update(memoryview(buf)[:n])
		length += n
	return {"status": answer.status, "sha256": digest.hexdigest(), "length": length}


def _put(conn, path, size):
	block = random.Random(path).randbytes(1 << 16)
	digest = hashlib.sha256()

	def body():
		for at in range(0, size, len(block)):
			piece = block[:size - at]
			digest.update(piece)
			yield piece

	conn.request("PUT", path, body(), {"Content-Length": str(size)})
	answer = conn.getresponse()
	answer.read()
	return {"status": answer.status, "sha256": digest.hexdigest(), "length": size}


def _main(address, port, host, tls):
	sock = _connect(address, int(port), host, int(tls))
	print(json.dumps({"port": sock.getsockname()[1]}), flush=True)
	conn = http.client.HTTPConnection(host)
	conn.sock, conn.auto_open = sock, 0
	for line in sys.stdin:
		verb, path, *rest = line.split()
		done = _get(conn, path) if verb == "GET" else _put(conn, path, int(rest[0]))
		print(json.dumps(done), flush=True)
	if int(tls):
		sock = sock.unwrap()
	# A socket closed with the server's end still to come would answer that with a RST.
	sock.shutdown(socket.SHUT_WR)
	while sock.recv(4096):
		pass
	sock.close()


if __name__ == "__main__":
	_main(*sys.argv[1:])
