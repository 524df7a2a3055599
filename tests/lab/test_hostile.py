#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Hostile input from both sides: the box goes on forwarding, and counts each case by its reason.

The packet programs' answers to each such packet are tests/unit/bpf's; here it is the whole of it.
"""
import contextlib
import itertools
import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

from lab import CLIENT4, HERE, SERVER, SERVER4, Lab, LabError, reasons, scenario, seam_json, start_seam, wait_for
from servers import LoadServer, Nginx, finish_client, start_client

POLICY = """
client = "cli";
server = "srv";
max_embryos = 1024;
max_flows = %d;
hold = { time = "1s"; bytes = "64k"; };
rules = (
	{ name = "web"; host = "inspect.test"; action = "inspect"; inspectors = ["http"]; },
	{ name = "tls"; sni = "*.inspect.test"; action = "inspect"; inspectors = ["tls"]; },
	{ name = "block"; host = "block.test"; action = "block"; }
);
"""
NOBODY = {"client": ("10.99.1.66", "fd99:1::66"), "server": ("10.99.2.66", "fd99:2::66")}
ECHO, SINK = 7000, 7001
FIXTURES = HERE.parent / "fixtures" / "tls"
SOURCES = itertools.count(40000)


def links(lab, ns):
	return {x["ifname"]: x["address"] for x in json.loads(lab.run(ns, ["ip", "-j", "link"]).stdout)}


def neighbours(lab):
	"""The nobodies live where the ends do, and no kernel speaks for them."""
	for end in ("client", "server"):
		mac = links(lab, end)["eth0"]
		ns, iface = lab.next_hop(end)
		for address in NOBODY[end]:
			lab.run(ns, ["ip", "neigh", "replace", address, "lladdr", mac, "dev", iface, "nud", "permanent"])


def peer(lab, case, *args, end="client", to=None):
	"""Starts a hostile end, see hostile.py."""
	to = to or (("10.99.2.2", "fd99:2::2") if end == "client" else ("10.99.1.2", "fd99:1::2"))
	ns, iface = lab.next_hop(end)
	mac = links(lab, ns)[iface]
	own = NOBODY[end]
	return lab.run(end, ["/usr/bin/python3", HERE / "hostile.py", case, mac, own[0], to[0], own[1], to[1], *args])


def flow_states(lab):
	return {f["flow"]["state"] for f in seam_json(lab, "flows")}


def left(lab):
	return {t["name"]: t["entries"] for t in seam_json(lab, "stats")["tables"] if t["name"] in ("legs", "holds")}


class Good:
	"""The traffic that has to go on: one long connection, and short ones beside each case."""

	def __init__(self, tap, lab, web, sent=2_000_000):
		"""sent: by the pause, 200 kB take a second."""
		self.tap, self.lab, self.web, self.sent = tap, lab, web, sent
		self.source = next(SOURCES)
		self.long = start_client(self.lab, "source", SERVER4, ECHO, bind=f"0.0.0.0@{self.source}", chunk=2000, pause=10,
			send=sent, seed=3, expect=3, recv=sent, timeout=120)

	def end(self, what):
		report, = finish_client(self.lab, self.long, timeout=120)
		self.tap.ok(report["end"] == "eof" and report["rx_bytes"] == self.sent
			and report["tx_sha256"] == report["rx_sha256"], f"{what}: the long connection arrives whole", report)

	@contextlib.contextmanager
	def beside(self, what, least):
		"""The case is done in the block; least: {reason or reason+reason: how often it is counted}."""
		before, moved = reasons(self.lab), {}

		def counted():
			moved.update((r, n - before.get(r, 0)) for r, n in reasons(self.lab).items())
			return all(sum(moved.get(x, 0) for x in r.split("+")) >= n for r, n in least.items())

		yield
		with contextlib.suppress(LabError):
			wait_for(counted, what, timeout=5)
		self.tap.ok(counted(), f"{what}: counted as {least}", moved)
		broken = [x for family in SERVER for x in self.short(family)]
		self.tap.equal(broken, [], f"{what}: good connections arrive whole")

	def short(self, family):
		"""Fetches a file over connections that are passed and inspected; yields what went wrong."""
		address = f"[{SERVER[family]}]" if family == 6 else SERVER[family]
		for url in ("http://passed.test", "http://inspect.test", "https://www.passed.test", "https://www.inspect.test"):
			got = self.lab.curl(f"{url}/64k", "--connect-to", f"::{address}:", "-m", "10")
			if got[0] != self.web.sha256["64k"]:
				yield family, url, got


def streams():
	"""What a client may say that no client would: (name, port, bytes, {reason: at the least})."""
	def record(data, length=None):
		return b"\x16\x03\x01" + (len(data) if length is None else length).to_bytes(2, "big") + data

	def records(data, size):
		return b"".join(record(data[i:i + size]) for i in range(0, len(data), size))

	def hello(length):
		"""A ClientHello of that length in all, most of it padding."""
		rest = length - 4 - 43
		return b"\x01" + (length - 4).to_bytes(3, "big") + b"\x03\x03" + bytes(32) + b"\0\0\x02\x13\x01\x01\0" \
			+ rest.to_bytes(2, "big") + b"\0\x15" + (rest - 4).to_bytes(2, "big") + bytes(rest - 4)

	real = (FIXTURES / "openssl_tls13.bin").read_bytes()
	# Once over each family. The server may reset before the last held packet has gone on.
	other, never, either = {"default+rst": 2}, {"undecided": 2}, {"default+undecided": 2}
	yield "record of 65535 bytes", 443, record(hello(65535), 65535), other
	yield "ClientHello of 16 MiB", 443, record(b"\x01\xff\xff\xff" + hello(1000)[4:]), other
	yield "ClientHello beyond the hold limit", 443, records(hello(65540), 16384)[:-10], never
	yield "4000 records of one byte", 443, records(hello(60000)[:4000], 1), never
	yield "64 KiB of empty records", 443, record(b"") * 13107, other
	yield "a request line of 1 MB", 80, b"GET /" + b"a" * 1_000_000, either
	yield "a header line of 1 MB", 80, b"GET / HTTP/1.1\r\nHost: passed.test\r\nA: " + b"a" * 1_000_000, either
	yield "100000 headers", 80, b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 100_000, either
	yield "half a ClientHello, then nothing", 443, real[:len(real) // 2], never
	yield "half a request, then nothing", 80, b"GET / HTTP/1.1\r\nHost: insp", never


def say(host, port, data):
	"""In the client: says all of it, as long as the server listens; gives a hold, of a second, time to pass."""
	with socket.create_connection((host, port), timeout=1.3) as s, contextlib.suppress(OSError):
		s.sendall(data)
		while s.recv(65536):
			pass


def client_bytes(lab, good):
	for what, port, data, least in streams():
		with good.beside(what, least):
			lab.run("client", ["/usr/bin/python3", __file__, "say", port, *SERVER.values()], input=data, text=False)


def warm_up(lab):
	"""A daemon under valgrind is slow at what it does for the first time: longer than is waited for it."""
	for _ in range(3):
		lab.run("client", ["curl", "-s", "-m", "5", "--connect-to", f"::{SERVER4}:", "http://inspect.test/64k"],
			check=False, text=False)


def packets(lab, good):
	with good.beside("RST outside the window", {"rst_window": 3}):
		# While the long connection is there for sure.
		peer(lab, "rst_window", good.source, ECHO, CLIENT4)
	for end in NOBODY:
		with good.beside(f"malformed headers from the {end}", {"malformed": 17}):
			peer(lab, "malformed", end=end)
		with good.beside(f"fragments from the {end}", {"fragment": 10}):
			peer(lab, "fragments", SINK, end=end)
	with good.beside("options of bad length", {"tcp_option": 12}):
		peer(lab, "tcp_options", SINK)
	with good.beside("IP options and extension headers", {"ip_options": 3}):
		peer(lab, "ip_options", SINK)
	with good.beside("SYN with data", {"syn_data": 2}):
		peer(lab, "syn_data", SINK)
	with good.beside("simultaneous open", {"simultaneous_open": 2}):
		peer(lab, "syn", 25000, 25001, end="client", to=NOBODY["server"])
		peer(lab, "syn", 25001, 25000, end="server", to=NOBODY["client"])
	with good.beside("port reuse while the old flow lingers", {"reused": 2}):
		peer(lab, "reuse", SINK)


def flood(tap, lab, good):
	held = {f["flow_id"] for f in seam_json(lab, "flows") if f["flow"]["state"] != "closing"}
	with good.beside("SYN flood", {"new": 5000}):
		peer(lab, "flood", 5000, to=NOBODY["server"])
		left = {f["flow_id"] for f in seam_json(lab, "flows")}
		tap.ok(held and held <= left, f"{len(held)} established flows outlive the flood", held - left)
	table = {t["name"]: t for t in seam_json(lab, "stats")["tables"]}["embryos"]
	tap.ok(table["entries"] <= table["size"] == 1024, "which stays in a table of its own", table)


@contextlib.contextmanager
def attacked(max_flows):
	"""lab, the server for what is good, and Seam with a table of that size."""
	with Lab() as lab:
		neighbours(lab)
		web = Nginx(lab, sizes={"64k": 64 << 10})
		LoadServer(lab, "echo", ECHO, expect=3)
		LoadServer(lab, "sink", SINK)
		seam = start_seam(lab, POLICY % max_flows)
		warm_up(lab)
		yield lab, web, seam


def everything(tap):
	with attacked(4096) as (lab, web, seam):
		good = Good(tap, lab, web)
		packets(lab, good)
		flood(tap, lab, good)
		good.end("packets and a flood")
		good = Good(tap, lab, web)
		client_bytes(lab, good)
		good.end("what its client says")
		wait_for(lambda: not flow_states(lab) & {"held", "splitting", "split", "merging"}, "flows to be let go")
		# A timer looks once more, when the daemon's patience would be over.
		wait_for(lambda: not any(left(lab).values()), "the last timer to run")
		tap.equal(left(lab), {"legs": 0, "holds": 0}, "no leg and no timer is left")
		tap.equal(seam.stop(), 0, "seam ends with 0 on SIGTERM")


def full_table(tap):
	with attacked(16) as (lab, web, seam):
		good = Good(tap, lab, web, 500_000)
		with good.beside("a full flow table", {"table_full": 20}):
			peer(lab, "table", SINK, 40)
			tap.equal(good.long.poll(), None, "while the long connection is there")
		table = {t["name"]: t for t in seam_json(lab, "stats")["tables"]}["flows"]
		tap.ok(table["entries"] == table["size"] == 16, "the table is full", table)
		good.end("a full flow table")
		tap.equal(seam.stop(), 0, "seam ends with 0 on SIGTERM")


if sys.argv[1:2] == ["say"]:
	said = sys.stdin.buffer.read()
	with ThreadPoolExecutor() as pool:
		list(pool.map(lambda host: say(host, int(sys.argv[2]), said), sys.argv[3:]))
	sys.exit()


@scenario
def main(tap):
	everything(tap)
	full_table(tap)
