"""How the demo speaks: plain lines while it works, a table at the end, one JSON record per step if asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console(highlight=False)


@dataclass(slots=True)
class Record:
    """One step, as it went."""

    step: str
    ok: bool
    seconds: float
    seen: str


def say(text: str) -> None:
    """One line of what is being done or was seen."""
    console.print(Text("        " + text))


def perform(number: int, of: int, title: str, run: Callable[[], str]) -> Record:
    """Run one step and tell of it. A failure becomes a record, with its cause in one line."""
    console.print(Text(f"[{number:>2}/{of}]", "bold cyan"), Text(title, "bold"))
    began = time.monotonic()
    try:
        seen, ok = run(), True
    except Exception as failure:
        seen, ok = " ".join(f"{failure}".split()) or type(failure).__name__, False
    took = time.monotonic() - began
    console.print(Text(f"        {'✓' if ok else '✗'} {seen} ({took:.1f} s)", "green" if ok else "red"))
    return Record(title, ok, round(took, 3), seen)


def table(records: list[Record]) -> None:
    shown = Table("", "STEP", "SECONDS", "SEEN", box=None, header_style="bold", pad_edge=False)
    for record in records:
        mark = Text("✓", "green") if record.ok else Text("✗", "red")
        shown.add_row(mark, Text(record.step), f"{record.seconds:.1f}", Text(record.seen))
    console.print()
    console.print(shown)


def write(records: list[Record], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(record) for record in records], indent=1, ensure_ascii=False) + "\n")
