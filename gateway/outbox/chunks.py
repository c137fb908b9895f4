"""Records into batches that fit a data message. Pure; the limits are those of model/batches.py."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import InvalidInput
from gateway.model.batches import MAX_BATCH_BYTES, MAX_BATCH_PLAIN_BYTES, Batch, BatchId, Record, encode_batch
from gateway.model.tags import Sample, Value, Window
from gateway.model.wire import is_text

MAX_BATCH_RECORDS: Final = 2000
"""Keeps what one lost message costs, and what one batch takes in memory, small."""
RECORD_PLAIN_BYTES: Final = 1024
"""More than a record without text can take as JSON (names are at most 128 characters)."""
MAX_RECORD_PLAIN_BYTES: Final = MAX_BATCH_PLAIN_BYTES // 16
PLAIN_BYTES_PER_CHAR: Final = 6
"""A control character becomes six bytes of JSON."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One row of the outbox: the records `first` to `last` as the data message that will carry them."""

    first: int
    last: int
    payload: bytes


def check_record(record: Record) -> None:
    """InvalidInput for a record that could not be sent: a value that JSON does not have, or one that is too long."""
    if isinstance(record, Window):
        numbers: tuple[Value, ...] = (record.mean, record.minimum, record.maximum, record.last)
    else:
        numbers = (record.value,)
    for value in numbers:
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidInput(f"cannot take {record.tag}: its value is not a finite number")
        if isinstance(value, int) and value.bit_length() > 63:
            raise InvalidInput(f"cannot take {record.tag}: its value is an integer of more than 64 bits")
        if isinstance(value, str) and not is_text(value):
            raise InvalidInput(f"cannot take {record.tag}: its value is not Unicode text")
    if not is_text(record.unit):
        raise InvalidInput(f"cannot take {record.tag}: its unit is not Unicode text")
    if plain_bytes(record) > MAX_RECORD_PLAIN_BYTES:
        raise InvalidInput(f"cannot take {record.tag}: its value or unit is too long")


def plain_bytes(record: Record) -> int:
    """An upper bound on the record's size as JSON."""
    chars = len(record.unit) + (0 if isinstance(record, Window) else len(record.source))
    if isinstance(record, Sample) and isinstance(record.value, str):
        chars += len(record.value)
    return RECORD_PLAIN_BYTES + PLAIN_BYTES_PER_CHAR * chars


def chunks(incarnation: str, stream: str, epoch: str, first: int, records: Sequence[Record]) -> Iterator[Chunk]:
    """Consecutive batches of all `records`, numbered from `first`. InvalidInput when one record alone is too large."""
    start, size = 0, 0
    for index, record in enumerate(records):
        size += plain_bytes(record)
        if index > start and (size > MAX_BATCH_PLAIN_BYTES or index - start >= MAX_BATCH_RECORDS):
            yield from _fitting(incarnation, stream, epoch, first + start, records[start:index])
            start, size = index, plain_bytes(record)
    if records:
        yield from _fitting(incarnation, stream, epoch, first + start, records[start:])


def _fitting(incarnation: str, stream: str, epoch: str, first: int, records: Sequence[Record]) -> Iterator[Chunk]:
    """One chunk, or halves of it until each is small enough."""
    last = first + len(records) - 1
    payload = encode_batch(Batch(BatchId(incarnation, stream, epoch, first, last), tuple(records)))
    if len(payload) <= MAX_BATCH_BYTES:
        yield Chunk(first, last, payload)
        return
    if len(records) == 1:
        raise InvalidInput(f"cannot append {records[0].tag}: {len(payload)} bytes are more than a data message takes")
    middle = len(records) // 2
    yield from _fitting(incarnation, stream, epoch, first, records[:middle])
    yield from _fitting(incarnation, stream, epoch, first + middle, records[middle:])
