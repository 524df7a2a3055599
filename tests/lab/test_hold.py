#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a hold does to packets, what ends it, and how a flow is blocked."""
import pcap
from hello import client_hello, http_head
from lab import REGIMES, SERVER, Lab, Link, reasons, scenario, seam_json, start_seam, wait_for
from peers import reload
from scripted import Counter, run_clients
from wires import tags_object

HEAD = """
client = "cli";
server = "srv";
decide = "daemon";
"""
RST_SEEN = ("ECONNRESET", "EPIPE")
REST = [["count"], ["sleep", 0.1], ["send", b"the rest".hex()], ["count"], ["fin"]]
SENT_AGAIN = ("TcpRetransSegs", "TcpExtTCPTimeouts", "TcpExtTCPLossProbes", "TcpExtTCPDSACKRecv",
	"TcpExtTCPDSACKOldSent", "TcpExtTCPChallengeACK", "TcpExtPAWSEstab", "TcpInErrs")
PARTIAL = b"GET /a-request-that-never-ends"


def flow_of(lab, report):
	flow, = [f for f in seam_json(lab, "flows") if f["src_port"] == report["port"]]
	return seam_json(lab, "flow", str(flow["flow_id"]))


def path(flow):
	return [t["to"] for t in flow["history"]]


def why(flow):
	return [t["reason"] for t in flow["history"]]


def introduce(lab, port):
	"""Neighbours get to know each other."""
	for host in SERVER.values():
		run_clients(lab, {"first": {"host": host, "port": port, "steps": [["sleep", 0.05]]}})


# Verdict pass: packets as they were

def unchanged(tap, regime):
	policy = HEAD + 'rules = ( { name = "no"; sni = "blocked.com"; action = "block"; } );'
	# The delay makes a hold long enough for a daemon that has to wait for a CPU.
	with Lab(regime=regime, client_link=Link(delay=40)) as lab:
		Counter(lab, {7000: None})
		seam = start_seam(lab, policy)
		introduce(lab, 7000)
		hello, behind = client_hello(), bytes(range(256)) * 20
		near = lab.capture("client", "eth0", "tcp port 7000")
		far = lab.capture("server", "eth0", "tcp port 7000")
		with lab.deltas() as d:
			reports = run_clients(lab, {f"{family} {what}": {"host": host, "port": 7000, "steps": [*steps, *REST]}
				for family, host in SERVER.items() for what, steps in (
					("at once", [["send", (hello + behind).hex()]]),
					("in four", [["send", p.hex()] for p in (hello[:700], hello[700:], behind, b"end")]))})
		mine = {r["port"] for r in reports.values()}
		wait_for(lambda: mine <= {f["src_port"] for f in seam_json(lab, "flows", "--state=closing")}, "the flows' ends")
		# The last of those that were introduced may be there as well.
		near, far = ([p for p in c.stop() if p.tcp and {p.sport, p.dport} & mine] for c in (near, far))
		if regime == "box":	# where the box cuts up what the client has left to its interface
			near = [s for p in near for s in pcap.segments([p], 1448 if p.family == 4 else 1428)]
		tap.ok(all(r["good"] for r in reports.values()), f"{regime}: everything arrived", reports)
		tap.equal(pcap.same_above_link(near, far, ignore_tcp_checksum=regime != "off"), [],
			f"{regime}: byte-identical on both sides, in order")
		for name, report in reports.items():
			flow = flow_of(lab, report)
			tap.ok(path(flow)[:3] == ["monitored", "held", "passed"], f"{regime}: {name}: held and passed, no socket made",
				path(flow), why(flow))
		tap.equal(seam_json(lab, "status")["daemon"]["stats"]["splits"], 0, f"{regime}: nothing was split")
		for end, counters in d.items():
			tap.zero(counters, SENT_AGAIN, f"{regime}: the {end} noticed nothing")
		seam.stop()


# Limits

