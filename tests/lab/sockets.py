# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Sockets of the scenario itself, in the lab's namespaces: for what needs a step at a time."""
import contextlib
import ctypes
import os
import socket
import threading

from lab import NETNS, LabError

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd):
	if _libc.setns(fd, CLONE_NEWNET):
		err = ctypes.get_errno()
		raise LabError(f"setns: {os.strerror(err)}")


@contextlib.contextmanager
def inside(lab, ns):
	"""The calling thread is in that namespace: sockets made there stay there."""
	back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
	there = os.open(NETNS / lab.ns(ns), os.O_RDONLY | os.O_CLOEXEC)
	try:
		_setns(there)
		yield
	finally:
		_setns(back)
		os.close(there)
		os.close(back)


def connect(lab, host, port, bind=None, timeout=10):
	"""A TCP connection from the client; bind: its source, (address, port)."""
	with inside(lab, "client"):
		s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
	s.settimeout(timeout)
	s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
	s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
	if bind:
		s.bind(bind)
	s.connect((host, port))
	return s


def listen(lab, port, address="::", ns="server", timeout=10):
	"""A listening socket in the server, of both families."""
	with inside(lab, ns):
		s = socket.socket(socket.AF_INET6)
	s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
	s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
	s.settimeout(timeout)
	s.bind((address, port))
	s.listen(4096)
	return s


def accept(listener, timeout=10):
	s, _peer = listener.accept()
	s.settimeout(timeout)
	return s


def read(s, length):
	"""Exactly that many bytes; fewer at the connection's end."""
	got = b""
	while len(got) < length:
		more = s.recv(length - len(got))
		if not more:
			break
		got += more
	return got


def exchange(a, b, data=b"seam"):
	"""Both ways once, whole; True if it arrived."""
	for sender, receiver in ((a, b), (b, a)):
		# Read meanwhile: more than fits into both queues would wait for ever.
		thread = threading.Thread(target=sender.sendall, args=(data,))
		thread.start()
		got = read(receiver, len(data))
		thread.join()
		if got != data:
			return False
	return True


def outcome(s, send=b""):
	"""How a connection ended: what arrived, and "FIN", or the name of the error."""
	import errno
	got = b""
	try:
		if send:
			s.send(send)
		while more := s.recv(1 << 20):
			got += more
		return got, "FIN"
	except socket.timeout:
		return got, "nothing"
	except OSError as e:
		return got, errno.errorcode[e.errno]
