# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""`seam trace` of a transfer that is split and merged by hand meanwhile."""
import json
import signal
import subprocess
import time
import xml.etree.ElementTree as xml

from byhand import POLICY, ByHand, flow_to
from lab import SERVER, LabError, seam_binary, start_seam
from servers import LoadServer, finish_client, start_client

SVG = "{http://www.w3.org/2000/svg}"


class Trace:
	"""A running `seam trace`; stop() reads what it wrote."""

	def __init__(self, lab, flow_id, *args):
		self.lab = lab
		self.svg_path, self.json_path = lab.tmp / f"{flow_id}.svg", lab.tmp / f"{flow_id}.json"
		self.proc = lab.popen("box", [seam_binary(), "trace", *args, "--svg", self.svg_path, "--json",
			self.json_path, flow_id], stderr=subprocess.PIPE, text=True)
		self.said = lab.wait_line(self.proc, "recording flow")

	def stop(self, signum=signal.SIGINT, timeout=30):
		"""End it by a signal, or let it end by itself (0): its exit code."""
		code, _out, err = self.lab.stop(self.proc, signum, timeout)
		self.said += err
		lines = [json.loads(line) for line in self.json_path.read_text().splitlines()]
		self.flow = lines[0]
		self.packets = [o for o in lines if o["event_type"] == "packet"]
		self.moves = [o for o in lines if o["event_type"] == "transition"]
		return code

	def drawing(self):
		return xml.parse(self.svg_path).getroot()

	def segments(self, side, direction):
		"""What is recorded with payload: direction is "to_server" or "to_client"."""
		return [p for p in self.packets if p["len"] and (p["side"], p["direction"]) == (side, direction)]


def split_and_merge(lab, way, size, before, between, after, port=7000, settle=0.3, **options):
	"""A transfer over a traced connection that is split and merged: (its trace, the client's report).

	settle: seconds before the trace begins; before, between and after the transitions it is left
	alone for so many.
	"""
	server = LoadServer(lab, {"up": "sink", "down": "source", "up down": "echo"}[way], port, expect=7,
		**({"send": size, "seed": 7} | options if way == "down" else {}))
	mine = ({"send": size, "seed": 7} | options if "up" in way else {}) | ({"recv": size, "expect": 7} if "down" in way else {})
	proc = start_client(lab, "source" if "up" in way else "sink", SERVER[4], port, **mine)
	flow = flow_to(lab, port)
	hand = ByHand(flow)
	time.sleep(settle)
	trace = Trace(lab, flow["flow_id"], "--time", "30s")
	for go, pause in ((hand.split, before), (hand.merge, between)):
		time.sleep(pause)
		why = go()
		if why:
			raise LabError(why)
	time.sleep(after)
	if trace.stop():
		raise LabError(trace.said)
	report, = finish_client(lab, proc)
	server.results(1)
	return trace, report


def started(lab):
	"""With Seam on the box, set up for split_and_merge()."""
	return start_seam(lab, POLICY)
