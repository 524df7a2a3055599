# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The systems that end every connection on the box, for good.

All but sslsplit are transparent both ways: TPROXY brings them the client's connection, and
the server sees the client's address.
"""
import shutil
import subprocess
from pathlib import Path

from common import HOSTS, OUTPUT, PASS
from lab import SERVER4, LabError, wait_for
from servers import listening
from systems import ECHO, SINK, System

NFT = """
table inet lab {{
	chain prerouting {{
		type filter hook prerouting priority mangle;
		meta l4proto tcp socket transparent 1 meta mark set 1 accept
		{}
	}}
}}
"""


def _tproxy(ports):
	"""Rules that bring connections to these ports to those: {"80": 3128}."""
	return "\n\t\t".join(f'iifname "cli" meta nfproto ipv4 tcp dport {dport} tproxy ip to :{to} meta mark set 1 accept'
		for dport, to in ports.items())


class Proxy(System):
	"""ports: {the server's: the proxy's}. conf(): files to write, {name: text}; argv(): how to run it."""

	ports = {f"{SINK}-{ECHO}": 3130}

	def conf(self):
		return {}

	def nft(self):
		return NFT.format(_tproxy(self.ports))

	def start(self):
		lab = self.lab
		self.dir = lab.tmp / "proxy"
		self.dir.mkdir()
		for name, text in self.conf().items():
			(self.dir / name).write_text(text)
		self.prepare()
		lab.run("box", ["nft", "-f", "-"], input=self.nft())
		lab.run("box", ["ip", "rule", "add", "fwmark", "1", "lookup", "100"])
		lab.run("box", ["ip", "route", "add", "local", "default", "dev", "lo", "table", "100"])
		with (self.dir / "stderr").open("w") as err:
			self.proc = lab.popen("box", self.argv(), stdout=err, stderr=err)
		wait_for(self._ready, f"{self.name} to listen", timeout=30)

	def prepare(self):
		pass

	def _ready(self):
		if self.proc.poll() is not None:
			raise LabError(f"{self.name}: {self.errors()}")
		return all(listening(self.lab, port, "box") for port in self.ports.values())

	def errors(self):
		return "\n".join(f.read_text()[-4000:] for f in (self.dir / "stderr", self.dir / "log") if f.exists())

	def pids(self):
		children = Path(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children").read_text().split()
		return (self.proc.pid, *map(int, children))

	def stop(self):
		self.lab.stop(self.proc)
		self.lab.run("box", ["nft", "flush", "ruleset"])
		self.lab.run("box", ["ip", "rule", "del", "fwmark", "1", "lookup", "100"])
		self.lab.run("box", ["ip", "route", "flush", "table", "100"])
		shutil.rmtree(self.dir)


class Splice(Proxy):
	name = "minimal splice relay"
	needs, package = (str(OUTPUT / "splice"), "nft"), "make .output/bench/splice; nftables"

	def argv(self):
		return [OUTPUT / "splice", *map(str, self.ports.values())]


class SpliceTls(Splice):
	"""Decides nothing: what the connections alone cost."""

	ports, by_name = {"443": 3129}, ("hello", "https")


HAPROXY = """
global
	nbthread 2
	maxconn 4000
defaults
	mode tcp
	timeout connect 5s
	timeout client 30s
	timeout server 30s
	{more}
{frontends}
backend straight
	option transparent
	source 0.0.0.0 usesrc client
"""

HAPROXY_ALL = """
frontend all
	bind :3130 transparent
	default_backend straight
"""

HAPROXY_NAMES = f"""
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
"""


class Haproxy(Proxy):
	name = "HAProxy"
	needs, package = ("haproxy", "nft"), "haproxy nftables"
	more, frontends = "", HAPROXY_ALL

	def conf(self):
		return {"haproxy.cfg": HAPROXY.format(more=self.more, frontends=self.frontends)}

	def argv(self):
		return ["haproxy", "-db", "-q", "-f", self.dir / "haproxy.cfg"]


class HaproxySplice(Haproxy):
	name, more = "HAProxy, splice", "option splice-request\n\toption splice-response"


class HaproxyNames(Haproxy):
	frontends, ports = HAPROXY_NAMES, {"80": 3128, "443": 3129}


NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
user root;
worker_processes 2;
daemon off;
pid {dir}/pid;
error_log {dir}/log warn;
events {{ worker_connections 8192; }}
stream {{
{servers}
}}
"""


