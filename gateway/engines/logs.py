"""Reads the log that conmon writes: `2026-11-23T05:57:04.686254864+00:00 stdout F text`, `P` for a part of a long line.

conmon starts the file again when it reached its limit; following notices that it shrank and goes on from its start.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Final

from gateway.engines.base import LogLine

FOLLOW_INTERVAL_S: Final = 0.2
MAX_TAIL_BYTES: Final = 4 << 20
MAX_LINE_CHARS: Final = 64 << 10


class LineParser:
    """Joins partial lines per stream. Pure."""

    def __init__(self) -> None:
        self._parts: dict[str, str] = {}

    def feed(self, lines: Iterable[str]) -> Iterator[LogLine]:
        """The complete lines in `lines`; what is not of conmon's form is passed over."""
        for line in lines:
            time, _, rest = line.partition(" ")
            stream, _, rest = rest.partition(" ")
            flag, _, text = rest.partition(" ")
            if stream not in ("stdout", "stderr") or flag[:1] not in ("F", "P"):
                continue
            text = (self._parts.pop(stream, "") + text)[:MAX_LINE_CHARS]
            if flag.startswith("P"):
                self._parts[stream] = text
            else:
                yield LogLine(time, stream, text)


async def read(path: Path, *, tail: int, follow: bool) -> AsyncIterator[LogLine]:
    """The last `tail` lines of the file, then new ones as long as the file exists when `follow`."""
    parser = LineParser()
    data, position = await asyncio.to_thread(_read_from, path, -MAX_TAIL_BYTES)
    lines, rest = _split(data)
    for entry in collections.deque(parser.feed(lines), maxlen=max(0, tail)):
        yield entry
    while follow and path.exists():
        await asyncio.sleep(FOLLOW_INTERVAL_S)
        data, position = await asyncio.to_thread(_read_from, path, position)
        lines, rest = _split(rest + data)
        for entry in parser.feed(lines):
            yield entry


def _read_from(path: Path, position: int) -> tuple[bytes, int]:
    """(data from `position` on, new position); a negative position counts from the end. Empty when it is gone."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if position < 0:
                position = max(0, size + position)
            elif size < position:
                position = 0  # conmon has started it again
            file.seek(position)
            data = file.read(MAX_TAIL_BYTES)
    except FileNotFoundError:
        return b"", 0
    return data, position + len(data)


def _split(data: bytes) -> tuple[list[str], bytes]:
    complete, _, rest = data.rpartition(b"\n")
    return complete.decode(errors="replace").splitlines(), rest
