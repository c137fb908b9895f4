"""`python -m tests.bench [--quick] [FIGURE...]`: prints a table and writes build/bench.json.

Runs in a network namespace of its own, so that the peers' bridges and rules are nobody else's. Figures of others in
build/bench.json stay.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
INSIDE: Final = "FIELDGATE_BENCH_INSIDE"
sys.path.insert(0, str(ROOT / "packaging"))  # for imagebuild, as pytest has it

from tests.bench import (  # noqa: E402
    agent_start_to_first_app,
    boot_20_apps,
    crash_to_running,
    esdk_call_p50,
    exec_in,
    start_one,
    twenty_apps,
    vm_start,
)
from tests.bench.figure import Figure, keep  # noqa: E402
from tests.site.arm64_files import guest_files  # noqa: E402

FIGURES: Final[dict[str, Callable[[bool], Figure | list[Figure]]]] = {
    "start_one": start_one.measure,
    "start_one_podman": start_one.measure,
    "boot_20_apps": boot_20_apps.measure,
    "boot_20_apps_by_agent": twenty_apps.measure,
    "crash_to_running": crash_to_running.measure,
    "crash_to_running_standby": crash_to_running.measure,
    "engine_mb_20_apps": twenty_apps.measure,
    "exec": exec_in.measure,
    "esdk_call_p50": esdk_call_p50.measure,
    "agent_pss_mb": twenty_apps.measure,
    "agent_start_to_first_app": agent_start_to_first_app.measure,
    "vm_start": vm_start.measure,
    "fit_in_512_mb": vm_start.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it works, not how fast")
    options = parser.parse_args()
    unknown = set(options.figures) - set(FIGURES)
    if unknown:
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    if INSIDE not in os.environ:
        if not options.figures or {"vm_start", "fit_in_512_mb"} & set(options.figures):
            guest_files()  # from Debian, unless it is there: inside there is no network
        argv = ["unshare", "--net", "--", sys.executable, "-m", "tests.bench", *sys.argv[1:]]
        os.execvpe(argv[0], argv, {**os.environ, INSIDE: "1"})
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    print(f"{'figure':26}{'us':>10}{'peer':>10}{'ratio':>8} unit   n  peer is")
    for measure in dict.fromkeys(FIGURES[name] for name in options.figures or FIGURES):
        measured = measure(options.quick)
        figures = measured if isinstance(measured, list) else [measured]
        for figure in figures:
            print(_row(figure), flush=True)
        keep(figures)
    return 0


def _row(figure: Figure) -> str:
    values = figure.to_json()
    peer, ratio = (f"{values[key]:.2f}" if values[key] is not None else "-" for key in ("peer", "ratio"))
    return f"{figure.name:26}{figure.us:>10.2f}{peer:>10}{ratio:>8} {figure.unit:5}{figure.n:>3}  {figure.peer_name}"


if __name__ == "__main__":
    raise SystemExit(main())
