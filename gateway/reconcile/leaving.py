"""Ends containers that others may live in: those first, in good order, since the kernel would kill them with the host.

Meanwhile the host is *leaving*: nothing new is put into it, and what lived in it counts neither as ended by itself nor
as failed. Used by the loop.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from gateway.engines.base import ContainerState, ContainerStatus, Engine
from gateway.errors import FieldgateError
from gateway.reconcile.planner import DEFAULT_GRACE_S
from gateway.reconcile.steps import Create, Stop
from gateway.reconcile.wanted import Wanted

log = logging.getLogger(__name__)


class Stopper(Protocol):
    """`execute.Executor`."""

    async def stop(self, step: Stop) -> None: ...


class Leaving:
    def __init__(self, engine: Engine, stopper: Stopper, wanted: Wanted) -> None:
        self._engine = engine
        self._stopper = stopper
        self._wanted = wanted
        self.containers: set[str] = set()
        """Ids of what is being stopped."""

    async def stop(self, step: Stop) -> None:
        """The step, and before it everything that lives in its container, each with its own grace, side by side."""
        self.containers.add(step.container)
        try:
            guests = [status for status in await self._engine.list() if status.host == step.container]
            running = [guest for guest in guests if guest.state is ContainerState.RUNNING]
            stops = (self._stopper.stop(self._stop_of(guest, f"its host: {step.reason}")) for guest in running)
            for failure in await asyncio.gather(*stops, return_exceptions=True):
                if isinstance(failure, Exception):
                    log.warning("a guest ends with its host host=%s cause=%s", step.container, failure)
            await self._stopper.stop(step)
        finally:
            self.containers.discard(step.container)

    async def lost_its_host(self, step: Create) -> bool:
        """What it was to live in has ended meanwhile: that it could not be created is no fault of its own."""
        if step.host is None:
            return False
        try:
            statuses = await self._engine.list()
        except FieldgateError:
            return False
        return all(s.id != step.host.container or s.state is not ContainerState.RUNNING for s in statuses)

    def _stop_of(self, status: ContainerStatus, reason: str) -> Stop:
        target = self._wanted.target(status.app)
        services = target.services if target else ()
        grace_s = next((s.stop_grace_period_s for s in services if s.name == status.service), DEFAULT_GRACE_S)
        return Stop(status.id, status.service, grace_s, reason)
