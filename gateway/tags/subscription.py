"""One reader's view of the tag table: samples that match its patterns, in a bounded queue that prefers news.

A reader that is too slow loses its oldest unread samples and sees how many in `dropped`; it never slows a publisher.
Made by `TagTable.subscribe()`, read by one consumer: a server-sent stream of `esdk_server/`, or `fieldgate tags -f`.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Iterable
from types import TracebackType

from gateway.model.names import tag_matches
from gateway.model.tags import Sample


class Subscription:
    """Async-iterable; iteration ends after `close()` when everything was taken. A context manager that closes."""

    def __init__(self, patterns: Iterable[str], limit: int, on_close: Callable[[Subscription], None]) -> None:
        self.patterns = tuple(patterns)
        self.dropped = 0
        self._limit = limit
        self._on_close = on_close
        self._unread: collections.deque[Sample] = collections.deque()
        self._wake = asyncio.Event()
        self._closed = False

    def matches(self, tag: str) -> bool:
        return any(tag_matches(pattern, tag) for pattern in self.patterns)

    def put(self, sample: Sample) -> None:
        """Never waits; drops the oldest unread sample when full. Only the table calls it."""
        unread = self._unread
        if len(unread) >= self._limit:
            unread.popleft()
            self.dropped += 1
        unread.append(sample)
        if len(unread) == 1:
            self._wake.set()

    def close(self) -> None:
        """No more samples from now on; the table forgets this subscription. Fine to call again."""
        if not self._closed:
            self._closed = True
            self._wake.set()
            self._on_close(self)

    def __len__(self) -> int:
        """How many samples are unread."""
        return len(self._unread)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Sample:
        while not self._unread:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._unread.popleft()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
