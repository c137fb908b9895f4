"""Tags: publish samples, read the latest, follow new ones. Keeps samples while the agent is away."""

from __future__ import annotations

import collections
import time
import uuid
from typing import Any, Deque, Dict, Iterator, List, Sequence, Tuple
from urllib.parse import quote

from esdk.errors import TimedOut, Unavailable
from esdk.transport import Connection

MAX_BATCH = 500
RING = 10_000

Sample = Dict[str, Any]


class Tags:
    """While the agent is away, samples wait in a ring of `ring` entries, the oldest go first; `dropped` counts them.

    Every batch carries a key, so that one that was committed just before the agent went is not counted twice.
    """

    def __init__(self, connection: Connection, ring: int = RING) -> None:
        self._connection = connection
        self._ring = ring
        self._waiting: Deque[Tuple[Sample, bool]] = collections.deque()
        self._batch: List[Sample] = []
        self._batch_durable = False
        self._batch_key = ""
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """Samples that the gateway has not taken yet."""
        return len(self._waiting) + len(self._batch)

    def publish(self, samples: Sequence[Sample], durable: bool = False) -> bool:
        """Publish samples `{"tag", "value", "unit"?, "quality"?, "time_ns"?}`; True when the gateway has taken all.

        False: the agent is away, they wait here and go with a later call. `durable`: taken means committed for the
        cloud. Other errors (InvalidInput, NotPermitted) discard the batch that caused them.
        """
        now = time.time_ns()
        for sample in samples:
            self._waiting.append((sample if "time_ns" in sample else {**sample, "time_ns": now}, durable))
        while self.waiting > self._ring and self._waiting:
            self._waiting.popleft()
            self.dropped += 1
        return self.flush()

    def flush(self) -> bool:
        """Send what waits, in order; True when nothing waits any more."""
        while self._next_batch():
            body = {"samples": self._batch, "durable": self._batch_durable}
            try:
                self._connection.call("POST", "/v1/tags", body, {"Idempotency-Key": self._batch_key})
            except (Unavailable, TimedOut):  # perhaps taken: the key says so when it goes again
                return False
            except BaseException:
                self._batch = []
                raise
            self._batch = []
        return True

    def read(self, match: str = "#") -> List[Sample]:
        """The latest sample of every tag that matches, as far as this APP may read them."""
        answer: List[Sample] = self._connection.call("GET", "/v1/tags?match=" + quote(match, safe="/"))
        return answer

    def events(self, match: str = "#") -> Iterator[Sample]:
        """New samples as they come; `dropped` in one tells how many this reader was too slow for."""
        return self._connection.stream("/v1/tags/events?match=" + quote(match, safe="/"))

    def _next_batch(self) -> bool:
        """Samples of one kind under one key; the same batch keeps its key until it was taken."""
        if not self._batch and self._waiting:
            self._batch_durable = self._waiting[0][1]
            while self._waiting and len(self._batch) < MAX_BATCH and self._waiting[0][1] == self._batch_durable:
                self._batch.append(self._waiting.popleft()[0])
            self._batch_key = uuid.uuid4().hex
        return bool(self._batch)
