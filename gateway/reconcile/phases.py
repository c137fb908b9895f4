"""How a service is, from what is known of it: its phase, and why. Pure; the planner, the gate and the report use it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.engines.base import ContainerState
from gateway.model.app import Condition, Restart, Service
from gateway.model.reports import Phase
from gateway.reconcile.view import AppView, ContainerView, Health, HostView


@dataclass(frozen=True, slots=True)
class Standing:
    """A service now."""

    phase: Phase
    reason: str = ""
    container: ContainerView | None = None


def standing(view: AppView, service: Service, now: float) -> Standing:
    """The phase of one service of the target."""
    container = view.current(service)
    if view.withheld:
        return Standing(Phase.STOPPED, view.withheld, container)
    if view.stopped:
        return Standing(Phase.STOPPED, "stopped by the operator", container)
    if service.name in view.away or (container is not None and container.status.state is ContainerState.UNKNOWN):
        return Standing(Phase.UNKNOWN, view.away.get(service.name, "its engine does not answer"), container)
    if container is None:
        return _absent(view, service, now)
    state = container.status.state
    if state is ContainerState.CREATED:
        past = view.past(service.name)
        return Standing(Phase.BACKOFF if now < past.not_before else Phase.STARTING, past.last_error, container)
    if state is ContainerState.EXITED:
        return _ended(view, service, container, now)
    if service.healthcheck is None or container.health is Health.STARTING:
        return Standing(Phase.RUNNING, "", container)
    if container.health is Health.HEALTHY:
        return Standing(Phase.HEALTHY, "", container)
    return Standing(Phase.UNHEALTHY, container.health_reason or "its health check fails", container)


def _absent(view: AppView, service: Service, now: float) -> Standing:
    past = view.past(service.name)
    if view.missing_images:
        if now < view.pull_not_before:
            return Standing(Phase.WAITING, view.pull_error)
        return Standing(Phase.PULLING, view.pull_error)
    if blocked := waits_for(view, service, now):
        return Standing(Phase.WAITING, blocked)
    if now < past.not_before:
        return Standing(Phase.BACKOFF, past.last_error)
    return Standing(Phase.STARTING, past.last_error)


def _ended(view: AppView, service: Service, container: ContainerView, now: float) -> Standing:
    reason = exit_reason(container)
    if not restarts(service, container):
        failed = container.status.exit_code != 0
        return Standing(Phase.FAILED if failed else Phase.STOPPED, reason if failed else "", container)
    waiting = now < view.past(service.name).not_before
    return Standing(Phase.BACKOFF if waiting else Phase.STARTING, reason, container)


def restarts(service: Service, container: ContainerView) -> bool:
    """Whether Compose's restart policy wants an ended container to run again."""
    if service.restart is Restart.ON_FAILURE:
        return container.status.exit_code != 0 or container.stopped_unhealthy
    return service.restart is not Restart.NO


def exit_reason(container: ContainerView) -> str:
    """Why it ended, in words."""
    status = container.status
    if status.oom_killed:
        return "killed by the kernel: out of its memory limit"
    code = status.exit_code
    if code is not None and code > 128 and code != 255:
        return f"ended by signal {code - 128}"
    return f"ended with exit code {code}"


def waits_for(view: AppView, service: Service, now: float) -> str:
    """What a service still waits for by its host and its `depends_on`; empty when it may start."""
    assert view.target is not None
    if service.host and not (host := view.hosts.get(service.name, HostView())).container:
        return host.reason or f"waiting for its host {service.host} to run"
    for name, condition in service.depends_on.items():
        phase = standing(view, view.target.service(name), now).phase
        ready = (Phase.HEALTHY,) if condition is Condition.HEALTHY else (Phase.HEALTHY, Phase.RUNNING, Phase.UNHEALTHY)
        if phase not in ready:
            return f"waiting for {name} to be {'healthy' if condition is Condition.HEALTHY else 'started'}"
    return ""
