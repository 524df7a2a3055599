# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the benchmarks share: the lab made fast, a server, figures and tables."""
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parent / ".output" / "bench"
sys.path.insert(0, str(HERE.parent / "tests" / "lab"))

from lab import SERVER4, Lab, LabError  # noqa: E402
from servers import Nginx  # noqa: E402

PASS, INSPECT, DIRECT = "www.pass.test", "www.inspect.test", "www.direct.test"
HOSTS = Path("/run/hosts")	# in the mount namespace that all labs of this run live in, and ends with it

POLICY = f"""
client = "cli";
server = "srv";
decide = "daemon";
rules = (
	{{ name = "pass-tls"; sni = "{PASS}"; action = "pass"; }},
	{{ name = "inspect-tls"; sni = "{INSPECT}"; action = "inspect"; inspectors = ["tls"]; }},
	{{ name = "pass-web"; host = "{PASS}"; action = "pass"; }},
	{{ name = "inspect-web"; host = "{INSPECT}"; action = "inspect"; inspectors = ["http"]; }}
);
"""


def say(text=""):
	print(text, flush=True)


def open_lab(*args, **more):
	"""A Lab without TIME_WAIT, which would refuse tuples used again; unleash() takes its pace away."""
	return Lab(*args, keep_time_wait=False, **more)


def unleash(lab):
	"""Take away what paces the ends, keep TIME_WAIT off the box too, and give the names addresses."""
	for end in ("client", "server"):
		lab.run(end, ["tc", "qdisc", "del", "dev", "eth0", "root"])
	lab.run("box", ["sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=0"])
	lab.run("client", ["sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535"])
	if not HOSTS.exists():
		HOSTS.write_text(f"{SERVER4} {PASS} {INSPECT}\n10.99.3.2 {DIRECT}\n")
		lab.run("client", ["mount", "--bind", HOSTS, "/etc/hosts"])


class Asking:
	"""`load ask`, on a connection to a server that echoes: it is made, and warm, once this returns."""

	def __init__(self, lab, address, port, size, count):
		self.lab = lab
		self.proc = lab.popen("client", [OUTPUT / "load", "ask", address, port, size, count],
			stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
		lab.wait_line(self.proc, "ready", timeout=30)

	def go(self, timeout=60):
		"""{"rr", "p50", "p99", "p99.9", "most"}: per second, and microseconds."""
		self.proc.stdin.write(b"\n")
		self.proc.stdin.flush()
		code, out, err = self.lab.stop(self.proc, signum=0, timeout=timeout)
		if code:
			raise LabError(f"load: {err.decode()}")
		return dict(zip(("rr", "p50", "p99", "p99.9", "most"), map(float, out.split())))


class Web(Nginx):
	"""One that answers "ok" and does nothing else: no log, no file, no TLS session kept."""

	def __init__(self, lab):
		self.lab = lab
		self.dir = lab.tmp / "web"
		self.dir.mkdir()
		self.start("""
	access_log off;
""", """
		ssl_protocols TLSv1.3;
		ssl_session_cache off;
		ssl_session_tickets off;
		location / { return 200 "ok\\n"; }
""")


def spread(values):
	"""{"n", "median", "min", "max"}, and "p10", "p90" of many."""
	values = sorted(values)
	out = {"n": len(values), "median": statistics.median(values), "min": values[0], "max": values[-1]}
	if len(values) >= 20:
		tenths = statistics.quantiles(values, n=10)
		out |= {"p10": tenths[0], "p90": tenths[8]}
	return out


def table(head, rows):
	"""Print columns: the first to the left, the others to the right."""
	rows = [head, *rows]
	widths = [max(len(str(r[i])) for r in rows) for i in range(len(head))]
	for r in rows:
		say("  ".join(str(x).ljust(w) if not i else str(x).rjust(w) for i, (x, w) in enumerate(zip(r, widths))))
	say()
