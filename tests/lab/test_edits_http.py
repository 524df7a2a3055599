#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The built-in edits, as nginx and curl see them: PROXY protocol headers, header fields of HTTP/1.

Flows that were edited are merged, or stay split, and nobody notices either.
"""
import contextlib
import re
import socket

from byhand import ByHand, flow_to
from daemon import Daemon
from lab import CLIENT4, CLIENT6, NOTICED, SERVER, SERVER4, Lab, scenario, seam_json, start_seam, wait_for
from servers import Nginx, file_sha256, sparse_file
from sockets import accept, connect, listen, outcome, read
from webclient import WebClient

LONG = "x" * 4000
POLICY = """
client = "cli";
server = "srv";
rules = (
	{ name = "v1"; server_port = 8081; action = "inspect"; inspectors = "proxy"; proxy = "v1"; },
	{ name = "v2"; server_port = 8082; action = "inspect"; inspectors = "proxy"; proxy = "v2"; },
	{
		name = "both"; server_port = 8083; action = "inspect";
		inspectors = [ "proxy", "headers" ]; proxy = "v2";
		request = { set = ( { name = "X-Client"; value = "$client:$client_port"; } ); };
		until = { message = 2; };
	},
	{
		name = "edit"; server_port = 8080; action = "inspect"; inspectors = "headers";
		request = {
			set = ( { name = "X-Client"; value = "$client"; } );
			add = ( { name = "X-Seam"; value = "a"; }, { name = "X-Long"; value = "%s"; } );
			remove = [ "Cookie" ];
		};
		response = {
			set = ( { name = "Server"; value = "$$ $server:$server_port"; } );
			remove = "X-Secret";
		};
		until = { verdict = true; };
	},
	{
		name = "first"; server_port = 8084; action = "inspect"; inspectors = [ "http", "headers" ];
		request = { set = ( { name = "X-Client"; value = "first"; } ); };
		until = { message = 2; };
	},
	{
		name = "plain"; server_port = 8085; action = "inspect"; inspectors = "headers";
		request = { set = ( { name = "Cookie"; value = "%s"; } ); };
		until = { verdict = true; };
	},
	{
		name = "short"; server_port = 8086; action = "inspect"; inspectors = "headers";
		request = { set = ( { name = "Cookie"; value = "x"; } ); };
		until = { bytes = 30; };
	},
	{
		name = "strict"; server_port = 8087; action = "inspect"; inspectors = "headers"; fail = "block";
		request = { remove = "Cookie"; };
		until = { verdict = true; };
	}
);
""" % (LONG, LONG)
CLIENT = {4: CLIENT4, 6: CLIENT6}
SIZES = {"10m": 10_000_000}
ECHO = "$http_x_client|$http_x_seam|$http_cookie|$http_x_long"


class Web(Nginx):
	"""Servers that log what a PROXY header told them, and one that tells a client what it sent."""

	def __init__(self, lab):
		self.lab, self.dir = lab, lab.tmp / "nginx"
		self.root = self.dir / "www"
		(self.root / "up").mkdir(parents=True)
		for name, size in SIZES.items():
			sparse_file(self.root / name, size)
		self.sha256 = {name: file_sha256(self.root / name) for name in SIZES}
		served = f"""
		root {self.root};
		location /up/ {{ dav_methods PUT; }}
		location /echo {{ add_header X-Secret secret; return 200 "{ECHO}|$request_uri"; }}
		location /silent {{ return 204; }}
"""
		self.start(f"""
	log_format proxied '$proxy_protocol_addr|$proxy_protocol_port|$proxy_protocol_server_addr|'
		'$proxy_protocol_server_port|$remote_addr|$remote_port|$http_x_client';
	access_log off;
	client_max_body_size 2g;
	{''.join(self._listen(port, " proxy_protocol", served) for port in (8081, 8082, 8083))}
	{''.join(self._listen(port, "", served) for port in (8080, 8084))}
""", "")

	def _listen(self, port, option, served):
		log = f"access_log {self.dir}/proxied.{port}.log proxied;" if option else ""
		return f"server {{ listen {port}{option}; listen [::]:{port}{option}; {log}\n{served}\t}}\n"

	def told(self, port):
		"""What each request on the port was told, so far."""
		path = self.dir / f"proxied.{port}.log"
		return [line.split("|") for line in path.read_text().splitlines()] if path.exists() else []


def raw(lab, request, end=False):
	"""All that the server answers to this, and how; `end`: the client's side ends after it."""
	with connect(lab, SERVER4, 8080) as sock:
		sock.sendall(request.encode())
		if end:
			sock.shutdown(socket.SHUT_WR)
		got, how = outcome(sock)
	return got.decode() if how == "FIN" else how


