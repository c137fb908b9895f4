"""Samples and windows from the field: each (gateway, incarnation, stream, epoch, sequence) is kept exactly once.

A batch that comes again changes nothing, whichever part of it is known already. Blocking: runs in the database's
thread, inside the caller's transaction. What a batch must be to get here, `ingest.py` says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloud.database import Database
from gateway.errors import InvalidInput
from gateway.model import names
from gateway.model.batches import Batch, BatchId, Record
from gateway.model.tags import Window
from gateway.model.wire import canonical, to_wire

MAX_SEQUENCE: Final = (1 << 63) - 1
"""The largest integer of SQLite; also bounds times."""
MAX_PAGE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Row:
    """A record as it is stored."""

    seq: int
    kind: str
    tag: str
    time_ns: int
    value: str
    """JSON; of a window its mean."""
    unit: str
    quality: str
    record: str
    """The whole record as JSON."""


def rows_of(batch: Batch) -> list[Row]:
    """Checked and encoded, so that storing them cannot fail for their content. InvalidInput names what is wrong."""
    return [_row(batch.id.first + index, record, f"records[{index}]") for index, record in enumerate(batch.records)]


def _row(seq: int, record: Record, path: str) -> Row:
    window = isinstance(record, Window)
    value, time_ns = (record.mean, record.end_ns) if isinstance(record, Window) else (record.value, record.time_ns)
    if not names.is_tag(record.tag):
        raise InvalidInput(f"cannot read {path}.tag: {record.tag[:80]!a} is not a tag")
    if not 0 <= time_ns <= MAX_SEQUENCE:
        raise InvalidInput(f"cannot read {path}: its time is out of range")
    try:
        whole, value_text = canonical(to_wire(record)).decode(), canonical(value).decode()
    except ValueError as failure:
        raise InvalidInput(f"cannot read {path}: {failure}") from None
    kind = "window" if window else "sample"
    return Row(seq, kind, record.tag, time_ns, value_text, record.unit, record.quality.value, whole)


class Samples:
    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, gateway: str, batch: BatchId, rows: Sequence[Row]) -> int:
        """How many of them were new. Within the caller's transaction."""
        series = self._series(gateway, batch)
        new = 0
        for row in rows:
            new += self._database.execute(
                "INSERT OR IGNORE INTO samples (series, seq, kind, tag, time_ns, record) VALUES (?, ?, ?, ?, ?, ?)",
                series, row.seq, row.kind, row.tag, row.time_ns, row.record,
            ).rowcount  # fmt: skip
        for row in {row.tag: row for row in sorted(rows, key=lambda row: row.time_ns)}.values():
            self._database.execute(
                "INSERT INTO latest VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (gateway, tag) DO UPDATE SET"
                " kind = excluded.kind, value = excluded.value, unit = excluded.unit, quality = excluded.quality,"
                " time_ns = excluded.time_ns WHERE excluded.time_ns >= latest.time_ns",
                gateway, row.tag, row.kind, row.value, row.unit, row.quality, row.time_ns,
            )  # fmt: skip
        return new

    def _series(self, gateway: str, batch: BatchId) -> int:
        key = (gateway, batch.incarnation, batch.stream, batch.epoch)
        where = "gateway = ? AND incarnation = ? AND stream = ? AND epoch = ?"
        row = self._database.execute(f"SELECT id FROM series WHERE {where}", *key).fetchone()
        if row is not None:
            return int(row[0])
        insert = "INSERT INTO series (gateway, incarnation, stream, epoch) VALUES (?, ?, ?, ?) RETURNING id"
        return int(self._database.execute(insert, *key).fetchone()[0])

    def latest(self, gateway: str) -> list[dict[str, Any]]:
        """Per tag the newest value by its own time."""
        columns = ("tag", "kind", "value", "unit", "quality", "time_ns")
        found = self._database.execute(
            f"SELECT {', '.join(columns)} FROM latest WHERE gateway = ? ORDER BY tag", gateway
        )
        return [{**dict(zip(columns, row, strict=True)), "value": json.loads(row[2])} for row in found]

    def streams(self, gateway: str) -> list[dict[str, Any]]:
        """Per outbox and stream: how many records are here, and how many are missing between first and last."""
        columns = ("incarnation", "stream", "epoch", "records", "first", "last", "missing")
        found = self._database.execute(
            "SELECT incarnation, stream, epoch, count(*), min(seq), max(seq), max(seq) - min(seq) + 1 - count(*)"
            " FROM series JOIN samples ON samples.series = series.id WHERE gateway = ? GROUP BY series.id"
            " ORDER BY series.id",
            gateway,
        )
        return [dict(zip(columns, row, strict=True)) for row in found]

    def page(self, gateway: str, after: int, limit: int, tag: str = "") -> list[dict[str, Any]]:
        """Records in the order in which they arrived, those behind `after` (the `n` of the last one seen)."""
        columns = ("n", "incarnation", "stream", "epoch", "seq", "kind", "record")
        found = self._database.execute(
            "SELECT n, incarnation, stream, epoch, seq, kind, record FROM samples JOIN series ON series.id = series"
            " WHERE gateway = ? AND n > ? AND (? = '' OR tag = ?) ORDER BY n LIMIT ?",
            gateway, after, tag, tag, min(limit, MAX_PAGE),
        )  # fmt: skip
        rows = [dict(zip(columns, row, strict=True)) for row in found]
        return [{**row, "record": json.loads(row["record"])} for row in rows]
