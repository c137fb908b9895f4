"""How commands print: JSON for machines, `rich` tables for people (imported only then).

What APPs and gateways say is text, never markup or control characters. Used by `gateway/cli/` and `cloud/cli/`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

STATS_COLUMNS: Final = ("APP", "SERVICE", "CPU %", "MEMORY", "PEAK", "LIMIT", "PIDS", "READ", "WRITTEN", "OOM")


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> None:
    """A table without lines; `empty` says what it means that there is nothing."""
    from rich.console import Console

    table = made_table(columns, rows)
    Console(file=sys.stdout).print(table if table.row_count else empty)


def made_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    return table


def printable(text: str) -> str:
    """Without control characters: a terminal must not obey what an APP or a gateway says."""
    return "".join(char if char.isprintable() else " " for char in text)


def show_output(output: bytes) -> None:
    """What a program printed: as it is into a file or pipe, without control characters on a terminal."""
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(output)
        sys.stdout.flush()
        return
    for line in output.decode(errors="replace").splitlines():
        print(printable(line.expandtabs()))


def clock(time_ns: int) -> str:
    """Local time of the day, with milliseconds."""
    return f"{time.strftime('%H:%M:%S', time.localtime(time_ns // 10**9))}.{time_ns // 10**6 % 1000:03d}"


def stats_rows(found: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The table's cells; `-` for what this machine does not count."""
    for entry in found:
        yield (
            entry["app"],
            entry["service"],
            f"{entry['cpu_percent']:.1f}",
            *(_size(entry.get(key)) for key in ("memory_bytes", "memory_peak_bytes", "memory_limit_bytes")),
            str(entry["pids"]),
            *(_size(entry.get(key)) for key in ("read_bytes", "written_bytes")),
            str(entry.get("oom_kills", 0)),
        )


def _size(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f} MB"
