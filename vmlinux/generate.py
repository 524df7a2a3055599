#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Writes vmlinux.h: the kernel types named in types.list, and what they
contain by value, out of the running kernel's BTF.

	vmlinux/generate.py > vmlinux/vmlinux.h
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BTF = sys.argv[1] if len(sys.argv) > 1 else "/sys/kernel/btf/vmlinux"


def definitions(text):
	"""Maps a type's name to its definition, in the order of the dump."""
	defs, block = {}, []
	for line in text.splitlines():
		if not block and (not line.strip() or line[0] == "#"):
			continue
		block.append(line)
		if line.startswith("}") or (len(block) == 1 and line.endswith(";")):
			one, block = "\n".join(block), []
			m = re.match(r"(struct|union|enum) (\w+) \{", one)
			if m:
				defs["%s %s" % m.groups()] = one
				continue
			if one.startswith("typedef"):
				m = re.search(r"(\w+)(\[[^]]*\])*;$", one) or \
					re.search(r"\(\*(\w+)\)", one)
				if m:
					defs[m.group(1)] = one
	return defs


def contained(body):
	"""Names of types that `body` holds by value."""
	body = re.sub(r"^\w+ \w+ \{", "{", body)
	for m in re.finditer(r"\b(struct|union|enum) (\w+)\b(?!\s*\{)(\s*\**)", body):
		if not m.group(3).strip():
			yield "%s %s" % m.group(1, 2)
	yield from re.findall(r"\b(__\w+|u8|u16|u32|u64|s8|s16|s32|s64|bool|\w+_t)\b", body)


def main():
	dump = subprocess.run(["bpftool", "btf", "dump", "file", BTF, "format", "c"],
			      check=True, capture_output=True, text=True).stdout
	defs = definitions(dump)
	with open(os.path.join(HERE, "types.list")) as f:
		todo = [line.strip() for line in f if line.strip() and line[0] != "#"]
	missing = [name for name in todo if name not in defs]
	if missing:
		sys.exit("not in this kernel: " + ", ".join(missing))
	# What libbpf's own headers expect to find.
	todo += ["__u8", "__u16", "__u32", "__u64", "__s8", "__s16", "__s32", "__s64",
		 "__be16", "__be32", "__be64", "__wsum", "__sum16", "u8", "u16", "u32", "u64", "bool"]
	want = set()
	while todo:
		name = todo.pop()
		if name in want or name not in defs:
			continue
		want.add(name)
		todo += contained(defs[name])
	print("/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */")
	print("/* Kernel types out of BTF, made by vmlinux/generate.py; see types.list. */")
	print("#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\n")
	print("#pragma clang attribute push (__attribute__((preserve_access_index)), "
	      "apply_to = record)\n")
	for name in defs:
		if name in want:
			print(defs[name], end="\n\n")
	print("#pragma clang attribute pop\n\n#endif")


main()
