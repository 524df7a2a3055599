# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Connections per second with a verdict by name, through Seam and beside it.

Every connection is a full handshake, one request, and the end. CPU is what the
whole machine did not idle, per connection: softirqs have no other owner.
"""
import os
import re
import shutil
import time
from pathlib import Path

from common import PASS, POLICY, Web, open_lab, say, spread, table, unleash
from lab import NFT_STATEFUL, LabError, seam_json, start_seam, wait_for
from servers import listening

TICK = os.sysconf("SC_CLK_TCK")
CPUS = os.cpu_count()

NFT_TPROXY = """
table inet lab {
	chain prerouting {
		type filter hook prerouting priority mangle;
		meta l4proto tcp socket transparent 1 meta mark set 1 accept
		iifname "cli" meta nfproto ipv4 tcp dport 80 tproxy ip to :3128 meta mark set 1 accept
		iifname "cli" meta nfproto ipv4 tcp dport 443 tproxy ip to :3129 meta mark set 1 accept
	}
}
"""

HAPROXY = f"""
global
	nbthread 2
	maxconn 4000
defaults
	mode tcp
	timeout connect 5s
	timeout client 30s
	timeout server 30s
frontend web
	bind :3128 transparent
	tcp-request inspect-delay 5s
	tcp-request content reject unless HTTP
	tcp-request content accept if {{ req.hdr(host) -i {PASS} }}
	tcp-request content reject
	default_backend straight
frontend tls
	bind :3129 transparent
	tcp-request inspect-delay 5s
	tcp-request content reject unless {{ req.ssl_hello_type 1 }}
	tcp-request content accept if {{ req.ssl_sni -i {PASS} }}
	tcp-request content reject
	default_backend straight
backend straight
	option transparent
	source 0.0.0.0 usesrc client
