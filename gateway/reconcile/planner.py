"""The next step of one APP, or when to look again. Pure.

Order of an update: all images first, while the old version runs; then each service in the order of dependency is
stopped and replaced; then the health gate; then what is left over is removed. What is healthy and wanted is never
touched. Sources: Compose Specification (`depends_on`, `restart`), docs/operations.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.engines.base import ContainerState
from gateway.model.app import App, Restart, Service
from gateway.model.reports import Phase
from gateway.reconcile.gate import Verdict, judge
from gateway.reconcile.phases import restarts, standing, waits_for
from gateway.reconcile.standby import next_spare
from gateway.reconcile.steps import UNHEALTHY, Create, Forget, MarkFailed, MarkGood, Pull, Remove, Start, Step, Stop
from gateway.reconcile.view import AppView, ContainerView, start_order

DEFAULT_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`step` is to be done now; without one, look again at `wake_at` at the latest (None: when something happens)."""

    step: Step | None = None
    wake_at: float | None = None


def plan(view: AppView, now: float) -> Plan:
    """What to do for this APP. At most one step: what follows is planned from what is seen after it."""
    if view.target is None:
        return _clear_away(view) or Plan(Forget())
    if view.stopped or view.withheld:
        return _clear_away(view) or Plan()
    if view.rolling:
        judgement = judge(view, now)
        if judgement.verdict is Verdict.FAILED and view.can_roll_back:
            return Plan(MarkFailed(view.target, judgement.reason))
    if view.missing_images:
        if now < view.pull_not_before:
            return Plan(wake_at=view.pull_not_before)
        return Plan(Pull(tuple(sorted(view.missing_images))))
    return _switch(view, view.target, now)


def _clear_away(view: AppView) -> Plan | None:
    """None: nothing is left. What cannot be seen is waited for."""
    for container in view.containers:
        if container.status.state is not ContainerState.UNKNOWN:
            return _away(view, container)
    return Plan() if view.containers else None


def _away(view: AppView, container: ContainerView) -> Plan:
    status = container.status
    if status.state is ContainerState.RUNNING:
        return Plan(Stop(status.id, status.service, _grace_s(view, status.service), "no longer wanted"))
    return Plan(Remove(status.id, status.service))


def _grace_s(view: AppView, service: str) -> float:
    for candidate in view.target.services if view.target else ():
        if candidate.name == service:
            return candidate.stop_grace_period_s
    return DEFAULT_GRACE_S


def _switch(view: AppView, target: App, now: float) -> Plan:
    wake_at: list[float] = []
    for service in start_order(target):
        step, wake = _service_step(view, service, now)
        if step is not None:
            return Plan(step)
        if wake is not None:
            wake_at.append(wake)
    wanted = {service.name for service in target.services}
    for container in view.stale():
        if container.status.state is ContainerState.UNKNOWN:
            continue
        if container.status.service not in wanted or container.status.state is not ContainerState.RUNNING:
            return _away(view, container)
    if view.rolling:
        judgement = judge(view, now)
        if judgement.verdict is Verdict.PASSED:
            return Plan(MarkGood(target))
        if judgement.wake_at is not None:
            wake_at.append(judgement.wake_at)
    else:
        spare, wake = next_spare(view, target, now)
        if spare is not None:
            return Plan(spare)
        if wake is not None:
            wake_at.append(wake)
    return Plan(wake_at=min(wake_at, default=None))


def _service_step(view: AppView, service: Service, now: float) -> tuple[Step | None, float | None]:
    """(step, when to look again) that brings one service closer to running."""
    if standing(view, service, now).phase is Phase.UNKNOWN:
        return None, None
    current = view.current(service)
    past = view.past(service.name)
    if current is not None and current.status.state is ContainerState.CREATED:
        if now < past.not_before:
            return None, past.not_before
        if waits_for(view, service, now):
            return None, None
        for other in _others(view, service):  # a spare, and the one before it is to be replaced
            if other.status.state in (ContainerState.RUNNING, ContainerState.UNKNOWN):
                return _out_of_the_way(other, service), None
        return Start(current.status.id, service.name), None
    if current is not None and current.status.state is ContainerState.RUNNING:
        if standing(view, service, now).phase is Phase.UNHEALTHY and service.restart is not Restart.NO:
            return Stop(current.status.id, service.name, service.stop_grace_period_s, UNHEALTHY), None
        return None, None
    if current is not None and not restarts(service, current):
        return None, None
    if now < past.not_before:
        return None, past.not_before
    if waits_for(view, service, now):
        return None, None
    for other in _others(view, service):
        # At once: after a roll-back it would look like one that ended by itself, and stay so.
        return _out_of_the_way(other, service), None
    return Create(service, view.next_generation(service.name), view.hosts.get(service.name)), None


def _others(view: AppView, service: Service) -> list[ContainerView]:
    """Containers of the service that the target does not want."""
    return [other for other in view.stale() if other.status.service == service.name]


def _out_of_the_way(other: ContainerView, service: Service) -> Step | None:
    """None: it cannot be seen now."""
    if other.status.state is ContainerState.UNKNOWN:
        return None
    if other.status.state is ContainerState.RUNNING:
        return Stop(other.status.id, service.name, service.stop_grace_period_s, "replaced")
    return Remove(other.status.id, service.name)
