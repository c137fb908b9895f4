"""Batches from the outbox to the broker until the cloud has confirmed them; several streams side by side.

Decides nothing about order or time: see `window.py`. Used by `link.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from gateway.cloud_link.ports import Outbox
from gateway.cloud_link.window import StreamWindow
from gateway.errors import FieldgateError
from gateway.model.batches import BatchId
from gateway.model.topics import Channel, Topic

log = logging.getLogger(__name__)

UNHEARD_PAUSE_S: Final = 2.0
"""Between sending everything again when the broker is there and the cloud is not."""
OUTBOX_PAUSE_S: Final = 5.0
"""After the outbox could not answer."""


class Uplink:
    """`publish(topic, payload)` is False when there is no connection, or no room in it."""

    def __init__(
        self, gateway: str, outbox: Outbox, publish: Callable[[str, bytes], bool], window: int, resend_s: float
    ) -> None:
        self._gateway = gateway
        self._outbox = outbox
        self._publish = publish
        self._limits = (window, resend_s)
        self._windows: dict[str, StreamWindow] = {}
        self._again_s: float | None = None
        """When to send everything again, because nobody heard it."""
        self._wake = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """Batches sent and not confirmed."""
        return sum(len(window) for window in self._windows.values())

    def connected(self) -> None:
        """A new connection: what is not confirmed goes again."""
        for window in self._windows.values():
            window.restart()
        self._wake.set()

    def unheard(self) -> None:
        """The broker took a batch for nobody: the cloud is away."""
        if self._again_s is None:
            self._again_s = time.monotonic() + UNHEARD_PAUSE_S
            self._wake.set()

    async def confirm(self, confirmed: BatchId) -> None:
        """The cloud holds a range. Raises what the outbox raises; it is confirmed again after the next resend."""
        await self._outbox.confirm(confirmed)
        if (window := self._windows.get(confirmed.stream)) is not None:
            window.confirmed(confirmed)
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_appends())
            tasks.create_task(self._send())

    async def _follow_appends(self) -> None:
        appended = self._outbox.appended()
        while True:
            await appended.wait()
            appended.clear()
            self._wake.set()

    async def _send(self) -> None:
        while True:
            self._wake.clear()
            pause_s = None
            if self._again_s is not None and self._again_s <= time.monotonic():
                self._again_s = None
                for window in self._windows.values():
                    window.restart()
            try:
                for stream in self._outbox.streams():
                    await self._pump(stream, self._windows.setdefault(stream, StreamWindow(*self._limits)))
            except FieldgateError as failure:
                log.warning("uplink waits for the outbox cause=%s", failure.message)
                pause_s = OUTBOX_PAUSE_S
            due = [when for window in self._windows.values() if (when := window.next_due_s()) is not None]
            if self._again_s is not None:
                due.append(self._again_s)
            if due:
                until_due_s = max(0.05, min(due) - time.monotonic())
                pause_s = until_due_s if pause_s is None else min(pause_s, until_due_s)
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _pump(self, stream: str, window: StreamWindow) -> None:
        for batch in window.overdue(time.monotonic()):
            messages = await self._outbox.messages(stream, batch.first - 1, 1)
            if not messages or messages[0].id != batch:
                window.gone(batch)  # confirmed meanwhile, or dropped by the quota
            elif not self._hand_over(stream, messages[0].id, messages[0].payload, window):
                return
        while window.room:
            messages = await self._outbox.messages(stream, window.cursor, window.room)
            if not messages:
                return
            for message in messages:
                if not self._hand_over(stream, message.id, message.payload, window):
                    return

    def _hand_over(self, stream: str, batch: BatchId, payload: bytes, window: StreamWindow) -> bool:
        if not self._publish(str(Topic(self._gateway, Channel.DATA, stream)), payload):
            return False
        window.sent(batch, time.monotonic())
        return True
