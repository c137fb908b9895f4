"""What one service's samples go through: history apart from news, windows, deadbands. Pure. Used by `pipeline.py`."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Final

from gateway.model.app import Grant, Uplink
from gateway.model.batches import Record
from gateway.model.tags import Sample
from gateway.pipeline.deadband import Deadbands
from gateway.pipeline.freshness import Freshness
from gateway.pipeline.windows import Windows

LATENESS_S: Final = 0.25
"""How long after its end a window waits for samples that are on their way."""
MAX_KEYS: Final = 1024
"""Idempotency keys remembered per service: `esdk` re-sends the newest of its ring first to last."""


class Owner:
    """One service (`app.service`). `now_ns` is of a monotonic clock."""

    def __init__(self, grant: Grant) -> None:
        self.uplink: Uplink | None = grant.uplink
        self._freshness = Freshness()
        self._keys: collections.OrderedDict[str, None] = collections.OrderedDict()
        uplink = grant.uplink or Uplink()
        self._windows = Windows(int(uplink.window_s * 1e9), int(LATENESS_S * 1e9))
        self._deadbands = Deadbands(uplink.deadbands)

    @property
    def window_s(self) -> float:
        """How long a sample may stand in an open window: its length and its lateness. 0 when nothing goes up."""
        return self.uplink.window_s + LATENESS_S if self.uplink else 0.0

    @property
    def open_samples(self) -> int:
        return self._windows.samples

    def knows(self, key: str) -> bool:
        """Whether samples of that idempotency key are in the windows already."""
        return bool(key) and key in self._keys

    def news(self, samples: Sequence[Sample], now_ns: int) -> list[Sample]:
        """Those that tell how things are now."""
        return self._freshness.news(samples, now_ns)

    def take(self, samples: Sequence[Sample], key: str, now_ns: int) -> None:
        """Into their windows, if anything of this service goes up."""
        if self.uplink is None:
            return
        for sample in samples:
            self._windows.add(sample, now_ns)
        if key:
            self._keys[key] = None
            if len(self._keys) > MAX_KEYS:
                self._keys.popitem(last=False)

    def due(self, now_ns: int) -> list[Record]:
        """The records of windows that are due now and worth sending."""
        return [record for record in self._windows.close_due(now_ns) if self._deadbands.passes(record)]

    def finish(self) -> list[Record]:
        """As `due`, of every window there is."""
        return [record for record in self._windows.close_all() if self._deadbands.passes(record)]

    def next_due_ns(self) -> int | None:
        return self._windows.next_due_ns()
