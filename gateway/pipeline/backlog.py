"""Closed windows on their way to the outbox: a bounded buffer for the time that the disk takes nothing. Pure.

When it is full the oldest records of the longest stream go, and are counted. Used by `pipeline.py`.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.model.batches import Record

MAX_RECORDS: Final = 10_000
"""About 3 MB."""


class Backlog:
    """At most `limit` records over all streams."""

    def __init__(self, limit: int = MAX_RECORDS) -> None:
        self._limit = limit
        self._streams: dict[str, collections.deque[Record]] = {}
        self._size = 0
        self.dropped = 0

    def __len__(self) -> int:
        return self._size

    def put(self, stream: str, records: Iterable[Record]) -> None:
        """Append to the stream's end."""
        queue = self._streams.setdefault(stream, collections.deque())
        before = len(queue)
        queue.extend(records)
        self._size += len(queue) - before
        self._bound()

    def put_back(self, stream: str, records: Iterable[Record]) -> None:
        """What `take` gave and could not be stored: to the stream's front, in the same order."""
        queue = self._streams.setdefault(stream, collections.deque())
        before = len(queue)
        queue.extendleft(reversed(tuple(records)))
        self._size += len(queue) - before
        self._bound()

    def drop(self, records: Sequence[Record]) -> None:
        """What `take` gave and nobody will ever take: counted."""
        self.dropped += len(records)

    def streams(self) -> list[str]:
        """Those that hold something."""
        return sorted(stream for stream, queue in self._streams.items() if queue)

    def take(self, stream: str, limit: int) -> list[Record]:
        """The oldest records of the stream, at most `limit`."""
        queue = self._streams.get(stream)
        taken = [queue.popleft() for _ in range(min(limit, len(queue)))] if queue else []
        self._size -= len(taken)
        if not queue:
            self._streams.pop(stream, None)
        return taken

    def _bound(self) -> None:
        while self._size > self._limit:
            max(self._streams.values(), key=len).popleft()
            self._size -= 1
            self.dropped += 1
