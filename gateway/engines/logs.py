"""A container's log: a ring of at most three files that conmon writes, and how it is read and followed.

When its file is full conmon renames a new, empty one over it. So a `Keeper` gives every file a second name as soon as
it is begun: the full one stays when conmon lets go of it, and right after a change of files the history is a whole file
long. While no agent lives the file that was written last stays in the same way.

    ctr.log      written now
    ctr.log.1    the same file, or the full one before it
    ctr.log.2    the full one before that

A line: `2026-11-23T05:57:04.686254864+00:00 stdout F text`, `P` for a part of a long line.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from gateway.engines.base import LogLine
from gateway.host.inotify import Inotify

FILES: Final = 3
FOLLOW_INTERVAL_S: Final = 0.2
MAX_TAIL_BYTES: Final = 4 << 20
MAX_LINE_CHARS: Final = 64 << 10


def file_bytes(log_bytes: int) -> int:
    """How large one file of a ring of `log_bytes` may get."""
    return max(4096, log_bytes // FILES)


def hold(path: Path) -> None:
    """Give the file that is written now a second name, if it has none."""
    if _inode(path) in (None, _inode(_older(path, 1))):
        return
    with contextlib.suppress(FileNotFoundError):
        os.replace(_older(path, 1), _older(path, 2))
    with contextlib.suppress(FileNotFoundError, FileExistsError):
        os.link(path, _older(path, 1))


class Keeper:
    """Holds every file of the logs that it watches as soon as conmon begins it. Lives on one event loop."""

    def __init__(self) -> None:
        self._inotify = Inotify(self._moved)
        self._logs: set[Path] = set()

    def open(self) -> None:
        """OSError when the machine is out of inotify instances."""
        self._inotify.open()

    def watch(self, path: Path) -> None:
        """From now on, for as long as it exists. OSError."""
        self._logs.add(path)
        self._inotify.watch(path.parent)
        hold(path)

    def forget(self, path: Path) -> None:
        self._logs.discard(path)

    def close(self) -> None:
        self._inotify.close()
        self._logs.clear()

    def _moved(self, directory: Path, name: str) -> None:
        if directory / name in self._logs:
            hold(directory / name)


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
    """The last `tail` lines of the ring, then new ones as long as the log exists when `follow`."""
    parser, ring = LineParser(), _Ring(path)
    try:
        lines, rest = _split(await asyncio.to_thread(ring.history))
        for entry in collections.deque(parser.feed(lines), maxlen=max(0, tail)):
            yield entry
        while follow and path.exists():
            await asyncio.sleep(FOLLOW_INTERVAL_S)
            lines, rest = _split(rest + await asyncio.to_thread(ring.news))
            for entry in parser.feed(lines):
                yield entry
    finally:
        ring.close()


class _Ring:
    """Reads forward through the files; holds the one that it has read last, so that its end is not missed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def history(self) -> bytes:
        """The last MAX_TAIL_BYTES of all files."""
        data = b""
        while chunk := self.news():
            data = (data + chunk)[-MAX_TAIL_BYTES:]
        return data

    def news(self) -> bytes:
        """What came since the last call, at most MAX_TAIL_BYTES; empty when there is nothing."""
        while True:
            if self._file is not None and (data := self._file.read(MAX_TAIL_BYTES)):
                return data
            if not self._turn():
                return b""

    def _turn(self) -> bool:
        """Go on to the next file; False when this one is the newest."""
        while following := self._following():
            if self._open(*following[0]):
                return True
        return False

    def _following(self) -> list[tuple[Path, int]]:
        """Files that were begun after the one that is open, oldest first, with their inodes."""
        files = [(path, facts.st_ino, facts.st_mtime_ns) for path, facts in self._files().items()]
        if self._file is None:
            return [(path, inode) for path, inode, _ in files]
        read = os.fstat(self._file.fileno())
        inodes = [inode for _, inode, _ in files]
        if read.st_ino in inodes:
            return [(path, inode) for path, inode, _ in files[inodes.index(read.st_ino) + 1 :]]
        # It was let go of meanwhile: what was written after it follows.
        return [(path, inode) for path, inode, written_ns in files if written_ns > read.st_mtime_ns]

    def _files(self) -> dict[Path, os.stat_result]:
        """Each file once, oldest first. Names move from file to file meanwhile: looked at until they stand still."""
        paths = (_older(self._path, 2), _older(self._path, 1), self._path)
        while True:
            found = {path: facts for path in paths if (facts := _facts(path)) is not None}
            if {path: facts.st_ino for path, facts in found.items()} == {
                path: inode for path in paths if (inode := _inode(path)) is not None
            }:
                break
        once = {facts.st_ino: (path, facts) for path, facts in found.items()}
        return dict(once.values())

    def _open(self, path: Path, inode: int) -> bool:
        """False when the name stands for another file by now."""
        try:
            opened = path.open("rb")
        except FileNotFoundError:
            return False
        if os.fstat(opened.fileno()).st_ino != inode:
            opened.close()
            return False
        self.close()
        self._file = opened
        return True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _older(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _facts(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _inode(path: Path) -> int | None:
    facts = _facts(path)
    return facts.st_ino if facts is not None else None


def _split(data: bytes) -> tuple[list[str], bytes]:
    complete, _, rest = data.rpartition(b"\n")
    return complete.decode(errors="replace").splitlines(), rest
