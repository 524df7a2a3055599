#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The network lab: client, box and server in network namespaces of their own.

    client eth0 ---- [link] ---- cli  box  srv ---- [link] ---- eth0 server
       10.99.1.2, fd99:1::2    .1, ::1  .1, ::1    10.99.2.2, fd99:2::2

A [link] is nothing, or a namespace with the impairment forwarder (Link below).

A scenario is a function that gets a Tap; see test_forwarding.py:

    @scenario
    def main(tap):
        with Lab() as lab:
            ...
"""
import contextlib
import itertools
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import isolate
import pcap
from tap import Tap

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUTPUT = ROOT / ".output" / "lab"
NETNS = Path("/run/netns")
RUN = Path("/run/lab")	# on the private tmpfs: gone with the scenario

CLIENT4, CLIENT6 = "10.99.1.2", "fd99:1::2"
SERVER4, SERVER6 = "10.99.2.2", "fd99:2::2"
SERVER = {4: SERVER4, 6: SERVER6}

REGIMES = ("on", "box", "off")

# The lab's standard pace, by regime: Mbit/s each end sends at most, and the upper bound of its
# receive buffer. A veth hands packets to the backlog of the receiving CPU, 1000 entries
# (net.core.netdev_max_backlog, which is not per namespace), and drops what is beyond. At this rate
# the CPU may be away for 8 ms, and one connection's window fits in whatever it does. Many bulk
# connections at once need smaller ones (rcvbuf= of tcpload): together below 1000 packets.
PACE = {"on": 2000, "box": 1000, "off": 1000}
WINDOW = {"on": 6 << 20, "box": 1 << 20, "off": 1 << 20}
# With an impaired link: off, 1.3 MB of window, the product of 500 Mbit/s and 20 ms and still not
# more packets than the backlog takes, whatever bursts the forwarder makes for want of a CPU.
WINDOW_LINK = {"on": 4 << 20, "box": 2 << 20, "off": 2 << 20}

# What an end must not notice: reactions of TCP that mean something went wrong.
NOTICED = (
	"TcpRetransSegs", "TcpExtTCPTimeouts", "TcpExtTCPLossProbes", "TcpExtTCPSpuriousRTOs",
	"TcpExtPAWSEstab", "TcpExtPAWSActive", "TcpOutRsts", "TcpEstabResets", "TcpInErrs",
	"TcpInCsumErrors", "TcpExtTCPChallengeACK", "TcpExtTCPSYNChallenge",
	"TcpExtTCPDSACKRecv", "TcpExtTCPDSACKOldSent", "TcpExtBeyondWindow", "TcpExtTCPRcvQDrop",
	"TcpExtTCPAbortOnData", "TcpExtTCPAbortOnTimeout", "TcpExtTCPBacklogDrop",
)

# Not every kernel that Seam runs on counts these: where it does not, they are 0.
COUNTED_LATER = ("TcpExtBeyondWindow",)	# since 6.17

# Legs that a merge makes vanish the kernel counts as resets of established connections.
NOTICED_AT_LEGS = tuple(c for c in NOTICED if c != "TcpEstabResets")

NFT_STATEFUL = """
table inet filter {
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state invalid counter drop
		ct state established,related counter accept
		ct state new counter accept
	}
}
"""

_sequence = itertools.count()


# What sanitizers and valgrind write, see tests/sanitize.
REPORT = re.compile(r"runtime error:|(?:ERROR|WARNING): \w+Sanitizer|^==\d+== ", re.M)


class LabError(Exception):
	"""The lab itself, not what it tests, went wrong."""


def scenario(fn):
	"""Decorator: run fn(tap) in namespaces of its own as the whole program."""
	if fn.__module__ != "__main__":
		return fn
	isolate.enter()
	tap = Tap()
	code = None
	try:
		fn(tap)
	except isolate.Interrupted as stop:
		tap.bail(stop)
		code = 128 + stop.signum
	except Exception as e:	# the report is the message; the traceback tells where
		import traceback
		tap.diag(traceback.format_exc())
		tap.bail(f"{type(e).__name__}: {e}")
	finished = tap.finish()
	sys.exit(code or finished)


def tool(name):
	"""Path of a C helper of the lab, compiled when older than its sources."""
	source, binary = HERE / f"{name}.c", OUTPUT / name
	newest = max(f.stat().st_mtime for f in (source, *HERE.glob("*.h")))
	if not binary.exists() or binary.stat().st_mtime < newest:
		OUTPUT.mkdir(parents=True, exist_ok=True)
		tmp = binary.with_suffix(f".{os.getpid()}.{time.monotonic_ns()}")
		subprocess.run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", tmp, source], check=True)
		tmp.rename(binary)
	return str(binary)


def wait_for(predicate, what, timeout=10):
	"""Poll until predicate() is true and return its value; LabError after timeout seconds."""
	deadline = time.monotonic() + timeout
	while True:
		value = predicate()
		if value:
			return value
		if time.monotonic() > deadline:
			raise LabError(f"timeout: {what}")
		time.sleep(0.005)


class Link:
	"""An impaired link: options of impair(1) without the dashes, per direction if need be.

	Link(delay=10, up={"loss": 1}, seed=7): 10 ms both ways, 1 % lost towards the server.
	"""

	def __init__(self, up=None, down=None, **both):
		self.up, self.down, self.both = up or {}, down or {}, both

	@staticmethod
	def _options(options):
		return [x for k, v in options.items() for x in (f"--{k.replace('_', '-')}", str(v))]

	def argv(self):
		return (self._options(self.both) + ["--ab"] + self._options(self.up)
			+ ["--ba"] + self._options(self.down))

	def per_packet(self):
		"""Does it need packets as they are on a wire, rather than GSO frames?"""
		options = self.both | self.up | self.down
		return any(options.get(k) for k in ("loss", "dup", "reorder"))


class Capture:
	"""tcpdump writing a pcap file; see Lab.capture()."""

	def __init__(self, lab, ns, iface, expression, snaplen):
		self.path = lab.tmp / f"{ns}-{iface}-{next(_sequence)}.pcap"
		self.proc = lab.popen(ns, ["tcpdump", "-i", iface, "-n", "-Z", "root", "-B", "65536",
			"--immediate-mode", "--nano", "-s", str(snaplen), "-w", self.path, expression],
			stderr=subprocess.PIPE, text=True)
		self.lab = lab
		self.lab.wait_line(self.proc, "listening on")

	def stop(self):
		"""End the capture; returns its packets (pcap.Packet). LabError if any is missing."""
		time.sleep(0.05)	# the last packets are on their way through the ring
		self.proc.send_signal(signal.SIGINT)
		text = self.proc.communicate(timeout=10)[1]
		self.lab.forget(self.proc)
		dropped = re.search(r"(\d+) packets? dropped by kernel", text)
		if not dropped or int(dropped[1]):
			raise LabError(f"tcpdump on {self.path.name}: {text}")
		return pcap.read(self.path)


class Lab:
	"""The namespaces, links and addresses, from `with` to the end of the block.

	regime: "on", offloads as veth has them (GSO packets, partial checksums);
		"box", the same with checksums completed by the box (tx off there);
		"off", packets as on a wire, everywhere.
	congestion: congestion control of both ends, of sockets on the box, and of legs unless the policy says.
	stateful: a stateful nft ruleset on the box, as in NFT_STATEFUL.
	client_link, server_link: a Link, or None for a plain veth pair.
	window, pace: upper bound of the ends' receive buffers, bytes; their rate, Mbit/s (PACE).
	loss_probes: leave tail loss probes on. They fire 8 ms after a sub-millisecond round trip, and
		a busy machine or a receiver that does not read takes longer than that over an ack;
		use them together with a Link of some delay.
	keep_time_wait: False sets tcp_max_tw_buckets=0.
	sysctls: more of them for both ends, {"net.ipv4.tcp_sack": 0}.
	mtu: of every interface.
	"""

	def __init__(self, regime="on", congestion="cubic", stateful=False, client_link=None,
		     server_link=None, window=None, keep_time_wait=True, sysctls=None, mtu=1500,
		     pace=None, loss_probes=False):
		if regime not in REGIMES:
			raise ValueError(regime)
		links = [x for x in (client_link, server_link) if x]
		if any(x.per_packet() for x in links):
			regime = "off"
		self.regime = regime
		self.congestion = congestion
		self.stateful = stateful
		self.links = {"client": client_link, "server": server_link}
		self.window = window or (WINDOW_LINK[regime] if links else WINDOW[regime])
		self.pace = pace or PACE[regime]
		self.loss_probes = loss_probes
		self.keep_time_wait = keep_time_wait
		self.sysctls = sysctls or {}
		self.mtu = mtu
		self.run_id = f"{os.getpid() % 1000:x}{next(_sequence):x}"
		self.tmp = RUN / self.run_id
		self.procs = []
		self.names = []
		self.more = []	# interfaces of add_veth(): (namespace, name)
		self.impair = {}
		self._stack = contextlib.ExitStack()

	# Set-up and teardown

	_open = []	# labs in a lab: what one has started is none of the other's business

	def __enter__(self):
		self._open.append(self)
		try:
			self._build()
		except BaseException:
			self.__exit__(*sys.exc_info())
			raise
		return self

	def __exit__(self, kind, _value, _tb):
		left = self._teardown()
		self._open.remove(self)
		if left and kind is None:
			raise LabError("left behind: " + "; ".join(left))

	def _build(self):
		if not os.environ.get(isolate.INNER):
			raise LabError("the lab runs inside isolate.enter() only")
		self.tmp.mkdir()
		self._mounts_before = len(self._bpf_mounts())	# a host has one, as a rule
		subprocess.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"], check=True)
		self._stack.callback(subprocess.run, ["umount", "/sys/fs/bpf"], check=True)
		for ns in ("client", "box", "server"):
			self._add_ns(ns)
		for end, box_if in (("client", "cli"), ("server", "srv")):
			link = self.links[end]
			if link:
				mid = f"{end}link"
				self._add_ns(mid)
				self._sysctl(mid, {"net.ipv6.conf.all.disable_ipv6": 1,
					"net.ipv6.conf.default.disable_ipv6": 1})
				self._veth(end, "eth0", mid, "a" if end == "client" else "b")
				self._veth("box", box_if, mid, "b" if end == "client" else "a")
			else:
				self._veth(end, "eth0", "box", box_if)
		self._pin_sysctls()
		self.steer()
		self._addresses()
		self._offloads()
		self._pace()
		if self.stateful:
			self.run("box", ["nft", "-f", "-"], input=NFT_STATEFUL)
		for end, link in self.links.items():
			if link:
				self.impair[end] = self.popen(f"{end}link",
					[tool("impair"), *link.argv(), "a", "b"],
					stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
				self.wait_line(self.impair[end], "ready")
		self._drops_before = self._count_drops()

	def _add_ns(self, ns):
		subprocess.run(["ip", "netns", "add", self.ns(ns)], check=True)
		self.names.append(ns)
		self.run(ns, ["ip", "link", "set", "lo", "up"])

	def _veth(self, ns_a, if_a, ns_b, if_b):
		subprocess.run(["ip", "-n", self.ns(ns_a), "link", "add", if_a, "mtu", str(self.mtu), "type",
			"veth", "peer", "name", if_b, "mtu", str(self.mtu), "netns", self.ns(ns_b)], check=True)

	def add_veth(self, ns_a, if_a, ns_b, if_b):
		"""One more pair of interfaces, down and without addresses; remove_veth() takes it away."""
		self._veth(ns_a, if_a, ns_b, if_b)
		self.more += [(ns_a, if_a), (ns_b, if_b)]
		self.steer()
		self._offloads()

	def remove_veth(self, ns_a, if_a, ns_b, if_b):
		self.more = [x for x in self.more if x not in ((ns_a, if_a), (ns_b, if_b))]
		self.run(ns_a, ["ip", "link", "del", if_a])

	def steer(self, box=0, ends=1):
		"""One receiving CPU per interface: these.

		A veth queues to the backlog of the CPU that sends, and a flow is sent from several (the
		process, and the softirq its acks arrive on): packets overtake each other, and TCP
		retransmits hundreds of them in a lab without loss. RPS to one CPU keeps the order.
		"""
		for ns, iface in self._interfaces():
			self._receive_on(1 << (box if ns == "box" else ends) % os.cpu_count(), ns, iface)
		self.box_cpu = box % os.cpu_count()

	def _receive_on(self, cpus, ns, iface):
		rps = f"/sys/class/net/{iface}/queues/rx-0/rps_cpus"
		# Here `ip netns exec` is right: it shows the /sys of the namespace.
		subprocess.run(["ip", "netns", "exec", self.ns(ns), "sh", "-c", f"echo {cpus:x} > {rps}"], check=True)

	def steer_seam(self, one_cpu=True):
		"""What comes by the devices of the running Seam is decided on one CPU, that of the box's ports.

		It then leaves in the order in which it was decided. Not one_cpu: as Seam has it again.
		"""
		daemon = seam_json(self, "status")["daemon"]
		for device, cpus in (("veth", (1 << os.cpu_count()) - 1), ("hold_device", 0)):
			self._receive_on(1 << self.box_cpu if one_cpu else cpus, "box", daemon[device]["name"])

	def _interfaces(self):
		ends = [("box", "cli"), ("box", "srv"), ("client", "eth0"), ("server", "eth0")]
		return ends + [(f"{end}link", i) for end, link in self.links.items() if link for i in "ab"] + self.more

	def _addresses(self):
		for end in ("client", "server"):
			self.configure(end)
		for end, link in self.links.items():
			if link:
				self._ip_batch(f"{end}link", "link set dev a up\nlink set dev b up\n")
				self._introduce(end)

	def configure(self, end):
		"""Addresses and routes of the link between an end and the box."""
		box_if, net = {"client": ("cli", 1), "server": ("srv", 2)}[end]
		for ns, iface, host in (("box", box_if, 1), (end, "eth0", 2)):
			# For a second the box could not ask for its neighbours: no link-local address yet.
			self._sysctl(ns, {f"net.ipv6.conf.{iface}.accept_dad": 0})
			self._ip_batch(ns, f"addr add 10.99.{net}.{host}/24 dev {iface}\n"
				f"addr add fd99:{net}::{host}/64 dev {iface} nodad\n"
				f"link set dev {iface} up\n")
		# A route's congctl needs no permission of the initial namespace, the sysctl does.
		self._ip_batch(end, f"route add default via 10.99.{net}.1 congctl {self.congestion}\n"
			f"route add default via fd99:{net}::1 congctl {self.congestion}\n")
		self._ip_batch("box", f"route change 10.99.{net}.0/24 dev {box_if} proto kernel scope link src 10.99.{net}.1 "
			f"congctl {self.congestion}\nroute change fd99:{net}::/64 dev {box_if} proto kernel metric 256 "
			f"congctl {self.congestion}\n")

	@staticmethod
	def next_hop(end):
		"""(namespace, interface) that the end's frames go to."""
		return "box", {"client": "cli", "server": "srv"}[end]

	def new_veth(self, end, port):
		"""The veth between an end and the box, which was deleted, made anew; without addresses, see configure()."""
		self._veth(end, "eth0", "box", port)
		self.steer()
		self._offloads()

	def _introduce(self, end):
		"""Who is far away is not asked for across all the way, as it were over a delayed link: that SYN took twice its time."""
		net, port = {"client": (1, "cli"), "server": (2, "srv")}[end]
		for ns, iface, peer, peer_if, host in (("box", port, end, "eth0", 2), (end, "eth0", "box", port, 1)):
			mac = json.loads(self.run(peer, ["ip", "-j", "link", "show", "dev", peer_if]).stdout)[0]["address"]
			self._ip_batch(ns, "".join(f"neigh replace {address} lladdr {mac} dev {iface} nud reachable\n"
				for address in (f"10.99.{net}.{host}", f"fd99:{net}::{host}")))

	def _pin_sysctls(self):
		quiet = {f"net.ipv6.conf.{which}.{k}": v for which in ("all", "default")
			for k, v in (("accept_ra", 0), ("router_solicitations", 0))}
		ends = quiet | {
			"net.ipv4.tcp_rmem": f"4096 131072 {self.window}",
			"net.ipv4.tcp_wmem": "4096 65536 8388608",
			"net.ipv4.tcp_timestamps": 1,
			"net.ipv4.tcp_sack": 1,
			"net.ipv4.tcp_window_scaling": 1,
			"net.ipv4.tcp_ecn": 2,
			"net.ipv4.tcp_mtu_probing": 0,
			"net.ipv4.tcp_no_metrics_save": 1,
			"net.ipv4.tcp_early_retrans": 3 if self.loss_probes else 0,
			"net.ipv4.tcp_slow_start_after_idle": 0,
		}
		if not self.keep_time_wait:
			ends["net.ipv4.tcp_max_tw_buckets"] = 0
		for end in ("client", "server"):
			self._sysctl(end, ends | self.sysctls)
		self._sysctl("box", quiet | {
			"net.ipv4.ip_forward": 1,
			"net.ipv6.conf.all.forwarding": 1,
			"net.ipv4.conf.all.rp_filter": 0,
			"net.ipv4.conf.default.rp_filter": 0,
			"net.ipv4.conf.all.send_redirects": 0,
			# Seam's legs take it over.
			"net.ipv4.tcp_early_retrans": 3 if self.loss_probes else 0,
		})

	def _offloads(self):
		"""Set the regime; reading it back is test_forwarding.py's business."""
		for ns, iface in self._interfaces():
			if self.regime == "off":
				self.run(ns, ["ethtool", "-K", iface, *"tx off tso off gso off gro off".split()])
			elif self.regime == "box" and ns == "box":
				self.run(ns, ["ethtool", "-K", iface, "tx", "off"])

	def _pace(self):
		"""A rate limit at both ends, see PACE. The queue holds a sender back, it never drops."""
		for end in ("client", "server"):
			self.run(end, ["tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", f"{self.pace}mbit",
				"burst", "256k", "limit", "64m"])

	def _teardown(self):
		"""Undo everything; returns what should not have been there, as text."""
		left = []
		for proc in reversed(self.procs):
			if proc.poll() is None:
				proc.terminate()
		for proc in reversed(self.procs):
			try:
				proc.wait(timeout=5)
			except subprocess.TimeoutExpired:
				left.append(f"{shlex.join(map(str, proc.args))} ignored SIGTERM")
				proc.kill()
				proc.wait()
			for stream in (proc.stdin, proc.stdout, proc.stderr):
				if stream:
					stream.close()
		# Sessions of a server may take a moment; who is there after that is left behind.
		deadline = time.monotonic() + 2
		while self._strangers() and time.monotonic() < deadline:
			time.sleep(0.01)
		for pid, name in self._strangers():
			left.append(f"process {pid} ({name})")
			os.kill(pid, signal.SIGKILL)
		for ns in self.names:
			subprocess.run(["ip", "netns", "del", self.ns(ns)], check=True)
		try:
			self._stack.close()
		except subprocess.CalledProcessError as e:
			left.append(str(e))
		for log in self.tmp.glob("seam-*.log"):
			text = log.read_text(errors="replace")
			if report := REPORT.search(text):
				left.append(f"a report in the daemon's log:\n{text[report.start():][:8000]}")
		subprocess.run(["rm", "-rf", self.tmp], check=True)
		left += [f"namespace {p.name}" for p in NETNS.iterdir() if p.name.startswith(f"seam{self.run_id}-")]
		left += [f"mount {m}" for m in self._bpf_mounts()[self._mounts_before:]]
		return left

	@staticmethod
	def _bpf_mounts():
		return [m for m in Path("/proc/self/mounts").read_text().splitlines() if m.split()[2] == "bpf"]

	def _strangers(self):
		"""Processes in our PID namespace that are neither init, nor us, nor another lab's, nor zombies."""
		known = {1, os.getpid()} | {proc.pid for lab in self._open if lab is not self for proc in lab.procs}
		found = []
		for p in Path("/proc").glob("[0-9]*"):
			try:
				name, state, _ppid = re.match(r"\d+ \((.*)\) (\S) (\d+)", (p / "stat").read_text()).groups()
			except (FileNotFoundError, ProcessLookupError):
				continue
			if int(p.name) not in known and state not in "ZX":
				found.append((int(p.name), name))
		return found

	# Commands in a namespace

	def ns(self, name):
		"""Full name of the namespace of "client", "box", "server"."""
		return f"seam{self.run_id}-{name}"

	def _enter(self, ns, argv):
		# Not `ip netns exec`: that remounts /sys and hides bpffs.
		return ["nsenter", f"--net={NETNS / self.ns(ns)}", "--", *map(str, argv)]

	def _ip_batch(self, ns, text):
		subprocess.run(["ip", "-n", self.ns(ns), "-batch", "-"], input=text, text=True, check=True)

	def _sysctl(self, ns, values):
		self.run(ns, ["sysctl", "-qw", *(f"{k}={v}" for k, v in values.items())])

	def run(self, ns, argv, check=True, timeout=60, **kwargs):
		"""Run argv to its end; CompletedProcess with text stdout and stderr. LabError on failure."""
		kwargs = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | kwargs
		done = subprocess.run(self._enter(ns, argv), timeout=timeout, **kwargs)
		if check and done.returncode:
			raise LabError(f"{ns}: {shlex.join(map(str, argv))}: exit {done.returncode}: {done.stderr}")
		return done

	def popen(self, ns, argv, **kwargs):
		"""Start argv; a Popen that teardown ends by SIGTERM if nobody else has."""
		proc = subprocess.Popen(self._enter(ns, argv), **kwargs)
		self.procs.append(proc)
		return proc

	def forget(self, proc):
		"""A process from popen() has been waited for."""
		self.procs.remove(proc)

	def stop(self, proc, signum=signal.SIGTERM, timeout=10):
		"""Signal a process from popen(), wait; returns (exit code, stdout, stderr)."""
		if proc.poll() is None:
			proc.send_signal(signum)
		out, err = proc.communicate(timeout=timeout)
		self.forget(proc)
		return proc.returncode, out, err

	def wait_line(self, proc, needle, timeout=10):
		"""Read proc's stderr, unbuffered, until a line contains needle; returns what was read."""
		fd, seen = proc.stderr.fileno(), b""
		deadline = time.monotonic() + timeout
		while not any(needle.encode() in line for line in seen.split(b"\n")[:-1]):
			if select.select([fd], [], [], max(0, deadline - time.monotonic()))[0]:
				byte = os.read(fd, 1)
				if byte:
					seen += byte
					continue
			raise LabError(f"{shlex.join(map(str, proc.args))}: no '{needle}': {seen.decode()}")
		return seen.decode()

	# Observation

	def nstat(self, ns):
		"""All counters of a namespace, named as nstat(8) does: TcpRetransSegs, Ip6InReceives.

		Besides the lab's, "legs" is the one of the running Seam that the legs are in.
		"""
		argv = ["cat", "/proc/net/netstat", "/proc/net/snmp", "/proc/net/snmp6"]
		if ns == "legs":
			ns, argv = "box", ["nsenter", "-t", str(seam_json(self, "status")["daemon"]["pid"]), "-n", *argv]
		text = self.run(ns, argv).stdout
		counters, rows = dict.fromkeys(COUNTED_LATER, 0), text.splitlines()
		for row in rows:
			group, colon, rest = row.partition(": ")
			if not colon:
				name, value = row.split()
				counters[name] = int(value)
			elif rest.split()[0].lstrip("-").isdigit():
				counters |= {f"{group}{k}": int(v) for k, v in zip(header, rest.split())}
			else:
				header = rest.split()
		return counters

	@contextlib.contextmanager
	def deltas(self, *namespaces):
		"""with lab.deltas("client", "server") as d: ...; then d["client"]["TcpRetransSegs"]."""
		namespaces = namespaces or ("client", "server")
		before = {ns: self.nstat(ns) for ns in namespaces}
		result = {}
		yield result
		for ns in namespaces:
			after = self.nstat(ns)
			result[ns] = {k: v - before[ns].get(k, 0) for k, v in after.items()}

	def drops(self):
		"""Packets lost between the namespaces since the lab stood, {"box/cli rx": 3}.

		Device and qdisc drops. Before that, neighbour discovery meets interfaces that are not up.
		"""
		return {k: n - self._drops_before.get(k, 0) for k, n in self._count_drops().items()
			if n > self._drops_before.get(k, 0)}

	def queue_drops(self):
		"""drops() without what a TC program dropped, which it does on purpose."""
		return {k: n for k, n in self.drops().items() if "clsact" not in k}

	def _count_drops(self):
		found = {}
		for ns in self.names:
			stats = json.loads(self.run(ns, ["ip", "-j", "-s", "link"]).stdout)
			for link in stats:
				for way in ("rx", "tx"):
					found[f"{ns}/{link['ifname']} {way}"] = link["stats64"][way]["dropped"]
			for q in json.loads(self.run(ns, ["tc", "-j", "-s", "qdisc"]).stdout):
				found[f"{ns}/{q['dev']} {q['kind']}"] = q.get("drops", 0)
		return found

	def ss(self, ns, *args):
		"""Output lines of `ss -tnoiH ARGS` in the namespace, one per socket."""
		return self.run(ns, ["ss", "-tnoiHO", *args]).stdout.splitlines()

	def capture(self, ns, iface, expression="tcp", snaplen=262144):
		"""Start a capture; stop() on the result gives the packets."""
		return Capture(self, ns, iface, expression, snaplen)

	def impair_counters(self, end):
		"""Stop the forwarder of that end's link: {"up": {...}, "down": {...}} of its counters."""
		code, out, err = self.stop(self.impair.pop(end))
		if code:
			raise LabError(f"impair: exit {code}: {err}")
		counters = json.loads(out)
		return {"up": counters["ab"], "down": counters["ba"]}

	# Real clients

	def curl(self, url, *args, source=None, timeout=30):
		"""Fetch url in the client; (sha256 of the body, its length, seconds). Verifies TLS not."""
		import hashlib
		argv = ["curl", "-sS", "-k", "--noproxy", "*", "-m", str(timeout), *args]
		if source:
			argv += ["--interface", source]
		start = time.monotonic()
		proc = self.popen("client", [*argv, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
		digest, length = hashlib.sha256(), 0
		while block := proc.stdout.read1(1 << 20):
			digest.update(block)
			length += len(block)
		code, _out, err = self.stop(proc, signum=0)
		if code:
			raise LabError(f"curl {url}: exit {code}: {err.decode()}")
		return digest.hexdigest(), length, time.monotonic() - start


class Seam:
	"""A running `seam run` on the box; see start_seam()."""

	def __init__(self, lab, argv):
		self.lab, self.log = lab, ""
		self.errors = lab.tmp / f"seam-{next(_sequence)}.log"
		with self.errors.open("w") as f:
			self.proc = lab.popen("box", argv, stderr=f, stdout=subprocess.DEVNULL)
		wait_for(self._ready, f"{shlex.join(map(str, argv))} to be ready", timeout=20)

	def _ready(self):
		self.log = self.errors.read_text(errors="replace")
		if self.proc.poll() is not None:
			raise LabError(f"seam ended with {self.proc.returncode} before it was ready: {self.log}")
		return any("ready" in line for line in self.log.splitlines())

	def stop(self, signum=signal.SIGTERM, timeout=10):
		"""End it; returns its exit code, negative for a signal. Its stderr is in .log then."""
		code = self.lab.stop(self.proc, signum, timeout)[0]
		self.log = self.errors.read_text(errors="replace")
		return code


def seam_binary():
	"""The binary under test: environment SEAM, or .output/seam."""
	path = Path(os.environ.get("SEAM", ROOT / ".output" / "seam"))
	return str(path if path.is_absolute() else ROOT / path)


def start_seam(lab, conf_text=None, args=()):
	"""Start `seam run -c FILE ARGS` on the box, wait until stderr says ready; returns a Seam.

	Legs have the lab's congestion control, where the policy does not say. WORKERS in the environment: with so many, where the policy does not say (make check-workers).
	"""
	argv = [seam_binary(), "run"]
	if conf_text is not None:
		conf = lab.tmp / f"seam-{next(_sequence)}.conf"
		more = {"workers": os.environ.get("WORKERS"), "congestion": f'"{lab.congestion}"'}
		conf.write_text(conf_text + "".join(f"\n{k} = {v};\n" for k, v in more.items() if v and f"{k} =" not in conf_text))
		argv += ["-c", conf]
	return Seam(lab, [*argv, *args])


def seam_json(lab, *args):
	"""Output of `seam ARGS -j` on the box, parsed: seam_json(lab, "flows")."""
	return json.loads(lab.run("box", [seam_binary(), *args, "-j"]).stdout)


def reasons(lab):
	"""Seam's counters that are not 0, by reason."""
	return {r["reason"]: r["count"] for r in seam_json(lab, "stats")["reasons"] if r["count"]}
