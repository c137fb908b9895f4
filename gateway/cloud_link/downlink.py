"""Takes in what the cloud sends: desired states, successors of the keys document, confirmations.

One bad message never ends anything: it is refused, told, and forgotten. Accepting happens one at a time; of several
messages of one authority the newest counts, and keys go first, since a desired state may be signed by a new one.
Used by `link.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable

from gateway.cloud_link.ports import LinkPorts
from gateway.errors import FieldgateError
from gateway.model.batches import BatchId, decode_confirmation
from gateway.model.enrolment import Enrolment
from gateway.model.reports import Progress, ProgressKind
from gateway.model.topics import Channel, parse

log = logging.getLogger(__name__)

MAX_CONFIRMATIONS = 1024


class Downlink:
    """Tells `refused` of refusals, `accepted` of changes of what is in force, `request` of what is asked."""

    def __init__(
        self,
        enrolment: Enrolment,
        ports: LinkPorts,
        confirm: Callable[[BatchId], Awaitable[None]],
        refused: Callable[[Progress], None],
        accepted: Callable[[], None],
        request: Callable[[str, bytes], None],
    ) -> None:
        self._gateway = enrolment.gateway
        self._key = bytes.fromhex(enrolment.confirmation_key)
        self._ports = ports
        self._confirm = confirm
        self._refused = refused
        self._accepted = accepted
        self._request = request
        self._keys: bytes | None = None
        self._desired: dict[str, bytes] = {}
        self._confirmed: asyncio.Queue[BatchId] = asyncio.Queue(MAX_CONFIRMATIONS)
        self._wake = asyncio.Event()

    def take(self, topic: str, payload: bytes) -> None:
        """Hand one message over; never waits, never raises for what is in it."""
        try:
            parsed = parse(topic)
            if parsed.channel is Channel.ACK:
                self._confirmed.put_nowait(decode_confirmation(self._key, self._gateway, payload))
            elif parsed.channel is Channel.KEYS:
                self._keys = payload
            elif parsed.channel is Channel.DESIRED:
                self._desired[parsed.detail] = payload
            elif parsed.channel is Channel.REQUEST:
                self._request(parsed.detail, payload)
            else:
                log.warning("message ignored topic=%s cause=not for gateways", topic[:200])
        except FieldgateError as failure:
            log.warning("message ignored topic=%s cause=%s", topic[:200], failure.message)
        except asyncio.QueueFull:
            log.warning("confirmation ignored: too many wait; the batch is sent again")
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._take_confirmations())
            tasks.create_task(self._take_documents())

    async def _take_confirmations(self) -> None:
        while True:
            confirmed = await self._confirmed.get()
            try:
                await self._confirm(confirmed)
            except FieldgateError as failure:
                log.warning("confirmation not taken stream=%s cause=%s", confirmed.stream, failure.message)

    async def _take_documents(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._keys is not None or self._desired:
                if self._keys is not None:
                    chain, self._keys = self._keys, None
                    await self._take_keys(chain)
                    continue
                authority = next(iter(self._desired))
                await self._take_desired(authority, self._desired.pop(authority))

    async def _take_keys(self, chain: bytes) -> None:
        if not chain:
            return  # a cleared retained message
        try:
            await self._ports.succeed(chain)
        except FieldgateError as failure:
            log.warning("keys refused cause=%s", failure)
            self._refused(Progress(ProgressKind.REFUSED, text=f"keys: {failure}", code=failure.code))

    async def _take_desired(self, authority: str, envelope: bytes) -> None:
        try:
            await self._ports.acceptance.accept(authority, envelope)
        except FieldgateError as failure:
            log.warning("desired state refused authority=%s cause=%s", authority, failure)
            refused = "sha256:" + hashlib.sha256(envelope).hexdigest()
            self._refused(
                Progress(ProgressKind.REFUSED, authority, text=str(failure), code=failure.code, envelope=refused)
            )
            return
        self._accepted()
