"""Health checks: runs the probe inside the container and says when the container's health changes.

Compose's meaning: `retries` failures in a row after the start period make it unhealthy, one success makes it healthy.
Until the first success, or the end of the start phase, it is probed every second, so that a good version does not wait
a whole interval for its gate; failures do not count in that phase.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.engines.base import ExecResult
from gateway.errors import FieldgateError, Unavailable
from gateway.model.app import HealthCheck
from gateway.reconcile.view import Health

FIRST_PROBES_S: Final = 1.0
MAX_CONCURRENT: Final = 2
"""Probes at a time: on a small board a dozen interpreters at once would starve the APPs."""


class Prober(Protocol):
    """What is needed of an engine."""

    async def exec(self, container: str, argv: Sequence[str], timeout_s: float) -> ExecResult: ...


@dataclass(frozen=True, slots=True)
class Assessment:
    """Pure state of one container's checks."""

    health: Health = Health.STARTING
    failures: int = 0
    reason: str = ""

    def after(self, check: HealthCheck, passed: bool, reason: str, age_s: float) -> Assessment:
        """The state after one more probe, `age_s` after the container was first seen running."""
        if passed:
            return Assessment(Health.HEALTHY)
        if self.health is Health.STARTING and age_s < start_phase_s(check):
            return Assessment(Health.STARTING, 0, reason)
        failures = self.failures + 1
        health = Health.UNHEALTHY if failures >= check.retries else self.health
        return Assessment(health, failures, reason)

    def pause_s(self, check: HealthCheck, age_s: float) -> float:
        """Seconds until the next probe."""
        if self.health is Health.STARTING and age_s < start_phase_s(check):
            return min(FIRST_PROBES_S, check.interval_s)
        return check.interval_s


def start_phase_s(check: HealthCheck) -> float:
    return max(check.start_period_s, check.interval_s)


class HealthWatch:
    """One task per container that has a health check; `changed` is called when an assessment's health changes."""

    def __init__(self, prober: Prober, changed: Callable[[], None]) -> None:
        self._prober = prober
        self._changed = changed
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._assessments: dict[str, Assessment] = {}
        self._gate = asyncio.Semaphore(MAX_CONCURRENT)

    def assessment(self, container: str) -> Assessment:
        return self._assessments.get(container, Assessment())

    def watch(self, container: str, check: HealthCheck) -> None:
        """Begin to probe; nothing new if it is probed already."""
        if container not in self._tasks:
            self._assessments[container] = Assessment()
            self._tasks[container] = asyncio.create_task(self._probe(container, check), name=f"health {container}")

    def keep_only(self, containers: frozenset[str]) -> None:
        """Stop probing all others."""
        for container in set(self._tasks) - containers:
            self._tasks.pop(container).cancel()
            del self._assessments[container]

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        self.keep_only(frozenset())
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, container: str, check: HealthCheck) -> None:
        began = time.monotonic()
        while True:
            async with self._gate:
                passed, reason = await self._once(container, check)
            before = self._assessments[container]
            if passed is None:  # nobody asked the APP, so there is nothing to hold against it
                await asyncio.sleep(before.pause_s(check, time.monotonic() - began))
                continue
            after = before.after(check, passed, reason, time.monotonic() - began)
            self._assessments[container] = after
            if after.health is not before.health:
                self._changed()
            await asyncio.sleep(after.pause_s(check, time.monotonic() - began))

    async def _once(self, container: str, check: HealthCheck) -> tuple[bool | None, str]:
        """(passed, why not); None: the engine could not probe."""
        try:
            result = await self._prober.exec(container, check.test, check.timeout_s)
        except Unavailable as failure:
            return None, failure.message
        except FieldgateError as failure:
            return False, f"health check: {failure.message}"
        if result.exit_code == 0:
            return True, ""
        said = ""
        with contextlib.suppress(IndexError):
            said = result.output.decode(errors="replace").strip().splitlines()[-1][:200]
        return False, f"health check: exit code {result.exit_code}{f': {said}' if said else ''}"
