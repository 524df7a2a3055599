#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What goes wrong around a daemon: each of these ended it, stopped it, or went by without a word."""
import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import termios
import time
from pathlib import Path

from byhand import SOCKET
from daemon import Daemon
from lab import CLIENT4, SERVER4, Lab, scenario, seam_binary, seam_json, start_seam, tool, wait_for
from peers import SPLIT_ALL, Pair, hearing, read_all, reasons, state
from wires import tags_object

PINS = Path("/sys/fs/bpf/seam/default")
NO_PORT = 'rules = ( { name = "no"; server_port = 9; action = "block"; with = "drop"; },'


WAITS = """
client = "cli";
server = "srv";
fail = "block";
rules = ( { name = "names"; sni = "*.example"; action = "inspect"; inspectors = ["tls"]; } );
"""


def seam(lab, *args, **more):
	return lab.run("box", [seam_binary(), *args], check=False, **more)


def run(lab, *args):
	return lab.popen("box", [seam_binary(), "run", *args], stderr=subprocess.PIPE, text=True)


def synflood(lab, seconds):
	"""Arguments of a flood of SYNs that the rule "no" blocks."""
	mac = json.loads(lab.run("box", ["ip", "-j", "link", "show", "dev", "cli"]).stdout)[0]["address"]
	return [tool("synflood"), "eth0", mac, CLIENT4, SERVER4, 9, seconds]


def flood(tap, lab):
	"""Of connections that a rule blocks, while somebody monitors: events without an end."""
	monitor = lab.popen("box", [seam_binary(), "monitor", "--json"], stdout=subprocess.DEVNULL)
	with Pair(lab) as p:
		p.prime()
		sent = int(lab.run("client", synflood(lab, 3)).stdout)
		tap.equal((sent > 10_000, state(lab, p)), (True, "split"), "a flood of SYNs while it is monitored ends no flow")
		p.prime()
		with Pair(lab) as other:
			other.prime()
			tap.equal(state(lab, other), "split", "nor keeps the next one from being split")
	counted = reasons(lab)
	tap.ok(counted["block_drop"] > sent // 2 and not counted.get("event_lost") and not counted.get("daemon_gone"),
		"no event is lost to it that the daemon needs", counted)
	lab.stop(monitor)


def monitor_behind(tap, lab):
	"""One that does not read for a while loses events, is told how many, and gets those that come after."""
	with socket.socket(socket.AF_UNIX) as s:
		s.connect(SOCKET)
		s.sendall(b'{"cmd":"monitor"}\n')
		wait_for(lambda: seam_json(lab, "status")["daemon"]["monitors"], "the monitor to be there")
		busy = lab.popen("client", synflood(lab, 4), stdout=subprocess.DEVNULL)
		time.sleep(2)
		# It reads while there are more: what makes room for the next event is that event.
		heard = hearing(s, timeout=1.5)
		busy.wait()
		lab.stop(busy, 0)
		time.sleep(0.3)
		with Pair(lab) as p:
			p.prime()
		events = [json.loads(line) for line in heard.result()[0].splitlines()]
	lost = [i for i, e in enumerate(events) if e.get("event_type") == "lost"]
	tap.ok(lost and all(events[i]["lost"] for i in lost), "a monitor that did not read is told how many events it lost",
		[events[i] for i in lost])
	after = [e for e in events[lost[-1]:] if e.get("src_port") == p.port] if lost else []
	tap.ok("split" in {e["flow"]["state"] for e in after}, "and hears of a connection after that", len(events), after)


def crowded(tap, lab):
	"""Monitors until there is no room for another client: it is told so, and the daemon can be stopped."""
	with contextlib.ExitStack() as stack:
		for _ in range(64):
			s = stack.enter_context(socket.socket(socket.AF_UNIX))
			s.connect(SOCKET)
		done = seam(lab, "status")
		tap.ok("too many" in done.stderr, "status: says why it is not answered", done)
		done = seam(lab, "detach")
		tap.ok(not done.returncode and not PINS.exists(), "detach: stops it all the same", done)


def monitored(tap):
	with Lab() as lab:
		daemon = start_seam(lab, SPLIT_ALL.replace("rules = (", NO_PORT))
		for trouble in (flood, monitor_behind, crowded):	# which ends it
			trouble(tap, lab)
		tap.equal(daemon.stop(0), 0, "and it ends well")