def proxied(tap, lab, web, daemon, port, family):
	"""A header, a merge, and then much data over the same connection."""
	what = f"proxy on {port}, IPv{family}"
	merges, seen = daemon.stats()["merges"], len(web.told(port))
	with WebClient(lab, SERVER[family], "seam.test", port=port) as client:
		tap.equal(client.get("/10m"), (web.sha256["10m"], SIZES["10m"]), f"{what}: a download arrives whole")
		wait_for(lambda: daemon.stats()["merges"] == merges + 1, "the flow to be merged")
		split = daemon.stats()
		tap.equal(client.get("/10m"), (web.sha256["10m"], SIZES["10m"]), f"{what}: one after the merge as well")
		tap.equal(client.put(f"/up/{port}-{family}", 5_000_000), web.uploaded(f"{port}-{family}"), f"{what}: and an upload")
		tap.equal(daemon.stats()["bytes"], split["bytes"], f"{what}: without the daemon")
	# nginx replaces no $remote_addr here: it is the connection's own
	told = [CLIENT[family], str(client.port), SERVER[family], str(port), CLIENT[family], str(client.port)]
	want = f"{CLIENT[family]}:{client.port}" if port == 8083 else "-"
	wait_for(lambda: len(web.told(port)) == seen + 3, "three requests to be logged")
	got = web.told(port)[seen:]
	tap.equal([g[:6] for g in got], [told] * 3, f"{what}: the server was told who the client is")
	tap.equal((got[0][6], [g[6] for g in got[1:]]), (want, ["-"] * 2), f"{what}: the first request was edited, if any")


WANT = f"{CLIENT[4]}|a||{LONG}"


def curled(tap, lab):
	"""What curl sends and gets."""
	def curl(*args, url="/echo", n=1):
		urls = [f"http://{SERVER4}:8080{url}"] * n
		return lab.run("client", ["curl", "-sS", "-i", "--noproxy", "*", *args, *urls]).stdout.replace("\r\n", "\n")
	got = curl("-H", "Cookie: a=b", "-H", "X-Client: 10.9.9.9", "-H", "x-client: 10.8.8.8")
	tap.ok(got.endswith(f"\n\n{WANT}|/echo"), "fields of a request are set, added and removed", got)
	head = got.partition("\n\n")[0].split("\n")
	tap.ok(f"Server: $ {SERVER4}:8080" in head and sum(h.lower().startswith("server:") for h in head) == 1
		and not any("secret" in h for h in head), "fields of a response are set and removed", got)
	got = curl("-b", "a=b", n=3)
	tap.equal(got.count(f"{WANT}|/echo"), 3, "three requests over one connection, each edited")
	got = curl("-b", "a=b", "-I", n=2)
	tap.equal((got.count(f"Server: $ {SERVER4}:8080"), got.count("secret")), (2, 0), "HEAD: heads without bodies")
	got = curl("-X", "OPTIONS", url="/silent", n=2)
	tap.equal(got.count(f"Server: $ {SERVER4}:8080"), 2, "204: heads without bodies")
	got = curl("--http1.0", "-b", "a=b")
	tap.ok(got.endswith(f"\n\n{WANT}|/echo"), "HTTP/1.0", got)
	got = curl("--http2", "-b", "a=b", n=2)
	tap.equal(got.count(f"{WANT}|/echo"), 2, "an upgrade that is declined: the requests behind it are edited too")


def bodies(tap, lab, web):
	"""Uploads: of known length, in chunks, after 100 Continue."""
	source = web.root / "10m"
	for name, args in (("known", ["-H", "Expect:"]), ("continued", ["-H", "Expect: 100-continue"]),
			("chunked", ["-H", "Transfer-Encoding: chunked", "-H", "Expect:"])):
		url = f"http://{SERVER4}:8080/up/{name}"
		argv = ["curl", "-sS", "-v", "--noproxy", "*", *args, "-b", "a=b", "-T", source, url, "-o", "/dev/null",
			"--next", "-sS", "-b", "a=b", "--noproxy", "*", f"http://{SERVER4}:8080/echo"]
		got = lab.run("client", argv)
		tap.ok(web.uploaded(name) == web.sha256["10m"] and got.stdout == f"{WANT}|/echo",
			f"an upload, {name}, arrives whole, and the request behind it is edited", got.stdout)
		if name == "continued":
			tap.ok("100 Continue" in got.stderr, "100 Continue passes", got.stderr)
	with WebClient(lab, SERVER4, "seam.test", port=8080) as client:
		for _ in range(3):
			tap.equal(client.get("/10m"), (web.sha256["10m"], SIZES["10m"]), "a download through edits arrives whole")


