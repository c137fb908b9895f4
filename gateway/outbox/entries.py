"""What goes into the outbox and comes out of it: plain values between its files and its callers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gateway.model.batches import BatchId, Record


@dataclass(frozen=True, slots=True)
class Append:
    """Records for one stream; a `key` that was seen before means: these are on flash already."""

    stream: str
    records: tuple[Record, ...]
    key: str = ""


class Appended(NamedTuple):
    """The sequence numbers of the records, and whether they were there already (`known` key)."""

    first: int
    last: int
    known: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A pending batch as it travels: `payload` is `encode_batch()` of it."""

    id: BatchId
    payload: bytes
