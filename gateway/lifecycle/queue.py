"""A bounded queue between two rooms of one event loop: the lower room puts without waiting, the upper room pulls.

When it is full the oldest item goes and is counted: news is what matters. Where nothing may be lost, use the outbox.
"""

from __future__ import annotations

import asyncio
import collections
from typing import Generic, TypeVar

T = TypeVar("T")


class NewsQueue(Generic[T]):
    """Async-iterable; iteration ends after `close()` when everything was taken. One consumer."""

    def __init__(self, limit: int) -> None:
        self._items: collections.deque[T] = collections.deque()
        self._limit = limit
        self._wake = asyncio.Event()
        self._closed = False
        self.dropped = 0

    def put(self, item: T) -> None:
        """Never waits; drops the oldest item when full; does nothing once closed."""
        if self._closed:
            return
        if len(self._items) >= self._limit:
            self._items.popleft()
            self.dropped += 1
        self._items.append(item)
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    def __len__(self) -> int:
        return len(self._items)

    def __aiter__(self) -> NewsQueue[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._items.popleft()
