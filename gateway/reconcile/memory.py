"""What the loop has seen of one APP since the agent started: ends, failures, when to try again. No I/O, no clock.

Lost with the agent, on purpose: a new agent looks afresh and touches nothing that is well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from gateway.engines.base import ContainerState, ContainerStatus
from gateway.lifecycle.backoff import Backoff
from gateway.model.app import App
from gateway.reconcile.phases import exit_reason
from gateway.reconcile.view import ContainerView, Health, ServiceHistory

RESTART: Final = Backoff(first_s=1.0, cap_s=60.0)
"""After the first restart, which is immediate."""
RETRY: Final = Backoff(first_s=2.0, cap_s=300.0)
"""Of pulls and of steps that failed."""
STEADY_S: Final = 60.0
"""A container that ran this long begins its series of failures anew."""


class AppMemory:
    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._version = ""
        self._ended: set[str] = set()
        self._pull_failures = 0
        self.running_since: dict[str, float] = {}
        self.history: dict[str, ServiceHistory] = {}
        self.restart_requested: set[str] = set()
        self.stopped_unhealthy: set[str] = set()
        self.pull_not_before = 0.0
        self.pull_error = ""
        self.pull_exhausted = False

    def turn_to(self, target: App | None) -> None:
        """A new version starts with a clean sheet."""
        version = target.digest if target else ""
        if version != self._version:
            self._version = version
            self.history.clear()
            self.pulled()

    def observe(self, statuses: Sequence[ContainerStatus], current: frozenset[str], now: float) -> None:
        """Note what started and what ended. `current`: ids that run what the target wants."""
        running = {
            status.service for status in statuses if status.state is ContainerState.RUNNING and status.id in current
        }
        for status in statuses:
            if status.state is ContainerState.RUNNING:
                self.running_since.setdefault(status.id, now)
            elif status.state is ContainerState.EXITED and status.id not in self._ended:
                self._ended.add(status.id)
                if status.id in current and status.service in running:
                    self.note_failed_spare(status.service, now)
                elif status.id in current:
                    self._note_end(status, now)
        present = {status.id for status in statuses}
        self._ended &= present
        self.restart_requested &= present
        self.stopped_unhealthy &= present
        self.running_since = {name: since for name, since in self.running_since.items() if name in present}

    def _note_end(self, status: ContainerStatus, now: float) -> None:
        past = self.history.get(status.service, ServiceHistory())
        ran_s = now - self.running_since.get(status.id, now)
        failures = 1 if ran_s > STEADY_S else past.failures + 1
        self.history[status.service] = replace(
            past,
            failures=failures,
            not_before=now + RESTART.delay_s(failures - 1, self._random),
            last_error=exit_reason(ContainerView(status)),
            restarts=past.restarts + 1,
        )

    def note_health(self, service: str, health: Health) -> None:
        """Health ends a series of failures."""
        past = self.history.get(service)
        if health is Health.HEALTHY and past is not None and past.failures:
            self.history[service] = replace(past, failures=0, last_error="")

    def note_failed_step(self, service: str, reason: str, now: float) -> None:
        """A container that could not be created or started."""
        past = self.history.get(service, ServiceHistory())
        failures = past.failures + 1
        self.history[service] = replace(
            past, failures=failures, not_before=now + RETRY.delay_s(failures, self._random), last_error=reason
        )

    def note_failed_spare(self, service: str, now: float) -> None:
        """It could not be created, or did not live until it was needed. The one that runs is well."""
        past = self.history.get(service, ServiceHistory())
        failures = past.spare_failures + 1
        self.history[service] = replace(
            past, spare_failures=failures, spare_not_before=now + RETRY.delay_s(failures, self._random)
        )

    def note_failed_pull(self, reason: str, now: float, *, exhausted: bool = False) -> None:
        self._pull_failures += 1
        self.pull_exhausted = exhausted
        self.pull_error = reason
        self.pull_not_before = now + RETRY.delay_s(self._pull_failures, self._random)

    def pulled(self) -> None:
        self._pull_failures = 0
        self.pull_error = ""
        self.pull_not_before = 0.0
