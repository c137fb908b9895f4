"""One method per question or order. Knows the rooms that can answer; no transport."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from gateway import __version__
from gateway.engines.base import Engine, LogLine
from gateway.errors import InvalidInput, NotFound
from gateway.field.lines import Lines
from gateway.field.serial_buses import SerialBuses
from gateway.host.facts import boot_id
from gateway.model.causes import Link
from gateway.model.enrolment import Enrolment
from gateway.model.names import APP, AUTHORITY, check
from gateway.model.tags import Sample
from gateway.model.wire import canonical, to_wire
from gateway.operations.audit import Audit
from gateway.operations.execution import By, Execution, nothing_more
from gateway.operations.images import Images
from gateway.operations.inspection import Inspection
from gateway.operations.terminals import Terminals
from gateway.outbox.outbox import Outbox
from gateway.pipeline.pipeline import Pipeline
from gateway.reconcile.acceptance import Acceptance
from gateway.reconcile.loop import Reconciler
from gateway.tags.table import TagTable

MAX_LOG_LINES: Final = 100_000
ORDERS: Final = ("stop", "start", "restart", "rollback", "retry", "pin", "unpin")
"""`retry`: give the version that was rolled back another trial."""
LOCAL: Final = "local"
"""The authority of `fieldgate deploy`."""
MAX_UNREAD_SAMPLES: Final = 1000
"""Of one `fieldgate tags -f`; a slower reader loses the oldest."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """Who is asked."""

    acceptance: Acceptance
    reconciler: Reconciler
    engine: Engine
    tags: TagTable
    outbox: Outbox
    pipeline: Pipeline
    lines: Lines
    buses: SerialBuses
    audit: Audit
    images: Images
    cloud: Callable[[], dict[str, Any]] = dict
    """State of the link to the cloud."""
    links: Callable[[], Sequence[Link]] = tuple
    """Network interfaces that lead out."""
    uplinks: Callable[[], list[dict[str, Any]]] = list
    """The board's ways out: `{interface, kind, metered, up, in_use, since_ns}`."""


