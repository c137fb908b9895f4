"""A queue that serves its owners in turn, so that a chatty one cannot starve the others. Pure."""

from __future__ import annotations

import collections
from typing import Generic, TypeVar

from gateway.errors import Unavailable

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Round robin over owners, first in first out within one. `limit` is per owner."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: collections.OrderedDict[str, collections.deque[T]] = collections.OrderedDict()
        self.refused = 0

    def put(self, owner: str, item: T) -> None:
        """Unavailable when this owner has `limit` items waiting already."""
        items = self._waiting.setdefault(owner, collections.deque())
        if len(items) >= self._limit:
            self.refused += 1
            raise Unavailable(f"cannot queue the request: {owner} has {self._limit} waiting already")
        items.append(item)

    def take(self) -> T:
        """The next item; its owner goes to the end of the line. IndexError when empty."""
        if not self._waiting:
            raise IndexError("empty")
        owner, items = self._waiting.popitem(last=False)
        item = items.popleft()
        if items:
            self._waiting[owner] = items
        return item

    def drain(self) -> list[T]:
        """Take everything."""
        items = [item for waiting in self._waiting.values() for item in waiting]
        self._waiting.clear()
        return items

    def __len__(self) -> int:
        return sum(len(items) for items in self._waiting.values())
