"""Durations and byte sizes as people write them in Compose files and TOML: `1m30s`, `500ms`, `64M`. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(us|ms|s|m|h)")
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE: Final = re.compile(r"([0-9]{1,18})(|b|k|kb|m|mb|g|gb)", re.IGNORECASE)
_SHIFT: Final = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30}
MAX_DURATION_S: Final = 366 * 86400.0
MAX_BYTES: Final = 1 << 50


def seconds(value: Any) -> float:
    """Of `30s`, `1m30s`, `1.5h`, `500ms`. ValueError says what a duration looks like."""
    text = value if isinstance(value, str) else ""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError('must be a duration such as "30s", "1m30s" or "500ms"')
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if total > MAX_DURATION_S:
        raise ValueError("must be a duration of at most a year")
    return round(total, 6)


def size_bytes(value: Any) -> int:
    """Of `64M`, `64mb`, `1g`, `4096` (Compose: powers of 1024). ValueError says what a size looks like."""
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError('must be a size in bytes such as "64M", "512k" or 4096')
    unit = match[2].lower()
    total = int(match[1]) << _SHIFT[unit.removesuffix("b") if len(unit) > 1 else unit]
    if total > MAX_BYTES:
        raise ValueError("must be a size of at most 1024 TiB")
    return total
