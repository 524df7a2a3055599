#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Draws docs/trace.svg anew: a download that is split and merged again, 10 ms away on either side."""
import shutil
import sys

import isolate
from lab import Lab, Link
from tracing import split_and_merge, started


def main(path):
	isolate.enter()
	with Lab(client_link=Link(delay=5), server_link=Link(delay=5), pace=160, window=1 << 20) as lab:
		started(lab)
		trace, _report = split_and_merge(lab, "down", 60_000_000, 0.06, 0.1, 0.06, settle=1.5)
		shutil.copyfile(trace.svg_path, path)
		print(trace.said, end="")


if __name__ == "__main__":
	main(sys.argv[1])
