"""Output streams of the API: frames of both outputs in one body, and the log lines in them. Pure but for the reading.

A frame is 8 bytes (1 stdout or 2 stderr, three zeros, length as big-endian uint32) and its data. With `timestamps` each
piece of a line begins with its time; a long line comes in several pieces, the last one ends with a newline.
Source: Docker Engine API 1.41, `ContainerAttach`, "Stream format".
"""

from __future__ import annotations

import re
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Final

from gateway.engines.base import LogLine
from gateway.errors import Unavailable

_HEADER: Final = struct.Struct(">B3xI")
_STREAMS: Final = {1: "stdout", 2: "stderr"}
_PIECE: Final = re.compile(r"[^\n]*\n|[^\n]+")
MAX_FRAME_BYTES: Final = 1 << 20
MAX_LINE_CHARS: Final = 64 << 10


async def frames(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, bytes]]:
    """(stream, data) of each frame. Unavailable: the daemon sends something else."""
    rest = bytearray()
    async for piece in pieces:
        rest += piece
        while len(rest) >= _HEADER.size:
            kind, size = _HEADER.unpack_from(rest)
            if kind not in (0, 1, 2) or size > MAX_FRAME_BYTES:
                raise Unavailable("cannot understand the daemon: its output stream is damaged")
            if len(rest) < _HEADER.size + size:
                break
            data = bytes(rest[_HEADER.size : _HEADER.size + size])
            del rest[: _HEADER.size + size]
            yield _STREAMS.get(kind, "stdout"), data


class LineParser:
    """Joins the pieces of lines, each stream on its own."""

    def __init__(self) -> None:
        self._begun: dict[str, LogLine] = {}

    def feed(self, stream: str, data: bytes) -> Iterator[LogLine]:
        """The lines that this frame completes."""
        for piece in _PIECE.findall(data.decode(errors="replace")):
            time, _, text = piece.partition(" ")
            begun = self._begun.pop(stream, LogLine(time, stream, ""))
            line = LogLine(begun.time, stream, (begun.text + text.rstrip("\n"))[:MAX_LINE_CHARS])
            if text.endswith("\n"):
                yield line
            else:
                self._begun[stream] = line

    def end(self) -> Iterator[LogLine]:
        """What was begun and not ended: the last words of a process."""
        yield from self._begun.values()
        self._begun.clear()
