#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Real servers for the lab's server namespace, and their clients."""
import hashlib
import itertools
import json
import os
import random
import smtplib
import socketserver
import subprocess
import sys
from pathlib import Path

from lab import SERVER4, LabError, tool, wait_for

SIZES = {"1b": 1, "64k": 64 << 10, "10m": 10_000_000, "200m": 200_000_000}
_STRIDE, _BLOCK = 64 << 10, 4096
_sequence = itertools.count()


def sparse_file(path, size, seed=1):
	"""A file that costs little: 4 KiB of random bytes in every 64 KiB, small ones all random."""
	rng = random.Random(f"{seed} {size}")
	with open(path, "wb") as f:
		if size <= 1 << 20:
			f.write(rng.randbytes(size))
		else:
			for at in range(0, size, _STRIDE):
				f.seek(at)
				f.write(rng.randbytes(min(_BLOCK, size - at)))
			f.truncate(size)


def file_sha256(path):
	with open(path, "rb") as f:
		return hashlib.file_digest(f, "sha256").hexdigest()


def self_signed(directory, name="server.seam.test"):
	"""A fresh ECDSA P-256 key and certificate: (certificate path, key path)."""
	cert, key = Path(directory) / "cert.pem", Path(directory) / "key.pem"
	subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
		"-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}",
		"-addext", f"subjectAltName=DNS:{name}"], check=True, stderr=subprocess.DEVNULL)
	return cert, key


def listening(lab, port, ns="server"):
	return lab.run(ns, ["ss", "-tlnH", f"sport = :{port}"]).stdout.strip()


class Nginx:
	"""HTTP on 80 and TLS on 443, both families; PUT to /up/NAME stores a file.

	sizes: {file name: bytes}. sha256: {file name: digest}. accesses(): what it logged.
	"""

	def __init__(self, lab, sizes=None, protocols="TLSv1.3", keepalive=60):
		self.lab = lab
		self.dir = lab.tmp / "nginx"
		self.root = self.dir / "www"
		(self.root / "up").mkdir(parents=True)
		sizes = SIZES if sizes is None else sizes
		for name, size in sizes.items():
			sparse_file(self.root / name, size)
		self.sha256 = {name: file_sha256(self.root / name) for name in sizes}
		self.start(f"""
	log_format ends '$remote_addr|$remote_port|$server_addr|$scheme|$status|$body_bytes_sent|$request_uri';
	access_log {self.dir}/access.log ends;
	sendfile on;
	tcp_nopush on;
	keepalive_timeout {keepalive};
	client_max_body_size 2g;
""", f"""
		ssl_protocols {protocols};
		root {self.root};
		location /up/ {{ dav_methods PUT; }}
""")

	def start(self, http, server):
		"""Run it in self.dir, on ports 80 and 443, with these lines besides in its blocks."""
		cert, key = self_signed(self.dir)
		temp = "".join(f"\t{kind}_temp_path {self.dir}/{kind};\n"
			for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
		(self.dir / "nginx.conf").write_text(f"""
user root;
worker_processes 2;
daemon off;
pid {self.dir}/pid;
error_log {self.dir}/error.log warn;
events {{ worker_connections 8192; }}
http {{
{temp}{http}
	server {{
		listen 80 backlog=4096;
		listen [::]:80 backlog=4096;
		listen 443 ssl backlog=4096;
		listen [::]:443 ssl backlog=4096;
		ssl_certificate {cert};
		ssl_certificate_key {key};
{server}	}}
}}
""")
		self.proc = self.lab.popen("server",
			["nginx", "-c", self.dir / "nginx.conf", "-e", self.dir / "error.log"])
		wait_for(lambda: self.alive() and listening(self.lab, 443), "nginx to listen")

	def alive(self):
		if self.proc.poll() is not None:
			raise LabError(f"nginx: {(self.dir / 'error.log').read_text()}")
		return True

	def accesses(self):
		"""[{addr, port, server, scheme, status, bytes, uri}] as the server saw them."""
		keys = ("addr", "port", "server", "scheme", "status", "bytes", "uri")
		log = (self.dir / "access.log").read_text()
		return [dict(zip(keys, line.split("|"))) for line in log.splitlines()]

	def uploaded(self, name):
		"""SHA-256 of what was PUT to /up/name."""
		return file_sha256(self.root / "up" / name)


def _options(options):
	out = []
	for k, v in options.items():
		if v is not False and v is not None:
			out += [f"--{k.replace('_', '-')}"] + ([] if v is True else [str(v)])
	return out


class LoadServer:
	"""tcpload --listen on [::] (both families): LoadServer(lab, "echo", 7000, recv=...)."""

	def __init__(self, lab, mode, port, ns="server", address="::", **options):
		self.lab, self.port = lab, port
		self.log = lab.tmp / f"tcpload-{ns}-{port}.json"
		with self.log.open("w") as out:
			self.proc = lab.popen(ns, [tool("tcpload"), "--listen", *_options(options), mode, address, port],
				stdout=out, stderr=subprocess.PIPE)
		lab.wait_line(self.proc, "ready")

	def results(self, count=0, timeout=10):
		"""Reports of connections that have ended; waits until there are `count` of them."""
		def read():
			lines = self.log.read_text().splitlines()
			return lines if len(lines) >= count else None
		lines = read() if not count else wait_for(read, f"{count} reports of tcpload", timeout)
		return [json.loads(line) for line in lines]

	def stop(self):
		"""End it; returns all reports, connections still open with "end": "killed"."""
		self.lab.stop(self.proc)
		return self.results()


def start_client(lab, mode, host, port, ns="client", **options):
	"""Start tcpload as a client; finish_client() on the result."""
	# To a file: thousands of reports would fill a pipe that nobody reads yet.
	log = lab.tmp / f"tcpload-{ns}-{next(_sequence)}.json"
	with log.open("w") as out:
		proc = lab.popen(ns, [tool("tcpload"), *_options(options), mode, host, port],
			stdout=out, stderr=subprocess.PIPE, text=True)
	proc.log = log
	return proc


def finish_client(lab, proc, timeout=60):
	"""Wait for a client; the reports of its connections."""
	_code, _out, err = lab.stop(proc, signum=0, timeout=timeout)
	if err:
		raise LabError(f"tcpload: {err}")
	return [json.loads(line) for line in proc.log.read_text().splitlines()]


def client(lab, mode, host, port, timeout=60, **options):
	"""Run tcpload as a client to its end: client(lab, "source", SERVER4, 7000, send=10**6)."""
	return finish_client(lab, start_client(lab, mode, host, port, timeout=timeout, **options), timeout + 5)


class Sshd:
	"""OpenSSH with keys of its own; run() executes a command over it from the client."""

	def __init__(self, lab, port=2222):
		self.lab, self.port = lab, port
		self.dir = lab.tmp / "sshd"
		self.dir.mkdir(mode=0o700)
		os.makedirs("/run/sshd", exist_ok=True)	# on the lab's own tmpfs
		for name in ("host", "user"):
			subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.dir / name], check=True)
		(self.dir / "authorized").write_text((self.dir / "user.pub").read_text())
		(self.dir / "config").write_text(f"""
Port {port}
ListenAddress 0.0.0.0
ListenAddress ::
HostKey {self.dir}/host
AuthorizedKeysFile {self.dir}/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
""")
		self.proc = lab.popen("server", ["/usr/sbin/sshd", "-D", "-f", self.dir / "config", "-E", self.dir / "log"])
		wait_for(lambda: listening(lab, port), "sshd to listen")

	def argv(self, command, host=SERVER4):
		return ["ssh", "-F", "none", "-i", self.dir / "user", "-p", str(self.port), "-o", "BatchMode=yes",
			"-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
			"-o", "LogLevel=ERROR", f"root@{host}", command]

	def run(self, command, host=SERVER4, **kwargs):
		"""CompletedProcess of the command, run over SSH; kwargs as for Lab.run."""
		return self.lab.run("client", self.argv(command, host), **kwargs)


