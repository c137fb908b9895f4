"""Which uplink is used: the first one of the profile's order that works. The default routes' metrics follow.

`decide` is pure. A link works while it runs and has a default route. One that has failed and comes back must work for
STEADY_S before it is taken again, so that a loose plug does not carry every connection to and fro. Whoever makes the
default routes (DHCP, ModemManager) goes on doing so: only their metrics are changed, through the network worker.
Used by `agent.py`; `status` by the CLI, `links` by whoever asks why something waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import FieldgateError
from gateway.host.interfaces import is_running
from gateway.model.causes import Link
from gateway.model.profile import Uplink
from gateway.network.caller import WorkerCaller
from gateway.network.present import default_metrics

log = logging.getLogger(__name__)

CHECK_S: Final = 2.0
STEADY_S: Final = 10.0
FIRST_METRIC: Final = 50
"""Below what DHCP clients choose (100 and more): an interface that the profile does not name comes after these."""
METRIC_STEP: Final = 5
FAILED_METRIC: Final = 20_000


@dataclass(frozen=True, slots=True)
class Seen:
    """An interface as it is now."""

    running: bool = False
    metrics: frozenset[int] = frozenset()
    """Of its default routes, IPv4 and IPv6."""

    @property
    def works(self) -> bool:
        return self.running and bool(self.metrics)


@dataclass(frozen=True, slots=True)
class State:
    """What is known of an uplink. `since`: when it began or ceased to work, seconds of a monotonic clock."""

    works: bool
    since: float


@dataclass(frozen=True, slots=True)
class Decision:
    states: Mapping[str, State]
    used: str
    """Empty: none works."""
    metrics: Mapping[str, int]
    """What the default routes of each uplink are to have."""


def decide(
    order: Sequence[str], seen: Mapping[str, Seen], known: Mapping[str, State], used: str, now: float
) -> Decision:
    """Pure. `known` is empty at first: what works then counts as steady."""
    states = {}
    for name in order:
        before, works = known.get(name), seen[name].works
        if before is not None and before.works == works:
            states[name] = before
        else:
            states[name] = State(works, now if before is not None else now - STEADY_S)
    working = [name for name in order if states[name].works]
    steady = [name for name in working if name == used or now - states[name].since >= STEADY_S]
    chosen = next(iter(steady or working), "")
    metrics = {}
    for index, name in enumerate(order):
        trusted = name == chosen or name in steady
        metrics[name] = (FIRST_METRIC if trusted else FAILED_METRIC) + METRIC_STEP * index
    return Decision(states, chosen, metrics)


class Uplinks:
    """A part. Does nothing where the profile names no uplink."""

    name = "uplinks"

    def __init__(self, uplinks: Sequence[Uplink]) -> None:
        self._uplinks = tuple(uplinks)
        self._worker = WorkerCaller()
        self._states: Mapping[str, State] = {}
        self._since_ns: dict[str, int] = {}
        self._used = ""
        self._fault = ""

    async def run(self) -> None:
        try:
            while True:
                await self.check(time.monotonic())
                await asyncio.sleep(CHECK_S if self._uplinks else 3600)
        finally:
            await self._worker.close()

    async def check(self, now: float) -> None:
        """Look at all uplinks, and change the metrics that are not as they should be."""
        order = [uplink.interface for uplink in self._uplinks]
        metrics = default_metrics()
        seen = {name: Seen(is_running(name), metrics.get(name, frozenset())) for name in order}
        decision = decide(order, seen, self._states, self._used, now)
        self._tell(decision)
        wrong = [name for name in order if seen[name].metrics - {decision.metrics[name]}]
        if not wrong:
            return
        steps: list[dict[str, Any]] = [
            {"do": "metric", "name": name, "metric": decision.metrics[name]} for name in wrong
        ]
        try:
            await self._worker.ask(*steps)
        except FieldgateError as failure:
            if failure.message != self._fault:
                log.warning("cannot change default routes cause=%s", failure.message)
            self._fault = failure.message
        else:
            self._fault = ""

    def _tell(self, decision: Decision) -> None:
        for name, state in decision.states.items():
            if self._states.get(name) != state:
                self._since_ns[name] = time.time_ns()
                log.info("uplink %s interface=%s", "works" if state.works else "away", name)
        if decision.used != self._used:
            log.warning("uplink changed from=%s to=%s", self._used or "none", decision.used or "none")
        self._states, self._used = decision.states, decision.used

    def status(self) -> list[dict[str, Any]]:
        """`{interface, kind, metered, up, in_use, since_ns}` of each, in the profile's order."""
        return [
            {
                "interface": uplink.interface, "kind": uplink.kind, "metered": uplink.metered,
                "up": self._works(uplink.interface), "in_use": uplink.interface == self._used,
                "since_ns": self._since_ns.get(uplink.interface, 0),
            }
            for uplink in self._uplinks
        ]  # fmt: skip

    def links(self) -> list[Link]:
        """For whoever explains what waits for what."""
        return [
            Link(uplink.interface, self._works(uplink.interface), self._since_ns.get(uplink.interface, 0))
            for uplink in self._uplinks
        ]

    def _works(self, interface: str) -> bool:
        state = self._states.get(interface)
        return state is not None and state.works
