"""What the outbox does with its file: commit, read what is pending, give accounts; and what happens when it cannot.

Blocking, and of one thread: `writer.py` calls it. Keeps nothing in memory that a rolled-back transaction would leave
wrong: numbers and counts are read from the database each time. After any fault of the disk the connection is closed and
opened anew, because what a failed fsync left behind is unknown; damage means a new file (database.py) and one more try.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway.errors import Corrupted, FieldgateError, Unavailable
from gateway.model.batches import BatchId
from gateway.outbox.database import move_aside, open_database, transaction, translated
from gateway.outbox.entries import Append, Appended, Message
from gateway.outbox.ledger import Ledger, rows_after, stream_number
from gateway.outbox.stats import OutboxStats, StreamStats

log = logging.getLogger(__name__)

MIN_QUOTA_BYTES: Final = 1 << 20
"""With less than this the bookkeeping alone would fill it."""


class Store:
    """Opens its file at the first use, and again after a fault. Errors: Unavailable, NotSupported (newer schema)."""

    def __init__(self, path: Path, incarnation: str, max_bytes: int) -> None:
        self._path = path
        self._incarnation = incarnation
        self._max_bytes = max(MIN_QUOTA_BYTES, max_bytes)
        self._connection: sqlite3.Connection | None = None
        self._epoch = ""
        self._foreign = 0
        self._fault = ""
        self._dropping = False

    def open(self) -> None:
        """Make sure that the database is there."""
        self._use()

    def close(self) -> None:
        """Fold the log into the file and let go. Fine when it is not open."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                connection.close()
            except sqlite3.Error as failure:
                log.warning("outbox not closed cleanly file=%s cause=%s", self._path, failure)

    def commit(
        self, appends: Sequence[Append], confirmations: Sequence[BatchId], now_ns: int
    ) -> list[Appended | FieldgateError]:
        """One transaction for all of them; for each append its result, or why it alone was refused.

        Confirmations alone are not forced to flash: one that a power cut undoes makes the cloud confirm again.
        """
        try:
            return self._commit(appends, confirmations, now_ns)
        except Corrupted as failure:
            move_aside(self._path, failure.message)
            return self._commit(appends, confirmations, now_ns)

    def messages(self, stream: str, after: int, limit: int) -> list[Message]:
        """Batches with records beyond the number `after`, oldest first. Damaged ones are dropped and counted."""
        try:
            return self._messages(stream, after, limit)
        except Corrupted as failure:
            move_aside(self._path, failure.message)
            self._use()
            return []

    def stats(self) -> OutboxStats:
        """The accounts as of now; with `fault`, and without streams, when the database cannot be read."""
        silent = OutboxStats(max_bytes=self._max_bytes, foreign_confirmations=self._foreign, fault=self._fault)
        if self._connection is None:
            return silent
        try:
            rows = self._connection.execute(
                "SELECT name, appended, pending, confirmed, dropped, bytes FROM streams ORDER BY name"
            )
            streams = tuple(StreamStats(*row) for row in rows)
            return replace(silent, epoch=self._epoch, streams=streams, used_bytes=_used_bytes(self._connection))
        except sqlite3.Error as failure:
            return replace(silent, fault=str(failure))

    def _use(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection, self._epoch = open_database(self._path, self._incarnation)
            except FieldgateError as failure:
                self._failed(failure)
                raise
        return self._connection

    def _failed(self, failure: FieldgateError) -> None:
        """Let go of the file; the first fault of a series is news."""
        level = logging.DEBUG if self._fault else logging.WARNING
        log.log(level, "outbox fault file=%s cause=%s", self._path, failure.message)
        self._fault = failure.message
        self.close()

    def _commit(
        self, appends: Sequence[Append], confirmations: Sequence[BatchId], now_ns: int
    ) -> list[Appended | FieldgateError]:
        connection = self._use()
        try:
            with translated(f"write outbox {self._path}"):
                connection.execute(f"PRAGMA synchronous = {'FULL' if appends else 'NORMAL'}")
                with transaction(connection):
                    ledger = Ledger(connection, self._incarnation, self._epoch, now_ns)
                    foreign = sum(not ledger.confirm(confirmed) for confirmed in confirmations)
                    results = [ledger.append(entry) for entry in appends]
                    ledger.write()
                    dropped = self._keep_quota(connection, ledger)
        except (Unavailable, Corrupted) as failure:
            self._failed(failure)
            raise
        self._foreign += foreign
        self._note(dropped)
        return results

    def _keep_quota(self, connection: sqlite3.Connection, ledger: Ledger) -> int:
        """Drop old batches until the rest fits. Returns the records lost."""
        dropped = 0
        while _used_bytes(connection) > self._max_bytes and (gone := ledger.drop_oldest()):
            dropped += gone
        return dropped

    def _note(self, dropped: int) -> None:
        """After a commit that worked."""
        if self._fault:
            log.info("outbox works again file=%s", self._path)
            self._fault = ""
        if dropped:
            level = logging.DEBUG if self._dropping else logging.WARNING
            log.log(level, "outbox full, oldest dropped records=%d max_bytes=%d", dropped, self._max_bytes)
            self._dropping = True

    def _messages(self, stream: str, after: int, limit: int) -> list[Message]:
        connection = self._use()
        messages: list[Message] = []
        try:
            with translated(f"read outbox {self._path}"):
                number = stream_number(connection, stream)
                for row, first, last, crc, payload in rows_after(connection, number, after, limit) if number else ():
                    if zlib.crc32(payload) == crc:
                        messages.append(Message(BatchId(self._incarnation, stream, self._epoch, first, last), payload))
                        continue
                    log.error("outbox batch damaged, dropped stream=%s first=%d last=%d", stream, first, last)
                    with transaction(connection):
                        Ledger(connection, self._incarnation, self._epoch, 0).drop_damaged(row, last, len(payload))
        except (Unavailable, Corrupted) as failure:
            self._failed(failure)
            raise
        return messages


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Pages in use; what was freed is used again before the file grows."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
