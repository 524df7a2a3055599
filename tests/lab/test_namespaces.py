#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""An instance belongs to the network namespace of its interfaces; elsewhere nobody touches it."""
import signal

from lab import Lab, scenario, seam_binary, start_seam

ARGS = ("--client", "cli", "--server", "srv")


def attached(lab):
	return "seam_client" in lab.run("box", ["tc", "filter", "show", "dev", "cli", "ingress"]).stdout


@scenario
def main(tap):
	with Lab() as lab:
		seam = start_seam(lab, args=ARGS)
		# As `ip netns exec` does, for each command anew.
		status = ["unshare", "-m", "sh", "-c", f"mount -t bpf bpf /sys/fs/bpf && exec {seam_binary()} status"]
		done = lab.run("box", status, check=False)
		tap.ok(done.returncode == 1 and f"process {seam.proc.pid}" in done.stderr and "nsenter -t" in done.stderr,
			"where the pins of a running daemon are not to be seen, `seam status` says who has them (it said: is starting)", done)
		tap.equal(seam.stop(), 0, "seam ends")
		start_seam(lab, args=ARGS).stop(signal.SIGKILL)
		tap.ok(attached(lab), "a killed daemon leaves its programs on the box")
		done = lab.run("server", [seam_binary(), "detach"], check=False)
		tap.ok(done.returncode == 1 and "another network namespace" in done.stderr,
			"`seam detach` in another namespace refuses (it took the pins, left the programs, and said it was done)", done)
		tap.ok(attached(lab), "and takes nothing away")
		done = lab.run("server", [seam_binary(), "status"], check=False)
		tap.ok("another network namespace" in done.stderr, "`seam status` there says that it is elsewhere", done)
		done = lab.run("server", [seam_binary(), "run", "--client", "eth0", "--server", "lo"], check=False)
		tap.ok(done.returncode == 1 and "another network namespace" in done.stderr, "so does `seam run`", done)
		tap.ok(attached(lab), "and leaves it alone")
		lab.run("box", [seam_binary(), "detach"])
		tap.ok(not attached(lab), "at home `seam detach` takes everything away")
		start_seam(lab, args=ARGS).stop(signal.SIGKILL)
		done = lab.run("server", [seam_binary(), "detach", "--force"])
		done = lab.run("box", [seam_binary(), "detach"], check=False)
		tap.ok(done.returncode == 3 and all(f"{port} has programs" in done.stderr for port in ("cli", "srv")),
			"by force: the pins are gone, and the ports that have programs still are named", done)
		for port in ("cli", "srv"):
			lab.run("box", ["tc", "filter", "del", "dev", port, "ingress", "pref", "1514"])
		start_seam(lab, args=ARGS).stop(signal.SIGKILL)
		detach = [*status[:-1], status[-1].replace("status", "detach")]
		done = lab.run("box", detach, check=False)
		tap.ok(done.returncode == 1 and "cli has programs" in done.stderr and attached(lab),
			"so are they where the pins are not to be seen (it said that it had removed a lock file)", done)
		lab.run("box", [seam_binary(), "detach"])
		tap.ok(not attached(lab), "and where they are, all goes")
