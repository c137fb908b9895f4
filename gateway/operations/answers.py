"""Answers that the cloud has not confirmed: sent again, ever more rarely, until it does or they are too old. Pure.

Used by `remote.py`, sent by `cloud_link/requests.py`. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_ANSWERS: Final = 32
MAX_BYTES: Final = 1 << 20
LIFETIME_S: Final = 900.0
FIRST_PAUSE_S: Final = 5.0
LAST_PAUSE_S: Final = 120.0


@dataclass(slots=True)
class _Kept:
    op: str
    message: bytes
    since_s: float
    due_s: float
    times: int = 1


class Answers:
    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def keep(self, request: str, op: str, message: bytes, now_s: float) -> None:
        """It is sent for the first time now. The oldest ones make room."""
        self._kept[request] = _Kept(op, message, now_s, now_s + FIRST_PAUSE_S)
        while len(self._kept) > MAX_ANSWERS or sum(len(kept.message) for kept in self._kept.values()) > MAX_BYTES:
            del self._kept[next(iter(self._kept))]

    def find(self, request: str, op: str) -> bytes | None:
        """To the same message, sent as the same operation."""
        kept = self._kept.get(request)
        return kept.message if kept is not None and kept.op == op else None

    def confirmed(self, request: str) -> None:
        self._kept.pop(request, None)

    def connected(self) -> None:
        """A new connection: all of them are due."""
        for kept in self._kept.values():
            kept.due_s, kept.times = 0.0, 0

    def due(self, now_s: float) -> list[tuple[str, bytes]]:
        """(op, message) to send now; counted as sent. What is too old is dropped."""
        for request in [r for r, kept in self._kept.items() if now_s - kept.since_s > LIFETIME_S]:
            del self._kept[request]
        found = []
        for kept in self._kept.values():
            if kept.due_s <= now_s:
                found.append((kept.op, kept.message))
                kept.due_s = now_s + min(LAST_PAUSE_S, FIRST_PAUSE_S * 2**kept.times)
                kept.times = min(kept.times + 1, 16)
        return found

    def next_due_s(self) -> float | None:
        """When `due` may have something; None while nothing is kept."""
        return min((kept.due_s for kept in self._kept.values()), default=None)
