#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Draws what `bulk` and `rates` have measured: plot.py FILE.svg

Bars are medians; the line across one is from its least to its most of the rounds.
"""
import json
import sys
from html import escape
from pathlib import Path

OUTPUT = Path(__file__).resolve().parent.parent / ".output" / "bench"
# (part, what to select, figure, title, what is better)
PANELS = (
	("bulk", {"regime": "on"}, "cpu_ms, 1", "CPU of the whole machine, ms per gigabit: 64 KB packets", "less"),
	("bulk", {"regime": "off"}, "cpu_ms, 1", "CPU of the whole machine, ms per gigabit: MTU-sized packets", "less"),
	("bulk", {"regime": "on"}, "rr ratio", "Requests and answers of 64 bytes, on one CPU, to forwarding", "more"),
	("rates", {"protocol": "hello"}, "rate", "Connections per second with a verdict by SNI", "more"),
)
WIDTH, ROW, TOP, HEAD, GAP = 1200, 21, 66, 44, 28
NAMES, BARS, VALUE = 172, 330, 64	# of a panel: columns from left to right

STYLE = """
text{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}
.title{font-size:20px;font-weight:600}.strong{font-size:14px;font-weight:600}.dim{fill:#59636e}.end{text-anchor:end}
.paper{fill:#fff}.kernel{fill:#8c959f}.seam{fill:#0969da}.other{fill:#e36209}.nothing{fill:#c9d1d9}
.spread{stroke:#1f2328;stroke-width:1.4}.base{stroke:#59636e;stroke-dasharray:2 3}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.dim{fill:#9198a1}.paper{fill:#0d1117}.kernel{fill:#6e7681}.seam{fill:#58a6ff}.other{fill:#f0883e}
.nothing{fill:#3d444d}.spread{stroke:#e6edf3}.base{stroke:#9198a1}}
"""


def kind(name):
	if name.startswith("Seam"):
		return "seam"
	if name.startswith("forwarding"):
		return "kernel"
	return "nothing" if name in ("direct wire", "bare TC redirect") else "other"


def digits(value):
	return f"{value:,.{0 if value >= 20 else 1 if value >= 2 else 2}f}"


def panel(x, y, rows, figure, title, better):
	"""SVG of one; rows: [(name, {"median", "min", "max"})]."""
	scale = BARS / max(f["max"] for _name, f in rows)
	left = x + NAMES
	out = [f'<text class="strong" x="{x}" y="{y}">{escape(title)}</text>',
		f'<text class="dim" x="{x}" y="{y + 16}">{better} is better</text>']
	y += HEAD - 14
	for i, (name, f) in enumerate(rows):
		at = y + i * ROW
		mid = at + ROW / 2 - 1
		out += [f'<text class="end" x="{left - 8}" y="{mid + 4:.1f}">{escape(name)}</text>',
			f'<rect class="{kind(name)}" x="{left}" y="{at + 2}" width="{f["median"] * scale:.1f}" height="{ROW - 6}"/>',
			f'<line class="spread" x1="{left + f["min"] * scale:.1f}" x2="{left + f["max"] * scale:.1f}" '
			f'y1="{mid:.1f}" y2="{mid:.1f}"/>',
			f'<text x="{left + f["max"] * scale + 6:.1f}" y="{mid + 4:.1f}">{digits(f["median"])}</text>']
		if name == "forwarding":
			edge = left + f["median"] * scale
			out.append(f'<line class="base" x1="{edge:.1f}" x2="{edge:.1f}" y1="{y}" y2="{y + len(rows) * ROW}"/>')
	return out


def main(path):
	measured = {part: json.loads((OUTPUT / f"{part}.json").read_text())[part] for part in {p[0] for p in PANELS}}
	panels = []
	for part, select, figure, title, better in PANELS:
		rows = [(m["system"], m[figure]) for m in measured[part] if all(m[k] == v for k, v in select.items())]
		panels.append((rows, figure, title, better))
	out, y, rounds = [], TOP + 20, {f["n"] for rows, *_ in panels for _name, f in rows}
	for pair in (panels[:2], panels[2:]):
		for column, p in enumerate(pair):
			out += panel(20 + column * (NAMES + BARS + VALUE + GAP), y, *p)
		y += HEAD + GAP + ROW * max(len(rows) for rows, *_ in pair)
	said = "; ".join(f"{title}: " + ", ".join(f"{name} {digits(f['median'])}" for name, f in rows)
		for rows, _figure, title, _better in panels)
	size = f'width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}"'
	Path(path).write_text(f"""<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="t d" {size}>
<!-- SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause -->
<title id="t">What Seam costs beside other systems</title>
<desc id="d">{escape(said)}.</desc>
<style>{STYLE}</style>
<rect class="paper" width="100%" height="100%"/>
<text class="title" x="20" y="34">What a box costs: Seam, the kernel's own ways, and proxies</text>
<text class="dim" x="20" y="56">Client, box and server on one machine. Medians of {" or ".join(map(str, sorted(rounds)))} \
interleaved rounds, least to most as a line; dotted: plain forwarding. Light: what there could at best be.</text>
{chr(10).join(out)}
</svg>
""")


main(sys.argv[1])
