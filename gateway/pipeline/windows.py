"""Tumbling windows: what is left of the samples of one tag in one interval. Pure: the time is handed in.

A window holds the samples whose own time lies in `[start, start + length)`, with `start` a multiple of `length` since
the Unix epoch. Numbers (int, float) become a `Window`: count, mean, minimum, maximum, last (by source time) and the
worst quality; samples of bad quality are counted, too, and show in the quality. Bools and text have no mean: of them
the last sample of the window is left, as it was (`deadband.py` lets it pass when it changed).

**When a window closes** does not depend on what the source's clock says, nor on the gateway's wall clock, because
either may be wrong (no battery, 1970, set forward by years in the middle). The first sample of a window shows how much
of it is still to come (`end - sample time`); after that long by our monotonic clock, and `lateness`, it closes. So:

* a source with a good clock gets its windows closed `lateness` after their end;
* a source with an absurd clock gets the same, on its own time axis; a window far in the future closes like any other
  and cannot hold up, or close early, those of the present (there is no watermark that it could push);
* samples that are re-sent after an outage fill their old windows, which close after at most `length + lateness`.

**Late samples** (their window is closed) open the same window again: a second record with the same bounds that holds
just them. Count, mean, minimum and maximum of such records can be merged by whoever reads them. So every sample is in
exactly one record, whatever the order; and within `lateness` there is exactly one record per tag and interval.

Bounded: beyond `max_open` windows the one that is due first is closed early. Used by `owner.py`.
"""

from __future__ import annotations

import heapq
from typing import Final

from gateway.model.batches import Record
from gateway.model.tags import Quality, Sample, Window

MAX_OPEN: Final = 8_192
"""About 3 MB."""
_BADNESS: Final = {Quality.GOOD: 0, Quality.UNCERTAIN: 1, Quality.BAD: 2}


class _Open:
    """An open window. `mean` is kept running, so that no sum overflows."""

    __slots__ = ("count", "end_ns", "latest", "maximum", "mean", "minimum", "quality")

    def __init__(self, first: Sample, end_ns: int) -> None:
        self.end_ns = end_ns
        self.latest = first
        self.quality = first.quality
        self.count = 0
        self.mean = 0.0
        self.minimum = float("inf")
        self.maximum = float("-inf")


class Windows:
    """The open windows of one service. Times in nanoseconds; `now_ns` is of a monotonic clock."""

    def __init__(self, length_ns: int, lateness_ns: int, max_open: int = MAX_OPEN) -> None:
        self._length_ns = max(1, length_ns)
        self._lateness_ns = lateness_ns
        self._max_open = max_open
        self._open: dict[tuple[str, int, bool], _Open] = {}
        self._due: list[tuple[int, tuple[str, int, bool]]] = []
        self._forced: list[Record] = []

    def __len__(self) -> int:
        return len(self._open)

    @property
    def samples(self) -> int:
        """How many samples the open windows hold: what a SIGKILL would lose now."""
        return sum(window.count for window in self._open.values())

    def add(self, sample: Sample, now_ns: int) -> None:
        """Take the sample into its window. A tag may change between numbers and states: they never share a window."""
        value = sample.value
        is_number = not isinstance(value, (bool, str))
        start_ns = sample.time_ns // self._length_ns * self._length_ns
        window = self._open.get((sample.tag, start_ns, is_number))
        if window is None:
            window = self._begin(sample, start_ns, is_number, now_ns)
        window.count += 1
        if sample.time_ns >= window.latest.time_ns:
            window.latest = sample
        if sample.quality is not window.quality and _BADNESS[sample.quality] > _BADNESS[window.quality]:
            window.quality = sample.quality
        if not isinstance(value, (bool, str)):
            number = float(value)
            window.mean += number / window.count - window.mean / window.count
            if number < window.minimum:
                window.minimum = number
            if number > window.maximum:
                window.maximum = number

    def close_due(self, now_ns: int) -> list[Record]:
        """Close what is due: the records, by interval."""
        closed, self._forced = self._forced, []
        while self._due and self._due[0][0] <= now_ns:
            closed.append(self._close(heapq.heappop(self._due)[1]))
        closed.sort(key=_time)
        return closed

    def close_all(self) -> list[Record]:
        """Close everything: the records, by interval."""
        closed = self._forced + [self._close(key) for _, key in self._due]
        self._forced, self._due = [], []
        closed.sort(key=_time)
        return closed

    def next_due_ns(self) -> int | None:
        """When `close_due` has something to do; None when nothing is open."""
        if self._forced:
            return 0
        return self._due[0][0] if self._due else None

    def _begin(self, sample: Sample, start_ns: int, is_number: bool, now_ns: int) -> _Open:
        if len(self._open) >= self._max_open:
            self._forced.append(self._close(heapq.heappop(self._due)[1]))
        end_ns = start_ns + self._length_ns
        key = (sample.tag, start_ns, is_number)
        window = self._open[key] = _Open(sample, end_ns)
        heapq.heappush(self._due, (now_ns + end_ns - sample.time_ns + self._lateness_ns, key))
        return window

    def _close(self, key: tuple[str, int, bool]) -> Record:
        window = self._open.pop(key)
        tag, start_ns, is_number = key
        latest = window.latest
        if not is_number:
            return latest
        return Window(
            tag,
            start_ns,
            window.end_ns,
            min(max(window.mean, window.minimum), window.maximum),
            window.minimum,
            window.maximum,
            float(latest.value),
            window.count,
            latest.unit,
            window.quality,
        )


def _time(record: Record) -> int:
    return record.start_ns if isinstance(record, Window) else record.time_ns