class Operations:
    def __init__(self, enrolment: Enrolment, profile_name: str, rooms: Rooms, stop: asyncio.Event) -> None:
        """`stop` ends the agent when it is set."""
        self._enrolment = enrolment
        self._profile_name = profile_name
        self._rooms = rooms
        self._acceptance = rooms.acceptance
        self._reconciler = rooms.reconciler
        self._engine = rooms.engine
        self.execution = Execution(rooms.engine, rooms.reconciler, rooms.audit, boot_id())
        self.terminals = Terminals(rooms.engine, rooms.reconciler, self.execution)
        self.inspection = Inspection(rooms.acceptance, rooms.reconciler, rooms.engine, rooms.links, self._broker)
        self._stop = stop
        self.images = rooms.images
        self.tear_down = False
        """Whether everything is to go when the agent has stopped (`fieldgate down`)."""

    def status(self) -> dict[str, Any]:
        """The gateway as a whole."""
        reports = self._reconciler.reports()
        return {
            "gateway": self._enrolment.gateway,
            "incarnation": self._enrolment.incarnation,
            "version": __version__,
            "profile": self._profile_name,
            "engine": self._engine.name,
            "pid": os.getpid(),
            "revisions": self._acceptance.revisions(),
            "apps": {report.app: report.rollout.value for report in reports},
            "cloud": self._rooms.cloud(),
            "uplinks": self._rooms.uplinks(),
            "outbox": asdict(self._rooms.outbox.stats()),
            "pipeline": asdict(self._rooms.pipeline.status()),
            "lines": [asdict(line) for line in self._rooms.lines.status()],
            "serial": [asdict(bus) for bus in self._rooms.buses.status()],
        }

    def apps(self) -> list[dict[str, Any]]:
        """A full snapshot of every APP (`model.reports.AppReport`)."""
        return [to_wire(report) for report in self._reconciler.reports()]

    async def deploy(self, authority: str, envelope: bytes) -> dict[str, Any]:
        """Take a signed desired state in; raises why it is refused."""
        check(AUTHORITY, authority, "authority")
        decision = await self._acceptance.accept(authority, envelope)
        return {"decision": decision.value, "revision": self._acceptance.revisions()[authority]}

    async def order(self, app: str, order: str, by: By) -> str:
        """Recorded: one of ORDERS; the version that is to run now."""
        check(APP, app, "APP")
        if order not in ORDERS:
            raise InvalidInput(f"cannot {order[:40]} an APP: one of {', '.join(ORDERS)}")
        entry = self.execution.entry(by, order, app)
        return await self.execution.recorded(entry, lambda: self._order(app, order, by.who), nothing_more)

    async def _order(self, app: str, order: str, who: str) -> str:
        orders = self._reconciler.orders
        match order:
            case "restart":
                return self._reconciler.restart(app)
            case "stop" | "start":
                return await self._reconciler.set_stopped(app, order == "stop")
            case "rollback":
                return await orders.roll_back(app, who)
            case "retry":
                return await orders.try_again(app, who)
            case "pin":
                return await orders.pin(app, who)
            case _:
                return await orders.unpin(app, who)

    async def purge(self, app: str) -> None:
        """Remove the volumes of an APP that is gone."""
        await self._reconciler.purge(app)

    def logs(self, app: str, service: str, tail: int, follow: bool) -> AsyncIterator[LogLine]:
        """Lines of its newest container, oldest first. NotFound."""
        check(APP, app, "APP")
        if not 0 <= tail <= MAX_LOG_LINES:
            raise InvalidInput(f"cannot show {tail} lines: 0 to {MAX_LOG_LINES}")
        return self._engine.logs(self._reconciler.container_of(app, service), tail=tail, follow=follow)

    async def recorded_logs(self, app: str, service: str, tail: int, max_bytes: int, by: By) -> dict[str, Any]:
        """The newest lines that fit: `{"lines", "truncated"}`."""
        lines = self.logs(app, service, tail, follow=False)
        entry = self.execution.entry(by, "logs", app, service, f"the last {tail} lines")

        async def read() -> dict[str, Any]:
            return newest([to_wire(line) async for line in lines], max_bytes)

        return await self.execution.recorded(entry, read, nothing_more)

    def owner(self, app: str) -> str:
        """The authority that deployed it. NotFound."""
        return self._reconciler.owner(app)

    def tags(self, patterns: Sequence[str]) -> list[Sample]:
        """The latest sample of every tag that matches, by tag. InvalidInput for a bad pattern."""
        return self._rooms.tags.select(patterns)

    async def follow_tags(self, patterns: Sequence[str]) -> AsyncIterator[Sample]:
        """New samples from now on, until the reader goes. InvalidInput, Unavailable."""
        with self._rooms.tags.subscribe(patterns, MAX_UNREAD_SAMPLES) as subscription:
            async for sample in subscription:
                yield sample

    def report(self, app: str) -> dict[str, Any]:
        """One APP. NotFound."""
        check(APP, app, "APP")
        for report in self._reconciler.reports():
            if report.app == app:
                wire: dict[str, Any] = to_wire(report)
                return wire
        raise NotFound(f"cannot find APP {app}", hint="fieldgate apps lists what is deployed")

    async def close(self) -> None:
        """Let go of what callers have left open."""
        await self.terminals.close()

    def _broker(self) -> Link | None:
        cloud = self._rooms.cloud()
        return Link("to the broker", cloud["connected"], cloud["since_ns"], cloud["error"]) if cloud else None

    def down(self) -> None:
        """End the agent and take down all APPs, mounts and cgroups with it."""
        self.tear_down = True
        self._stop.set()


def newest(lines: list[dict[str, Any]], max_bytes: int) -> dict[str, Any]:
    """Of `lines` (oldest first) the last ones that take no more than `max_bytes` as JSON."""
    kept, size = 0, 0
    for line in reversed(lines):
        size += len(canonical(line)) + 1
        if size > max_bytes:
            break
        kept += 1
    return {"lines": lines[len(lines) - kept :], "truncated": kept < len(lines)}
