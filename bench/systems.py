# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What is put between client and server: the kernel's own ways, and Seam. proxies.py has the others.

A System works from start() to stop(), and leaves the box as it was.
"""
import json
import shutil
from pathlib import Path

from common import DIRECT, OUTPUT, PASS, POLICY, say
from lab import NFT_STATEFUL, SERVER4, LabError, seam_binary, seam_json, start_seam

# Ports of the server that `bulk` uses: a sink, and one that echoes.
SINK, ECHO = 7000, 7001


class System:
	"""name, as it stands in tables. address, host: of the server. needs: programs and files without which
	there is nothing to measure, and the package that has them."""

	name = None
	address, host = SERVER4, PASS
	needs, package = (), ""
	by_name = ("hello", "https", "http")	# what it decides by name, in `rates`

	def __init__(self, lab):
		self.lab = lab

	@classmethod
	def missing(cls):
		"""Why it cannot be measured, or None."""
		gone = [n for n in cls.needs if not (shutil.which(n) or Path(n).is_file())]
		return f"{', '.join(gone)} not there (package {cls.package})" if gone else None

	def start(self):
		pass

	def stop(self):
		pass

	def pids(self):
		"""Its processes on the box."""
		return ()

	def verdicts(self):
		"""How many flows were decided by their first payload, so far."""
		return 0

	def errors(self):
		"""What its processes had to say."""
		return ""

	def check(self):
		"""LabError if the flow to ECHO is not in the state that is to be measured."""


class Forwarding(System):
	name = "forwarding"


def choose(systems, names):
	"""(those to measure, {name: why not}): with one of `names` in theirs, or all; forwarding always."""
	wanted = [s for s in systems if not names or s is Forwarding or any(n.lower() in s.name.lower() for n in names)]
	missing = {s.name: s.missing() for s in wanted if s.missing()}
	return [s for s in wanted if s.name not in missing], missing


def say_missing(missing):
	for name, why in missing.items():
		say(f"Not measured: {name}: {why}.")


class Direct(System):
	"""A wire from client to server, and no box."""

	name = "direct wire"
	address, host = "10.99.3.2", DIRECT

	def start(self):
		lab = self.lab
		lab.add_veth("client", "wire", "server", "wire")
		for ns, host in (("client", 1), ("server", 2)):
			lab.run(ns, ["ip", "addr", "add", f"10.99.3.{host}/24", "dev", "wire"])
			lab.run(ns, ["ip", "link", "set", "wire", "up"])
			lab.run(ns, ["ip", "route", "add", f"10.99.3.{3 - host}", "dev", "wire", "congctl", lab.congestion])

	def stop(self):
		self.lab.remove_veth("client", "wire", "server", "wire")


class Conntrack(System):
	name = "forwarding, conntrack"
	needs, package = ("nft",), "nftables"

	def start(self):
		self.lab.run("box", ["nft", "-f", "-"], input=NFT_STATEFUL)

	def stop(self):
		self.lab.run("box", ["nft", "flush", "ruleset"])


class Redirect(System):
	"""redirect.bpf.c on both ports: what Seam's way straight would cost if it did nothing else."""

	name = "bare TC redirect"
	needs, package = (str(OUTPUT / "redirect.bpf.o"), "bpftool"), "make .output/bench/redirect.bpf.o; bpftool"
	PINS = Path("/sys/fs/bpf/redirect")

	def start(self):
		lab, ports = self.lab, ("cli", "srv")
		links = {i["ifname"]: i for i in json.loads(lab.run("box", ["ip", "-j", "link"]).stdout)}
		ends = [json.loads(lab.run(e, ["ip", "-j", "link", "show", "eth0"]).stdout)[0]["address"] for e in ("client", "server")]
		lab.run("box", ["bpftool", "prog", "load", self.needs[0], f"{self.PINS}-prog", "type", "classifier",
			"pinmaps", f"{self.PINS}-maps"])
		for port, out, end in zip(ports, ports[::-1], ends[::-1]):
			way = links[out]["ifindex"].to_bytes(4, "little") + bytes.fromhex((end + links[out]["address"]).replace(":", ""))
			lab.run("box", ["bpftool", "map", "update", "pinned", f"{self.PINS}-maps/ways", "key", "hex",
				*links[port]["ifindex"].to_bytes(4, "little").hex(" ").split(), "value", "hex", *way.hex(" ").split()])
			lab.run("box", ["tc", "qdisc", "add", "dev", port, "clsact"])
			lab.run("box", ["tc", "filter", "add", "dev", port, "ingress", "bpf", "direct-action",
				"object-pinned", f"{self.PINS}-prog"])

	def stop(self):
		for port in ("cli", "srv"):
			self.lab.run("box", ["tc", "qdisc", "del", "dev", port, "clsact"])
		self.lab.run("box", ["rm", "-r", f"{self.PINS}-prog", f"{self.PINS}-maps"])