class Greeter:
	"""A server that speaks first: just enough SMTP for smtplib; send() is its client."""

	def __init__(self, lab, port=25, delay=0.0):
		self.lab, self.port = lab, port
		self.proc = lab.popen("server", ["/usr/bin/python3", __file__, "greeter", port, delay])
		wait_for(lambda: listening(lab, port), "greeter to listen")

	def send(self, body, host=SERVER4):
		"""Mail body (text lines) from the client; the SHA-256 the server answers with."""
		argv = ["/usr/bin/python3", __file__, "mail", host, self.port]
		return self.lab.run("client", argv, input=body).stdout.strip()


class _Smtp(socketserver.StreamRequestHandler):
	delay = 0.0

	def say(self, text):
		self.wfile.write(text.encode() + b"\r\n")

	def handle(self):
		import time
		time.sleep(self.delay)
		self.say("220 server.seam.test ESMTP")
		while line := self.rfile.readline():
			verb = line[:4].upper()
			if verb == b"DATA":
				self.say("354 go on")
				body = hashlib.sha256()
				while (line := self.rfile.readline()) not in (b".\r\n", b""):
					body.update(line[1:] if line.startswith(b"..") else line)
				self.say(f"250 {body.hexdigest()}")
			elif verb == b"QUIT":
				self.say("221 bye")
				return
			else:
				self.say("250 ok")


class _SmtpServer(socketserver.ThreadingTCPServer):
	allow_reuse_address = True
	daemon_threads = True
	address_family = socketserver.socket.AF_INET6


def _greeter(port, delay):
	_Smtp.delay = float(delay)
	with _SmtpServer(("::", int(port)), _Smtp) as server:
		server.serve_forever()


def _mail(host, port):
	with smtplib.SMTP(host, int(port), timeout=30) as smtp:
		smtp.ehlo("client.seam.test")
		smtp.mail("client@seam.test")
		smtp.rcpt("server@seam.test")
		code, text = smtp.data(sys.stdin.read())
		if code != 250:
			raise SystemExit(f"DATA: {code} {text}")
		print(text.decode())


if __name__ == "__main__":
	{"greeter": _greeter, "mail": _mail}[sys.argv[1]](*sys.argv[2:])
