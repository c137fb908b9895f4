"""What an operator may order about versions: roll back, try again, pin, unpin; each a pure change of the APP's record.

`Orders` is the thin shell around them: it reads and writes the record and wakes the loop. The planner then works
towards what the record says, also after a restart of the agent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from gateway.errors import Conflict
from gateway.model.app import App
from gateway.reconcile.records import AppRecord, AppRecords, Pin
from gateway.reconcile.wanted import Wanted

log = logging.getLogger(__name__)


def roll_back(record: AppRecord, wanted: App, authority: str, by: str) -> AppRecord:
    """Go to the last good version that is not the desired one; it stays until another version is desired.

    Conflict: it is pinned, has been rolled back already, or there is nothing to go back to.
    """
    what = f"cannot roll {wanted.name} back"
    if record.pin is not None and record.pin.authority == authority:
        raise Conflict(
            f"{what}: {record.pin.by} has pinned version {record.pin.version.version}", hint="unpin it first"
        )
    if record.good is not None and record.failed_digest == wanted.digest:
        raise Conflict(f"{what}: it is, version {record.good.version} runs ({record.failed_reason})")
    back = record.previous if record.good is not None and record.good.digest == wanted.digest else record.good
    if back is None:
        raise Conflict(f"{what}: no version before {wanted.version} has been good here")
    previous = None if back is record.previous else record.previous
    return replace(
        record, good=back, previous=previous, failed_digest=wanted.digest, failed_reason=f"rolled back by {by}"
    )


def try_again(record: AppRecord, wanted: App) -> AppRecord:
    """Give the version that failed, or was rolled back, another trial. Conflict: there is none."""
    if record.failed_digest != wanted.digest:
        raise Conflict(f"cannot try {wanted.name} again: its version {wanted.version} was not rolled back")
    return replace(record, failed_digest="", failed_reason="")


def pin(record: AppRecord, target: App, authority: str, by: str, now_ns: int) -> AppRecord:
    """Keep what runs. Conflict: it has not proved good, or is pinned already."""
    what = f"cannot pin {target.name}"
    if record.pin is not None and record.pin.authority == authority:
        raise Conflict(f"{what}: version {record.pin.version.version} is pinned already, by {record.pin.by}")
    if record.good is None or record.good.digest != target.digest:
        raise Conflict(
            f"{what}: version {target.version} has not proved good yet",
            hint="wait until it is healthy, or roll it back",
        )
    return replace(record, pin=Pin(target, authority, by, now_ns))


def unpin(record: AppRecord, name: str) -> AppRecord:
    """Conflict: it is not pinned."""
    if record.pin is None:
        raise Conflict(f"cannot unpin {name}: it is not pinned")
    return replace(record, pin=None)


class Orders:
    """NotFound for an APP that nobody wants here; each returns the version that is to run now. `by`: who orders it."""

    def __init__(self, wanted: Wanted, records: AppRecords, wake: Callable[[], None]) -> None:
        self._wanted = wanted
        self._records = records
        self._wake = wake

    async def roll_back(self, app: str, by: str) -> str:
        wanted, (authority, _) = self._wanted.require(app), self._wanted.owner(app)
        return await self._change(app, lambda record: roll_back(record, wanted, authority, by), "rolled back", by)

    async def try_again(self, app: str, by: str) -> str:
        wanted = self._wanted.require(app)
        return await self._change(app, lambda record: try_again(record, wanted), "tried again", by)

    async def pin(self, app: str, by: str) -> str:
        target, (authority, _) = self._wanted.target(app) or self._wanted.require(app), self._wanted.owner(app)
        now_ns = time.time_ns()
        return await self._change(app, lambda record: pin(record, target, authority, by, now_ns), "pinned", by)

    async def unpin(self, app: str, by: str) -> str:
        self._wanted.require(app)
        return await self._change(app, lambda record: unpin(record, app), "unpinned", by)

    async def _change(self, app: str, change: Callable[[AppRecord], AppRecord], what: str, by: str) -> str:
        self._records.require_writable(app)
        await asyncio.to_thread(self._records.change, app, change)
        log.info("version %s app=%s by=%s", what, app, by)
        self._wake()
        target = self._wanted.target(app)
        return target.version if target else ""