class Seam(System):
	"""With a verdict by name; the classes below, with a policy that brings each flow to `state`."""

	name, policy, state, decided = "Seam, held for a verdict", POLICY, None, "first_payload"

	def start(self):
		self.seam = start_seam(self.lab, self.policy)

	def stop(self):
		if self.seam.stop():
			raise LabError(f"{self.name}: {self.seam.log}")
		self.lab.run("box", [seam_binary(), "detach"])	# closing flows are still forwarded

	def pids(self):
		return (self.seam.proc.pid,)

	def verdicts(self):
		return sum(r["count"] for r in seam_json(self.lab, "stats")["reasons"] if r["reason"] == self.decided)

	def check(self):
		states = [f["flow"]["state"] for f in seam_json(self.lab, "flows") if f["dest_port"] == ECHO
			and f["flow"]["state"] != "closing"]
		if states != [self.state]:
			raise LabError(f"{self.name}: the flow is {states}")


class SeamName(Seam):
	"""The same verdict, in the kernel."""

	name, policy, decided = "Seam, the kernel by name", POLICY.replace('decide = "daemon"', 'decide = "kernel"'), "settled"


class SeamSyn(Seam):
	"""The SYN decides: tracked in the kernel, the daemon never hears of it."""

	name, policy, state = "Seam, the SYN decides", 'client = "cli"; server = "srv";\ndefault = "pass";\n', "passed"


def _rule(text):
	return f'client = "cli"; server = "srv";\nrules = ( {{ name = "all"; action = "inspect"; {text} }} );\n'


class SeamPassed(SeamSyn):
	name = "Seam, passed"


class SeamBypass(Seam):
	"""Past the host's stack."""

	name, state = "Seam, passed, bypass", "passed"
	policy = 'client = "cli"; server = "srv"; default = "pass"; bypass = true;\n'


class SeamMonitored(Seam):
	name, state = "Seam, monitored", "monitored"
	policy = _rule('inspectors = ["count"]; after = { time = "1h"; }; until = { bytes = 1; };')


class SeamMerged(Seam):
	name, state = "Seam, merged", "merged"
	policy = _rule('inspectors = ["count"]; until = { bytes = 1; };')


class SeamDeltas(Seam):
	"""28 bytes in front of what the client sends."""

	name, state = "Seam, merged with deltas", "merged"
	policy = _rule('inspectors = ["proxy"]; proxy = "v2";')


class SeamSplit(Seam):
	name, state = "Seam, split", "split"
	policy = _rule('inspectors = ["count"]; relay = "userspace"; until = { verdict = false; time = "1h"; };')


class SeamWorkers(Seam):
	"""The same with two threads that share the flows."""

	name, state = "Seam, split, two workers", "split"
	policy = SeamSplit.policy + "workers = 2;\n"


class SeamRelayed(Seam):
	name, state = "Seam, relayed", "relayed"
	policy = _rule('inspectors = ["count"]; relay = "kernel"; until = { verdict = false; time = "1h"; };')

	def stop(self):
		stats = seam_json(self.lab, "status")["daemon"]["stats"]
		if stats["bytes"] > stats["kernel_bytes"] / 20:
			raise LabError(f"{self.name}: the daemon moved {stats['bytes']} bytes itself")
		super().stop()
