"""Tags: named values with unit, quality and time; what APPs publish and what goes up to the cloud."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Value = float | int | bool | str


class Quality(StrEnum):
    """Of a value, as in OPC UA's severity classes."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a tag. Times are nanoseconds since the Unix epoch by the source's clock."""

    tag: str
    value: Value
    time_ns: int
    unit: str = ""
    quality: Quality = Quality.GOOD
    source: str = ""
    """`app.service` that published it; set by the gateway, never by the APP."""


@dataclass(frozen=True, slots=True)
class Window:
    """A closed tumbling window of a numeric tag: what is left of its samples. `quality` is the worst one seen."""

    tag: str
    start_ns: int
    end_ns: int
    mean: float
    minimum: float
    maximum: float
    last: float
    count: int
    unit: str = ""
    quality: Quality = Quality.GOOD


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of published samples."""

    accepted: int
    durable: bool
    first: int = 0
    last: int = 0
    """Sequence range of durable samples; 0 without."""
    window_s: float = 0.0
    """What a sudden end may lose, in seconds: until they are committed. 0: they are, or nothing goes up."""
