"""`python -m tests.bench.chart`: build/bench.json -> the picture and the table of docs/performance.md.

The picture has one bar per figure that has a peer: ours as a part of the peer's, with the goal as a line across it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "performance.md"
PICTURE: Final = ROOT / "docs" / "performance.svg"
GOALS: Final[dict[str, float]] = {
    "start_one": 1 / 8, "start_one_podman": 1 / 4, "boot_20_apps": 1 / 6, "crash_to_running": 1 / 6,
    "crash_to_running_standby": 1 / 30, "engine_mb_20_apps": 1 / 10, "exec": 1 / 4, "esdk_call_p50": 1.0,
}  # fmt: skip
"""Ours divided by the peer's, at most."""
ABSOLUTE_GOALS: Final[dict[str, float]] = {"agent_pss_mb": 36.0}
BAR: Final = 16
"""Pixels; a row is twice as high."""
LEFT: Final = 200
WIDTH: Final = 420
NEITHER: Final = ("fit_in_512_mb",)
"""More is better here: it is in the table only."""


def picture(figures: Mapping[str, Any]) -> str:
    """SVG, readable on white and on black."""
    rows = [(name, f) for name, f in figures.items() if f["ratio"] is not None and name not in NEITHER]
    height = 2 * BAR * (len(rows) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 170} {height}" '
        'font-family="sans-serif" font-size="12" fill="#888">',
        f'<text x="{LEFT}" y="{BAR}">0</text><text x="{LEFT + WIDTH - 60}" y="{BAR}">the peer: 100 %</text>',
    ]
    for index, (name, figure) in enumerate(rows):
        y = 2 * BAR * (index + 1)
        ours = max(1.0, WIDTH * min(1.0, figure["ratio"]))
        text = f"{figure['us']:.1f} : {figure['peer']:.1f} {figure['unit']} = {figure['ratio']:.3f}"
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{WIDTH}" height="{BAR}" fill="#8883"/>',
            f'<rect x="{LEFT}" y="{y}" width="{ours:.1f}" height="{BAR}" fill="#2a8"/>',
            f'<text x="{LEFT + WIDTH + 8}" y="{y + 12}">{escape(text)}</text>',
        ]
        if name in GOALS and GOALS[name] < 1:
            x = LEFT + WIDTH * GOALS[name]
            parts.append(f'<path d="M{x:.1f} {y - 4}V{y + BAR + 4}" stroke="#c44" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>", ""])


def table(figures: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = ["| figure | ours | peer | ours / peer | goal | n | peer is |", "|---|---|---|---|---|---|---|"]
    for name, f in figures.items():
        peer, ratio = ("", "") if f["peer"] is None else (f"{f['peer']:.1f}", f"{f['ratio']:.3f}")
        cells = [f"`{name}`", f"{f['us']:.1f} {f['unit']}", peer, ratio, _goal(name, f), str(f["n"]), f["peer_name"]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _goal(name: str, figure: Mapping[str, Any]) -> str:
    if name in GOALS:
        met = figure["ratio"] <= GOALS[name]
        return f"{'' if met else '**missed** '}<= {GOALS[name]:.3f}"
    if name in ABSOLUTE_GOALS:
        met = figure["us"] <= ABSOLUTE_GOALS[name]
        return f"{'' if met else '**missed** '}<= {ABSOLUTE_GOALS[name]:.0f} {figure['unit']}"
    return ""


def main() -> int:
    figures = json.loads((ROOT / "build" / "bench.json").read_text())["figures"]
    PICTURE.write_text(picture(figures))
    begin, end = "<!-- figures -->\n", "<!-- end of figures -->"
    page = re.sub(f"{begin}.*{end}", lambda _: f"{begin}{table(figures)}\n{end}", PAGE.read_text(), flags=re.DOTALL)
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
