"""What a measurement comes to: a median of ours, a median of the peer's, taken in turns in the same run."""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TARGET: Final = Path(__file__).parents[2] / "build" / "bench.json"


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


def keep(figures: Iterable[Figure], target: Path = TARGET) -> None:
    """Write them into build/bench.json; the others there stay."""
    before: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(target.read_text())["figures"]
    target.parent.mkdir(exist_ok=True)
    found = {**before, **{figure.name: figure.to_json() for figure in figures}}
    target.write_text(json.dumps({"figures": found}, indent=1) + "\n")


def in_turns(measured: Sequence[Callable[[int], float]], n: int) -> list[float]:
    """The median of each, of `n` rounds in turns; round 0 only warms up and is not counted."""
    rounds = [[once(index) for once in measured] for index in range(n + 1)][1:]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]
