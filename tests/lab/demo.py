#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What `make demo` shows: connections passed, split, inspected, merged and blocked, and the evidence.

Everything printed was measured in this run; whatever is not as it should be ends it with status 1.
"""
import sys

import isolate
import pcap
from lab import CLIENT4, SERVER4, Lab, seam_binary, seam_json, start_seam, wait_for
from servers import Greeter, Nginx, Sshd

POLICY = """
client = "cli";
server = "srv";
rules = (
	{ name = "look-at-web"; host = "inspect.test"; action = "inspect"; inspectors = ["http"]; },
	{ name = "no-ads"; host = "ads.test"; action = "block"; },
	{ name = "look-at-tls"; sni = "*.inspect.test"; action = "inspect"; inspectors = ["tls"]; },
	{ name = "bank"; sni = "*.bank.test"; action = "pass"; }
);
"""
NOTICED = ("TcpRetransSegs", "TcpExtTCPTimeouts", "TcpExtPAWSEstab", "TcpOutRsts", "TcpExtTCPChallengeACK")
NAME = "10m"


class Story:
	"""Prints; remembers whether everything was true."""

	failed = 0

	def heading(self, text):
		print(f"\n{text}\n{'-' * len(text)}", flush=True)

	def claim(self, true, text, *why):
		"""One line of evidence."""
		print(f"  {'yes' if true else 'NO '}  {text}", flush=True)
		if not true:
			self.failed += 1
			print(*(f"       {x}" for x in why), sep="\n", flush=True)


def inner_sockets(lab):
	pid = str(seam_json(lab, "status")["daemon"]["pid"])
	return lab.run("box", ["nsenter", "-t", pid, "-n", "ss", "-Htan"]).stdout


def fetch(story, lab, web, url, rule):
	digest, length, seconds = lab.curl(url, "--connect-to", f"::{SERVER4}:")
	story.claim(digest == web.sha256[NAME], f"{rule:12} {url:35} {length} bytes in {seconds:.2f} s, sha256 equal")


def by_every_rule(story, lab, web):
	story.heading("What the clients did")
	fetch(story, lab, web, f"https://www.bank.test/{NAME}", "bank")
	fetch(story, lab, web, f"https://www.inspect.test/{NAME}", "look-at-tls")
	fetch(story, lab, web, f"http://inspect.test/{NAME}", "look-at-web")
	blocked = lab.run("client", ["curl", "-s", "-m", "5", "--connect-to", f"::{SERVER4}:", "http://ads.test/1b"],
		check=False).returncode
	story.claim(blocked == 56, f"{'no-ads':12} {'http://ads.test/1b':35} reset (curl: 56, recv failure)", f"curl: {blocked}")
	greeter, body = Greeter(lab), "a mail\n"
	story.claim(greeter.send(body), f"{'default':12} {'smtp, the server speaks first':35} not kept waiting")
	out = Sshd(lab).run("echo $SSH_CLIENT").stdout.split()
	story.claim(out[:1] == [CLIENT4], f"{'default':12} {'ssh, both speak first':35} a shell, from {' '.join(out[:2])}")


def one_connection(story, lab, web):
	"""Several requests over one connection, captured on both sides; returns its flow."""
	at = {end: lab.capture(end, "eth0", "tcp port 80") for end in ("client", "server")}
	proc = lab.popen("client", ["/usr/bin/python3", "-c", f"""
import hashlib, http.client, time
c = http.client.HTTPConnection("{SERVER4}")
for name in ("64k", "64k", "{NAME}", "{NAME}"):
	c.request("GET", "/" + name, headers={{"Host": "inspect.test"}})
	print(hashlib.sha256(c.getresponse().read()).hexdigest(), flush=True)
	time.sleep(0.05)
"""], stdout=-1, text=True)
	_code, out, _err = lab.stop(proc, signum=0, timeout=30)
	story.claim(out.split() == [web.sha256[n] for n in ("64k", "64k", NAME, NAME)],
		"four requests over one connection: 20 MB, every sha256 equal", out)
	flow = wait_for(lambda: [f for f in seam_json(lab, "flows") if f["flow"]["state"] == "closing" and f["seam"]["rule"] == 1],
		"the flow to end")[-1]
	text = lab.run("box", [seam_binary(), "flow", str(flow["flow_id"])]).stdout
	print(text[text.index("history:"):].rstrip(), flush=True)
	return seam_json(lab, "flow", str(flow["flow_id"])), {end: c.stop() for end, c in at.items()}


def last_split_byte(flow):
	"""Where each direction was when it was merged: (up, down)."""
	merged = next(t for t in flow["history"] if t["to"] == "merged")
	return merged["seq"]["client"], merged["seq"]["server"]


def captures(story, flow, packets):
	syn = {end: [p for p in ps if p.tcp and p.flags & pcap.SYN] for end, ps in packets.items()}
	story.claim(len(syn["client"]) == 2 and not pcap.same_above_link(syn["client"], syn["server"], ignore_tcp_checksum=True),
		"SYN and SYN-ACK are the same on both sides, options included: "
		+ ", ".join(name for name, *_ in syn["client"][1].options), *map(str, syn["client"] + syn["server"]))
	up, down = last_split_byte(flow)

	def after(p):
		return p.tcp and p.payload and pcap.seq_after(p.seq + 1, up if p.dport == 80 else down)
	client, server = ([p for p in packets[end] if after(p)] for end in ("client", "server"))
	differ = pcap.same_above_link(client, server, ignore_tcp_checksum=True, one_way=True)
	story.claim(client and not differ, f"after the merge: {len(client)} packets of data, each the same on both sides from "
		"the IP header on, TTL apart", *differ[:5])


def run(story):
	with Lab() as lab:
		web = Nginx(lab)
		print(f"""
  client {CLIENT4} ---- cli [ box with seam ] srv ---- {SERVER4} server
  curl, ssh, a mailer                                nginx (HTTP, TLS 1.3), sshd, a mail server

  The policy: {POLICY.rstrip()}""")
		seam = start_seam(lab, POLICY)
		with lab.deltas("client", "server", "legs") as noticed:
			before = web.accesses()
			by_every_rule(story, lab, web)
			story.heading("One connection, from its handshake to its end")
			flow, packets = one_connection(story, lab, web)
		story.heading("The evidence")
		# The connection that was blocked is the one that was reset.
		for where, counters in noticed.items():
			bad = {k: counters[k] for k in NOTICED if counters.get(k)}
			story.claim(not bad, f"{where}: no retransmission, timeout, PAWS drop, reset or challenge ack", bad)
		captures(story, flow, packets)
		seen = {(a["addr"], a["port"]) for a in web.accesses()[len(before):]}
		story.claim((CLIENT4, str(flow["src_port"])) in seen and {a for a, _p in seen} == {CLIENT4},
			f"the server saw {CLIENT4} port {flow['src_port']}, the client's own", seen)
		status = seam_json(lab, "status")["daemon"]
		print(f"       {status['stats']['splits']} connections were split, {status['stats']['merges']} merged; "
			f"{status['stats']['bytes']} of some 50 million bytes went through sockets of the box")
		story.claim(inner_sockets(lab) == "", "no socket is left on the box")
		story.claim(seam.stop() == 0 and "nothing is left" in seam.log, "seam detached itself, and nothing is left of it", seam.log)


if __name__ == "__main__":
	isolate.enter()
	story = Story()
	run(story)
	print(f"\n{'Everything above is true.' if not story.failed else f'{story.failed} of the claims above are NOT true.'}")
	sys.exit(1 if story.failed else 0)