"""

# The same flows when the SYN already decides: tracked in the kernel, the daemon never hears of them.
POLICY_SYN = 'client = "cli"; server = "srv"; default = "pass";\n'


class Forwarding:
	name, pids = "forwarding", ()

	def __init__(self, lab):
		self.lab = lab

	def verdicts(self):
		"""How many flows were decided by their first payload, so far."""
		return 0

	def stop(self):
		pass


class Conntrack(Forwarding):
	name = "forwarding, conntrack"

	def __init__(self, lab):
		super().__init__(lab)
		lab.run("box", ["nft", "-f", "-"], input=NFT_STATEFUL)

	def stop(self):
		self.lab.run("box", ["nft", "flush", "ruleset"])


class Seam(Forwarding):
	name, policy = "Seam, held for a verdict", POLICY

	def __init__(self, lab):
		super().__init__(lab)
		self.seam = start_seam(lab, self.policy)
		self.pids = (self.seam.proc.pid,)

	def verdicts(self):
		return sum(r["count"] for r in seam_json(self.lab, "stats")["reasons"] if r["reason"] == "first_payload")

	def stop(self):
		if self.seam.stop():
			raise LabError(f"seam: {self.seam.log}")


class SeamName(Seam):
	name, policy = "Seam, the kernel by name", POLICY.replace('decide = "daemon"', 'decide = "kernel"')

	def verdicts(self):
		"""Here those that were not held, but settled."""
		return sum(r["count"] for r in seam_json(self.lab, "stats")["reasons"] if r["reason"] == "settled")


class SeamSyn(Seam):
	name, policy = "Seam, the SYN decides", POLICY_SYN


class Haproxy(Forwarding):
	name, config, nft, listens = "HAProxy, transparent", HAPROXY, NFT_TPROXY, 3129

	def __init__(self, lab):
		super().__init__(lab)
		conf = lab.tmp / "haproxy.cfg"
		conf.write_text(self.config)
		lab.run("box", ["nft", "-f", "-"], input=self.nft)
		lab.run("box", ["ip", "rule", "add", "fwmark", "1", "lookup", "100"])
		lab.run("box", ["ip", "route", "add", "local", "default", "dev", "lo", "table", "100"])
		self.proc = lab.popen("box", ["haproxy", "-db", "-q", "-f", conf])
		self.pids = (self.proc.pid,)
		wait_for(lambda: listening(lab, self.listens, "box"), "haproxy to listen")

	def stop(self):
		self.lab.stop(self.proc)
		self.lab.run("box", ["nft", "flush", "ruleset"])
		self.lab.run("box", ["ip", "rule", "del", "fwmark", "1", "lookup", "100"])
		self.lab.run("box", ["ip", "route", "flush", "table", "100"])


MODES = (Forwarding, Conntrack, SeamSyn, SeamName, Seam, Haproxy)


def machine_busy():
	"""CPU seconds that all CPUs together were not idle; only differences mean something."""
	fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
	idle, iowait, steal = (int(fields[i]) for i in (4, 5, 8))
	return time.monotonic() * CPUS - (idle + iowait + steal) / TICK


def processes_busy(pids=None):
	"""CPU seconds of these processes, or of all in the lab."""
	total = 0
	for pid in pids if pids is not None else [p.name for p in Path("/proc").glob("[0-9]*")]:
		for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
			try:
				total += int(stat.read_text().split()[0])
			except (FileNotFoundError, ProcessLookupError):
				pass
	return total / 1e9


def load(lab, mode, scheme, seconds):
	"""One measurement: {"rate", "cpu_us", "box_us", "decided", "strangers"}."""
	argv = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-H", "Connection: close", f"{scheme}://{PASS}/"]
	decided = mode.verdicts()
	before = machine_busy(), processes_busy(), processes_busy(mode.pids)
	proc = lab.popen("client", argv, stdout=-1, stderr=-1, text=True)
	out = proc.stdout.read()
	_pid, status, usage = os.wait4(proc.pid, 0)
	proc.returncode = os.waitstatus_to_exitcode(status)
	lab.forget(proc)
	after = machine_busy(), processes_busy(), processes_busy(mode.pids)
	busy, ours, box = (b - a for a, b in zip(before, after))
	ours += usage.ru_utime + usage.ru_stime
	counted = re.search(r"(\d+) requests in", out)
	rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
	bad = re.search(r"(Socket errors.*|Non-2xx.*)", out)
	if proc.returncode or not counted or not int(counted[1]):
		raise LabError(f"{mode.name}: wrk: {out}{proc.stderr.read()}")
	if bad:
		say(f"# {mode.name}, {scheme}: {bad[1]}")
	n = int(counted[1])
	return {"rate": float(rate[1]), "cpu_us": busy / n * 1e6, "box_us": box / n * 1e6,
		"decided": (mode.verdicts() - decided) / n, "strangers": max(0, busy - ours) / busy}


def run(rounds, seconds):
	schemes = ("https", "http")
	seen = {(m, s): [] for s in schemes for m in MODES}
	for tool in ("haproxy", "wrk", "nft"):
		if not shutil.which(tool):
			raise LabError(f"{tool} is not there; scripts/deps bench installs it")
	with open_lab() as lab:
		unleash(lab)
		Web(lab)
		for r in range(rounds):
			for i in range(len(MODES)):	# each round begins with another
				kind = MODES[(i + r) % len(MODES)]
				mode = kind(lab)
				for scheme in schemes:
					seen[kind, scheme].append(load(lab, mode, scheme, seconds))
				mode.stop()
	return report(schemes, seen)


def report(schemes, seen):
	result = []
	for scheme in schemes:
		proto = "TLS 1.3, full handshakes" if scheme == "https" else "HTTP/1"
		say(f"Connections per second, verdict by {'SNI' if scheme == 'https' else 'Host'} ({proto}):")
		rows, base = [], None
		for kind in MODES:
			runs = seen[kind, scheme]
			s = {k: spread([r[k] for r in runs]) for k in runs[0]}
			base = base or s
			ratio = s["rate"]["median"] / base["rate"]["median"]
			extra = s["cpu_us"]["median"] - base["cpu_us"]["median"]
			result.append({"protocol": proto, "mode": kind.name, "ratio": ratio, "extra_cpu_us": extra, **s})
			rows.append((kind.name, f"{s['rate']['median']:.0f}", f"{s['rate']['min']:.0f}-{s['rate']['max']:.0f}",
				f"{ratio:.2f}", f"{s['cpu_us']['median']:.0f}", f"{s['cpu_us']['min']:.0f}-{s['cpu_us']['max']:.0f}",
				f"{extra:+.0f}", f"{s['box_us']['median']:.0f}", f"{s['decided']['median']:.0%}",
				f"{s['strangers']['median']:.0%}"))
		table(("", "conn/s", "spread", "ratio", "CPU us/conn", "spread", "over fwd", "box process", "decided", "strangers"), rows)
	say("CPU: of client, box, server and softirqs together. \"strangers\": the part of it that no process of\n"
		"the lab accounts for: softirqs that met an idle CPU, and whatever else ran on the machine.\n")
	return {"rates": result}
