"""From what is observed of one APP to the view that is planned on: containers, history, health, images.

Keeps what the loop remembers of each APP (`memory.py`) and runs the health checks of what should be healthy.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from typing import Protocol

from gateway.engines.base import ContainerState, ContainerStatus
from gateway.reconcile import hosting
from gateway.reconcile.health import HealthWatch
from gateway.reconcile.memory import AppMemory
from gateway.reconcile.records import AppRecords
from gateway.reconcile.view import AppView, ContainerView, service_digest
from gateway.reconcile.wanted import Wanted


class Images(Protocol):
    """`images.store.ImageStore`."""

    def has(self, image: str) -> bool: ...


class Observer:
    def __init__(
        self, wanted: Wanted, records: AppRecords, images: Images, health: HealthWatch, away: Callable[[str], str]
    ) -> None:
        """`away(engine)`: why that engine does not answer, empty when it does."""
        self._away = away
        self._wanted = wanted
        self._records = records
        self._images = images
        self._health = health
        self._memory: dict[str, AppMemory] = {}
        self._statuses: Sequence[ContainerStatus] = ()
        self._leaving: Set[str] = frozenset()

    def memory(self, app: str) -> AppMemory:
        return self._memory.setdefault(app, AppMemory(random.random))

    def forget(self, app: str) -> None:
        self._memory.pop(app, None)

    def look_at(self, statuses: Sequence[ContainerStatus], leaving: Set[str]) -> None:
        """All containers that there are now: an APP's hosts may be another APP's. `leaving`: see `leaving.py`."""
        self._statuses = statuses
        self._leaving = leaving

    def view(self, app: str, statuses: Sequence[ContainerStatus], now: float) -> AppView | None:
        """None: it is not known whether it is wanted, so it is left as it is."""
        if self._wanted.app(app) is None and self._wanted.uncertain:
            return None
        record, target = self._records.get(app), self._wanted.target(app)
        memory = self.memory(app)
        memory.turn_to(target)
        digests = {service_digest(app, service) for service in target.services} if target else set()
        current = frozenset(
            s.id
            for s in statuses
            if s.digest in digests and s.id not in memory.restart_requested and not self._host_gone(s)
        )
        memory.observe(statuses, current, now)
        if record.stopped:
            memory.history.clear()  # what the operator ends is no failure: a start begins at once
        containers = tuple(self._container(status, memory) for status in statuses)
        wanted, pin = self._wanted.app(app), self._wanted.pin(app)
        held = wanted is not None and pin is not None and pin.version.digest != wanted.digest
        rolling = target is not None and (record.good is None or target.digest != record.good.digest)
        view = AppView(
            name=app,
            target=target,
            rolling=rolling,
            can_roll_back=rolling and record.good is not None,
            stopped=record.stopped,
            withheld=self._wanted.withheld(app),
            rolled_back=pin is None and target is not wanted,
            held=held,
            containers=containers,
            history=dict(memory.history),
            pull_not_before=memory.pull_not_before,
            pull_error=memory.pull_error,
            pull_exhausted=memory.pull_exhausted,
            hosts={
                s.name: hosting.host_view(s, self._wanted.find, self._statuses, self._leaving)
                for s in (target.services if target else ())
                if s.host
            },
            away={
                s.name: cause
                for s in (target.services if target else ())
                if not s.host and (cause := self._away(s.engine))
            },
        )
        return replace(view, missing_images=self._missing_images(view))

    def watch_health(self, views: Sequence[AppView], busy: set[str]) -> None:
        """Probe what these views want running; go on with containers of APPs that are `busy` with a step."""
        wanted: set[str] = set()
        for view in views:
            for service in view.target.services if view.target else ():
                current = view.current(service)
                if service.healthcheck and current and current.status.state is ContainerState.RUNNING:
                    wanted.add(current.status.id)
                    self._health.watch(current.status.id, service.healthcheck)
        self._health.keep_only(frozenset(wanted | busy))

    def _container(self, status: ContainerStatus, memory: AppMemory) -> ContainerView:
        assessment = self._health.assessment(status.id)
        if status.state is ContainerState.RUNNING:  # how one was that has ended does not end its series of failures
            memory.note_health(status.service, assessment.health)
        return ContainerView(
            status,
            assessment.health,
            assessment.reason,
            memory.running_since.get(status.id),
            status.id in memory.restart_requested,
            status.id in memory.stopped_unhealthy,
            self._host_gone(status),
        )

    def _host_gone(self, status: ContainerStatus) -> bool:
        return status.host_ended or status.host in self._leaving

    def _missing_images(self, view: AppView) -> frozenset[str]:
        """Images that are needed and not here; a service that runs as wanted needs none."""
        missing = set()
        for service in view.target.services if view.target else ():
            current = view.current(service)
            runs = current is not None and current.status.state is not ContainerState.EXITED
            if not runs and not self._images.has(service.image):
                missing.add(service.image)
        return frozenset(missing)
