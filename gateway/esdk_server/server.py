"""A part: takes endpoints as they are bound, serves each on a listener of its own, and lets go of released ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from gateway.endpoints import Endpoint, EndpointChange
from gateway.esdk_server.application import build, for_endpoint
from gateway.esdk_server.ports import Ports
from gateway.serving import Limits, Listener, listen

log = logging.getLogger(__name__)


class EsdkServer:
    name = "esdk-server"

    def __init__(
        self, changes: AsyncIterator[EndpointChange], ports: Ports, limits: Limits, max_unread_events: int
    ) -> None:
        self._changes = changes
        self._limits = limits
        self._application: Any = build(ports, max_unread_events)
        self._listeners: dict[str, Listener] = {}

    async def run(self) -> None:
        try:
            async for change in self._changes:
                if change.bound:
                    await self._serve(change.endpoint)
                else:
                    await self._release(change.endpoint)
        finally:
            listeners = list(self._listeners.values())
            self._listeners.clear()
            await asyncio.gather(*(listener.close() for listener in listeners))

    async def _serve(self, endpoint: Endpoint) -> None:
        if endpoint.released.is_set():
            return
        application = for_endpoint(self._application, endpoint)
        try:
            self._listeners[endpoint.spec.container] = await listen(endpoint.socket, application, self._limits)
        except OSError as failure:  # of this one; the others must not lose theirs
            log.error("endpoint not served container=%s cause=%s", endpoint.spec.container, failure)
            return
        log.debug("serving endpoint container=%s", endpoint.spec.container)

    async def _release(self, endpoint: Endpoint) -> None:
        listener = self._listeners.pop(endpoint.spec.container, None)
        if listener is None:
            endpoint.socket.close()  # it was released before it was ever served
        else:
            await listener.close()