def limits(tap, lab, seam, answer):
	"""Each limit by itself: the other one is out of reach for the client."""
	window = PARTIAL + b"x" * 70000
	pieces = [["slow", (PARTIAL + b"x" * 1100).hex(), 100, 0.005]]
	cases = {
		"time": ('time = "500ms"; bytes = "64k"', [["send", PARTIAL.hex()]]),
		"bytes, held": ('time = "60s"; bytes = 1000', [["send", (PARTIAL + b"x" * 1100).hex()]]),
		"bytes, split": ('time = "60s"; bytes = 1000', pieces),
		"the server's window": ('time = "60s"; bytes = "64k"', [["send", window.hex()]]),
	}
	server = Counter(lab, {7000: None})
	for what, (hold, steps) in cases.items():
		reload(lab, seam, HEAD + f"""hold = {{ {hold}; answer = "{answer}"; }};
			rules = ( {{ name = "host"; host = "never.com"; action = "block"; }} );""")
		report = run_clients(lab, {"it": {"host": SERVER[4], "port": 7000, "steps": steps + REST}})["it"]
		flow = flow_of(lab, report)
		good = "undecided" in why(flow) and ("splitting" in path(flow)) == (what != "bytes, held")
		if answer == "pass":
			good &= report["good"] and path(flow)[-1] in ("closing", "merged", "passed")
		else:
			seen = server.seen(report["port"])
			good &= report["error"] in RST_SEEN and seen and seen["bytes"] == 0 and seen["end"] in RST_SEEN
		tap.ok(good, f"limit of {what}: {answer}", report | {"read": ""}, path(flow), why(flow))
	lab.stop(server.proc)


def needs_no_limit(tap, lab, seam):
	"""Flows whose rule is known before any limit, if one thinks about it: the limits are a minute away."""
	server = Counter(lab, {7000: None, 7001: (b"421 too slow\r\n", 0.3), 7002: (b"N", -1), 7003: (b"bye\r\n", 0.2)})
	reload(lab, seam, HEAD + """hold = { time = "60s"; };
		rules = ( { name = "host"; host = "never.com"; action = "block"; },
			  { name = "sni"; sni = "never.com"; action = "block"; } );""")
	ssl_request = bytes.fromhex("0000000804d2162f")
	some = ["send", PARTIAL.hex()]
	cases = {
		"the client ends after some bytes": (7000, [some, ["fin"]]),
		"the client ends after some bytes and a while": (7000, [some, ["sleep", 0.2], ["fin"]]),
		"the client ends without a word": (7000, [["fin"]]),
		"the client ends without a word, and the server speaks": (7003, [["fin"]]),
		"the server speaks while the client has begun": (7001, [some, ["read", 5], *REST[1:2], ["fin"]]),
		"the client asks for SSL as in PostgreSQL": (7002, [["send", ssl_request.hex()], ["read", 1],
			["send", client_hello().hex()], *REST]),
	}
	reports = run_clients(lab, {name: {"host": SERVER[4], "port": port, "timeout": 8, "steps": steps}
		for name, (port, steps) in cases.items()})
	for name, report in reports.items():
		flow = flow_of(lab, report)
		tap.ok(report["good"], f"{name}: not held up", report, path(flow), why(flow))
	left = run_clients(lab, {"it": {"host": SERVER[4], "port": 7000, "steps": [some, ["sleep", 0.2], ["rst"]]}})["it"]
	seen = server.seen(left["port"])
	tap.ok(seen and seen["end"] == "ECONNRESET", "a RST of a client that nobody has decided on reaches the server", seen,
		seam_json(lab, "flow", str(next(f for f in seam_json(lab, "flows") if f["src_port"] == left["port"])["flow_id"])),
		reasons(lab))
	states = [f"--state={s}" for s in ("held", "splitting", "split", "merging")]
	tap.equal(seam_json(lab, "flows", *states), [], "and no flow is left half done")
	lab.stop(server.proc)


# Block

BLOCK = HEAD + """
rules = (
	{ name = "syn-reset"; server_port = 7001; action = "block"; },
	{ name = "syn-drop"; server_port = 7002; action = "block"; with = "drop"; },
	{ name = "reset"; server_port = 7003; host = "blocked.com"; action = "block"; },
	{ name = "drop"; server_port = 7004; host = "blocked.com"; action = "block"; with = "drop"; },
	{ name = "pattern"; server_port = 7005; action = "inspect"; inspectors = "pattern";
	  patterns = ( { name = "evil"; regex = "evil"; action = "block"; } ); until = { bytes = "1M"; }; }
);
"""


def block_cases():
	"""{name: (case, error of the client, end of the server's connection or None)}"""
	head = http_head("blocked.com")
	slow = [["send", head[:2].hex()], ["acked"], ["send", head[2:].hex()]]
	across = [["send", b"some ev".hex()], ["count"], ["send", b"il to do".hex()]]
	out = {}
	for family, host in SERVER.items():
		for what, port, steps, error, end in (
				("at the SYN, reset", 7001, [], ("ECONNREFUSED",), None),
				("at the SYN, drop", 7002, [], ("TIMEOUT",), None),
				("at the first payload, reset", 7003, [["send", head.hex()]], RST_SEEN, RST_SEEN),
				("at the first payload, drop", 7004, [["send", head.hex()]], ("TIMEOUT",), None),
				("after the split, reset", 7003, slow, RST_SEEN, RST_SEEN),
				("after the split, drop", 7004, slow, ("TIMEOUT",), None),
				("by a pattern across two segments", 7005, across, RST_SEEN, RST_SEEN)):
			case = {"host": host, "port": port, "timeout": 2, "steps": steps + [["count"], ["sleep", 0.2]]}
			out[f"IPv{family}: {what}"] = (case, error, end)
	return out


