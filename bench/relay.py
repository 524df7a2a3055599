# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What relaying costs: Seam's daemon and Seam's kernel relay, beside forwarding and HAProxy.

One connection at a time. CPU is what the whole machine did not idle, per gigabit: the
kernel relay works in softirqs and kernel threads, which have no other owner.
"""
import time

from common import open_lab, say, spread, table, unleash
from lab import SERVER4, LabError, seam_json
from peers import open_socket
from rates import Forwarding, Haproxy, Seam, machine_busy
from servers import LoadServer, client

BULK = 2 << 30
EXCHANGES, WARM_UP = 10_000, 500
SIZES = {"64 B": 64, "16 KB": 16 << 10}
SINK, ECHO = 7000, 7001

POLICY = """
client = "cli";
server = "srv";
rules = ( { name = "relayed"; action = "inspect"; inspectors = ["count"]; relay = "%s";
	until = { verdict = false; time = "1h"; }; } );
"""

NFT_TPROXY = """
table inet lab {
	chain prerouting {
		type filter hook prerouting priority mangle;
		meta l4proto tcp socket transparent 1 meta mark set 1 accept
		iifname "cli" meta nfproto ipv4 tcp dport 7000-7001 tproxy ip to :3130 meta mark set 1 accept
	}
}
"""

HAPROXY = """
global
	nbthread 2
defaults
	mode tcp
	timeout connect 5s
	timeout client 30s
	timeout server 30s
	%s
frontend all
	bind :3130 transparent
	default_backend straight
backend straight
	option transparent
	source 0.0.0.0 usesrc client
"""


class Userspace(Seam):
	name, policy = "Seam, userspace relay", POLICY % "userspace"


class Kernel(Seam):
	name, policy = "Seam, kernel relay", POLICY % "kernel"

	def stop(self):
		stats = seam_json(self.lab, "status")["daemon"]["stats"]
		if stats["bytes"] > stats["kernel_bytes"] / 20:
			raise LabError(f"{self.name}: the daemon moved {stats['bytes']} bytes itself")
		super().stop()


class HaproxyCopy(Haproxy):
	name, config, nft, listens = "HAProxy", HAPROXY % "", NFT_TPROXY, 3130


class HaproxySplice(HaproxyCopy):
	name, config = "HAProxy, splice", HAPROXY % "option splice-request\n\toption splice-response"


MODES = (Forwarding, Userspace, Kernel, HaproxySplice, HaproxyCopy)


def bulk(lab, port):
	"""{"gbits", "cpu_ms"}: per second, and per gigabit."""
	before, began = machine_busy(), time.monotonic()
	report, = client(lab, "source", SERVER4, port, send=BULK, no_hash=True, timeout=60)
	took, cpu = time.monotonic() - began, machine_busy() - before
	if report["end"] != "eof":
		raise LabError(f"bulk: {report}")
	gbit = BULK * 8 / 1e9
	return {"gbits": gbit / (report["duration_us"] / 1e6), "cpu_ms": cpu / gbit * 1e3, "seconds": took}


def exchanges(lab, port, size):
	"""Microseconds of a request and its answer, {"p50", "p99"}."""
	s, request, times = open_socket(lab, "client"), b"?" * size, []
	s.connect((SERVER4, port))
	for i in range(EXCHANGES + WARM_UP):
		began = time.perf_counter_ns()
		s.sendall(request)
		left = size
		while left:
			left -= len(s.recv(left))
		if i >= WARM_UP:
			times.append((time.perf_counter_ns() - began) / 1000)
	s.close()
	times.sort()
	return {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}


def measure(lab):
	seen = bulk(lab, SINK)
	for name, size in SIZES.items():
		seen |= {f"{k}, {name}": v for k, v in exchanges(lab, ECHO, size).items()}
	return seen


def run(rounds):
	seen = {m: [] for m in MODES}
	with open_lab() as lab:
		unleash(lab)
		LoadServer(lab, "sink", SINK, no_hash=True)
		LoadServer(lab, "echo", ECHO, no_hash=True, nodelay=True)
		for r in range(rounds):
			for i in range(len(MODES)):	# each round begins with another
				mode = MODES[(i + r) % len(MODES)](lab)
				seen[type(mode)].append(measure(lab))
				mode.stop()
	return report(seen)


def report(seen):
	say("Relaying, one connection at a time; ratios to Seam's userspace relay:")
	rows, result = [], []
	of = {m: {k: spread([r[k] for r in runs]) for k in runs[0]} for m, runs in seen.items()}
	base = of[Userspace]
	for mode, s in of.items():
		ratio = {k: s[k]["median"] / base[k]["median"] for k in s}
		result.append({"mode": mode.name, "ratio": ratio, **s})
		rows.append((mode.name, f"{s['gbits']['median']:.1f}", f"{s['gbits']['min']:.1f}-{s['gbits']['max']:.1f}",
			f"{ratio['gbits']:.2f}", f"{s['cpu_ms']['median']:.0f}", f"{s['cpu_ms']['min']:.0f}-{s['cpu_ms']['max']:.0f}",
			f"{ratio['cpu_ms']:.2f}", *(f"{s[f'{p}, {size}']['median']:.0f}" for size in SIZES for p in ("p50", "p99"))))
	table(("", "Gbit/s", "spread", "ratio", "CPU ms/Gbit", "spread", "ratio",
		*(f"{size} {p}" for size in SIZES for p in ("p50", "p99"))), rows)
	say("The last four: microseconds of a request and its answer of that size, through a client in Python.\n")
	return {"relay": result}
