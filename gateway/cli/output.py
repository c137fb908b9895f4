"""How commands print: JSON for machines, `rich` tables for people (imported only then)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> None:
    """A table without lines; `empty` says what it means that there is nothing."""
    from rich.console import Console

    table = made_table(columns, rows)
    console = Console(file=sys.stdout)
    console.print(table if table.row_count else empty)


def made_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
    from rich.table import Table

    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    return table
