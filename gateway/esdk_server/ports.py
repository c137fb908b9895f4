"""What the eSDK needs of lower rooms. `agent.py` hands over the real ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.model.tags import Sample


class SerialTransactor(Protocol):
    """`field/`: owns the serial ports and gives each APP its turn."""

    async def transact(self, port: str, request: bytes, framing: Framing, timeout_s: float, owner: str) -> bytes:
        """The device's answer. NotFound, TimedOut, Unavailable, Corrupted."""
        ...


@dataclass(frozen=True, slots=True)
class Framing:
    """How the end of a device's answer is known: `modbus-rtu`, `length` (bytes) or `gap` (silence in ms)."""

    kind: str = "modbus-rtu"
    length: int = 0
    gap_ms: float = 0.0


class Lines(Protocol):
    """`field/`: owns the digital lines."""

    async def read(self, line: str) -> dict[str, Any]:
        """`{"line", "value", "decided_by", "since_ns"}`. NotFound, Unavailable."""
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


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of published samples."""

    accepted: int
    durable: bool
    first: int = 0
    last: int = 0
    """Sequence range of durable samples; 0 without."""
    window_s: float = 0.0
    """What an open window may lose when the power goes; 0 when everything is durable."""


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
