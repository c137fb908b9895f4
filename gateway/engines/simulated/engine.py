"""SimulatedEngine: the `Engine` protocol on a `Machine` in memory. Its containers end with the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from gateway.engines.base import (
    ContainerExit,
    ContainerSpec,
    ContainerState,
    ContainerStatus,
    ExecResult,
    LogLine,
)
from gateway.engines.simulated.machine import Machine
from gateway.errors import NotFound, TimedOut, ToolFailed, Unavailable
from gateway.lifecycle.queue import NewsQueue
from gateway.model.stats import ContainerStats

FOLLOW_INTERVAL_S: Final = 0.05
POLL_INTERVAL_S: Final = 0.005
STATS: Final = ContainerStats(cpu_ns=1_000_000, memory_bytes=1 << 20, pids=1)
"""What every running container uses."""


class SimulatedEngine:
    """One at a time works on a machine; the next one takes over what runs there."""

    name = "simulated"

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()
        self._timer: asyncio.TimerHandle | None = None
        self._news: NewsQueue[ContainerExit] = NewsQueue(1024)

    async def prepare(self) -> None:
        self._answer()
        self.machine.settle()  # what ended while no engine was there is no news
        self.machine.ended = lambda container: self._news.put(ContainerExit(container))
        self._tick()

    def _tick(self) -> None:
        """End what is due, and come back for the next one."""
        if self._timer is not None:
            self._timer.cancel()
        wait_s = self.machine.settle()
        self._timer = None if wait_s is None else asyncio.get_running_loop().call_later(wait_s, self._tick)

    async def create(self, spec: ContainerSpec) -> None:
        self._answer()
        self.machine.behaviour(spec)  # what cannot be understood is refused here
        self.machine.create(spec)

    async def start(self, container: str) -> None:
        self._status(container)
        if not self.machine.behaviour(self.machine.specs[container]).startable:
            raise ToolFailed(["simulated", "start", container], 1, "no such program")
        self.machine.start(container)
        self._tick()

    async def stop(self, container: str, grace_s: float) -> None:
        self._status(container)
        await self.kill(container, self.machine.specs[container].stop_signal)
        deadline = asyncio.get_running_loop().time() + grace_s
        while self._runs(container):
            if asyncio.get_running_loop().time() >= deadline:
                await self.kill(container)
                return
            await asyncio.sleep(POLL_INTERVAL_S)

    async def kill(self, container: str, signal: str = "SIGKILL") -> None:
        self._status(container)
        if self._runs(container):
            code = self.machine.behaviour(self.machine.specs[container]).exit_by(signal)
            if code is not None:
                self.machine.history.append(f"stop {container}")
                self.machine.crash(container, code)

    async def remove(self, container: str) -> None:
        self._answer()
        self.machine.remove(container)

    async def list(self) -> Sequence[ContainerStatus]:
        self._answer()
        return list(self.machine.statuses.values())

    async def exec(self, container: str, argv: Sequence[str], timeout_s: float) -> ExecResult:
        self._status(container)
        if not self._runs(container):
            raise ToolFailed(["simulated", "exec", container], 1, "it does not run")
        answer = self.machine.behaviour(self.machine.specs[container]).answer(tuple(argv))
        if answer is None:
            await asyncio.sleep(timeout_s)
            raise TimedOut(f"cannot finish {argv[0]} in {container}: no end after {timeout_s:g} s")
        return answer

    async def stats(self, container: str) -> ContainerStats:
        self._status(container)
        return STATS if self._runs(container) else ContainerStats()

    def logs(self, container: str, *, tail: int, follow: bool) -> AsyncIterator[LogLine]:
        self._status(container)
        return self._read(container, tail, follow)

    async def _read(self, container: str, tail: int, follow: bool) -> AsyncIterator[LogLine]:
        log = self.machine.logs[container]
        seen = log.printed
        for line in log.last(tail):
            yield line
        while follow and container in self.machine.logs:
            await asyncio.sleep(FOLLOW_INTERVAL_S)
            new, seen = log.printed - seen, log.printed
            for line in log.last(new):
                yield line

    def exits(self) -> AsyncIterator[ContainerExit]:
        return self._news

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._news.close()

    async def teardown(self) -> None:
        for container in list(self.machine.statuses):
            self.machine.remove(container)
        await self.close()

    def _answer(self) -> None:
        if self.machine.away:
            raise Unavailable(self.machine.away)

    def _runs(self, container: str) -> bool:
        status = self.machine.statuses.get(container)
        return status is not None and status.state is ContainerState.RUNNING

    def _status(self, container: str) -> ContainerStatus:
        self._answer()
        if container not in self.machine.statuses:
            raise NotFound(f"cannot find container {container}")
        return self.machine.statuses[container]
