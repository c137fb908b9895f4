"""What just happened, to everybody who watches: bounded queues, and a slow reader loses events, never the cloud time.

An event is a JSON object with `kind`, `gateway` and `time_ns` (docs/operations.md). Not stored anywhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from gateway.errors import Unavailable

MAX_UNREAD: Final = 1000
MAX_WATCHERS: Final = 64
IDLE_S: Final = 1.0

Event = dict[str, Any]


def event(kind: str, gateway: str = "", **content: Any) -> Event:
    return {"kind": kind, "gateway": gateway, "time_ns": time.time_ns(), **content}


class Watcher:
    """Iterate over it; yields an `idle` event when nothing happens, so that a reader knows that somebody is there."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._queue: asyncio.Queue[Event] = asyncio.Queue(MAX_UNREAD)
        self._missed = 0

    def offer(self, happened: Event) -> None:
        if self._gateway not in ("", happened["gateway"]):
            return
        try:
            self._queue.put_nowait(happened)
        except asyncio.QueueFull:
            self._missed += 1

    async def __aiter__(self) -> AsyncIterator[Event]:
        # The reader learns that its subscription holds before it causes anything that it wants to see.
        yield event("watching", self._gateway)
        while True:
            if self._missed and self._queue.empty():
                missed, self._missed = self._missed, 0
                yield event("missed", self._gateway, count=missed)
            try:
                yield await asyncio.wait_for(self._queue.get(), IDLE_S)
            except TimeoutError:
                yield event("idle", self._gateway)


class Events:
    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()

    def publish(self, happened: Event) -> None:
        for watcher in self._watchers:
            watcher.offer(happened)

    @contextmanager
    def watch(self, gateway: str = "") -> Iterator[Watcher]:
        """All events, or those of one gateway. Unavailable when too many are watching."""
        if len(self._watchers) >= MAX_WATCHERS:
            raise Unavailable(f"cannot watch: {MAX_WATCHERS} are watching already")
        watcher = Watcher(gateway)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
