#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a split shows of its ends: TTL, DSCP, flow label, ECN; and what it leaves alone with a reason."""
import contextlib
import errno
import socket
import struct
import time

from byhand import flow_to
from lab import Lab, scenario, start_seam
from pcap import CWR, ECE
from peers import CLIENT, FAMILY, HOST, SPLIT_ALL, Pair, data, flow, hearing, saying, through_both
from sockets import accept, inside, listen, read

BODY = data(300_000, 6)
IPPROTO_MPTCP, TCP_MD5SIG = 262, 14


def hops(family, n):
	return ((socket.IPPROTO_IP, socket.IP_TTL, n) if family == 4 else
		(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, n))


def dscp(family, tos):
	return ((socket.IPPROTO_IP, socket.IP_TOS, tos) if family == 4 else
		(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos))


def label(packet):
	return int.from_bytes(packet.frame[packet.l3:packet.l3 + 4], "big") & 0xfffff if packet.family == 6 else 0


def transfer(sender, receiver, what):
	heard = hearing(receiver, limit=len(what))
	saying(sender, what).result()
	return heard.result() == (what, "more")


# DSCP of the client and of the server, per part of the conversation.
DSCP = ((0x68, 0x28), (0x48, 0x50))
# One hop away.
MARKS = [seen for up, down in DSCP for seen in (("client", {98}, {down}, True, down, (True, True)),
	("server", {76}, {up}, True, up, (True, True)))]


def marks(lab, family):
	"""(TTL, DSCP) of what each end got of the other, per part of the conversation; the labels as sent."""
	options = {"client": [hops(family, 77), dscp(family, 0x68)], "server": [hops(family, 99), dscp(family, 0x28)]}
	near, far = lab.capture("client", "eth0"), lab.capture("server", "eth0")
	seen = []
	with Pair(lab, family, client_options=options["client"], server_options=options["server"]) as p:
		p.server.setsockopt(*dscp(family, 0x28))
		p.server.setsockopt(*hops(family, 99))
		p.prime()
		times = [time.time()]
		for up, down in DSCP:
			p.client.setsockopt(*dscp(family, up))
			p.server.setsockopt(*dscp(family, down))
			whole = transfer(p.client, p.server, BODY), transfer(p.server, p.client, BODY)
			time.sleep(0.1)
			times.append(time.time())
	captures = {"client": near.stop(), "server": far.stop()}
	for i in range(2):
		for end, other in (("client", "server"), ("server", "client")):
			def of(ns):
				return [x for x in captures[ns] if x.tcp and times[i] < x.time < times[i + 1]
					and str(x.src) == HOST[other][family]]
			got, sent = of(end), of(other)
			# Acks of a leg may still carry what its end sent before it changed.
			seen.append((end, {x.ttl for x in got}, {x.dscp_ecn & ~3 for x in got if x.payload_len},
				{label(x) for x in got} <= {label(x) for x in sent}, got[-1].dscp_ecn & ~3, whole))
	return seen


@contextlib.contextmanager
def one_mark(lab, family, ns, hook):
	"""The sixth full packet is marked CE: leaving the sender, or reaching the receiver."""
	ip = "ip" if family == 4 else "ip6"
	size = "ip length" if family == 4 else "ip6 length"
	lab.run(ns, ["nft", "-f", "-"], input=f"""table inet ce {{
		chain c {{
		type filter hook {hook} priority 0;
		meta l4proto tcp {size} > 1000 numgen inc mod 1000000 == 5 {ip} ecn set ce counter
		}}
	}}""")
	try:
		yield
	finally:
		lab.run(ns, ["nft", "delete", "table", "inet", "ce"])


def congestion(lab, family, reverse, where):
	"""CE once: ECE until CWR, and not after. Seen at the sender (where it leaves), or the receiver."""
	a, b = ("server", "client") if reverse else ("client", "server")
	with Pair(lab, family, reverse) as p:
		p.prime()
		capture = lab.capture(a if where == "sender" else b, "eth0")
		with one_mark(lab, family, a if where == "sender" else b, "postrouting" if where == "sender" else "input"):
			whole = transfer(p.a, p.b, BODY) and transfer(p.a, p.b, BODY)
		time.sleep(0.2)
		packets = capture.stop()
	sender, receiver = HOST[a][family], HOST[b][family]
	data_, acks = ([x for x in packets if x.tcp and str(x.src) == y] for y in (sender, receiver))
	cwr = [x for x in data_ if x.flags & CWR]
	echoes = [x for x in acks if x.flags & ECE]
	after = [x for x in echoes if cwr and x.ack - cwr[0].end_seq & 0xffffffff < 1 << 31]
	# A leg may say CWR again to an ECE that was under way; an end says it once.
	return whole, bool(echoes), len(cwr) if where == "sender" else bool(cwr), len(after)


