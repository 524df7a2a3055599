#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Connections one after the other: client.py http|https ADDRESS NAME COUNT

Each asks twice, with a pause in which the connection is idle. TLS is 1.3, with a
handshake of its own for each. Exits with 1 if an answer is not what it should be.
"""
import socket
import ssl
import sys
import time

PAUSE = 0.004


def ask(stream, name, last):
	how = "close" if last else "keep-alive"
	stream.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: {how}\r\n\r\n".encode())
	answer = b""
	while last or b"\r\n\r\nok\n" not in answer:
		data = stream.recv(65536)
		if not data:
			break
		answer += data
	if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"ok\n"):
		sys.exit(f"answer: {answer!r}")


def main(scheme, address, name, count):
	context = ssl.create_default_context()
	context.check_hostname = False
	context.verify_mode = ssl.CERT_NONE
	context.minimum_version = ssl.TLSVersion.TLSv1_3
	for _ in range(int(count)):
		stream = socket.create_connection((address, 443 if scheme == "https" else 80), timeout=10)
		if scheme == "https":
			stream = context.wrap_socket(stream, server_hostname=name)
		ask(stream, name, False)
		time.sleep(PAUSE)
		ask(stream, name, True)
		stream.close()


main(*sys.argv[1:])
