# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The lab with a bump in the wire: the box has no address, and the ends are on one subnet.

    client eth0 ---- cli  box  srv ---- eth0 server
       10.99.1.2/16, fd99:1::2/16          10.99.2.2/16, fd99:2::2/16

With wires=2 there is another: client eth1 ---- cli2  box  srv2 ---- eth1 server.
"""
import json
import os
import subprocess
import time

from lab import HERE, OUTPUT, Lab

# Tags that the ends' frames have: outer first, as (ethertype, VLAN).
UNTAGGED, TAGGED, QINQ = (), ((0x8100, 5),), ((0x88a8, 100), (0x8100, 5))
NAMES = {UNTAGGED: "untagged", TAGGED: "tagged", QINQ: "two tags"}
POLICY = """
client = "cli";
server = "srv";
mode = "wire";
"""
XDP = 'xdp = "native";\n'
# Of frames that scenarios make up; the last byte tells them apart.
MAC_PREFIX = bytes.fromhex("025ea30000")


def tags_object():
	"""tags.bpf.c, compiled when older than its source."""
	source, obj = HERE / "tags.bpf.c", OUTPUT / "tags.bpf.o"
	if not obj.exists() or obj.stat().st_mtime < source.stat().st_mtime:
		OUTPUT.mkdir(parents=True, exist_ok=True)
		include = f"/usr/include/{subprocess.run(['cc', '-print-multiarch'], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()}"
		tmp = obj.with_suffix(f".{os.getpid()}.{time.monotonic_ns()}")
		subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-Wall", "-Wextra", "-I", include, "-c", "-o", tmp,
			source], check=True)
		tmp.rename(obj)
	return obj


class WireLab(Lab):
	"""Lab(...) with one or two wires, and ends whose frames have `tags`."""

	def __init__(self, *args, wires=1, tags=UNTAGGED, **kwargs):
		super().__init__(*args, **kwargs)
		self.wires, self.tags = wires, tags

	def _interfaces(self):
		second = [("box", "cli2"), ("box", "srv2"), ("client", "eth1"), ("server", "eth1")]
		return super()._interfaces() + (second if self.wires > 1 else [])

	def steer(self, box=0, ends=1):
		if self.wires > 1:
			for end, box_if in (("client", "cli2"), ("server", "srv2")):
				self._veth(end, "eth1", "box", box_if)
		super().steer(box, ends)

	def configure(self, end):
		net = {"client": 1, "server": 2}[end]
		self._sysctl(end, {"net.ipv6.conf.eth0.accept_dad": 0})
		self._ip_batch(end, f"addr add 10.99.{net}.2/16 dev eth0\naddr add fd99:{net}::2/16 dev eth0 nodad\n")
		for i in range(self.wires):
			self._ip_batch(end, f"link set dev eth{i} up\n")
		self._route(end)
		self._tag(end)

	def _route(self, end, *more):
		net = {"client": 1, "server": 2}[end]
		how = " ".join(("congctl", self.congestion, *more))
		self._ip_batch(end, f"route change 10.99.0.0/16 dev eth0 src 10.99.{net}.2 {how}\n"
			f"route replace fd99::/16 dev eth0 metric 1 {how}\n")

	@staticmethod
	def next_hop(end):
		return {"client": "server", "server": "client"}[end], "eth0"

	def ready_for_xdp(self):
		"""The regime "off" as native XDP on a wire needs it: NAPI at the ends, and tags in the frames.

		A packet that comes out of XDP takes a page of a receiver's buffer, which would overrun, and one of the
		256 places of a veth's ring: the ends have large buffers, and windows of 90 packets.
		"""
		for end in ("client", "server"):
			self.run(end, ["ethtool", "-K", "eth0", "gro", "on", "txvlan", "off"])
			self._sysctl(end, {"net.ipv4.tcp_rmem": "4096 8388608 8388608"})
			self._route(end, "window", "131072")
		for port in ("cli", "srv"):
			self.run("box", ["ethtool", "-K", port, "rxvlan", "off"])

	def second_way(self, end, verb):
		"""What that end sends takes the second wire from now on ("add"), or the first one again ("del")."""
		peer, net = ("client", 1) if end == "server" else ("server", 2)
		mac = macs(self, "eth1")[peer].hex(":")
		mine = {"server": 2, "client": 1}[end]
		if verb == "add":
			self._ip_batch(end, "".join(f"neigh replace {a} lladdr {mac} dev eth1 nud permanent\n"
				for a in (f"10.99.{net}.2", f"fd99:{net}::2")))
		self._ip_batch(end, f"route {verb} 10.99.{net}.2/32 dev eth1 src 10.99.{mine}.2 congctl {self.congestion}\n"
			f"route {verb} fd99:{net}::2/128 dev eth1 src fd99:{mine}::2 metric 1 congctl {self.congestion}\n")

	def _tag(self, end):
		if not self.tags:
			return
		obj = tags_object()
		kind = {TAGGED: "one", QINQ: "two"}[self.tags]
		self.run(end, ["tc", "qdisc", "add", "dev", "eth0", "clsact"])
		for way, what in (("egress", "put"), ("ingress", "take")):
			self.run(end, ["tc", "filter", "add", "dev", "eth0", way, "bpf", "da", "obj", obj, "sec", f"tc/{what}_{kind}"])


def macs(lab, iface="eth0"):
	"""The ends' MAC addresses."""
	def one(ns):
		link, = json.loads(lab.run(ns, ["ip", "-j", "link", "show", "dev", iface]).stdout)
		return bytes.fromhex(link["address"].replace(":", ""))
	return {ns: one(ns) for ns in ("client", "server")}
