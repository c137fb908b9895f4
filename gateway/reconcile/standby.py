"""When the next generation of a service is created ahead of its need (`x-esdk.standby`). Pure.

A spare is a container that was created, not started: everything but its first instruction has been done, so that a
crash costs one call. There is at most one per service, behind a container that runs well, and never of a version that
has not passed its health gate. Price: docs/performance.md.
"""

from __future__ import annotations

from typing import Final

from gateway.engines.base import ContainerState
from gateway.model.app import App, Service
from gateway.reconcile.steps import Create
from gateway.reconcile.view import AppView, Health, start_order

AFTER_S: Final = 2.0
"""So long the service runs before its spare is made: what has just started is not to be disturbed."""


def next_spare(view: AppView, target: App, now: float) -> tuple[Create | None, float | None]:
    """(the spare to create now, when to look again)."""
    due: list[float] = []
    for service in start_order(target):
        if not service.standby or (at := _due(view, service, now)) is None:
            continue
        if now >= at:
            return Create(service, view.next_generation(service.name), spare=True), None
        due.append(at)
    return None, min(due, default=None)


def _due(view: AppView, service: Service, now: float) -> float | None:
    """When its spare may be made; None while there is one, or nothing that it could stand behind."""
    current = view.current(service)
    if current is None or current.status.state is not ContainerState.RUNNING or view.spare(service) is not None:
        return None
    if service.healthcheck is not None and current.health is not Health.HEALTHY:
        return None
    since = now if current.running_since is None else current.running_since
    return max(since + AFTER_S, view.past(service.name).spare_not_before)
