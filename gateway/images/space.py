"""How much disk a pull will take, judged before its first byte. Pure; used by `puller.py`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.errors import Exhausted

UNPACKED_PER_COMPRESSED: Final = 4
"""gzip makes file systems 2.5 to 3 times smaller, zstd 3 to 4: an estimate to the safe side."""
MARGIN_BYTES: Final = 4 << 20
"""Manifests, records, directories."""


@dataclass(frozen=True, slots=True)
class MissingLayer:
    """A layer that has to be unpacked; `present_bytes` of its compressed `size` are downloaded already."""

    size: int
    present_bytes: int
    compressed: bool


def needed_bytes(missing: Iterable[MissingLayer]) -> int:
    """The peak: blobs go one by one when unpacked, so the largest one is there while all the rest is unpacked."""
    unpacked = download = 0
    for layer in missing:
        unpacked += layer.size * (UNPACKED_PER_COMPRESSED if layer.compressed else 1)
        download = max(download, layer.size - layer.present_bytes)
    return unpacked + download + MARGIN_BYTES if unpacked else 0


def check_space(image: str, needed: int, free: int, reserved: int) -> None:
    """Exhausted, naming both sides, when `needed` does not fit into `free` less what the profile reserves."""
    if needed > free - reserved:
        raise Exhausted(
            f"cannot pull {image}: it needs about {_mib(needed)} of disk, and {_mib(max(0, free - reserved))} are free"
            f" ({_mib(free)} less the {_mib(reserved)} that the profile's `reserved_disk_bytes` keeps)",
            hint="remove APPs or old images, or lower `reserved_disk_bytes` in the profile",
        )


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
