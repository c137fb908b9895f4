"""News of containers that ended: the daemon's event stream, taken up again whenever it breaks.

What ended while nobody listened is found by listing once after each connect. No polling while the stream stands.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from gateway.engines.base import ContainerExit
from gateway.engines.docker.http import Api
from gateway.errors import FieldgateError
from gateway.lifecycle.backoff import Backoff
from gateway.lifecycle.queue import NewsQueue

log = logging.getLogger(__name__)

RECONNECT: Final = Backoff(first_s=0.2, cap_s=5.0)
SINCE_S: Final = 2.0
"""The daemon answers a moment before it subscribes: events of that moment are asked for, too. An id ends only once."""
LOOK_AGAIN: Final = ContainerExit("")
MAX_EVENT_BYTES: Final = 1 << 20
_ENDS: Final = frozenset({"die", "died"})


class Exits:
    """`list_ended()` lists the ids that have ended; `name_to_id` is None for a container of somebody else.

    `forget_status(id)` is called before the news is told: what is known of it is old.
    """

    def __init__(
        self,
        api: Api,
        label: str,
        list_ended: Callable[[], Awaitable[Collection[str]]],
        name_to_id: Callable[[str], str | None],
        forget_status: Callable[[str], None],
    ) -> None:
        self._api = api
        self._label = label
        self._list_ended = list_ended
        self._name_to_id = name_to_id
        self._forget_status = forget_status
        self._known: set[str] | None = None
        """Whose end was told, or was there before; None: not looked yet."""
        self._task: asyncio.Task[None] | None = None
        self.news: NewsQueue[ContainerExit] = NewsQueue(1024)

    async def open(self) -> None:
        """Remember what has ended before and listen from now on."""
        if self._task is None:
            self._known = set(await self._list_ended())
            self._task = asyncio.create_task(self._run(), name="docker events")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self.news.close()

    def forget(self, container: str) -> None:
        """It was removed: its id never comes again."""
        if self._known is not None:
            self._known.discard(container)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                since = f"{time.time() - SINCE_S:.9f}"
                filters = json.dumps({"type": ["container"], "label": [self._label]})
                async with self._api.open("GET", "/events", {"since": since, "filters": filters}) as pieces:
                    for container in await self._list_ended():
                        self._tell(container)
                    if failures:
                        log.info("engine events are back")
                        self.news.put(LOOK_AGAIN)
                    failures = 0
                    rest = b""
                    async for piece in pieces:
                        *lines, rest = (rest + piece).split(b"\n")
                        for line in lines:
                            self._event(line)
                        rest = rest if len(rest) < MAX_EVENT_BYTES else b""
            except FieldgateError as failure:
                log.log(logging.DEBUG if failures else logging.WARNING, "engine events are cut cause=%s", failure)
            if not failures:
                self.news.put(LOOK_AGAIN)
            failures += 1
            await asyncio.sleep(RECONNECT.delay_s(failures, random.random))

    def _event(self, line: bytes) -> None:
        try:
            event: Any = json.loads(line)
            verb = event.get("Action") or event.get("status")
            name = event["Actor"]["Attributes"]["name"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        if verb in _ENDS and (container := self._name_to_id(str(name))) is not None:
            self._tell(container)

    def _tell(self, container: str) -> None:
        assert self._known is not None
        if container not in self._known:
            self._known.add(container)
            self._forget_status(container)
            self.news.put(ContainerExit(container))
