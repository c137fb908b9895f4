"""The simulated machine: its containers, what they printed and when they end. Outlives the engines that work on it."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from gateway.engines.base import ContainerSpec, ContainerState, ContainerStatus, LogLine
from gateway.engines.simulated.behaviour import Behaviour, behaviour_of
from gateway.errors import Conflict

LOG_LINES: Final = 4096
FIRST_PID: Final = 1000


@dataclass
class Log:
    """The last lines that a container printed."""

    lines: collections.deque[LogLine] = field(default_factory=lambda: collections.deque(maxlen=LOG_LINES))
    printed: int = 0
    """How many there ever were."""

    def print(self, stream: str, text: str) -> None:
        self.lines.append(LogLine(datetime.now(UTC).isoformat(), stream, text))
        self.printed += 1

    def last(self, count: int) -> list[LogLine]:
        return list(self.lines)[-count:] if count > 0 else []


@dataclass
class Machine:
    """What survives an agent. `behaviour` says how a container behaves; by default its environment does."""

    behaviour: Callable[[ContainerSpec], Behaviour] = behaviour_of
    statuses: dict[str, ContainerStatus] = field(default_factory=dict)
    specs: dict[str, ContainerSpec] = field(default_factory=dict)
    """Of all containers that there ever were."""
    logs: dict[str, Log] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    """When a running container ends by itself, by the monotonic clock."""
    history: list[str] = field(default_factory=list)
    """`create app.main.1`, `start ...`, in order."""
    ended: Callable[[str], None] = lambda container: None
    """Called with the id of a container that has ended; set by the engine that works here now."""
    away: str = ""
    """Why no engine of it answers, as a daemon that is gone; empty when it does."""

    def create(self, spec: ContainerSpec) -> None:
        """Conflict when the id was used before."""
        if spec.id in self.specs:
            raise Conflict(f"cannot create container {spec.id}: its id was used before")
        self.history.append(f"create {spec.id}")
        self.specs[spec.id] = spec
        self.logs[spec.id] = Log()
        self.statuses[spec.id] = ContainerStatus(
            spec.app, spec.service, spec.generation, spec.digest, ContainerState.CREATED,
            host=spec.host.container if spec.host is not None else "",
        )  # fmt: skip

    def start(self, container: str) -> Behaviour:
        behaviour = self.behaviour(self.specs[container])
        self.history.append(f"start {container}")
        self.statuses[container] = replace(
            self.statuses[container], state=ContainerState.RUNNING, pid=FIRST_PID + len(self.history),
            started_ns=time.time_ns(),
        )  # fmt: skip
        for stream, text in behaviour.output:
            self.logs[container].print(stream, text)
        if behaviour.runs_s is not None:
            self.ends[container] = time.monotonic() + behaviour.runs_s
        return behaviour

    def crash(self, container: str, code: int = 1, *, oom_killed: bool = False) -> None:
        """The main process ends by itself, and with it what lives in its container: that first, as in a kernel."""
        for guest in [status for status in self.statuses.values() if status.host == container]:
            self.statuses[guest.id] = replace(guest, host_ended=True)
            if guest.state is not ContainerState.EXITED:
                self.crash(guest.id, 137)
        self.ends.pop(container, None)
        self.statuses[container] = replace(
            self.statuses[container], state=ContainerState.EXITED, pid=0, exit_code=code, oom_killed=oom_killed,
            finished_ns=time.time_ns(),
        )  # fmt: skip
        self.ended(container)

    def settle(self) -> float | None:
        """End what is due; seconds until the next one is, None when none is."""
        for container, at in list(self.ends.items()):
            if at <= time.monotonic():
                behaviour = self.behaviour(self.specs[container])
                self.crash(container, behaviour.end(), oom_killed=behaviour.oom_killed)
        return max(0.0, min(self.ends.values()) - time.monotonic()) if self.ends else None

    def remove(self, container: str) -> None:
        """Fine if it is gone."""
        if self.statuses.pop(container, None) is not None:
            self.history.append(f"remove {container}")
            self.ends.pop(container, None)
            del self.logs[container]

    def running(self) -> list[str]:
        return sorted(c for c, s in self.statuses.items() if s.state is ContainerState.RUNNING)
