"""The deadband: which records are worth sending. Pure.

A number passes when its window's mean moved by more than the band since the last one that passed; a bool or text when
it changed. Whatever the value, a record passes when it is the tag's first, when quality or unit changed, and when the
last one that passed lies `max_silence_s` back (or ahead: the source's clock was set). A tag that no pattern covers
always passes if it is a number. Used by `owner.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model.app import Deadband
from gateway.model.batches import Record
from gateway.model.names import tag_matches
from gateway.model.tags import Window

_STATE = Deadband()
"""For bools and text that no pattern covers: changes, and a sign of life."""


class Deadbands:
    """The deadbands of one service by tag pattern; the longest matching pattern holds (of equals the first by name)."""

    def __init__(self, bands: Mapping[str, Deadband]) -> None:
        self._bands = sorted(bands.items(), key=lambda item: (-len(item[0]), item[0]))
        self._of_tag: dict[str, Deadband | None] = {}
        self._passed: dict[str, Record] = {}

    def passes(self, record: Record) -> bool:
        """Whether to send it. If so it is what the tag's next record is measured against."""
        tag = record.tag
        last = self._passed.get(tag)
        if last is None or self._differs(record, last, self._band(tag)):
            self._passed[tag] = record
            return True
        return False

    def _band(self, tag: str) -> Deadband | None:
        if tag not in self._of_tag:
            self._of_tag[tag] = next((band for pattern, band in self._bands if tag_matches(pattern, tag)), None)
        return self._of_tag[tag]

    @staticmethod
    def _differs(record: Record, last: Record, band: Deadband | None) -> bool:
        if record.quality is not last.quality or record.unit != last.unit or type(record) is not type(last):
            return True
        if isinstance(record, Window) and isinstance(last, Window):
            if band is None:
                return True
            width = max(band.absolute, band.percent / 100 * abs(last.mean))
            return abs(record.mean - last.mean) > width or _silent(record.end_ns, last.end_ns, band)
        if isinstance(record, Window) or isinstance(last, Window):
            return True
        return (
            record.value != last.value
            or type(record.value) is not type(last.value)
            or _silent(record.time_ns, last.time_ns, band or _STATE)
        )


def _silent(time_ns: int, last_ns: int, band: Deadband) -> bool:
    return abs(time_ns - last_ns) >= band.max_silence_s * 1e9
