"""The frame of a tear sheet: one HTML file that opens from disk, in light and in dark, and asks nobody for anything.

plotly is inlined once. The page forbids itself every request (Content-Security-Policy `default-src 'none'`) and every script
but its own two, which it names by hash, so that hostile text could neither load nor run anything even if it were not escaped.
It is escaped all the same: whatever comes from outside goes through `escaped`, and pictures are data that no HTML parser reads.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from typing import Any

from autohedge.backtest.pictures import Picture
from autohedge.errors import ConfigError

_STYLE = """
:root { color-scheme: light dark; --bg: #fff; --ink: #1c1c1c; --soft: #666; --line: #ddd; --panel: #f6f6f7; --warn: #8a5a00; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #15171a; --ink: #e6e6e6; --soft: #a0a0a0; --line: #34373c; --panel: #1d2024; --warn: #f0b450; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 24px; background: var(--bg); color: var(--ink);
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 4px; } h2 { font-size: 1.05rem; margin: 28px 0 6px; }
.soft { color: var(--soft); } .warn { color: var(--warn); font-weight: 600; } .picture { height: 380px; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .87rem; }
.panels { columns: 3 320px; column-gap: 28px; } .panels section { break-inside: avoid; padding-bottom: 14px; }
.panels h2 { margin-top: 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: 3px 8px 3px 0; border-bottom: 1px solid var(--line); vertical-align: top;
  font-weight: 400; }
td { text-align: right; font-variant-numeric: tabular-nums; }
thead th { font-weight: 600; } thead th + th { text-align: right; }
abbr { text-decoration: underline dotted var(--soft); cursor: help; } td abbr { text-decoration: none; }
details { margin: 14px 0; } summary { cursor: pointer; font-weight: 600; }
pre { background: var(--panel); padding: 10px; overflow-x: auto; font-size: .82rem; white-space: pre-wrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 10px 0; }
dt { color: var(--soft); } dd { margin: 0; }
@media print { body { max-width: none; } .picture { break-inside: avoid; } }
"""

_DRAW = """
"use strict";
(function () {
  const pictures = JSON.parse(document.getElementById("pictures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function themed(layout) {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim(), line = style.getPropertyValue("--line").trim();
    const whole = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 12 },
      margin: { l: 64, r: 16, t: 24, b: 48 }, legend: { orientation: "h", y: 1.12 }, ...layout };
    for (const name of ["xaxis", "yaxis", "yaxis2"]) {
      if (name !== "yaxis2" || layout.yaxis2) {
        whole[name] = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true, ...(layout[name] || {}) };
      }
    }
    whole.hoverlabel = { bgcolor: style.getPropertyValue("--panel").trim(), font: { color: ink } };
    return whole;
  }
  function draw() {
    for (const each of pictures) {
      Plotly.react(each.id, each.data, themed(each.layout), { responsive: true, displaylogo: false, plotlyServerURL: "" });
    }
  }
  draw();
  dark.addEventListener("change", draw);
})();
"""


def escaped(value: object) -> str:
    """Text for HTML, wherever it stands; a lone surrogate or NUL, which no page can hold, becomes U+FFFD."""
    text = str(value).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", "\ufffd")
    return html.escape(text, quote=True)


def plotly_script() -> str:
    """plotly's own JavaScript; `ConfigError` when the library is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ConfigError("a tear sheet needs plotly: pip install 'autohedge[backtest]'") from error
    return str(get_plotlyjs())


def figures(pictures: Sequence[Picture], *, first: int = 0) -> str:
    """The places of the pictures in the page, numbered from `first`."""
    return "\n".join(
        f'<figure><h2>{escaped(each.title)}</h2><div class="picture" id="picture-{number}"></div>'
        f"<figcaption>{escaped(each.caption)}</figcaption></figure>"
        for number, each in enumerate(pictures, start=first)
    )


def page(title: str, body: str, pictures: Sequence[Picture]) -> str:
    """The whole file; `body` is HTML in which everything foreign is escaped, and has the places of the pictures."""
    library = plotly_script()
    data: list[dict[str, Any]] = [
        {"id": f"picture-{number}", "data": each.data, "layout": each.layout} for number, each in enumerate(pictures)
    ]
    # a "<" could end the element that holds the data; in JSON it may be written otherwise
    plain = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; script-src {_hash(library)} {_hash(_DRAW)}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n"
        f'<script type="application/json" id="pictures">{plain}</script>\n'
        f"<script>{library}</script>\n<script>{_DRAW}</script>\n</body>\n</html>\n"
    )


def _hash(script: str) -> str:
    """How the policy names a script: the hash of what stands between its tags."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}'"
