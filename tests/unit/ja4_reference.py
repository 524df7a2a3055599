#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""JA4 (TLS over TCP) from the text of the FoxIO specification, and the other
fields of a flow record, for comparison with user/inspect_tls.c.

    ja4_reference.py FILE...            prints a line for each ClientHello
    ja4_reference.py --check EXPECTED   compares with such lines; exit status 1 if
                                        they differ

A line: file name, highest version, ECH (0 or 1), SNI, ALPN, JA4; "-" is empty.
"""
import hashlib
import os
import struct
import sys


def grease(value):
    return value >> 8 == value & 0xFF and value & 0xF == 0xA


def u16s(data):
    return [v for (v,) in struct.iter_unpack("!H", data)]


def handshake(records):
    message, at = b"", 0
    while at + 5 <= len(records) and records[at] == 22:
        length = int.from_bytes(records[at + 3:at + 5], "big")
        message += records[at + 5:at + 5 + length]
        at += 5 + length
    length = int.from_bytes(message[1:4], "big")
    assert message[0] == 1 and len(message) >= 4 + length
    return message[4:4 + length]


def client_hello(body):
    version, at = int.from_bytes(body[:2], "big"), 34
    at += 1 + body[at]
    length = int.from_bytes(body[at:at + 2], "big")
    ciphers = u16s(body[at + 2:at + 2 + length])
    at += 2 + length
    at += 1 + body[at]
    extensions = []
    at += 2
    while at < len(body):
        kind, length = struct.unpack_from("!HH", body, at)
        extensions.append((kind, body[at + 4:at + 4 + length]))
        at += 4 + length
    return version, ciphers, extensions


def alpn_list(data):
    names, at = [], 2
    while at < len(data):
        names.append(data[at + 1:at + 1 + data[at]])
        at += 1 + data[at]
    return [n for n in names if not (len(n) == 2 and grease(int.from_bytes(n, "big")))]


def alnum(byte):
    return 0x30 <= byte <= 0x39 or 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A


def alpn_characters(names):
    if not names or not names[0]:
        return "00"
    first = names[0]
    if alnum(first[0]) and alnum(first[-1]):
        return chr(first[0]) + chr(first[-1])
    return first.hex()[0] + first.hex()[-1]


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2",
            0xFEFF: "d1", 0xFEFD: "d2", 0xFEFC: "d3"}


def describe(name, records):
    version, ciphers, extensions = client_hello(handshake(records))
    ciphers = [c for c in ciphers if not grease(c)]
    kinds = [k for k, _ in extensions if not grease(k)]
    bodies = dict(extensions)
    if 0x2B in bodies:
        offered = [v for v in u16s(bodies[0x2B][1:]) if not grease(v)]
        version = max(offered, default=version)
    names = alpn_list(bodies.get(0x10, b""))
    sigalgs = [s for s in u16s(bodies.get(0x0D, b"")[2:]) if not grease(s)]
    sni = bodies.get(0, b"")[5:].decode().lower().rstrip(".")

    part_a = "t%s%s%02d%02d%s" % (VERSIONS.get(version, "00"), "d" if 0 in bodies else "i",
                                  min(len(ciphers), 99), min(len(kinds), 99),
                                  alpn_characters(names))
    part_b = digest(",".join(sorted("%04x" % c for c in ciphers))) if ciphers else "0" * 12
    listed = sorted("%04x" % k for k in kinds if k not in (0x00, 0x10))
    text = ",".join(listed)
    if sigalgs:
        text += "_" + ",".join("%04x" % s for s in sigalgs)
    part_c = digest(text) if listed else "0" * 12
    return " ".join([name, "%04x" % version, str(int(0xFE0D in bodies)), sni or "-",
                     ",".join(n.decode() for n in names) or "-",
                     "_".join([part_a, part_b, part_c])])


def main(args):
    if args[:1] == ["--check"]:
        folder, wrong = os.path.dirname(args[1]), 0
        with open(args[1]) as expected:
            lines = expected.read().splitlines()
        for line in lines:
            name = line.split()[0]
            with open(os.path.join(folder, name), "rb") as f:
                found = describe(name, f.read())
            if found != line:
                print("expected: %s\nfound:    %s" % (line, found))
                wrong = 1
        return wrong or not lines
    for path in args:
        with open(path, "rb") as f:
            print(describe(os.path.basename(path), f.read()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
