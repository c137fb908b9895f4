"""One transaction's worth of bookkeeping: numbers, keys, rows and counts, all in step or not at all.

Every method changes the database within the transaction that the caller has begun; nothing is kept beyond it. A
stream's account, `appended == pending + confirmed + dropped`, holds whenever it commits. Used by `store.py` only.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from typing import Final

from gateway.errors import Conflict, FieldgateError
from gateway.model.batches import BatchId, Record
from gateway.outbox.chunks import chunks
from gateway.outbox.entries import Append, Appended

MAX_STREAMS: Final = 64
MAX_KEYS: Final = 16_384
"""Idempotency keys remembered; about 100 bytes each."""
MIN_KEYS: Final = 1_024
"""Remembered whatever their age: a clock that jumps when it is set must not make all of them old."""
KEY_AGE_NS: Final = 24 * 3600 * 10**9
SEQUENCE_BITS: Final = 48
_SEQUENCE_MASK: Final = (1 << SEQUENCE_BITS) - 1


class Ledger:
    """Bound to one connection and one epoch; `now_ns` is Unix time, for the age of keys."""

    def __init__(self, connection: sqlite3.Connection, incarnation: str, epoch: str, now_ns: int) -> None:
        self._connection = connection
        self._incarnation = incarnation
        self._epoch = epoch
        self._now_ns = now_ns
        self._new: dict[str, tuple[int, int, list[Record]]] = {}
        """Stream -> its number, the first new sequence number, the new records."""

    def append(self, entry: Append) -> Appended | FieldgateError:
        """Take the records; `write()` puts them into rows. An error refuses this entry alone."""
        stream = stream_number(self._connection, entry.stream)
        if stream is None:
            count = self._connection.execute("SELECT count(*) FROM streams").fetchone()[0]
            if count >= MAX_STREAMS:
                return Conflict(f"cannot append to stream {entry.stream}: there are {MAX_STREAMS} streams already")
            stream = self._connection.execute("INSERT INTO streams (name) VALUES (?)", (entry.stream,)).lastrowid or 0
        if entry.key and (known := self._known(stream, entry.key)):
            if known.last - known.first + 1 != len(entry.records):
                return Conflict(f"cannot append to stream {entry.stream}: key {entry.key!r} stands for other records")
            return known
        first, records = self._room(stream, entry.stream)
        result = Appended(first + len(records), first + len(records) + len(entry.records) - 1)
        records.extend(entry.records)
        if entry.key:
            self._connection.execute(
                "INSERT INTO keys (stream, key, first, last, time) VALUES (?, ?, ?, ?, ?)",
                (stream, entry.key, result.first, result.last, self._now_ns),
            )
        return result

    def write(self) -> None:
        """Rows for everything appended, and old keys forgotten."""
        for name, (stream, first, records) in self._new.items():
            size = 0
            for chunk in chunks(self._incarnation, name, self._epoch, first, records):
                self._connection.execute(
                    "INSERT INTO batches (id, last, crc, payload) VALUES (?, ?, ?, ?)",
                    (stream << SEQUENCE_BITS | chunk.first, chunk.last, zlib.crc32(chunk.payload), chunk.payload),
                )
                size += len(chunk.payload)
            self._connection.execute(
                "UPDATE streams SET appended = appended + ?1, pending = pending + ?1, bytes = bytes + ?2 WHERE id = ?3",
                (len(records), size, stream),
            )
        self._forget_keys()

    def confirm(self, confirmed: BatchId) -> bool:
        """Free the batches that lie wholly in the range. False: the range was never ours, nothing changes.

        A batch that is covered in part stays as it is and is sent again: the cloud de-duplicates by sequence number.
        """
        if (confirmed.incarnation, confirmed.epoch) != (self._incarnation, self._epoch):
            return False
        row = self._connection.execute(
            "SELECT id, appended FROM streams WHERE name = ?", (confirmed.stream,)
        ).fetchone()
        if row is None or not 1 <= confirmed.first <= confirmed.last <= row[1]:
            return False
        low, high = (row[0] << SEQUENCE_BITS | n for n in (confirmed.first, confirmed.last))
        covered = self._connection.execute(
            "SELECT id, last, length(payload) FROM batches WHERE id BETWEEN ? AND ? AND last <= ?",
            (low, high, confirmed.last),
        ).fetchall()
        self._remove(covered, "confirmed")
        return True

    def drop_oldest(self) -> int:
        """Give up the oldest batch of the stream that holds most bytes, never one of this transaction: records lost."""
        for stream, name in self._connection.execute(
            "SELECT id, name FROM streams WHERE pending > 0 ORDER BY bytes DESC"
        ).fetchall():
            newest = self._new[name][1] if name in self._new else _SEQUENCE_MASK
            oldest = self._connection.execute(
                "SELECT id, last, length(payload) FROM batches WHERE id >= ? AND id < ? ORDER BY id LIMIT 1",
                (stream << SEQUENCE_BITS, stream << SEQUENCE_BITS | newest),
            ).fetchall()
            if oldest:
                return self._remove(oldest, "dropped")
        return 0

    def drop_damaged(self, row: int, last: int, size: int) -> None:
        self._remove([(row, last, size)], "dropped")

    def _remove(self, rows: Iterable[tuple[int, int, int]], outcome: str) -> int:
        """Delete rows of (id, last, bytes) and book their records as `confirmed` or `dropped`. Returns how many."""
        total = 0
        for row, last, size in rows:
            count = last - (row & _SEQUENCE_MASK) + 1
            self._connection.execute("DELETE FROM batches WHERE id = ?", (row,))
            account = f"pending = pending - ?1, {outcome} = {outcome} + ?1, bytes = bytes - ?2"
            self._connection.execute(f"UPDATE streams SET {account} WHERE id = ?3", (count, size, row >> SEQUENCE_BITS))
            total += count
        return total

    def _room(self, stream: int, name: str) -> tuple[int, list[Record]]:
        if name not in self._new:
            appended = self._connection.execute("SELECT appended FROM streams WHERE id = ?", (stream,)).fetchone()[0]
            self._new[name] = (stream, appended + 1, [])
        return self._new[name][1:]

    def _known(self, stream: int, key: str) -> Appended | None:
        found = self._connection.execute(
            "SELECT first, last FROM keys WHERE stream = ? AND key = ?", (stream, key)
        ).fetchone()
        return Appended(found[0], found[1], known=True) if found else None

    def _forget_keys(self) -> None:
        """By count; by age only a few at a time, and never the newest ones."""
        newest = self._connection.execute("SELECT max(id) FROM keys").fetchone()[0] or 0
        self._connection.execute("DELETE FROM keys WHERE id <= ?", (newest - MAX_KEYS,))
        self._connection.execute(
            "DELETE FROM keys WHERE time < ? AND id IN (SELECT id FROM keys WHERE id <= ? ORDER BY id LIMIT 64)",
            (self._now_ns - KEY_AGE_NS, newest - MIN_KEYS),
        )


def stream_number(connection: sqlite3.Connection, name: str) -> int | None:
    row = connection.execute("SELECT id FROM streams WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else None


def rows_after(
    connection: sqlite3.Connection, stream: int, after: int, limit: int
) -> list[tuple[int, int, int, int, bytes]]:
    """(row id, first, last, crc, payload) of at most `limit` batches with records beyond `after`, oldest first."""
    wanted = stream << SEQUENCE_BITS | min(max(after, 0) + 1, _SEQUENCE_MASK)
    # The batch that holds after + 1 may begin before it: start from the last one that begins at or before.
    start = connection.execute(
        "SELECT max(id) FROM batches WHERE id >= ? AND id <= ?", (stream << SEQUENCE_BITS, wanted)
    ).fetchone()[0]
    found = connection.execute(
        "SELECT id, id & ?, last, crc, payload FROM batches WHERE id BETWEEN ? AND ? AND last > ? ORDER BY id LIMIT ?",
        (_SEQUENCE_MASK, wanted if start is None else start, (stream + 1 << SEQUENCE_BITS) - 1, after, limit),
    )
    return found.fetchall()
