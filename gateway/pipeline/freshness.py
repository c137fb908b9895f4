"""Tells news from history: a sample that is older than what its source has said already must not act as if it were now.

After an outage `esdk` re-sends what it kept, and new samples may come in between. The windows want all of them; the tag
table and the rules want news only. A sample is history when the same source has published a newer one of the same tag
(by source time) within the last `LIVE_NS` by our clock. The bound matters when a source's clock is set back: then its
samples look old, and after `LIVE_NS` without a newer one they count as news again. Pure. Used by `owner.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.model.tags import Sample

LIVE_NS: Final = 5 * 10**9


class Freshness:
    """Of one source. `now_ns` is of a monotonic clock."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, int]] = {}
        """Tag -> newest source time, when it came."""

    def news(self, samples: Sequence[Sample], now_ns: int) -> list[Sample]:
        """Those of `samples` that are news, in their order."""
        newest = self._newest
        fresh = []
        for sample in samples:
            known = newest.get(sample.tag)
            if known is None or sample.time_ns >= known[0] or now_ns - known[1] > LIVE_NS:
                newest[sample.tag] = (sample.time_ns, now_ns)
                fresh.append(sample)
        return fresh
