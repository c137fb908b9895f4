"""The APP's settings, `x-esdk.settings` of the manifest: strings on the way, checked here all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, List, TypeVar

T = TypeVar("T", int, float)


@dataclass(frozen=True)
class Settings:
    port: str = "RS485-1"
    """Serial port by the name on the case; the manifest must grant it."""
    unit: int = 1
    """The meter's address on the bus."""
    interval_s: float = 1.0
    energy_interval_s: float = 5.0
    """How often the energy is read and published durably."""
    timeout_s: float = 0.5
    """For one answer of the meter."""


def parse(given: Dict[str, str]) -> Settings:
    """ValueError names every fault."""
    faults: List[str] = []
    defaults = Settings()
    unknown = sorted(set(given) - set(Settings.__dataclass_fields__))
    faults += ["{}: there is no such setting".format(name) for name in unknown]

    def number(kind: Callable[[str], T], name: str, default: T, low: T, high: T) -> T:
        text = given.get(name, str(default))
        try:
            value = kind(text)
        except ValueError:
            value = default
            faults.append("{}: {!r} is no number".format(name, text))
        if not low <= value <= high:
            faults.append("{}: must be {} to {}, not {}".format(name, low, high, text))
        return value

    settings = Settings(
        given.get("port", defaults.port),
        number(int, "unit", defaults.unit, 1, 247),
        number(float, "interval_s", defaults.interval_s, 0.1, 3600.0),
        number(float, "energy_interval_s", defaults.energy_interval_s, 0.1, 86400.0),
        number(float, "timeout_s", defaults.timeout_s, 0.05, 3.0),
    )
    if faults:
        raise ValueError("; ".join(faults))
    return settings
