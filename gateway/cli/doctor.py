"""`fieldgate doctor`: can this board run us? One line per check, with the cure."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from gateway.cli.board_checks import CHECKS, Board, Check, Verdict
from gateway.errors import FieldgateError
from gateway.host.files import read_limited
from gateway.paths import Paths
from gateway.terminal import print_json

T = TypeVar("T")

MAX_DOCUMENT_BYTES = 1 << 20
MARKS = {Verdict.OK: ("green", "ok  "), Verdict.WARNING: ("yellow", "warn"), Verdict.FAILED: ("red", "FAIL")}


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", type=Path, help="firmware profile of this board: checks its ports, too")


def run(options: argparse.Namespace, paths: Paths) -> int:
    """0 when nothing failed."""
    checks = list(examine(options.profile, paths))
    if options.json:
        print_json([asdict(check) for check in checks])
    else:
        _print(checks)
    return 1 if any(check.verdict is Verdict.FAILED for check in checks) else 0


def examine(profile: Path | None, paths: Paths) -> list[Check]:
    """All checks, the documents first."""
    from gateway.documents.enrolment import parse_enrolment
    from gateway.documents.profile import parse_profile

    found: list[Check] = []
    known_profile = None
    if profile is not None:
        known_profile = _document("profile", profile, lambda text: parse_profile(text, profile.name), found)
    enrolment = None
    if (paths.identity / "enrolment.json").exists():
        enrolment = _document("enrolment", paths.identity / "enrolment.json", parse_enrolment, found)
    board = Board(paths, known_profile, enrolment)
    return [*found, *(check(board) for check in CHECKS)]


def _document(name: str, path: Path, parse: Callable[[bytes], T], found: list[Check]) -> T | None:
    try:
        parsed = parse(read_limited(path, MAX_DOCUMENT_BYTES))
    except (OSError, FieldgateError) as failure:
        found.append(Check(name, Verdict.FAILED, str(failure), f"correct {path}"))
        return None
    found.append(Check(name, Verdict.OK, str(path)))
    return parsed


def _print(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for check in checks:
        colour, mark = MARKS[check.verdict]
        console.print(Text.assemble((mark, colour), f"  {check.name:<15} {check.seen}"))
        if check.cure:
            console.print(f"      {'':<15} cure: {check.cure}", style="dim", highlight=False)
