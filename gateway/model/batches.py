"""Batches of records on their way to the cloud, how they look on the wire, and their confirmation.

A record is a closed window or a durable sample. Its identity is (gateway incarnation, stream, epoch, sequence); a new
outbox starts a new epoch. The outbox frees a batch when the cloud has confirmed its range: a broker's acknowledgement
is not delivery. Used by `outbox/`, `cloud_link/` and `cloud/`. Wire format: docs/mqtt-topics.md.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import zlib
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import Corrupted, InvalidInput
from gateway.model.tags import Sample, Window
from gateway.model.wire import canonical, from_wire, to_wire

MAX_BATCH_BYTES: Final = 256 << 10
"""Largest payload of a data message, compressed."""
MAX_BATCH_PLAIN_BYTES: Final = 4 << 20
"""Largest payload once decompressed: a bound on what a small message can unfold to."""

Record = Sample | Window


@dataclass(frozen=True, slots=True)
class BatchId:
    """The records `first` to `last`, both included, of one stream in one epoch of its outbox."""

    incarnation: str
    stream: str
    epoch: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records; `records[i]` has the sequence number `id.first + i`."""

    id: BatchId
    records: tuple[Record, ...]


def encode_batch(batch: Batch) -> bytes:
    """zlib-compressed canonical JSON: `{"id": {...}, "records": [{"kind": "window"|"sample", ...}]}`."""
    records = [{"kind": "window" if isinstance(r, Window) else "sample", **to_wire(r)} for r in batch.records]
    return zlib.compress(canonical({"id": to_wire(batch.id), "records": records}), level=6)


def decode_batch(payload: bytes) -> Batch:
    """The inverse. Corrupted if the bytes are not such a batch, InvalidInput (with the path) if a part does not fit."""
    if len(payload) > MAX_BATCH_BYTES:
        raise InvalidInput(f"cannot read batch: {len(payload)} bytes are more than {MAX_BATCH_BYTES}")
    try:
        decompressor = zlib.decompressobj()
        plain = decompressor.decompress(payload, MAX_BATCH_PLAIN_BYTES)
        if not decompressor.eof:
            raise Corrupted(f"cannot read batch: cut short, or more than {MAX_BATCH_PLAIN_BYTES} bytes when unpacked")
        document = json.loads(plain)
    except (zlib.error, ValueError, RecursionError) as failure:
        raise Corrupted(f"cannot read batch: {failure}") from failure
    if not isinstance(document, dict) or not isinstance(document.get("records"), list):
        raise Corrupted("cannot read batch: no records")
    identity = from_wire(BatchId, document.get("id"), "id")
    records = tuple(_record(entry, f"records[{index}]") for index, entry in enumerate(document["records"]))
    if len(records) != identity.last - identity.first + 1:
        raise InvalidInput(
            f"cannot read batch: {len(records)} records for the range {identity.first} to {identity.last}"
        )
    return Batch(identity, records)


def _record(entry: Any, path: str) -> Record:
    if not isinstance(entry, dict):
        raise InvalidInput(f"cannot read {path}: expected an object")
    fields = dict(entry)
    kind = fields.pop("kind", None)
    if kind == "window":
        return from_wire(Window, fields, path)
    if kind == "sample":
        return from_wire(Sample, fields, path)
    raise InvalidInput(f"cannot read {path}.kind: expected 'window' or 'sample'")


def encode_confirmation(key: bytes, gateway: str, confirmed: BatchId) -> bytes:
    """The cloud's word that it holds a range: JSON `{"gateway", "id", "mac"}`, authenticated by the enrolment's key.

    HMAC-SHA256 and not a signature: see docs/decisions/0003-confirmations-by-hmac.md.
    """
    body = {"gateway": gateway, "id": to_wire(confirmed)}
    return canonical({**body, "mac": _mac(key, body)})


def decode_confirmation(key: bytes, gateway: str, payload: bytes) -> BatchId:
    """The confirmed range; Corrupted if it is not authentic, InvalidInput if it is for another gateway."""
    try:
        document = json.loads(payload[:4096])
        mac = document.pop("mac")
        authentic = hmac.compare_digest(str(mac), _mac(key, document))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as failure:
        raise Corrupted(f"cannot read confirmation: {failure!r}") from failure
    if not authentic:
        raise Corrupted("cannot accept confirmation: its authentication code is wrong")
    if document.get("gateway") != gateway:
        raise InvalidInput(f"cannot accept confirmation: it is for {document.get('gateway')!r}")
    return from_wire(BatchId, document.get("id"), "id")


def _mac(key: bytes, body: dict[str, Any]) -> str:
    return hmac.new(key, canonical(body), hashlib.sha256).hexdigest()
