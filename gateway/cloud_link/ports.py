"""What the link needs of lower rooms. `agent.py` hands over the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import FieldgateError
from gateway.model.batches import BatchId
from gateway.model.reports import AppRemoved, AppReport, Progress

News = AppReport | AppRemoved | Progress


class Acceptance(Protocol):
    """`reconcile.acceptance.Acceptance`."""

    async def accept(self, authority: str, envelope: bytes) -> object:
        """Raises why it is refused."""
        ...

    def revisions(self) -> dict[str, int]: ...


class Message(Protocol):
    """`outbox.entries.Message`."""

    @property
    def id(self) -> BatchId: ...

    @property
    def payload(self) -> bytes: ...


class Outbox(Protocol):
    """`outbox.outbox.Outbox`."""

    async def messages(self, stream: str, after: int, limit: int) -> Sequence[Message]: ...

    async def confirm(self, confirmed: BatchId) -> None: ...

    def streams(self) -> tuple[str, ...]: ...

    def appended(self) -> asyncio.Event: ...


class Answers(Protocol):
    """`operations.answers.Answers`."""

    def connected(self) -> None: ...

    def due(self, now_s: float) -> list[tuple[str, bytes]]: ...

    def next_due_s(self) -> float | None: ...


class RemoteOperations(Protocol):
    """`operations.remote.Remote`."""

    @property
    def answers(self) -> Answers: ...

    async def operate(self, op: str, message: bytes) -> bytes | None: ...

    def confirmed(self, message: bytes) -> None: ...

    def refused(self, op: str, message: bytes, failure: FieldgateError) -> bytes: ...


@dataclass(frozen=True, slots=True)
class LinkPorts:
    acceptance: Acceptance
    succeed: Callable[[bytes], Awaitable[object]]
    """Takes a chain of keys documents; raises what is wrong with it."""
    outbox: Outbox
    news: AsyncIterator[News]
    """This room is its one consumer."""
    reports: Callable[[], Sequence[AppReport]]
    """The last snapshot of every APP."""
    remote: RemoteOperations
    agent_version: str = ""
    boot_id: str = ""
