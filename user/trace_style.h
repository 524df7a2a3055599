/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Colours of the diagram of `seam trace`, for light and dark surroundings. */
#ifndef SEAM_TRACE_STYLE_H
#define SEAM_TRACE_STYLE_H

static const char trace_style[] =
	"<style>\n"
	"text{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}\n"
	".title{font-size:20px;font-weight:600}\n"
	".strong{font-weight:600}.panel .strong{font-size:14px}\n"
	".dim,.tick{fill:#59636e}.tick,.label,.ribbon,.mark{font-size:11px}\n"
	".warn{fill:#9a6700;font-weight:600}.mark,.label{font-weight:600}\n"
	".halo{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}\n"
	".end{text-anchor:end}.middle,.ribbon{text-anchor:middle}\n"
	"path,line{fill:none;stroke-width:1.2}\n"
	".paper{fill:#fff}.frame{fill:none;stroke:#d1d9e0}.grid{stroke:#d1d9e0;stroke-width:.5}\n"
	".client{stroke:#0969da}.server{stroke:#e36209}g.side{stroke:none}\n"
	".data{stroke-width:1.7}.ack{stroke-width:1.2}.edge{stroke-width:1;stroke-dasharray:5 3}\n"
	".wide .data{stroke-width:4;opacity:.75}.wide .ack{stroke-width:2.8;opacity:.75}\n"
	".wide .edge{stroke-width:2.4;opacity:.65}\n"
	".again{stroke:#cf222e;stroke-width:2.4}.sack{stroke:#8250df;stroke-width:1.4}\n"
	".custody{fill:#2da44e;fill-opacity:.28;stroke:none}\n"
	".boundary{fill:#1f2328;stroke:#fff;stroke-width:1}\n"
	".move{stroke:#59636e;stroke-dasharray:2 2;stroke-width:1}\n"
	".state{fill:#d8dee4;stroke:none}.tint{fill:#bf8700;fill-opacity:.1;stroke:none}\n"
	".state.splitting,.state.merging,.state.held{fill:#f5d77a}\n"
	".state.split,.state.relayed{fill:#9be3ae}.state.blocked{fill:#ffaba8}\n"
	".tint.split,.tint.relayed{fill:#2da44e;fill-opacity:.07}\n"
	"@media (prefers-color-scheme:dark){\n"
	"text{fill:#e6edf3}.dim,.tick{fill:#9198a1}.warn{fill:#d29922}\n"
	".halo{stroke:#0d1117}.paper{fill:#0d1117}.frame,.grid{stroke:#3d444d}\n"
	".client{stroke:#58a6ff}.server{stroke:#f0883e}\n"
	".again{stroke:#ff5c5c}.sack{stroke:#bc8cff}.custody{fill:#3fb950;fill-opacity:.3}\n"
	".boundary{fill:#e6edf3;stroke:#0d1117}.move{stroke:#9198a1}\n"
	".state{fill:#3d444d}.state.splitting,.state.merging,.state.held{fill:#845306}\n"
	".state.split,.state.relayed{fill:#196c2e}.state.blocked{fill:#8e1519}\n"
	".tint{fill:#d29922}.tint.split,.tint.relayed{fill:#3fb950}}\n"
	"</style>\n";

#endif
