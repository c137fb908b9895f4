"""Who waits for whom: pulls that want the same image or layer go one after the other. Used by `puller.py`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Turns:
    """Locks by name that exist as long as somebody uses them."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, list[None]]] = {}

    @contextlib.asynccontextmanager
    async def of(self, *names: str) -> AsyncIterator[None]:
        """Hold all of them. The same name twice counts once (an uncompressed layer has one digest, not two), and all
        take names in one order, lest two wait for each other for ever.
        """
        async with contextlib.AsyncExitStack() as held:
            for name in sorted(set(names)):
                await held.enter_async_context(self._held(name))
            yield

    @contextlib.asynccontextmanager
    async def _held(self, name: str) -> AsyncIterator[None]:
        lock, users = self._locks.setdefault(name, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[name]