def block(tap, lab, seam):
	server = Counter(lab, {7000: None, 7003: None, 7004: None, 7005: None})
	reload(lab, seam, BLOCK)
	introduce(lab, 7000)
	near, far = (lab.capture(ns, "eth0", "tcp portrange 7001-7005") for ns in ("client", "server"))
	todo = block_cases()
	reports = run_clients(lab, {name: case for name, (case, _, _) in todo.items()})
	ended = {name: end and server.seen(reports[name]["port"]) for name, (_, _, end) in todo.items()}
	near, far = pcap.flows(near.stop()), pcap.flows(far.stop())
	for name, (case, error, end) in todo.items():
		report, seen = reports[name], ended.get(name)
		tap.ok(report["error"] in error and (not end or seen and seen["end"] in end),
			f"{name}: both ends know what they should", report, seen)
		if "SYN" not in name:
			after_rst(tap, name, report["port"], case, near, far, "reset" in name or "pattern" in name)
			said = b"".join(p.payload for k, packets in far.items() if k[1] == report["port"] for p in packets)
			tap.equal(said, b"some ev" if "pattern" in name else b"",
				f"{name}: the server gets {'what came before the match' if 'pattern' in name else 'nothing of it'}")
	lab.stop(server.proc)


def after_rst(tap, name, port, case, near, far, reset):
	"""One RST to each end, exactly where the end expects the next byte, and the last word; or none."""
	for end, capture, source, to in (("client", near, port, case["port"]), ("server", far, case["port"], port)):
		sent = [p for k, packets in capture.items() if (k[1], k[3]) == (source, to) for p in packets]
		got = [p for k, packets in capture.items() if (k[3], k[1]) == (source, to) for p in packets]
		rst = [p for p in got if p.flags & pcap.RST]
		if not reset:
			tap.ok(got and not rst, f"{name}: no RST to the {end}", *map(str, got))
			continue
		later = [p for p in sent if rst and p.time > rst[0].time]
		tap.ok(len(rst) == 1 and not later and rst[0].seq == sent[-1].ack,
			f"{name}: one RST to the {end}, in its place, and silence after it", *map(str, sent + got))


def same_id(tap):
	"""GRO puts packets with one IP ID together, too. One went into the hold device, and came out as many."""
	with Lab() as lab:
		Counter(lab, {7000: None})
		start_seam(lab, HEAD + 'rules = ( { name = "no"; sni = "blocked.com"; action = "block"; } );')
		introduce(lab, 7000)
		lab.run("client", ["ethtool", "-K", "eth0", "tso", "off", "gso", "off"])
		lab.run("box", ["ethtool", "-K", "cli", "gro", "on"])
		lab.run("box", ["ip", "link", "set", "dev", "cli", "xdpdrv", "obj", tags_object(), "sec", "xdp/same_id"])
		device = seam_json(lab, "status")["daemon"]["hold_device"]["name"]
		came, held = (lab.capture("box", dev, f"tcp port 7000 and host {SERVER[4]}") for dev in ("cli", device))
		request = client_hello() + bytes(range(256)) * 200
		report = run_clients(lab, {"x": {"host": SERVER[4], "port": 7000, "steps": [["send", request.hex()], *REST]}})["x"]
		flow = flow_of(lab, report)
		came, held = ([p for p in c.stop() if p.tcp] for c in (came, held))
		came = [p for p in came if p.dport == 7000 and p.payload_len]
		tap.ok({p.ip_id for p in came} == {0} and max(p.payload_len for p in came) > 1448, "they come in with one ID, and put together",
			[(p.ip_id, p.payload_len) for p in came])
		tap.ok(held and len(held) == 2 * flow["hold"]["packets_in"], "each goes through the hold device as one",
			flow["hold"], [p.payload_len for p in held])


@scenario
def main(tap):
	for regime in REGIMES:
		unchanged(tap, regime)
	with Lab() as lab:
		seam = start_seam(lab, HEAD)
		for answer in ("pass", "block"):
			limits(tap, lab, seam, answer)
		needs_no_limit(tap, lab, seam)
		block(tap, lab, seam)
		tap.equal(seam.stop(), 0, "seam ends")
	same_id(tap)
