"""What the planner looks at: one APP, everything that is known of it now. Pure data.

Times are seconds of a monotonic clock: a wall clock that jumps changes no decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gateway.engines.base import ContainerState, ContainerStatus
from gateway.model.app import App, Service, content_digest
from gateway.model.wire import to_wire


class Health(StrEnum):
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class ServiceHistory:
    """What happened to a service since the agent started or its version changed."""

    failures: int = 0
    """Ends and failed starts in a row; health resets it."""
    not_before: float = 0.0
    """When it may be started again."""
    last_error: str = ""
    restarts: int = 0
    spare_failures: int = 0
    """Spares in a row that could not be created or ended before they were needed."""
    spare_not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class ContainerView:
    """A container, and what the loop has seen of it."""

    status: ContainerStatus
    health: Health = Health.STARTING
    health_reason: str = ""
    running_since: float | None = None
    """First seen running."""
    restart_requested: bool = False
    stopped_unhealthy: bool = False
    """We ended it, because its health check failed: whatever its exit code, that was no success."""
    host_gone: bool = False
    """The container that it lives in has ended or is being stopped: it is to be made anew, and that is no failure."""


@dataclass(frozen=True, slots=True)
class HostView:
    """The container that a service is to live in."""

    container: str = ""
    """Running; empty when there is none."""
    pid: int = 0
    reason: str = ""
    """Why there is none."""


@dataclass(frozen=True, slots=True)
class AppView:
    name: str
    target: App | None
    """The version to run; None: the APP is to be removed."""
    rolling: bool = False
    """The target has not passed its health gate yet."""
    can_roll_back: bool = False
    stopped: bool = False
    withheld: str = ""
    """Why it must not run, though it is wanted."""
    rolled_back: bool = False
    """The desired version has failed; the target is the last good one."""
    held: bool = False
    """Another version is desired; the target is pinned."""
    containers: tuple[ContainerView, ...] = ()
    missing_images: frozenset[str] = frozenset()
    history: Mapping[str, ServiceHistory] = field(default_factory=dict)
    pull_not_before: float = 0.0
    pull_error: str = ""
    pull_exhausted: bool = False
    """Memory or disk of this board are too small for it; no link and no registry is to blame."""
    hosts: Mapping[str, HostView] = field(default_factory=dict)
    """Hosted service of the target -> what it is to live in."""
    away: Mapping[str, str] = field(default_factory=dict)
    """Services of the target whose engine does not answer -> why. Nothing is known of them and nothing is done."""

    @property
    def blind(self) -> bool:
        """Whether some of it cannot be seen now."""
        return bool(self.away) or any(c.status.state is ContainerState.UNKNOWN for c in self.containers)

    def current(self, service: Service) -> ContainerView | None:
        """The container of exactly this service as the target wants it: the one that runs, or the newest."""
        matching = self._matching(service)
        running = [c for c in matching if c.status.state is ContainerState.RUNNING]
        return max(running or matching, key=_generation, default=None)

    def spare(self, service: Service) -> ContainerView | None:
        """The container that waits for the end of the one that runs."""
        current = self.current(service)
        if not service.standby or current is None or current.status.state is not ContainerState.RUNNING:
            return None
        waiting = [c for c in self._matching(service) if c.status.state is ContainerState.CREATED]
        return max(waiting, key=_generation, default=None)

    def stale(self) -> list[ContainerView]:
        """All other containers, what does not run first, then oldest first."""
        services = self.target.services if self.target else ()
        wanted = {c.status.id for s in services for c in (self.current(s), self.spare(s)) if c is not None}
        others = [c for c in self.containers if c.status.id not in wanted]
        return sorted(others, key=lambda c: (c.status.state is ContainerState.RUNNING, c.status.generation))

    def next_generation(self, service: str) -> int:
        """Above every container of the service that is there."""
        return max((c.status.generation for c in self.containers if c.status.service == service), default=0) + 1

    def _matching(self, service: Service) -> list[ContainerView]:
        digest = service_digest(self.name, service)
        return [
            c
            for c in self.containers
            if c.status.service == service.name
            and c.status.digest == digest
            and not c.restart_requested
            and not c.host_gone
        ]

    def past(self, service: str) -> ServiceHistory:
        return self.history.get(service, ServiceHistory())


def _generation(container: ContainerView) -> int:
    return container.status.generation


def service_digest(app: str, service: Service) -> str:
    """Identity of what one container runs: with the same digest it need not be replaced, whoever may live in it."""
    return content_digest(service, lambda: {"app": app, "service": to_wire(replace(service, guests=()))}, app)


def start_order(app: App) -> list[Service]:
    """Services with what they depend on before them; the manifest has refused circles."""
    ordered: list[Service] = []
    seen: set[str] = set()

    def visit(service: Service) -> None:
        if service.name in seen:
            return
        seen.add(service.name)
        for name in service.depends_on:
            visit(app.service(name))
        host_app, _, host = service.host.partition("/")
        if host_app == app.name:
            visit(app.service(host))
        ordered.append(service)

    for service in app.services:
        visit(service)
    return ordered
