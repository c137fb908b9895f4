"""Takes in what is asked of this gateway and sends the answers, again and again until they are confirmed.

At most CONCURRENT at a time; of more a few wait, the rest is refused at once. Used by `link.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final

from gateway.cloud_link.ports import RemoteOperations
from gateway.errors import FieldgateError, Unavailable
from gateway.model.operations import CONFIRM
from gateway.model.topics import Channel, Topic

log = logging.getLogger(__name__)

CONCURRENT: Final = 4
MAX_WAITING: Final = 16


class Requests:
    def __init__(self, gateway: str, remote: RemoteOperations, publish: Callable[[str, bytes], bool]) -> None:
        self._gateway = gateway
        self._remote = remote
        self._publish = publish
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(MAX_WAITING)
        self._wake = asyncio.Event()

    def take(self, op: str, message: bytes) -> None:
        """Hand one message over; never waits, never raises for what is in it."""
        if op == CONFIRM:
            self._confirmed(message)
            return
        try:
            self._waiting.put_nowait((op, message))
        except asyncio.QueueFull:
            failure = Unavailable(f"cannot {op}: {MAX_WAITING} operations wait already")
            self._send(op, self._remote.refused(op, message, failure))

    def connected(self) -> None:
        """A new connection: what is not confirmed goes again."""
        self._remote.answers.connected()
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONCURRENT):
                tasks.create_task(self._work())
            tasks.create_task(self._send_again())

    async def _work(self) -> None:
        while True:
            op, message = await self._waiting.get()
            try:
                answer = await self._remote.operate(op, message)
            except Exception:
                # Whatever a message makes of our code: the next one is somebody else's.
                log.exception("operation failed unexpectedly op=%s", op)
                continue
            if answer is not None:
                self._send(op, answer)
                self._wake.set()

    async def _send_again(self) -> None:
        while True:
            self._wake.clear()
            for op, message in self._remote.answers.due(time.monotonic()):
                self._send(op, message)
            due_s = self._remote.answers.next_due_s()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due_s is None else max(0.05, due_s - time.monotonic())):
                    await self._wake.wait()

    def _confirmed(self, message: bytes) -> None:
        try:
            self._remote.confirmed(message)
        except FieldgateError as failure:
            log.warning("confirmation of an answer ignored cause=%s", failure.message)

    def _send(self, op: str, message: bytes) -> None:
        self._publish(str(Topic(self._gateway, Channel.RESPONSE, op)), message)
