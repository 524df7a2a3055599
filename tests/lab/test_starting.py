#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""While a daemon starts: other verbs say so, and a signal ends it with nothing left half made."""
import json
import signal
import subprocess
import time
from pathlib import Path

from lab import Lab, scenario, seam_binary

PINS = Path("/sys/fs/bpf/seam/default")
FILES = Path("/run/seam")


def start(lab):
	proc = lab.popen("box", [seam_binary(), "run", "--client", "cli", "--server", "srv"], stderr=subprocess.PIPE, text=True)
	deadline = time.monotonic() + 5
	while not PINS.exists() and time.monotonic() < deadline:
		time.sleep(0.001)
	return proc


@scenario
def main(tap):
	with Lab() as lab:
		proc, said = start(lab), []
		while not said or said[-1].returncode:
			said.append(lab.run("box", [seam_binary(), "status"], check=False))
			if len(said) > 500:
				break
		early = {d.stderr for d in said if d.returncode}
		tap.equal(early, {"seam status: instance `default` is starting; try again in a moment\n"}, "status says that it starts")
		tap.ok("daemon: starting" in said[-1].stdout, "still, when its maps are there", said[-1].stdout)
		both = json.loads(lab.run("box", [seam_binary(), "status", "-j"]).stdout)
		tap.equal((both["daemon"], both["starting"]), (None, True), "and in JSON")
		proc.send_signal(signal.SIGTERM)
		proc.communicate(timeout=20)
		for wait in (0, 0.2, 0.6):
			proc = start(lab)
			time.sleep(wait)
			proc.send_signal(signal.SIGTERM)
			_, err = proc.communicate(timeout=20)
			tap.equal(proc.returncode, 0, f"SIGTERM {wait} s after its pins were made: it ends as it does later")
			tap.ok(not PINS.exists() and not FILES.exists() and "nothing is left" in err, "and leaves nothing", err)
		done = lab.run("box", [seam_binary(), "run", "--client", "cli", "--server", "nobody"], check=False)
		tap.ok(done.returncode == 1 and not PINS.exists() and not FILES.exists(), "nor does one that cannot start", done)
		done = lab.run("box", [seam_binary(), "run", "--client", "cli", "--server", "srv", "--mode", "none"], check=False)
		tap.equal(done.returncode, 2, "a wrong option is one of the command line")