class NginxStream(Proxy):
	"""It cannot listen transparently: conntrack redirects to it, and what the server is is written down."""

	name = "nginx stream"
	needs, package = ("nginx", "/usr/lib/nginx/modules/ngx_stream_module.so", "nft"), "libnginx-mod-stream nftables"
	ports = {str(SINK): SINK, str(ECHO): ECHO}

	def conf(self):
		return {"nginx.conf": NGINX.format(dir=self.dir, servers=self.servers())}

	def servers(self):
		return "\n".join(f"server {{ listen {port} backlog=4096; proxy_pass {SERVER4}:{port}; "
			"proxy_bind $remote_addr transparent; tcp_nodelay on; }" for port in self.ports.values())

	def nft(self):
		return NFT.format("") + "table ip nat {\n\tchain prerouting {\n\t\ttype nat hook prerouting priority dstnat;\n" + "".join(
			f'\t\tiifname "cli" tcp dport {port} redirect to :{to}\n' for port, to in self.ports.items()) + "\t}\n}\n"

	def argv(self):
		return ["nginx", "-c", self.dir / "nginx.conf", "-e", self.dir / "log"]


class NginxNames(NginxStream):
	ports, by_name = {"443": 3129}, ("hello", "https")

	def servers(self):
		return (f'map $ssl_preread_server_name $to {{ {PASS} {SERVER4}:443; default ""; }}\n'
			"server { listen 3129 backlog=4096; ssl_preread on; proxy_pass $to; proxy_bind $remote_addr transparent; }")


def _authority(directory):
	"""A certificate authority of one's own, that makes what is shown to clients: (certificate, key)."""
	cert, key = directory / "ca.pem", directory / "ca.key"
	subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
		"-days", "2", "-subj", "/CN=authority.seam.test"], check=True, stderr=subprocess.DEVNULL)
	return cert, key


class Squid(Proxy):
	"""Peeks at the ClientHello, and splices what has the right name."""

	name = "Squid, peek and splice"
	needs, package = ("squid", "/usr/lib/squid/security_file_certgen", "nft"), "squid-openssl nftables"
	ports, by_name = {"443": 3129}, ("hello", "https")

	def conf(self):
		return {"squid.conf": f"""
http_port 3127
https_port 3129 tproxy ssl-bump tls-cert={self.dir}/ca.pem tls-key={self.dir}/ca.key generate-host-certificates=on
sslcrtd_program /usr/lib/squid/security_file_certgen -s {self.dir}/certs -M 4MB
acl hello at_step SslBump1
acl right ssl::server_name {PASS}
ssl_bump peek hello
ssl_bump splice right
ssl_bump terminate all
http_access allow all
hosts_file {HOSTS}
cache deny all
access_log none
cache_log {self.dir}/log
pid_filename {self.dir}/pid
coredump_dir {self.dir}
pinger_enable off
shutdown_lifetime 0 seconds
max_filedescriptors 8192
"""}

	def prepare(self):
		_authority(self.dir)
		subprocess.run(["/usr/lib/squid/security_file_certgen", "-c", "-s", self.dir / "certs", "-M", "4MB"],
			check=True, stdout=subprocess.DEVNULL)
		# It gives up root for this user.
		subprocess.run(["chown", "-R", "proxy:", self.dir], check=True)

	def argv(self):
		return ["squid", "-N", "-f", self.dir / "squid.conf"]


class Sslsplit(Proxy):
	"""Ends TLS too, with a certificate of its own; the server sees the box's address."""

	name = "sslsplit"
	needs, package = ("sslsplit", "nft"), "sslsplit nftables"
	ports, by_name = {"443": 3129}, ("https",)

	def prepare(self):
		_authority(self.dir)

	def argv(self):
		return ["sslsplit", "-k", self.dir / "ca.key", "-c", self.dir / "ca.pem", "-u", "root",
			"ssl", "0.0.0.0", "3129", "tproxy"]