def by_hand(tap, lab):
	"""What no curl sends."""
	get = "GET /echo/{} HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\n{}\r\n"
	n = 50
	got = raw(lab, "".join(get.format(i, "Connection: close\r\n" if i == n - 1 else "") for i in range(n)))
	tap.equal(re.findall(r"\|/echo/(\d+)", got), [str(i) for i in range(n)], "pipelined requests are answered each")
	tap.equal((got.count(WANT), got.count("secret"), got.count(f"Server: $ {SERVER4}:8080")), (n, 0, n),
		"... and edited, as their responses are")
	got = raw(lab, get.format(1, "X-Seam : b\r\nConnection: close\r\n"))
	tap.ok("400 Bad Request" in got and "Server: nginx" in got, "a malformed request reaches the server, unedited behind that", got)
	got = raw(lab, get.format(1, "")[:-4] + "\r\nCook", end=True)
	tap.equal(got, "", "a client that ends amid a name is done with")


def first_only(tap, lab):
	"""A limit of messages, counted once though two inspectors count them."""
	url = f"http://{SERVER4}:8084/echo"
	argv = ["curl", "-sS", "--noproxy", "*", "-H", "X-Client: own", "-w", "\\n", url, url, url]
	got = lab.run("client", argv).stdout
	tap.equal(got.split("\n")[:3], ["first||||/echo", "own||||/echo", "own||||/echo"], "message = 2: one request is edited")


class Talk:
	"""A client and a server that are the scenario's own; rcvbuf: the server's."""

	def __init__(self, lab, port, rcvbuf=0):
		self.lab, self.port = lab, port
		with contextlib.closing(listen(lab, port)) as listener:
			if rcvbuf:
				listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
			self.client = connect(lab, SERVER4, port)
			self.server = accept(listener)

	def __enter__(self):
		return self

	def __exit__(self, *_):
		self.client.close()
		outcome(self.server)
		self.server.close()

	def arrives(self, data):
		return read(self.server, len(data)) == data

	def state(self):
		return [f["flow"]["state"] for f in seam_json(self.lab, "flows") if f["src_port"] == self.client.getsockname()[1]]


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


def small_window(tap, lab):
	"""A field far longer than the server's window is removed, one longer than it is added."""
	with Talk(lab, 8085, rcvbuf=2048) as talk:
		for n in range(2):
			talk.client.sendall(GET + b"Cookie: " + b"c" * 4_000 + b"\r\n fold\r\nA: b\r\n\r\n")
			tap.ok(talk.arrives(GET + b"A: b\r\nCookie: " + LONG.encode() + b"\r\n\r\n"),
				f"long fields through a small window: request {n + 1}")


def amid(tap, lab):
	"""A flow that is to be let go while a field is half removed is let go behind that head."""
	for port, what in ((8086, "a limit"), (8085, "`seam merge`")):
		value = b"x" if port == 8086 else LONG.encode()
		with Talk(lab, port) as talk:
			talk.client.sendall(GET + b"Cookie: one; tw")
			tap.ok(talk.arrives(GET), f"{what} amid a field: what is before it has passed")
			if port == 8085:
				hand = ByHand(flow_to(lab, port, ("split",)))
				hand.ask.send(cmd="merge", id=hand.id, key=hand.key)
				tap.ok(hand.ask.line(5)["ok"], f"{what} amid a field: accepted")
			tap.equal(talk.state(), ["split"], f"{what} amid a field: it stays split")
			talk.client.sendall(b"o\r\n three\r\n\r\n")
			tap.ok(talk.arrives(b"Cookie: " + value + b"\r\n\r\n"), f"{what} amid a field: the head is finished")
			wait_for(lambda: talk.state() == ["merged"], "the flow to be merged")
			talk.client.sendall(GET + b"Cookie: a\r\n\r\n")
			tap.ok(talk.arrives(GET + b"Cookie: a\r\n\r\n"), f"{what} amid a field: and merged then")


def strict(tap, lab):
	"""With fail = "block" nothing passes that could not be edited."""
	with Talk(lab, 8087) as talk:
		talk.client.sendall(GET + b"Cookie: a\r\nX : y\r\nCookie: b\r\n\r\n")
		tap.equal([outcome(s)[1] for s in (talk.client, talk.server)], ["ECONNRESET"] * 2, "malformed, fail = block: reset")


@scenario
def main(tap):
	with Lab() as lab:
		web = Web(lab)
		seam = start_seam(lab, POLICY)
		daemon = Daemon(lab)
		with lab.deltas() as d:
			for port in (8081, 8082, 8083):
				for family in (4, 6):
					proxied(tap, lab, web, daemon, port, family)
			curled(tap, lab)
			bodies(tap, lab, web)
			by_hand(tap, lab)
			first_only(tap, lab)
			# What a leg says only to the box counts as dropped there.
			lost = {k: n for k, n in lab.drops().items() if k != "box/seam0 clsact"}
			tap.equal(lost, {}, "no packet was lost on the way")
			small_window(tap, lab)
			amid(tap, lab)
		for end, counters in d.items():
			tap.zero(counters, NOTICED, f"the {end} noticed nothing")
		strict(tap, lab)
		wait_for(lambda: not any(daemon.conns().values()), "the last flow to end")
		tap.equal(seam.stop(), 0, "seam ends")

