"""`python -m tests.bench [--quick] [FIGURE...]`: prints a table and writes build/bench.json."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from tests.bench import agent_pss_mb, agent_start_to_first_app, crash_to_running, esdk_call_p50, start_one
from tests.bench.figure import Figure

FIGURES: dict[str, Callable[[bool], Figure]] = {
    "start_one": start_one.measure,
    "crash_to_running": crash_to_running.measure,
    "esdk_call_p50": esdk_call_p50.measure,
    "agent_pss_mb": agent_pss_mb.measure,
    "agent_start_to_first_app": agent_start_to_first_app.measure,
}
TARGET = Path(__file__).parents[2] / "build" / "bench.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it works, not how fast")
    options = parser.parse_args()
    unknown = set(options.figures) - set(FIGURES)
    if unknown:
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    found = []
    print(f"{'figure':26}{'us':>10}{'peer':>10}{'ratio':>8} unit   n  peer is")
    for name in options.figures or FIGURES:
        figure = FIGURES[name](options.quick)
        found.append(figure)
        print(_row(figure), flush=True)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps({"figures": {figure.name: figure.to_json() for figure in found}}, indent=1) + "\n")
    return 0


def _row(figure: Figure) -> str:
    values = figure.to_json()
    peer, ratio = (f"{values[key]:.2f}" if values[key] is not None else "-" for key in ("peer", "ratio"))
    return f"{figure.name:26}{figure.us:>10.2f}{peer:>10}{ratio:>8} {figure.unit:5}{figure.n:>3}  {figure.peer_name}"


if __name__ == "__main__":
    raise SystemExit(main())
