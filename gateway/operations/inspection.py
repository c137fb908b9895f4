"""How the APPs are: why one is as it is, and what their containers use. Asks, decides nothing (`explain.py` does)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.engines.base import Engine
from gateway.errors import FieldgateError, NotFound
from gateway.model.causes import Explanation, Link
from gateway.model.stats import ContainerStats
from gateway.model.wire import to_wire
from gateway.operations.explain import Surroundings, explain, not_deployed, troubled
from gateway.reconcile.acceptance import Acceptance
from gateway.reconcile.loop import Reconciler

PRINTED_LINES: Final = 5
MAX_PRINTED_CHARS: Final = 300
STATS_INTERVAL_S: Final = 0.5
"""Between the two readings that make a rate."""


class Inspection:
    """`links`: network interfaces that lead out of the box. `broker`: the session with it; None: there is none."""

    def __init__(
        self,
        acceptance: Acceptance,
        reconciler: Reconciler,
        engine: Engine,
        links: Callable[[], Sequence[Link]],
        broker: Callable[[], Link | None],
    ) -> None:
        self._acceptance = acceptance
        self._reconciler = reconciler
        self._engine = engine
        self._links = links
        self._broker = broker

    async def why(self, app: str, *, printed: bool = True) -> Explanation:
        """The chain of causes. `printed`: with the last lines of services in trouble. NotFound."""
        refusals = self._acceptance.refusals()
        try:
            situation = self._reconciler.situation(app)
        except NotFound:
            if (explanation := not_deployed(app, refusals)) is None:
                raise
            return explanation
        said = {service: await self._last_lines(container) for service, container in troubled(situation) if printed}
        refusal = next((r for r in refusals if r.authority == situation.authority), None)
        return explain(situation, Surroundings(self._links(), self._broker(), refusal, said))

    async def stats(self, app: str = "", interval_s: float = STATS_INTERVAL_S) -> list[dict[str, Any]]:
        """Of every container with a process (of one APP): `ContainerStats`, who it is, `cpu_percent` of one core.

        Takes `interval_s`, since a rate needs two readings. NotFound.
        """
        reports = [report for report in self._reconciler.reports() if app in ("", report.app)]
        if app and not reports:
            raise NotFound(f"cannot find APP {app}", hint="fieldgate apps lists what is deployed")
        running = [(r.app, s.name, s.container) for r in reports for s in r.services if s.pid]
        before = await asyncio.gather(*(self._reading(container) for _, _, container in running))
        await asyncio.sleep(interval_s if running else 0)
        after = await asyncio.gather(*(self._reading(container) for _, _, container in running))
        return [
            {"app": name, "service": service, "container": container, **_figures(first, second)}
            for (name, service, container), first, second in zip(running, before, after, strict=True)
            if first is not None and second is not None
        ]

    async def _reading(self, container: str) -> tuple[int, ContainerStats] | None:
        """(monotonic ns, what it uses); None: it is gone."""
        try:
            return time.monotonic_ns(), await self._engine.stats(container)
        except FieldgateError:
            return None

    async def _last_lines(self, container: str) -> tuple[str, ...]:
        try:
            lines = self._engine.logs(container, tail=PRINTED_LINES, follow=False)
            return tuple([line.text[:MAX_PRINTED_CHARS] async for line in lines])
        except FieldgateError:
            return ()


def _figures(before: tuple[int, ContainerStats], after: tuple[int, ContainerStats]) -> dict[str, Any]:
    spent_ns, passed_ns = after[1].cpu_ns - before[1].cpu_ns, after[0] - before[0]
    rate = 100 * spent_ns / passed_ns if passed_ns > 0 else 0.0
    defaults = {"cpu_ns": 0, "memory_bytes": 0, "pids": 0}
    return {**defaults, **to_wire(after[1]), "cpu_percent": round(max(0.0, rate), 1)}
