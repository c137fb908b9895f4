"""Newest wins, and not too often: of many messages about the same thing only the last one is sent, after a pause. Pure.

Used by `report.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Entry(Generic[T]):
    item: T | None = None
    sent_s: float = float("-inf")
    interval_s: float = 0.0


class Pacing(Generic[T]):
    """At most `limit` keys; of more the one that was quiet for longest is forgotten."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[str, _Entry[T]] = {}

    def put(self, key: str, item: T, interval_s: float) -> None:
        """`item` is the last word about `key`; at most one of them per `interval_s`."""
        entry = self._entries.pop(key, None) or _Entry()
        entry.item, entry.interval_s = item, interval_s
        self._entries[key] = entry
        if len(self._entries) > self._limit:
            del self._entries[next(iter(self._entries))]

    def due(self, now_s: float) -> list[T]:
        """What may be sent now; counted as sent."""
        ready = []
        for entry in self._entries.values():
            if entry.item is not None and now_s >= entry.sent_s + entry.interval_s:
                ready.append(entry.item)
                entry.item, entry.sent_s = None, now_s
        return ready

    def next_due_s(self) -> float | None:
        """When `due` has something; None while nothing waits."""
        return min(
            (entry.sent_s + entry.interval_s for entry in self._entries.values() if entry.item is not None),
            default=None,
        )

    def clear(self) -> None:
        self._entries.clear()
