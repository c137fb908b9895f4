"""The shell of the data line: takes published samples, answers locally, and hands records to the outbox.

A sample goes, in this order: rules (the local response waits for nothing), tag table, then either raw into the outbox
(`durable`: the caller is answered when it is committed) or into its window. Windows that close and pass their deadband
are appended by `run()`. Knows clock, tag table, outbox and outputs; decides nothing itself. Used by `esdk_server/`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.errors import FieldgateError, InvalidInput, NotPermitted, TimedOut, Unavailable
from gateway.model.app import Grant
from gateway.model.batches import Record
from gateway.model.tags import Ingested, Sample
from gateway.pipeline.backlog import Backlog
from gateway.pipeline.owner import Owner
from gateway.pipeline.rules import Effect, Hold, Rules

log = logging.getLogger(__name__)

MAX_APPEND_RECORDS: Final = 2000
RETRY_S: Final = 2.0
"""Between attempts to store closed windows while the disk takes nothing."""
LAST_STORE_S: Final = 5.0
"""For what is still open when the agent stops."""


class Outputs(Protocol):
    """`field.lines.Lines`: neither waits nor raises."""

    def hold(self, rule_id: str, line: str, value: int) -> None: ...

    def release(self, rule_id: str, line: str) -> None: ...

    def forget(self, owner: str) -> None: ...


class Table(Protocol):
    """`tags.table.TagTable`."""

    def admit(self, samples: Sequence[Sample]) -> None: ...

    def publish(self, samples: Sequence[Sample]) -> None: ...

    def keep(self, owners: Iterable[str]) -> None: ...


class Records(Protocol):
    """`outbox.outbox.Outbox`: returns first and last sequence number and whether the key was known, when committed."""

    @property
    def commit_interval_s(self) -> float: ...

    async def append(self, stream: str, records: Sequence[Record], key: str = "") -> tuple[int, int, bool]: ...


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    open_samples: int
    """In windows that are not closed: what a SIGKILL would lose now."""
    waiting_records: int
    """Closed, and not on flash yet."""
    dropped_records: int
    responses: int
    """How often a rule has switched something."""
    last_response_us: float
    """Of the last of them: from the samples' arrival to the line switched."""


class Pipeline:
    """A part. `grants` brings, whenever it changed, what every present service (`app.service`) may do."""

    name = "pipeline"

    def __init__(
        self,
        table: Table,
        outbox: Records,
        outputs: Outputs,
        grants: AsyncIterator[Mapping[str, Grant]],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._table = table
        self._outbox = outbox
        self._outputs = outputs
        self._grants = grants
        self._clock = clock
        self._owners: dict[str, Owner] = {}
        self._in_force: dict[str, Grant] = {}
        self._rules = Rules()
        self._backlog = Backlog()
        self._wake = asyncio.Event()
        self._responses = 0
        self._last_response_us = 0.0

    def configure(self, grants: Mapping[str, Grant]) -> None:
        """Put these grants in force. Windows of services that are gone, or whose uplink changed, close now."""
        for name in set(self._in_force) - set(grants):
            self._outputs.forget(name)
        for name, owner in list(self._owners.items()):
            if name not in grants or grants[name].uplink != owner.uplink:
                self._keep(owner, owner.finish())
                del self._owners[name]
        for name, grant in grants.items():
            self._owners.setdefault(name, Owner(grant))
        self._in_force = dict(grants)
        self._table.keep(grants)
        self._apply(
            self._rules.configure({f"{name}/{rule.name}": rule for name, g in grants.items() for rule in g.rules})
        )
        self._wake.set()

    async def ingest(self, samples: Sequence[Sample], *, owner: str, durable: bool, key: str) -> Ingested:
        """Returns when durable samples are committed. Durable ones go up raw, the others as windows.

        Unavailable: nothing was taken, send again with the same key. NotPermitted: durable without an uplink.
        Conflict: the tag table is full.
        """
        arrived = self._clock()
        service = self._owners.get(owner)
        if service is None:
            raise Unavailable(f"cannot take samples of {owner}: it is not in force yet", hint="send them again")
        if durable and service.uplink is None:
            raise NotPermitted(
                f"cannot keep samples of {owner}: it has no uplink", hint="x-esdk.uplink in the manifest"
            )
        self._table.admit(samples)
        news = service.news(samples, arrived)
        if effects := self._rules.evaluate(news):
            self._apply(effects)
            self._responses += 1
            self._last_response_us = (self._clock() - arrived) / 1000
        self._table.publish(news)
        if durable:
            assert service.uplink is not None
            stored = await self._outbox.append(service.uplink.stream, samples, f"{owner}:{key}" if key else "")
            return Ingested(len(samples), True, stored[0], stored[1])
        if not service.knows(key):
            before = service.next_due_ns()
            service.take(samples, key, arrived)
            if service.next_due_ns() != before:
                self._wake.set()
        exposed_s = service.window_s + self._outbox.commit_interval_s if service.window_s else 0.0
        return Ingested(len(samples), False, window_s=exposed_s)

    def status(self) -> PipelineStatus:
        return PipelineStatus(
            sum(owner.open_samples for owner in self._owners.values()),
            len(self._backlog),
            self._backlog.dropped,
            self._responses,
            self._last_response_us,
        )

    async def run(self) -> None:
        """Until cancelled; what is open then is closed and stored first."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_grants())
                tasks.create_task(self._close_windows())
        finally:
            for owner in self._owners.values():
                self._keep(owner, owner.finish())
            try:
                async with asyncio.timeout(LAST_STORE_S):
                    await self._store()
            except TimeoutError:
                log.warning("records lost at the end count=%d", len(self._backlog))

    async def _follow_grants(self) -> None:
        async for grants in self._grants:
            self.configure(grants)
        await asyncio.Event().wait()

    async def _close_windows(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock()
            for owner in self._owners.values():
                self._keep(owner, owner.due(now))
            stored = await self._store()
            due = [when for owner in self._owners.values() if (when := owner.next_due_ns()) is not None]
            wait_s = max(0.0, (min(due) - self._clock()) / 1e9) if due else None
            if not stored:
                wait_s = min(RETRY_S, wait_s) if wait_s else RETRY_S
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _store(self) -> bool:
        """Append what has closed; False when the outbox takes nothing now, then it stays in the backlog.

        What the outbox will never take is dropped and counted, alone: the records around it, and the other streams, are
        not held up by it.
        """
        for stream in self._backlog.streams():
            most = MAX_APPEND_RECORDS
            while records := self._backlog.take(stream, most):
                try:
                    await self._outbox.append(stream, records)
                except (Unavailable, TimedOut) as failure:
                    self._backlog.put_back(stream, records)
                    log.warning("records wait for the outbox stream=%s cause=%s", stream, failure.message)
                    return False
                except FieldgateError as failure:
                    if isinstance(failure, InvalidInput) and len(records) > 1:
                        self._backlog.put_back(stream, records)
                        most = len(records) // 2  # until the bad one stands alone
                        continue
                    self._backlog.drop(records)
                    log.error("records refused stream=%s count=%d cause=%s", stream, len(records), failure.message)
                most = MAX_APPEND_RECORDS
        return True

    def _keep(self, owner: Owner, records: Sequence[Record]) -> None:
        if owner.uplink is not None and records:
            self._backlog.put(owner.uplink.stream, records)

    def _apply(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Hold):
                self._outputs.hold(effect.rule, effect.line, effect.value)
            else:
                self._outputs.release(effect.rule, effect.line)
