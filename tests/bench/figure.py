"""What a measurement comes to: a median of ours, a median of the peer's, taken in turns in the same run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """`peer` is None where there is nothing to compare with."""

    name: str
    us: float
    unit: str
    n: int
    peer: float | None = None
    peer_name: str = ""

    def to_json(self) -> dict[str, Any]:
        ratio = round(self.us / self.peer, 4) if self.peer else None
        return {
            "us": round(self.us, 3), "peer": round(self.peer, 3) if self.peer is not None else None, "ratio": ratio,
            "unit": self.unit, "peer_name": self.peer_name, "n": self.n,
        }  # fmt: skip


def in_turns(measured: Sequence[Callable[[int], float]], n: int) -> list[float]:
    """The median of each, of `n` rounds in turns; round 0 only warms up and is not counted."""
    rounds = [[once(index) for once in measured] for index in range(n + 1)][1:]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]
