"""What the eSDK needs of lower rooms. `agent.py` hands over the real ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.model.tags import Ingested, Sample


class SerialTransactor(Protocol):
    """`field/`: owns the serial ports and gives each APP its turn."""

    async def transact(self, port: str, request: bytes, *, framing: str, timeout_s: float, owner: str) -> bytes:
        """The device's answer; `framing` is `modbus-rtu`, `length:BYTES`, `gap` or `gap:MILLISECONDS`.

        NotFound, InvalidInput, NotSupported, TimedOut, Unavailable.
        """
        ...


class Lines(Protocol):
    """`field/`: owns the digital lines."""

    async def read(self, line: str) -> dict[str, Any]:
        """`{"line", "value", "decided_by", "since_ns", "available"}`. NotFound, Unavailable."""
        ...

    async def set(self, line: str, value: int, owner: str) -> dict[str, Any]:
        """The state afterwards: a rule or the safe state may overrule the APP."""
        ...


class Subscription(Protocol):
    """New samples; iteration ends after `close()`. `dropped` counts what the reader was too slow for."""

    dropped: int

    def __aiter__(self) -> AsyncIterator[Sample]: ...

    def close(self) -> None: ...


class Tags(Protocol):
    """`tags/`."""

    def select(self, patterns: Iterable[str]) -> list[Sample]: ...

    def subscribe(self, patterns: Iterable[str], limit: int) -> Subscription: ...


class Ingest(Protocol):
    """`pipeline/`."""

    async def ingest(self, samples: Sequence[Sample], *, owner: str, durable: bool, key: str) -> Ingested:
        """Returns when durable samples are committed. Unavailable: nothing was taken; send again with the same key."""
        ...


class SystemFacts(Protocol):
    """`host/`: what the board is and how it is."""

    def facts(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Ports:
    serial: SerialTransactor
    lines: Lines
    tags: Tags
    ingest: Ingest
    system: SystemFacts
