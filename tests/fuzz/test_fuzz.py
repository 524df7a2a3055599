#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Run fuzzers, as many at once as there are CPUs, each for some seconds: a test point for each.

	test_fuzz.py [--seconds N] [--seed N] [--keep] [NAME...]

Without --keep the corpus is what is checked in, the seed is fixed, and nothing is written but the
input of a crash.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FUZZ = ROOT / ".output" / "fuzz"
sys.path.insert(0, str(HERE.parent / "lab"))

from tap import Tap	# noqa: E402

# Texts that are checked in for other tests are a corpus too.
CORPUS = {"tls": ["tests/fuzz/corpus/tls", "tests/fixtures/tls"],
	"policy": ["tests/fixtures/policy", "examples"]}
OPTIONS = {"policy": ["-dict=tests/fuzz/policy.dict"], "control": ["-dict=tests/fuzz/control.dict"],
	"explain": ["-dict=tests/fuzz/explain.dict", "-close_fd_mask=2"],	# it says what it refuses
	"frame": ["-max_len=256"], "flows": ["-max_len=128"]}


def tail(text):
	return "\n".join(text.splitlines()[-30:])


def libfuzzer(name, args):
	"""(whether nothing was found, what it did, what it said)."""
	corpus = [ROOT / d for d in CORPUS.get(name, [f"tests/fuzz/corpus/{name}"])]
	with tempfile.TemporaryDirectory() as tmp:
		found = FUZZ / "corpus" / name if args.keep else Path(tmp)
		found.mkdir(parents=True, exist_ok=True)
		argv = [FUZZ / f"fuzz_{name}", f"-max_total_time={args.seconds}", "-timeout=20", "-rss_limit_mb=4096",
			f"-artifact_prefix={FUZZ}/{name}-", "-print_final_stats=1", *OPTIONS.get(name, []), found, *corpus]
		if not args.keep or args.seed != 1:
			argv.insert(1, f"-seed={args.seed}")
		run = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
			errors="replace", timeout=args.seconds + 120)
	units = re.search(r"number_of_executed_units: (\d+)", run.stderr)
	cover = re.findall(r"cov: (\d+)", run.stderr)
	return (run.returncode == 0 and units and int(units[1]) > 0,
		f"{name}: {units[1] if units else 'no'} inputs, {cover[-1] if cover else 'no'} edges", tail(run.stderr))


# The BPF programs: fuzzers of their own kind.
PROGRAMS = ("bpf", "names")


def programs(name, args):
	seed = int(time.time()) if args.keep and args.seed == 1 else args.seed
	run = subprocess.run([ROOT / ".output" / "tests" / f"fuzz_{name}", str(args.seconds), str(seed)], cwd=ROOT,
		capture_output=True, text=True, timeout=args.seconds + 120)
	said = [line[2:] for line in run.stdout.splitlines() if line.startswith("# seed")]
	return run.returncode == 0, f"{name}: {' '.join(said)}", tail(run.stdout + run.stderr)


def main():
	parser = argparse.ArgumentParser()
	parser.add_argument("--seconds", type=int, default=2)
	parser.add_argument("--seed", type=int, default=1)
	parser.add_argument("--keep", action="store_true")
	parser.add_argument("names", nargs="*")
	args = parser.parse_args()
	names = args.names or [p.name.removeprefix("fuzz_") for p in sorted(FUZZ.glob("fuzz_*")) if p.is_file()] + list(PROGRAMS)
	tap = Tap()
	with ThreadPoolExecutor(os.cpu_count()) as pool:
		for result in pool.map(lambda name: (programs if name in PROGRAMS else libfuzzer)(name, args), names):
			tap.ok(*result)
	return tap.finish()


if __name__ == "__main__":
	sys.exit(main())
