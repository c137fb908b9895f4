"""The queue in front of the lines: who wants something of a line posts a command, and one owner obeys in order.

Today the owner (`Lines`) lives in the same process and a command is carried out before `post` returns, so that a local
response costs microseconds. Commands are plain values and answers come through a callback: a process of its own can
take them over a socket without a change to whoever posts. Used by `pipeline/` (hold, release, forget) and
`esdk_server/` (read, set).
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from gateway.errors import FieldgateError
from gateway.field.lines import Lines, LineState

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Read:
    line: str


@dataclass(frozen=True, slots=True)
class Set:
    """An APP's wish."""

    line: str
    value: int
    owner: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A rule is active."""

    rule: str
    line: str
    value: int


@dataclass(frozen=True, slots=True)
class Release:
    """A rule is not, or no longer, active."""

    rule: str
    line: str


@dataclass(frozen=True, slots=True)
class Forget:
    """A service is gone."""

    owner: str


Command = Read | Set | Hold | Release | Forget
Answer = Callable[[LineState | FieldgateError], None]


class LineCommands:
    """First come, first served; a command that is posted while another is carried out waits for it."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._queue: collections.deque[tuple[Command, Answer | None]] = collections.deque()
        self._busy = False

    async def read(self, line: str) -> dict[str, Any]:
        """The line's state as JSON. NotFound, Unavailable."""
        return await self._ask(Read(line))

    async def set(self, line: str, value: int, owner: str) -> dict[str, Any]:
        """The state afterwards: the safe state or a rule may overrule the APP. NotFound, InvalidInput, Unavailable."""
        return await self._ask(Set(line, value, owner))

    def hold(self, rule_id: str, line: str, value: int) -> None:
        self.post(Hold(rule_id, line, value))

    def release(self, rule_id: str, line: str) -> None:
        self.post(Release(rule_id, line))

    def forget(self, owner: str) -> None:
        self.post(Forget(owner))

    def post(self, command: Command, answer: Answer | None = None) -> None:
        """Have `command` carried out; `answer`, if any, gets the line's state or the error."""
        self._queue.append((command, answer))
        if self._busy:
            return
        self._busy = True
        try:
            while self._queue:
                self._obey(*self._queue.popleft())
        finally:
            self._busy = False

    async def _ask(self, command: Command) -> dict[str, Any]:
        future: asyncio.Future[LineState | FieldgateError] = asyncio.get_running_loop().create_future()
        self.post(command, future.set_result)
        result = await future
        if isinstance(result, FieldgateError):
            raise result
        return asdict(result)

    def _obey(self, command: Command, answer: Answer | None) -> None:
        try:
            state = self._carry_out(command)
        except FieldgateError as failure:
            if answer is None:
                log.error("line command failed command=%s cause=%s", command, failure.message)
            else:
                answer(failure)
            return
        if answer is not None and state is not None:
            answer(state)

    def _carry_out(self, command: Command) -> LineState | None:
        lines = self._lines
        match command:
            case Read(line):
                return lines.read(line)
            case Set(line, value, owner):
                return lines.set(line, value, owner)
            case Hold(rule, line, value):
                lines.hold(rule, line, value)
            case Release(rule, line):
                lines.release(rule, line)
            case Forget(owner):
                lines.forget(owner)
        return None
