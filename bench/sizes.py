# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Who moves the bytes of a split flow for less, by the size of its packets: the daemon or the kernel.

The client's packets are cut on their way out to so many segments. `relay = "auto"` goes by this.
"""
from bulk import SINK, transfer
from common import open_lab, say, spread, table, unleash
from servers import LoadServer
from systems import SeamRelayed, SeamSplit

SEGMENTS = (1, 4, 8, 12, 16, 22, 32, 45)
MSS = 1448
FEW, SIZE = 8, {True: 512 << 20, False: 2 << 30}	# bytes of a transfer: of few segments a packet, of many


def run(rounds):
	seen = {n: {SeamSplit: [], SeamRelayed: []} for n in SEGMENTS}
	with open_lab("on") as lab:
		unleash(lab)
		LoadServer(lab, "sink", SINK, no_hash=True)
		for r in range(rounds):
			for kind in (SeamSplit, SeamRelayed)[::1 if r % 2 else -1]:
				system = kind(lab)
				system.start()
				for n in SEGMENTS:
					lab.run("client", ["ip", "link", "set", "dev", "eth0", "gso_max_segs", n])
					seen[n][kind].append(transfer(lab, system, 1, SIZE[n <= FEW]))
				system.stop()
	result, rows = [], []
	for n, by in seen.items():
		cpu = {kind: spread([f["cpu_ms"] for f in found]) for kind, found in by.items()}
		ratio = spread([k["cpu_ms"] / d["cpu_ms"] for d, k in zip(by[SeamSplit], by[SeamRelayed])])
		result.append({"segments": n, "daemon": cpu[SeamSplit], "kernel": cpu[SeamRelayed], "ratio": ratio})
		rows.append((f"{n} segments, {n * MSS / 1024:.1f} KiB", *(x for s in cpu.values() for x in
			(f"{s['median']:.0f}", f"{s['min']:.0f}-{s['max']:.0f}")), f"{ratio['median']:.2f}",
			f"{ratio['min']:.2f}-{ratio['max']:.2f}"))
	say(f"CPU of the whole machine, milliseconds per gigabit, one stream up, median of {rounds}:")
	table(("a packet of the client's", "daemon", "spread", "kernel", "spread", "ratio", "spread"), rows)
	return {"sizes": result}