def md5(peer, family):
	address = (struct.pack("!HH4s", 0, 0, socket.inet_pton(socket.AF_INET, peer)) if family == 4 else
		struct.pack("!HHI16sI", 0, 0, 0, socket.inet_pton(socket.AF_INET6, peer), 0))
	address = struct.pack("H", FAMILY[family]) + address[2:]
	return (socket.IPPROTO_TCP, TCP_MD5SIG, struct.pack("128sBBHi80s", address, 0, 0, 4, 0, b"seam"))


def passed(tap, lab, what, reason, **how):
	try:
		pair = Pair(lab, **how)
	except OSError as e:
		if e.errno not in (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT):
			raise
		tap.skip(f"{what}: passed", e)
		return
	with pair as p:
		p.prime()
		whole = transfer(p.client, p.server, BODY) and transfer(p.server, p.client, BODY)
		f = flow(lab, p)
		tap.equal((whole, f["flow"]["state"], f["flow"]["reason"]), (True, "passed", reason),
			f"{what}: passed with its reason")


def left_alone(tap, lab):
	for family in FAMILY:
		passed(tap, lab, f"IPv{family}: MPTCP", "mptcp", family=family, protocol=IPPROTO_MPTCP)
		passed(tap, lab, f"IPv{family}: TCP-MD5", "tcp_auth", family=family,
			client_options=[md5(HOST["server"][family], family)], server_options=[md5(CLIENT[family], family)])
	for end in ("client", "server"):
		if lab.run(end, ["sysctl", "-qw", "net.ipv4.tcp_ecn=3"], check=False).returncode:
			tap.skip("AccECN: passed", "this kernel does not negotiate it")
			return
	for family in FAMILY:
		passed(tap, lab, f"IPv{family}: AccECN", "accecn", family=family)


def fast_open(tap, lab):
	"""TCP Fast Open: asking for a cookie is an option like others; a SYN with payload is left alone."""
	for end in ("client", "server"):
		lab.run(end, ["sysctl", "-qw", "net.ipv4.tcp_fastopen=3"])
	listener = listen(lab, 7000)
	listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
	for family in FAMILY:
		for what, state, reason, opened in (("a cookie is asked for", "split", "legs_ready", 0), ("used", "passed", "syn_data", 1)):
			with inside(lab, "client"):
				client = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
			with client, lab.deltas("client", "server") as d:
				early = client.sendto(BODY[:1000], socket.MSG_FASTOPEN, (HOST["server"][family], 7000))
				client.settimeout(10)
				with accept(listener) as server:
					whole = (read(server, early) == BODY[:early] and transfer(server, client, BODY)
						and transfer(client, server, BODY))
					f = flow_to(lab, 7000, (state,))
			tap.equal((whole, f["flow"]["reason"]), (True, reason), f"IPv{family}, Fast Open, {what}: arrives whole, {state}")
			tap.equal([d["client"].get("TcpExtTCPFastOpenActive", 0), d["server"].get("TcpExtTCPFastOpenPassive", 0)], [opened] * 2,
				f"IPv{family}, Fast Open, {what}: the ends agree on it")


@scenario
def main(tap):
	with Lab("off", sysctls={"net.ipv4.tcp_ecn": 1}) as lab:
		cases = [(f"IPv{f}: TTL, DSCP, flow label", lambda f=f: marks(lab, f), MARKS) for f in FAMILY]
		cases += [(f"IPv{f}: ECN, {'down' if reverse else 'up'}, marked at the {where}",
			lambda f=f, reverse=reverse, where=where: congestion(lab, f, reverse, where), (True, True, True, 0))
			for f in FAMILY for reverse in (False, True) for where in ("sender", "receiver")]
		seam = through_both(tap, lab, cases)
		tap.equal(seam.stop(), 0, "seam ends")
	with Lab() as lab:
		seam = start_seam(lab, SPLIT_ALL)
		left_alone(tap, lab)
		fast_open(tap, lab)
		tap.equal(seam.stop(), 0, "seam ends")
