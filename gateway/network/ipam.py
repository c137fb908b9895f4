"""Which service has which slot: the same for ever, across reboots and removals, as long as there are free ones.

`assign` decides (pure); `Slots` remembers on flash.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from gateway.errors import Unavailable
from gateway.host.statefile import StateFile
from gateway.network.layout import FIRST_SLOT

SCHEMA: Final = 1


def assign(known: Mapping[str, int], wanted: Sequence[str], in_use: Collection[str], slots: int) -> dict[str, int]:
    """`known` with all `wanted` in it. A slot changes its owner only when no other is left, and never one `in_use`.

    Unavailable when there are more services than slots.
    """
    assigned = {name: slot for name, slot in known.items() if FIRST_SLOT <= slot <= slots}
    taken = set(assigned.values())
    free = (slot for slot in range(FIRST_SLOT, slots + 1) if slot not in taken)
    for name in wanted:
        if name in assigned:
            continue
        slot = next(free, None)
        if slot is None:
            idle = next((other for other in assigned if other not in in_use and other not in wanted), None)
            if idle is None:
                raise Unavailable(f"cannot give {name} an address: all {slots - 1} are in use")
            slot = assigned.pop(idle)
        assigned[name] = slot
    return assigned


class Slots:
    """`known` is what is on flash. Blocks for an fsync when something is new: call `claim` from a thread."""

    def __init__(self, file: Path, slots: int) -> None:
        self._file = StateFile(file, SCHEMA)
        self._slots = slots
        self.known: dict[str, int] = {}

    def load(self) -> None:
        """Corrupted, NotSupported: as StateFile."""
        self.known = {str(name): int(slot) for name, slot in (self._file.read() or {}).items()}

    def has(self, names: Sequence[str]) -> bool:
        """All have a slot: nothing is to be written."""
        return all(FIRST_SLOT <= self.known.get(name, 0) <= self._slots for name in names)

    def claim(self, names: Sequence[str], in_use: Collection[str]) -> None:
        """Unavailable when there is none left."""
        assigned = assign(self.known, names, in_use, self._slots)
        self._file.write(assigned)
        self.known = assigned
