"""What gateways send: read within limits, stored in one transaction, and only then confirmed.

A message that cannot be read is logged, counted and dropped: it is never confirmed, and nothing else suffers from it.
Blocking: runs in the database's thread. Publishes nothing: its outcome says what is to be told to whom.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from cloud.authority import CLOUD
from cloud.database import Database
from cloud.events import Event, event
from cloud.operation_store import OperationStore
from cloud.samples import MAX_SEQUENCE, Samples, rows_of
from cloud.store import GatewayRow, Store
from gateway.documents.syntax import parse_json
from gateway.errors import FieldgateError, InvalidInput
from gateway.model import topics
from gateway.model.batches import Batch, decode_batch, encode_confirmation
from gateway.model.operations import CHALLENGE, MAX_ANSWER_BYTES, Answer, decode_answer
from gateway.model.reports import AppReport, GatewayStatus, Progress
from gateway.model.topics import Channel, Topic
from gateway.model.wire import from_wire, to_wire

log = logging.getLogger(__name__)

MAX_NEWS_BYTES: Final = 64 << 10
"""Of a status, a report or a progress message."""
MAX_EPOCH_CHARS: Final = 64
MAX_REPORTS: Final = 256
"""APPs of one gateway."""

T = TypeVar("T")


@dataclass(slots=True)
class Outcome:
    """What is true now and is to be told."""

    confirmations: list[tuple[str, bytes]] = field(default_factory=list)
    """Topic, payload."""
    revisions: list[tuple[str, int | None]] = field(default_factory=list)
    """Gateway and the revision it has in force; None: offline."""
    answers: list[tuple[Answer, bytes]] = field(default_factory=list)
    """Authentic answers to operations, each with the key that confirms it."""
    events: list[Event] = field(default_factory=list)


Work = Callable[[Outcome], None]
"""The part of a message's handling that writes, within the transaction; cannot fail for the message's content."""


class Ingest:
    def __init__(self, database: Database, store: Store, samples: Samples, operations: OperationStore) -> None:
        self._database = database
        self._store = store
        self._samples = samples
        self._operations = operations
        self.counts: Counter[str] = Counter(batches=0, stored=0, duplicates=0, dropped=0)

    def take(self, messages: Sequence[tuple[str, bytes]]) -> Outcome:
        """All readable messages in one transaction. sqlite3.Error: nothing of it is stored, nothing is confirmed."""
        works = [work for topic, payload in messages if (work := self._read_or_drop(topic, payload)) is not None]
        outcome = Outcome()
        before = self.counts.copy()
        try:
            with self._database.transaction():
                for work in works:
                    work(outcome)
        except BaseException:
            self.counts = before
            raise
        return outcome

    def _read_or_drop(self, topic: str, payload: bytes) -> Work | None:
        try:
            return self._read(topic, payload)
        except FieldgateError as failure:
            log.warning("message dropped topic=%.200s cause=%s", topic, failure.message[:500])
        except Exception:
            # Whatever a payload makes of our code: the next message is somebody else's.
            log.exception("message dropped topic=%.200s", topic)
        self.counts["dropped"] += 1
        return None

    def _read(self, text: str, payload: bytes) -> Work | None:
        topic = topics.parse(text)
        row = self._store.gateway(topic.gateway)
        if topic.channel is Channel.DATA:
            return self._data(row, topic, payload)
        if not payload:
            # A retained message that was cleared; of an APP's report it means that nothing is left of the APP.
            return self._removal(row, topic) if topic.channel is Channel.REPORTED else None
        if topic.channel is Channel.STATUS:
            return self._status(row, _news(GatewayStatus, payload))
        if topic.channel is Channel.PROGRESS:
            progress = _news(Progress, payload)
            return lambda outcome: outcome.events.append(event("progress", row.gateway, progress=to_wire(progress)))
        if topic.channel is Channel.REPORTED:
            return self._report(row, topic, _news(AppReport, payload))
        if topic.channel is Channel.RESPONSE:
            return self._answer(row, topic, payload)
        raise InvalidInput(f"cannot read a message on {text}: gateways do not send there")

    def _data(self, row: GatewayRow, topic: Topic, payload: bytes) -> Work:
        batch = decode_batch(payload)
        _check_identity(batch, row, topic)
        rows = rows_of(batch)
        confirmation = encode_confirmation(bytes.fromhex(row.confirmation_key), row.gateway, batch.id)
        ack = str(Topic(row.gateway, Channel.ACK))

        def store(outcome: Outcome) -> None:
            new = self._samples.store(row.gateway, batch.id, rows)
            self.counts.update(batches=1, stored=new, duplicates=len(rows) - new)
            outcome.confirmations.append((ack, confirmation))
            told: dict[str, Any] = {"stream": batch.id.stream, "first": batch.id.first, "last": batch.id.last}
            outcome.events.append(event("data", row.gateway, **told, new=new))

        return store

    def _status(self, row: GatewayRow, status: GatewayStatus) -> Work:
        if status.incarnation != row.incarnation:
            raise InvalidInput(f"cannot take the status of {row.gateway}: it is from another incarnation of it")

        def store(outcome: Outcome) -> None:
            self._store.put_status(row.gateway, status)
            revision = (status.revisions or {}).get(CLOUD, 0) if status.online else None
            outcome.revisions.append((row.gateway, revision))
            outcome.events.append(event("status", row.gateway, status=to_wire(status)))

        return store

    def _report(self, row: GatewayRow, topic: Topic, report: AppReport) -> Work:
        if report.app != topic.detail:
            raise InvalidInput(
                f"cannot take a report of {row.gateway}: it is of {report.app[:80]!a}, not {topic.detail}"
            )
        known = {known.app for known in self._store.reports(row.gateway)}
        if len(known) >= MAX_REPORTS and report.app not in known:
            raise InvalidInput(f"cannot take a report of {row.gateway}: it has reported {MAX_REPORTS} APPs already")

        def store(outcome: Outcome) -> None:
            self._store.put_report(row.gateway, report)
            outcome.events.append(event("reported", row.gateway, report=to_wire(report)))

        return store

    def _answer(self, row: GatewayRow, topic: Topic, payload: bytes) -> Work:
        key = bytes.fromhex(row.confirmation_key)
        document = parse_json(payload, "the answer", MAX_ANSWER_BYTES, max_string_chars=MAX_ANSWER_BYTES)
        if not isinstance(document, dict):
            raise InvalidInput("cannot read the answer: it must be an object")
        answer = decode_answer(key, document)
        said = (answer.gateway, answer.incarnation, answer.op)
        if said != (row.gateway, row.incarnation, topic.detail):
            raise InvalidInput(f"cannot take an answer of {row.gateway}: it is {'/'.join(said)[:200]!a}")

        def store(outcome: Outcome) -> None:
            if answer.op != CHALLENGE:
                self._operations.answer(answer)
            outcome.answers.append((answer, key))

        return store

    def _removal(self, row: GatewayRow, topic: Topic) -> Work:
        def remove(outcome: Outcome) -> None:
            if self._store.remove_report(row.gateway, topic.detail):
                outcome.events.append(event("removed", row.gateway, app=topic.detail))

        return remove


def _check_identity(batch: Batch, row: GatewayRow, topic: Topic) -> None:
    identity = batch.id
    if identity.incarnation != row.incarnation:
        raise InvalidInput(f"cannot take a batch of {row.gateway}: it is from another incarnation of it")
    if identity.stream != topic.detail:
        raise InvalidInput(f"cannot take a batch of {row.gateway}: it is of stream {identity.stream[:80]!a}")
    if not 1 <= identity.first <= identity.last <= MAX_SEQUENCE:
        raise InvalidInput(f"cannot take a batch of {row.gateway}: bad range {identity.first} to {identity.last}")
    if not identity.epoch.isascii() or not identity.epoch.isprintable() or len(identity.epoch) > MAX_EPOCH_CHARS:
        raise InvalidInput(f"cannot take a batch of {row.gateway}: bad epoch {identity.epoch[:80]!a}")


def _news(kind: type[T], payload: bytes) -> T:
    return from_wire(kind, parse_json(payload, "the message", MAX_NEWS_BYTES))