def late(tap):
	"""The first payload of a flow comes when the daemon is stopping already: it passes."""
	with Lab() as lab:
		daemon = start_seam(lab, SPLIT_ALL + 'grace = "1s";\n')
		with Pair(lab) as stuck, Pair(lab) as p:
			stuck.prime()
			# A server that answers nothing any more keeps the stop waiting.
			port = stuck.server.getsockname()[1]
			lab.run("server", ["nft", "-f", "-"], input="table inet deaf { chain c { type filter hook input priority 0; "
				f"tcp dport {port} tcp sport {stuck.client.getsockname()[1]} drop; }}; }}\n")
			stuck.client.sendall(b"answered by the box")
			wait_for(lambda: state(lab, stuck) == "split", "it to be split")
			daemon.proc.send_signal(signal.SIGTERM)
			wait_for(lambda: seam_json(lab, "status")["daemon"]["stopping"], "the daemon to be stopping")
			p.client.sendall(b"first")
			tap.equal((p.server.recv(9), daemon.proc.poll()), (b"first", None), "a first payload while the daemon stops arrives")
			tap.equal(daemon.stop(0, timeout=20), 0, "and it stops")
			p.client.sendall(b"again")
			tap.equal(p.server.recv(9), b"again", "the flow lives on")


def options(tap):
	"""Each ends with what is wrong, and who says so."""
	with Lab() as lab:
		version = seam(lab, "-V")
		tap.ok(version.returncode == 0 and version.stdout == seam(lab, "--version").stdout and version.stdout.startswith("seam "),
			"-V is the version", version.stdout)
		for port in ("--client", "--server"):
			wrong = seam(lab, "run", "-c", "/dev/null", port, "cli")
			tap.ok(wrong.returncode == 2 and "not both" in wrong.stderr, f"a policy and {port}: refused, not ignored", wrong)
		lab.run("box", ["ethtool", "-K", "srv", "rx-gro-list", "on"])
		wrong = seam(lab, "run", "--client", "cli", "--server", "srv")
		tap.ok(wrong.returncode == 1 and "ethtool -K srv rx-gro-list off" in wrong.stderr and not PINS.exists(),
			"an interface whose packets cannot be changed: refused", wrong)
		lab.run("box", ["ethtool", "-K", "srv", "rx-gro-list", "off"])
		lab.run("box", ["ip", "link", "set", "dev", "srv", "gro_max_size", "131072"])
		wrong = seam(lab, "run", "--client", "cli", "--server", "srv")
		tap.ok(wrong.returncode == 1 and "gro_max_size 65536" in wrong.stderr and not PINS.exists(),
			"one whose packets are longer than 64k: refused", wrong)
		lab.run("box", ["ip", "link", "set", "dev", "srv", "gro_max_size", "65536"])
		for verb in ("status", "split", "monitor", "run"):
			wrong = seam(lab, verb, "--nonsense")
			tap.ok(wrong.returncode == 2 and wrong.stderr.startswith(f"seam {verb}: "), f"{verb}: an option that there is not",
				wrong.stderr)


def filter_of_another(tap):
	"""Somebody else's filter is on the qdisc that Seam made: it stays."""
	with Lab() as lab:
		daemon = start_seam(lab, SPLIT_ALL)
		lab.run("box", ["tc", "filter", "add", "dev", "cli", "egress", "bpf", "da", "obj", tags_object(), "sec", "tc/put_one"])
		tap.equal(daemon.stop(), 0, "with a filter of another: it ends")
		left = lab.run("box", ["tc", "filter", "show", "dev", "cli", "egress"]).stdout
		tap.ok("put_one" in left, "the filter is still there", left)
		tap.equal([lab.run("box", ["tc", *what]).stdout for what in (("filter", "show", "dev", "cli", "ingress"),
			("filter", "show", "dev", "srv", "ingress"))], ["", ""], "and Seam's are not")
		tap.ok("clsact" not in lab.run("box", ["tc", "qdisc", "show", "dev", "srv"]).stdout, "nor its qdisc on the other port")


def device_deleted(tap):
	"""A device of its own is deleted: it does not spin, nor let all pass as if it inspected."""
	for key, name in (("hold_device", "hold device"), ("veth", "veth pair")):
		with Lab() as lab:
			daemon = start_seam(lab, WAITS)
			waiting, device = Pair(lab), seam_json(lab, "status")["daemon"][key]["name"]
			# So that it learns of both at once.
			daemon.proc.send_signal(signal.SIGSTOP)
			waiting.client.sendall(b"\x16\x03\x01\x02\x00\x01")
			lab.run("box", ["ip", "link", "delete", device])
			daemon.proc.send_signal(signal.SIGCONT)
			wait_for(lambda: daemon.proc.poll() is not None, "it to end")
			with waiting:
				tap.equal(read_all(waiting.server, timeout=5), (b"", "ECONNRESET"), "what waits is not let by")
			tap.equal(daemon.stop(), 1, f"its {name} is deleted: it ends")
			tap.ok(name in daemon.log and PINS.exists(), "says why, and leaves things as one that was killed does", daemon.log)
			with Pair(lab) as p:
				p.client.sendall(b"first")
				tap.equal(read_all(p.server, timeout=5), (b"", "ECONNRESET"), "a rule that fails closed does so")
			tap.equal(start_seam(lab, SPLIT_ALL).stop(), 0, "another one takes over")
			tap.ok(not PINS.exists(), "and leaves nothing")


