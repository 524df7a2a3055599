#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Run the calling script again in mount and PID namespaces of its own.

Everything a scenario makes lives in these two namespaces: named network
namespaces and temporary files on a private tmpfs at /run, pinned BPF objects on
a private bpffs, and every process. When the script ends, for whatever reason,
the kernel takes all of it away; SIGKILL included.

    original process   forwards SIGINT and SIGTERM, waits, passes the status on
      init (PID 1)     reaps orphans, ends with the script
        script         the scenario itself
"""
import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import time

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
MS_BIND, MS_REC, MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
PR_SET_PDEATHSIG = 1
INNER = "SEAM_LAB_INNER"
GRACE = 20	# seconds the script has to tear down after a signal
LIMIT = "LAB_LIMIT"	# environment: seconds that a script may take, 0 for ever
USUAL_LIMIT = 600

_libc = ctypes.CDLL(None, use_errno=True)


class Interrupted(BaseException):
	"""Raised in the script by SIGINT or SIGTERM, so that teardown runs."""

	def __init__(self, signum):
		super().__init__(signal.Signals(signum).name)
		self.signum = signum


def _forward(pid, signals=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
	seen = []

	def handler(signum, _frame):
		seen.append((signum, time.monotonic()))
		try:
			os.kill(pid, signum)
		except ProcessLookupError:
			pass

	for s in signals:
		signal.signal(s, handler)
	return seen


def _status(status):
	"""Exit code for a wait status, as a shell would give it."""
	code = os.waitstatus_to_exitcode(status)
	return code if code >= 0 else 128 - code


def _checked(name, *args):
	if getattr(_libc, name)(*args) != 0:
		err = ctypes.get_errno()
		raise OSError(err, f"{name}: {os.strerror(err)}")


def _private_mounts():
	"""No mount made from here on is seen outside.

	In a chroot `/` is no mount point, so that its propagation cannot be changed, nor does
	`ip netns exec` work: then go to the root of the mount namespace, and make it one.
	"""
	cwd, root = os.getcwd(), os.open("/", os.O_PATH)
	with open("/proc/self/ns/mnt") as ns:
		_checked("setns", ns.fileno(), CLONE_NEWNS)
	_checked("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
	path = os.readlink(f"/proc/self/fd/{root}")
	if path != "/":
		_checked("mount", path.encode(), path.encode(), None, MS_BIND | MS_REC, None)
		os.chroot(path)
	os.close(root)
	os.chdir(cwd)


def _init():
	"""PID 1: mounts, the script as PID 2, and reaping."""
	_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
	os.setsid()	# a terminal's ^C reaches only the original process
	_private_mounts()
	mounts = (
		["mount", "-t", "proc", "proc", "/proc"],
		["mount", "-t", "tmpfs", "-o", "mode=755", "seam-lab", "/run"],
	)
	for argv in mounts:
		subprocess.run(argv, check=True)
	os.makedirs("/run/netns")
	os.makedirs("/run/lab")
	script = os.fork()
	if script == 0:
		os.environ[INNER] = "1"
		os.execv("/usr/bin/python3", ["python3", *sys.orig_argv[1:]])
	_forward(script)
	while True:
		pid, status = os.wait()
		if pid == script:
			os._exit(_status(status))


def _limit(seconds):
	"""The script is killed after so long, having told where it hangs; what it has started ends with it."""
	faulthandler.register(signal.SIGALRM, chain=True)	# and then what SIGALRM does by default
	signal.alarm(seconds)


def enter(limit=USUAL_LIMIT):
	"""Return inside the namespaces; the original process never returns.

	limit: seconds until it ends as a failure, unless the environment says otherwise; 0: never.
	"""
	limit = int(os.environ.get(LIMIT, limit))
	if os.environ.get(INNER):
		for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
			signal.signal(s, _interrupt)
		_limit(limit)
		return
	if os.geteuid() != 0:
		sys.exit(f"{sys.argv[0]}: namespaces need root")
	if _libc.unshare(CLONE_NEWNS | CLONE_NEWPID) != 0:
		err = ctypes.get_errno()
		sys.exit(f"{sys.argv[0]}: unshare: {os.strerror(err)}")
	init = os.fork()
	if init == 0:
		try:
			_init()
		finally:
			os._exit(70)
	signals = _forward(init)
	while True:
		pid, status = os.waitpid(init, os.WNOHANG)
		if pid:
			break
		if signals and time.monotonic() - signals[0][1] > GRACE:
			os.kill(init, signal.SIGKILL)
		time.sleep(0.02)
	code = _status(status)
	if code == 128 + signal.SIGALRM:
		print(f"# {sys.argv[0]}: killed, as it had not ended after {limit} s ({LIMIT})", flush=True)
	sys.exit(128 + signals[0][0] if signals else code)


def _interrupt(signum, _frame):
	# A second signal must not break the teardown the first one started.
	for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
		signal.signal(s, signal.SIG_IGN)
	raise Interrupted(signum)
