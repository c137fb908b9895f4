"""The outbox as the event loop sees it: append and wait for the commit, read what is pending, confirm.

Each method hands its work to the writer thread and waits for the answer; none blocks the loop. A caller that is
cancelled while it waits for a commit does not undo it. Used by `pipeline/` (appends), `cloud_link/` (sends, confirms).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.errors import FieldgateError, InvalidInput, TimedOut, Unavailable
from gateway.model import names
from gateway.model.batches import Batch, BatchId, Record, decode_batch
from gateway.outbox.chunks import check_record
from gateway.outbox.entries import Append, Appended, Message
from gateway.outbox.stats import OutboxStats
from gateway.outbox.store import Store
from gateway.outbox.writer import Answers, Request, Work, Writer

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_APPEND_RECORDS: Final = 10_000
MAX_WAITING_RECORDS: Final = 50_000
"""Handed to the writer and not yet committed: what flash that has become slow may cost in memory."""
MAX_KEY_CHARS: Final = 256
ANSWER_TIMEOUT_S: Final = 30.0
"""An eMMC that collects garbage can stall an fsync for seconds."""


class Outbox:
    """One database file. `open()` first, `close()` last; every method may raise Unavailable or TimedOut."""

    def __init__(self, path: Path, incarnation: str, max_bytes: int, commit_interval_s: float) -> None:
        self._path = path
        self._store = Store(path, incarnation, max_bytes)
        self._interval_s = commit_interval_s
        self._writer: Writer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stats = OutboxStats(max_bytes=max_bytes)
        self._appended = asyncio.Event()
        self._waiting_records = 0

    @property
    def commit_interval_s(self) -> float:
        """How long an append waits for others to share its commit."""
        return self._interval_s

    async def open(self) -> None:
        """Start the writer and open the file; a damaged one is moved aside.

        NotSupported: a newer agent wrote it. A disk that is full or broken is no error here: the agent must run without
        its outbox, appends are refused until the disk works again.
        """
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(self._store, self._interval_s, self._deliver)
        self._writer.start()
        try:
            await self._ask(Store.open)
        except Unavailable as failure:
            log.error("outbox not available file=%s cause=%s", self._path, failure.message)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Commit what waits and close the file. Fine to call again."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.stop()
            if not await asyncio.to_thread(writer.join, ANSWER_TIMEOUT_S):
                log.error("outbox writer does not end file=%s", self._path)

    async def append(self, stream: str, records: Sequence[Record], key: str = "") -> Appended:
        """Returns when the records are on flash: (first, last, known) of their sequence numbers.

        With a `key` that this stream has seen, nothing is appended and the old range is returned, with `known` true.
        InvalidInput: a name, a value or a size that is not possible. Conflict: the key stands for other records, or too
        many streams. Unavailable: the disk is full or broken, or too much waits already; nothing was stored.
        TimedOut: no answer; whether it was stored is unknown, so send it again with the same key.
        """
        names.check(names.STREAM, stream, "stream")
        if not 1 <= len(records) <= MAX_APPEND_RECORDS:
            raise InvalidInput(f"cannot append {len(records)} records: 1 to {MAX_APPEND_RECORDS} at a time")
        if len(key) > MAX_KEY_CHARS or not key.isprintable():
            raise InvalidInput(f"cannot append with key {key[:80]!r}: at most {MAX_KEY_CHARS} printable characters")
        for record in records:
            check_record(record)
        if self._waiting_records + len(records) > MAX_WAITING_RECORDS:
            raise Unavailable(f"cannot append to stream {stream}: {self._waiting_records} records wait for the disk")
        self._waiting_records += len(records)
        result = await self._request(Append(stream, tuple(records), key), len(records))
        assert isinstance(result, Appended)
        return result

    async def messages(self, stream: str, after: int, limit: int) -> list[Message]:
        """At most `limit` unconfirmed batches with records beyond `after` (0: from the start), ready to be sent."""
        return await self._ask(lambda store: store.messages(stream, after, limit))

    async def pending(self, stream: str, after: int, limit: int) -> list[Batch]:
        """As `messages()`, unpacked."""
        return await self._ask(lambda store: [decode_batch(m.payload) for m in store.messages(stream, after, limit)])

    async def confirm(self, confirmed: BatchId) -> None:
        """The cloud holds this range: free the batches within. Ignored and counted when the range was never ours."""
        await self._request(confirmed)

    def streams(self) -> tuple[str, ...]:
        """Every stream that was ever appended to in this epoch, by name."""
        return tuple(stream.stream for stream in self._stats.streams)

    def appended(self) -> asyncio.Event:
        """Set by every commit of new records. One consumer: clear it, send what is pending, then wait."""
        return self._appended

    def stats(self) -> OutboxStats:
        """The accounts as of the last commit."""
        return self._stats

    async def _ask(self, function: Callable[[Store], T]) -> T:
        result: T = await self._request(function)
        return result

    async def _request(self, work: Work, records: int = 0) -> Any:
        if self._writer is None or self._loop is None:
            self._waiting_records -= records
            raise Unavailable("cannot use outbox: it is not open")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._writer.submit(Request(work, (future, records)))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await future
        except TimeoutError:
            raise TimedOut(f"cannot use outbox: no answer from the disk after {ANSWER_TIMEOUT_S:g} s") from None

    def _deliver(self, answers: Answers) -> None:
        """On the writer's thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._settle, answers)
        except RuntimeError:
            log.debug("outbox answer came after the loop had ended")

    def _settle(self, answers: Answers) -> None:
        """On the loop: first the accounts, then whoever waits."""
        self._stats = answers.stats
        for (future, records), result in answers.results:
            self._waiting_records -= records
            if isinstance(result, Appended) and not result.known:
                self._appended.set()
            if future.done():
                continue
            if isinstance(result, FieldgateError):
                future.set_exception(result)
            else:
                future.set_result(result)
