"""Bodies of requests as dataclasses, decoded by the one codec; a fault names its path. Limits of counts and ranges."""

from __future__ import annotations

import binascii
import json
import math
import time
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from gateway.errors import InvalidInput, Problem
from gateway.model.names import is_tag
from gateway.model.tags import Quality, Sample, Value
from gateway.model.wire import from_wire

T = TypeVar("T")

MAX_SAMPLES: Final = 1000
MAX_REQUEST_BYTES: Final = 1024
MAX_ANSWER_BYTES: Final = 4096
MAX_TIMEOUT_MS: Final = 10_000
MAX_GAP_MS: Final = 1000
MAX_TEXT_CHARS: Final = 1024
MAX_UNIT_CHARS: Final = 32
MAX_INTEGER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Framing:
    """How the end of a device's answer is known: `modbus-rtu`, `length` (bytes) or `gap` (silence in ms)."""

    kind: str = "modbus-rtu"
    length: int = 0
    gap_ms: float = 0.0
    """0: the shortest that this port can tell."""

    def __str__(self) -> str:
        """As the serial bus spells it."""
        if self.kind == "length":
            return f"length:{self.length}"
        if self.kind == "gap" and self.gap_ms:
            return f"gap:{math.ceil(self.gap_ms)}"
        return self.kind


@dataclass(frozen=True, slots=True)
class Transact:
    """`POST /v1/serial/{port}/transact`."""

    data: str
    """Hexadecimal bytes to send, 1 to 1024."""
    framing: Framing = Framing()
    timeout_ms: float = 1000.0
    """For the answer, once it is this request's turn."""


@dataclass(frozen=True, slots=True)
class PublishedSample:
    tag: str
    value: Value
    unit: str = ""
    quality: Quality = Quality.GOOD
    time_ns: int = 0
    """Unix time by the source's clock; 0 or absent: now."""


@dataclass(frozen=True, slots=True)
class Publish:
    """`POST /v1/tags`."""

    samples: tuple[PublishedSample, ...]
    durable: bool = False
    """Answer only when the samples are committed for the cloud."""


@dataclass(frozen=True, slots=True)
class SetLine:
    """`PUT /v1/gpio/{line}`."""

    value: int
    """0 or 1."""


def decode(kind: type[T], body: bytes) -> T:
    """InvalidInput names the path of what does not fit."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError) as failure:
        raise InvalidInput(f"cannot read the body: it is not JSON: {str(failure)[:100]}") from None
    return from_wire(kind, document)


def serial_request(body: Transact) -> bytes:
    """The bytes to send. InvalidInput names all that is wrong."""
    problems = []
    try:
        request = binascii.unhexlify(body.data)
    except (binascii.Error, ValueError):
        request = b""
    if not 1 <= len(request) <= MAX_REQUEST_BYTES:
        problems.append(Problem("data", f"must be 1 to {MAX_REQUEST_BYTES} bytes in hexadecimal"))
    if not 1 <= body.timeout_ms <= MAX_TIMEOUT_MS:
        problems.append(Problem("timeout_ms", f"must be 1 to {MAX_TIMEOUT_MS}"))
    if body.framing.kind not in ("modbus-rtu", "length", "gap"):
        problems.append(Problem("framing.kind", "must be modbus-rtu, length or gap"))
    if body.framing.kind == "length" and not 1 <= body.framing.length <= MAX_ANSWER_BYTES:
        problems.append(Problem("framing.length", f"must be 1 to {MAX_ANSWER_BYTES}"))
    if body.framing.kind == "gap" and not 0 <= body.framing.gap_ms <= MAX_GAP_MS:
        problems.append(Problem("framing.gap_ms", f"must be 0 to {MAX_GAP_MS}"))
    if problems:
        raise InvalidInput("cannot transact: the request does not fit", problems=problems)
    return request


def published(body: Publish, owner: str) -> list[Sample]:
    """The samples, stamped with who published them. InvalidInput names all that is wrong."""
    if not 1 <= len(body.samples) <= MAX_SAMPLES:
        raise InvalidInput(f"cannot publish {len(body.samples)} samples: 1 to {MAX_SAMPLES} at a time")
    problems = [
        Problem(f"samples[{index}].{where}", what)
        for index, sample in enumerate(body.samples)
        for where, what in _faults(sample)
    ]
    if problems:
        raise InvalidInput("cannot publish: some samples do not fit", problems=problems[:20])
    now = time.time_ns()
    return [Sample(s.tag, s.value, s.time_ns or now, s.unit, s.quality, owner) for s in body.samples]


def _faults(sample: PublishedSample) -> list[tuple[str, str]]:
    faults = []
    if not is_tag(sample.tag):
        faults.append(("tag", "must be one to eight levels of letters, digits, _ . and -, joined by /"))
    if isinstance(sample.value, float) and not math.isfinite(sample.value):
        faults.append(("value", "must be a finite number"))
    if isinstance(sample.value, int) and abs(sample.value) > MAX_INTEGER:
        faults.append(("value", "must fit into 64 bits"))
    if isinstance(sample.value, str) and len(sample.value) > MAX_TEXT_CHARS:
        faults.append(("value", f"must have at most {MAX_TEXT_CHARS} characters"))
    if len(sample.unit) > MAX_UNIT_CHARS:
        faults.append(("unit", f"must have at most {MAX_UNIT_CHARS} characters"))
    if not 0 <= sample.time_ns <= MAX_INTEGER:
        faults.append(("time_ns", "must be nanoseconds since 1970"))
    return faults
