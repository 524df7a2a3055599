# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Connections per second with a verdict by name, through Seam and beside it.

Every connection is a full handshake, one request, and the end. CPU is what the
whole machine did not idle, per connection: softirqs have no other owner.
"""
import re
import shutil

from common import OUTPUT, Web, open_lab, say, spread, table, unleash
from lab import LabError
from measure import STRANGERS, Busy, Patience
from proxies import HaproxyNames, NginxNames, SpliceTls, Squid, Sslsplit
from systems import Conntrack, Direct, Forwarding, Redirect, Seam, SeamName, SeamSyn, choose, say_missing

SYSTEMS = (Direct, Forwarding, Conntrack, Redirect, SeamSyn, SeamName, Seam, SpliceTls, HaproxyNames, NginxNames, Squid, Sslsplit)
PATIENCE = 30	# seconds in a round
# What a connection is, and what decides.
SCHEMES = {
	"hello": "verdict by SNI, then the server ends it with an alert: no arithmetic",
	"https": "verdict by SNI, a full TLS 1.3 handshake and a request",
	"http": "verdict by Host, a request",
}


def load(lab, system, scheme, seconds):
	"""One measurement: {"rate", "cpu_us", "box_us", "decided", "strangers"}."""
	decided = system.verdicts()
	with Busy(system.pids()) as busy:
		n, rate, bad = (hellos if scheme == "hello" else requests)(lab, system, scheme, seconds)
	if bad:
		say(f"# {system.name}, {scheme}: {bad}")
	return {"rate": rate, "cpu_us": busy.machine / n * 1e6, "box_us": busy.box / n * 1e6,
		"decided": (system.verdicts() - decided) / n, "strangers": busy.strangers}


def hellos(lab, system, _scheme, seconds):
	"""(connections, per second, what went wrong or None)"""
	argv = [OUTPUT / "load", "hello", system.address, 443, system.host, seconds]
	answered, failed, took = map(float, lab.run("client", argv).stdout.split())
	if not answered:
		raise LabError(f"{system.name}: no ClientHello was answered: {system.errors()}")
	return answered, answered / took, f"{failed:.0f} not answered" if failed else None


def requests(lab, system, scheme, seconds):
	argv = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-H", "Connection: close", f"{scheme}://{system.host}/"]
	done = lab.run("client", argv, check=False)
	counted = re.search(r"(\d+) requests in", done.stdout)
	rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
	bad = re.search(r"(Socket errors.*|Non-2xx.*)", done.stdout)
	if done.returncode or not counted or not int(counted[1]):
		raise LabError(f"{system.name}: wrk: {done.stdout}{done.stderr}{system.errors()}")
	return int(counted[1]), float(rate[1]), bad and bad[1]


def run(rounds, seconds, names=()):
	for tool in ("wrk", "nginx"):
		if not shutil.which(tool):
			raise LabError(f"{tool} is not there; scripts/deps test bench installs it")
	wanted, missing = choose(SYSTEMS, names)
	seen = {(s, scheme): [] for scheme in SCHEMES for s in wanted if scheme in s.by_name}
	with open_lab() as lab:
		unleash(lab)
		Web(lab)
		for r in range(rounds):
			patience = Patience(PATIENCE)
			for i in range(len(wanted)):	# each round begins with another
				system = wanted[(i + r) % len(wanted)](lab)
				system.start()
				for scheme in system.by_name:
					seen[type(system), scheme].append(patience.quietest(lambda: load(lab, system, scheme, seconds)))
				system.stop()
	return report(seen, missing)


def report(seen, missing):
	result = []
	for scheme, what in SCHEMES.items():
		say(f"Connections per second ({what}):")
		of = {s: {k: spread([r[k] for r in runs]) for k in runs[0]} for (s, x), runs in seen.items() if x == scheme}
		rows, base = [], of[Forwarding]
		for system, s in of.items():
			ratio = s["rate"]["median"] / base["rate"]["median"]
			extra = s["cpu_us"]["median"] - base["cpu_us"]["median"]
			result.append({"protocol": scheme, "system": system.name, "ratio": ratio, "extra_cpu_us": extra, **s})
			rows.append((system.name, f"{s['rate']['median']:.0f}", f"{s['rate']['min']:.0f}-{s['rate']['max']:.0f}",
				f"{ratio:.2f}", f"{s['cpu_us']['median']:.0f}", f"{s['cpu_us']['min']:.0f}-{s['cpu_us']['max']:.0f}",
				f"{extra:+.0f}", f"{s['box_us']['median']:.0f}", f"{s['decided']['median']:.0%}",
				f"{s['strangers']['median']:.0%}"))
		table(("", "conn/s", "spread", "ratio", "CPU us/conn", "spread", "over fwd", "box process", "decided", "strangers"), rows)
	say_missing(missing)
	say("The wire, redirect and the minimal relay decide nothing. CPU: of client, box, server and softirqs\n"
		f"together. {STRANGERS}\n")
	return {"rates": result, "not_measured": missing}
