"""Operations that the cloud asks of a gateway: what is signed, what is answered, and how answers are authenticated.

The cloud asks for a challenge, signs it into the operation, and sends that; the gateway answers, and keeps the answer
until the cloud has confirmed it (docs/mqtt-topics.md). An answer names the message that it answers by the sha256 of its
bytes, so that also what cannot be read is answered. Answers and their confirmations carry an HMAC of the enrolment's
key, as the confirmations of data do (docs/decisions/0003-confirmations-by-hmac.md).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from gateway.errors import Corrupted, InvalidInput
from gateway.model.wire import canonical, from_wire, to_wire

CHALLENGE: Final = "challenge"
"""Request for a challenge: any bytes, as long as they are new ones. Not signed: it reveals and changes nothing."""
CONFIRM: Final = "confirm"
"""The cloud has the answer."""
MAX_REQUEST_BYTES: Final = 32 << 10
MAX_ANSWER_BYTES: Final = 256 << 10
MAX_OUTPUT_BYTES: Final = 64 << 10
"""Of `exec`."""
MAX_EXEC_S: Final = 60.0
MAX_LOG_LINES: Final = 1000
MAX_LOG_BYTES: Final = 128 << 10


class Op(StrEnum):
    """What can be asked for; the profile's `operations` lists those that an authority may."""

    WHY = "why"
    STATS = "stats"
    LOGS = "logs"
    EXEC = "exec"
    RESTART = "restart"
    ROLLBACK = "rollback"
    PIN = "pin"


READING: Final = frozenset({Op.WHY, Op.STATS})
"""They change nothing and show nothing that an APP has written: not recorded, and harmless when done twice."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, signed by an authority for one gateway, one boot of it, and one time."""

    gateway: str
    incarnation: str
    authority: str
    id: str
    """Made up by who asks; the same id is never done twice."""
    challenge: str
    boot_id: str
    """Of the boot that gave the challenge."""
    op: Op
    app: str = ""
    """Empty: all APPs of the authority (`stats` only)."""
    service: str = ""
    """Empty: the first one (`logs`, `exec`)."""
    argv: tuple[str, ...] = ()
    timeout_s: float = 10.0
    max_output_bytes: int = 16 << 10
    tail: int = 100
    undo: bool = False
    """`rollback`: try again what was rolled back. `pin`: unpin."""
    asked_by: str = ""
    """Who asked the cloud for it; for the record."""


@dataclass(frozen=True, slots=True)
class AcceptedOperation:
    """An operation that the border worker has verified."""

    operation: Operation
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Challenge:
    """Signed into one operation within `lifetime_s` of the gateway's monotonic clock."""

    challenge: str
    boot_id: str
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request. Exactly one of `result` and `error` says it."""

    gateway: str
    incarnation: str
    op: str
    """As in the topic."""
    request: str
    """sha256 of the message that is answered, hexadecimal."""
    id: str = ""
    """Of the operation, once it was verified."""
    result: Any = None
    error: dict[str, Any] | None = None
    """`FieldgateError.to_json()`."""


def request_id(message: bytes) -> str:
    """By what an answer names the message that it answers."""
    return hashlib.sha256(message).hexdigest()


def encode_answer(key: bytes, answer: Answer) -> bytes:
    """The message on `response/{op}`."""
    body = to_wire(answer)
    return canonical({**body, "mac": _mac(key, "answer", body)})


def decode_answer(key: bytes, document: Mapping[str, Any]) -> Answer:
    """From the message's JSON value. Corrupted: not authentic. InvalidInput."""
    body = dict(document)
    _authenticate(key, "answer", body)
    return from_wire(Answer, body, "answer")


def encode_confirm(key: bytes, gateway: str, request: str) -> bytes:
    """The message on `request/confirm`: JSON `{"gateway", "request", "mac"}`."""
    body = {"gateway": gateway, "request": request}
    return canonical({**body, "mac": _mac(key, "confirm", body)})


def decode_confirm(key: bytes, gateway: str, payload: bytes) -> str:
    """The request whose answer has arrived. Corrupted: not authentic. InvalidInput: for another gateway."""
    try:
        body = json.loads(payload[:4096])
    except (ValueError, RecursionError) as failure:
        raise Corrupted(f"cannot read confirmation: {failure!r}") from failure
    if not isinstance(body, dict):
        raise Corrupted("cannot read confirmation: it must be an object")
    _authenticate(key, "confirm", body)
    if body.get("gateway") != gateway or not isinstance(body.get("request"), str):
        raise InvalidInput(f"cannot accept confirmation: it is for {str(body.get('gateway'))[:80]!a}")
    return str(body["request"])


def _authenticate(key: bytes, kind: str, body: dict[str, Any]) -> None:
    """Takes `mac` out of `body`."""
    mac = body.pop("mac", None)
    try:
        good = isinstance(mac, str) and mac.isascii() and hmac.compare_digest(mac, _mac(key, kind, body))
    except (ValueError, TypeError, RecursionError):
        good = False
    if not good:
        raise Corrupted(f"cannot accept the {kind}: its authentication code is wrong")


def _mac(key: bytes, kind: str, body: Mapping[str, Any]) -> str:
    """`kind` keeps the uses of the one key apart: no code for one of them is good for another."""
    return hmac.new(key, f"fieldgate {kind}\n".encode() + canonical(body), hashlib.sha256).hexdigest()
