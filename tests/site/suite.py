"""A selection of this tree's tests, run by pytest inside a guest; its outcome is judged outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from gateway.errors import Unavailable
from tests.site.guest import ROOT, RunInside


def run_suite(run_inside: RunInside, selection: str, result: str, timeout_s: float, cases: int = 0) -> list[str]:
    """Run the tests of `selection` (pytest's arguments, shell words) and return what went wrong, by test.

    Nothing may be left out in there: a skipped test is a fault, and so is one that this machine finds and the guest
    does not. Where this machine cannot know, `cases` says how many there must be. `result` is where the guest keeps
    what comes back.
    """
    wanted = [] if cases else _collected(selection)
    options = f"-q -p no:cacheprovider --timeout={timeout_s * 0.7:g} --junitxml={result}"
    report = ElementTree.fromstring(run_inside(f"-m pytest {options} {selection}", timeout_s))
    seen, faults = [], []
    for case in report.iter("testcase"):
        name = f"{str(case.get('classname')).rpartition('.')[2]}.{case.get('name')}"
        seen.append(name)
        faults += [f"{name}: {part.tag}: {part.text}" for part in case if part.tag in ("failure", "error", "skipped")]
    if cases and len(seen) != cases:
        faults.append(f"{len(seen)} cases were run, not {cases}")
    return [*faults, *(f"{name}: not run" for name in wanted if name not in seen)]


def _collected(selection: str) -> Sequence[str]:
    """`module.name` of every test."""
    argv = ["sh", "-c", f'exec "$0" -m pytest --collect-only -q -p no:cacheprovider {selection}', sys.executable]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    found = (line.partition("::") for line in done.stdout.splitlines())
    names = [f"{Path(path).stem}.{name}" for path, _, name in found if name]
    if done.returncode != 0 or not names:
        raise Unavailable(f"cannot find the tests {selection}: {done.stdout}{done.stderr}")
    return names