def killed_at_start(tap):
	with Lab() as lab:
		times = 0
		for wait in (0, 0.5, 1.2):
			proc = run(lab, "--client", "cli", "--server", "srv")
			wait_for(PINS.exists, "pins")
			time.sleep(wait)
			proc.kill()
			lab.stop(proc, 0)
			times += seam(lab, "status").returncode != 0
			start_seam(lab, SPLIT_ALL).stop()
		tap.ok(times, f"killed while it starts, {times} times before it was ready: the next one starts")


def foreign(tap):
	"""Pins of another version, which have larger values than this one has room for."""
	with Lab() as lab:
		for name, kind in (("control", "array"), ("ports", "hash")):
			PINS.mkdir(parents=True, exist_ok=True)
			lab.run("box", ["bpftool", "map", "create", PINS / name, "type", kind, "key", 4, "value", 4096, "entries", 4, "name", name])
			if name == "ports":
				lab.run("box", ["bpftool", "map", "update", "pinned", PINS / name, "key", "hex", *"77 77 00 00".split(),
					"value", "hex", *["41"] * 4096])
			else:
				done = seam(lab, "run", "--client", "cli", "--server", "srv")
				tap.ok(done.returncode == 1 and "another version" in done.stderr, f"{name} of another version: refused", done)
			done = seam(lab, "detach")
			tap.ok(done.returncode == 0 and not PINS.exists(), f"{name} of another version: removed by detach", done)


def outputs(tap):
	with Lab() as lab:
		odd = lab.tmp / os.fsdecode(b"caf\xe9.conf")
		odd.write_text(SPLIT_ALL)
		daemon = start_seam(lab, args=["-c", odd])
		for verb in ("flows", "status", "stats"):
			done = lab.run("box", ["sh", "-c", f"{seam_binary()} {verb} -j > /dev/full"], check=False)
			tap.ok(done.returncode == 1 and "written" in done.stderr, f"{verb} that cannot be written: exit status 1, and why", done)
		tap.ok(seam(lab, "reload", "-j").returncode == 0 and "not UTF-8" in seam_json(lab, "status")["daemon"]["file"],
			"a path that is not UTF-8 is no trouble")
		daemon.stop()

		fifo = lab.tmp / "fifo"
		os.mkfifo(fifo)
		proc = run(lab, "-c", fifo)
		fifo.write_text(SPLIT_ALL)
		wait_for(lambda: seam(lab, "status").returncode == 0, "it to be ready")
		done = seam(lab, "reload")
		tap.ok(done.returncode == 1 and done.stderr, "a policy from a pipe is not read again", done)
		tap.equal(lab.stop(proc, signal.SIGTERM, 20)[0], 0, "nor waited for at the end")


def unread(tap):
	"""What is said to a pipe that nobody reads, a line for each of many connections."""
	with Lab() as lab:
		proc = run(lab, "-vv", "--client", "cli", "--server", "srv")
		fcntl.fcntl(proc.stderr, fcntl.F_SETPIPE_SZ, 8192)
		wait_for(lambda: seam(lab, "status").returncode == 0, "it to be ready")
		wait_for(lambda: proc.poll() is not None or full(proc.stderr.fileno()) or churn(lab), "its pipe to be full", 60)
		tap.equal(seam(lab, "status").returncode, 0, "with a full pipe for its messages it goes on")
		proc.send_signal(signal.SIGTERM)
		tap.equal(lab.stop(proc, 0, 20)[0], 0, "and ends")


def full(fd):
	"""Whether a pipe has no room for one more page, which poll() asks for."""
	have, = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))
	return have > fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) - 4096


def churn(lab):
	lab.run("box", ["sh", "-c", f"for i in 1 2 3 4 5 6 7 8 9 10; do {seam_binary()} reload; done"], check=False)


def not_split(tap):
	"""Without descriptors for its legs, a flow that its rule waits for gets the rule's fail answer."""
	with Lab() as lab:
		daemon = start_seam(lab, """client = "cli";\nserver = "srv";\nrules = ( { name = "all"; action = "inspect"; inspectors = "count";
			after = { bytes = "1M"; }; until = { bytes = "1T"; }; fail = "block"; } );""")
		d = Daemon(lab)
		with Pair(lab) as p:
			p.prime()
			flow, = (f["flow_id"] for f in seam_json(lab, "flows"))
			lab.run("box", ["prlimit", "--pid", d.pid, f"--nofile={d.descriptors() + 8}"])
			done = seam(lab, "split", str(flow))
			tap.ok(done.returncode == 1 and "legs" in done.stderr, "a split by hand that cannot be is no success", done)
			tap.equal(state(lab, p), "blocked", "and the flow gets its rule's fail answer")
		daemon.stop()


@scenario
def main(tap):
	for trouble in (options, filter_of_another, device_deleted, monitored, late, killed_at_start, foreign, outputs, unread, not_split):
		trouble(tap)
