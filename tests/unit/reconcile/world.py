"""A world for the planner alone: containers in memory, a clock that jumps to whatever is waited for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gateway.engines.base import ContainerState, ContainerStatus, container_id
from gateway.model.app import App, Service
from gateway.reconcile.memory import AppMemory
from gateway.reconcile.planner import Plan, plan
from gateway.reconcile.steps import UNHEALTHY, Create, Forget, MarkFailed, MarkGood, Pull, Remove, Start, Step, Stop
from gateway.reconcile.view import AppView, ContainerView, Health, service_digest

RUNNING, EXITED, CREATED = ContainerState.RUNNING, ContainerState.EXITED, ContainerState.CREATED


@dataclass
class World:
    """One APP. `behaviour(image)`: `good`, `sick` (its health check fails) or `crashes` (ends at once with 1)."""

    behaviour: Callable[[str], str] = lambda image: "good"
    target: App | None = None
    good: App | None = None
    failed: str = ""
    stopped: bool = False
    containers: dict[str, ContainerStatus] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    """Container -> image."""
    present: set[str] = field(default_factory=set)
    memory: AppMemory = field(default_factory=lambda: AppMemory(lambda: 0.5))
    now: float = 1000.0
    steps: list[Step] = field(default_factory=list)
    forgotten: bool = False

    def view(self) -> AppView:
        target = self.target
        if target is not None and self.good is not None and self.failed == target.digest:
            target = self.good
        self.memory.turn_to(target)
        digests = {service_digest("app", service) for service in target.services} if target else set()
        statuses = list(self.containers.values())
        current = frozenset(s.id for s in statuses if s.digest in digests and s.id not in self.memory.restart_requested)
        self.memory.observe(statuses, current, self.now)
        for status in statuses:
            self.memory.note_health(status.service, self._health(status))
        rolling = target is not None and (self.good is None or target.digest != self.good.digest)
        view = AppView(
            "app", target, rolling, rolling and self.good is not None, self.stopped,
            containers=tuple(
                ContainerView(
                    s, self._health(s), "sick", self.memory.running_since.get(s.id),
                    s.id in self.memory.restart_requested,
                    stopped_unhealthy=s.id in self.memory.stopped_unhealthy,
                )
                for s in statuses
            ),
            history=dict(self.memory.history),
        )  # fmt: skip
        services = target.services if target else ()
        missing = {
            s.image for s in services
            if s.image not in self.present and ((c := view.current(s)) is None or c.status.state is EXITED)
        }  # fmt: skip
        return replace(view, missing_images=frozenset(missing))

    def settle(self, check: Callable[[AppView, Step], None] = lambda view, step: None, most: int = 300) -> Plan:
        """Plan and do until nothing is left to do or to wait for; `check` sees every step before it is done."""
        for _ in range(most):
            view = self.view()
            planned = plan(view, self.now)
            if planned.step is not None:
                check(view, planned.step)
                self.steps.append(planned.step)
                self._do(view, planned.step)
                if self.forgotten:
                    return planned
            elif planned.wake_at is not None:
                assert planned.wake_at > self.now, "waiting for what has been"
                self.now = planned.wake_at
            else:
                return planned
            self.now += 0.01
        raise AssertionError(f"it never settles: {self.steps[-6:]}")

    def end(self, container: str, code: int = 1) -> None:
        """Its main process, or the one that waits to become it, ends by itself."""
        self.containers[container] = replace(self.containers[container], state=EXITED, exit_code=code)

    def running(self) -> dict[str, str]:
        """Service -> image, of what runs."""
        return {s.service: self.images[s.id] for s in self.containers.values() if s.state is RUNNING}

    def _health(self, status: ContainerStatus) -> Health:
        if status.state is not RUNNING:
            return Health.STARTING
        return Health.UNHEALTHY if self.behaviour(self.images[status.id]) == "sick" else Health.HEALTHY

    def _do(self, view: AppView, step: Step) -> None:
        match step:
            case Pull(images):
                self.present.update(images)
            case Create(service, at_least):
                self._create(service, at_least)
            case Start(container):
                crashes = self.behaviour(self.images[container]) == "crashes"
                running = replace(self.containers[container], state=RUNNING, pid=1)
                self.containers[container] = replace(running, state=EXITED, exit_code=1) if crashes else running
            case Stop(container, reason=reason):
                if reason == UNHEALTHY:
                    self.memory.stopped_unhealthy.add(container)
                self.containers[container] = replace(self.containers[container], state=EXITED, exit_code=0)
            case Remove(container):
                del self.containers[container]
            case MarkGood(version):
                self.good = version
            case MarkFailed(version):
                self.failed = version.digest
            case Forget():
                self.forgotten = True

    def _create(self, service: Service, generation: int) -> None:
        container = container_id("app", service.name, generation)
        assert container not in self.containers
        digest = service_digest("app", service)
        self.containers[container] = ContainerStatus("app", service.name, generation, digest, CREATED)
        self.images[container] = service.image
