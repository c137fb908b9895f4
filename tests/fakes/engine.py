"""An engine in memory that implements the `Engine` protocol: containers live in a `Machine`, which outlives engines as
a real machine outlives agents. Shared by all tests; its own behaviour follows the conformance suite.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from gateway.engines.base import (
    ContainerExit,
    ContainerSpec,
    ContainerState,
    ContainerStatus,
    ExecResult,
    LogLine,
)
from gateway.errors import Conflict, NotFound, ToolFailed, Unavailable
from gateway.lifecycle.queue import NewsQueue
from gateway.model.stats import ContainerStats


@dataclass
class Machine:
    """What survives an agent. `behaviour(image)` says how a container of it behaves."""

    statuses: dict[str, ContainerStatus] = field(default_factory=dict)
    specs: dict[str, ContainerSpec] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    """`create app.main.1`, `start ...`, in order."""
    healthy: Callable[[ContainerSpec], bool] = lambda spec: True
    broken: Callable[[ContainerSpec], bool] = lambda spec: False
    """Cannot be started."""
    engines: list[MemoryEngine] = field(default_factory=list)
    away: str = ""
    """Why no engine of it answers, as a daemon that is gone."""

    def crash(self, container: str, code: int = 1) -> None:
        """The main process ends by itself."""
        self.statuses[container] = replace(
            self.statuses[container], state=ContainerState.EXITED, pid=0, exit_code=code, finished_ns=1
        )
        for engine in self.engines:
            engine.news.put(ContainerExit(container))

    def running(self) -> list[str]:
        return sorted(c for c, s in self.statuses.items() if s.state is ContainerState.RUNNING)


class MemoryEngine:
    name = "memory"

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.news: NewsQueue[ContainerExit] = NewsQueue(1024)
        machine.engines = [self]

    async def prepare(self) -> None:
        self._answer()

    async def create(self, spec: ContainerSpec) -> None:
        self._answer()
        if spec.id in self.machine.specs:
            raise Conflict(f"cannot create container {spec.id}: its id was used before")
        self.machine.history.append(f"create {spec.id}")
        self.machine.specs[spec.id] = spec
        self.machine.statuses[spec.id] = ContainerStatus(
            spec.app, spec.service, spec.generation, spec.digest, ContainerState.CREATED
        )

    async def start(self, container: str) -> None:
        status = self._status(container)
        if self.machine.broken(self.machine.specs[container]):
            raise ToolFailed(["memory", "start", container], 1, "no such program")
        self.machine.history.append(f"start {container}")
        self.machine.statuses[container] = replace(
            status, state=ContainerState.RUNNING, pid=1000 + len(self.machine.history), started_ns=1
        )

    async def stop(self, container: str, grace_s: float) -> None:
        await self.kill(container, "SIGTERM")

    async def kill(self, container: str, signal: str = "SIGKILL") -> None:
        if self._status(container).state is ContainerState.RUNNING:
            self.machine.history.append(f"stop {container}")
            self.machine.crash(container, 137 if signal == "SIGKILL" else 0)

    async def remove(self, container: str) -> None:
        if self.machine.statuses.pop(container, None) is not None:
            self.machine.history.append(f"remove {container}")

    async def list(self) -> Sequence[ContainerStatus]:
        self._answer()
        return list(self.machine.statuses.values())

    async def exec(self, container: str, argv: Sequence[str], timeout_s: float) -> ExecResult:
        self._status(container)
        healthy = self.machine.healthy(self.machine.specs[container])
        return ExecResult(0, b"") if healthy else ExecResult(1, b"not well\n")

    async def stats(self, container: str) -> ContainerStats:
        running = self._status(container).state is ContainerState.RUNNING
        return ContainerStats(cpu_ns=1_000_000, memory_bytes=1 << 20, pids=1) if running else ContainerStats()

    async def logs(self, container: str, *, tail: int, follow: bool) -> AsyncIterator[LogLine]:
        self._status(container)
        yield LogLine("2026-01-01T00:00:00+00:00", "stdout", "hello")

    def exits(self) -> AsyncIterator[ContainerExit]:
        return self.news

    async def close(self) -> None:
        self.news.close()

    async def teardown(self) -> None:
        for container in list(self.machine.statuses):
            await self.remove(container)
        self.news.close()

    def _answer(self) -> None:
        if self.machine.away:
            raise Unavailable(self.machine.away)

    def _status(self, container: str) -> ContainerStatus:
        self._answer()
        if container not in self.machine.statuses:
            raise NotFound(f"cannot find container {container}")
        return self.machine.statuses[container]
