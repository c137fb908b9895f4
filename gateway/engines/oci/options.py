"""How a board wants its OCI engine to be: what `agent.py` takes from the firmware profile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OciOptions:
    cache: Path | None = None
    """Where compiled seccomp filters outlive a reboot; None: below the run directory, for as long as that lasts."""
    favordynmods: bool = False
    """Set this option of cgroup2 where the kernel has it: starts get faster, forks a little slower, machine-wide."""
    memory_bytes: int | None = None
    """What all containers may use together; None: as much as there is."""
    processes: int | None = None
    """As many as all of them may have together."""
