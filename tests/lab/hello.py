# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""First bytes of clients, for policies to decide on: ClientHellos and HTTP heads."""
import struct
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "tls"
NAME = b"example.com"	# in the crafted fixtures


def fixture(name):
	return (FIXTURES / f"{name}.bin").read_bytes()


def client_hello(sni=None, alpn=None, name="mlkem768"):
	"""A recorded hello with another server name and first protocol, each as long as before."""
	data = fixture(name)
	for old, new in ((NAME, sni), (b"\x02h2", alpn and b"\x02" + alpn.encode())):
		if new:
			new = new if isinstance(new, bytes) else new.encode()
			if data.count(old) != 1 or len(new) != len(old):
				raise ValueError(f"{name}: {old} for {new}")
			data = data.replace(old, new)
	return data


def in_records(hello, size):
	"""The same handshake message in records of at most so many bytes."""
	message, at = b"", 0
	while at < len(hello):
		length, = struct.unpack_from("!H", hello, at + 3)
		message += hello[at + 5:at + 5 + length]
		at += 5 + length
	pieces = [message[i:i + size] for i in range(0, len(message), size)]
	return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(p)) + p for p in pieces)


def http_head(host, path="/"):
	return (f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: scripted\r\nAccept: */*\r\n"
		"Cookie: " + "crumb=1; " * 20 + "\r\n\r\n").encode()
