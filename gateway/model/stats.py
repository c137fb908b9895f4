"""What a container uses, as its cgroup counts it. Read by an engine, shown by the CLI and told to the cloud."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """One container at one moment; all zero when it does not run. None: this machine does not count that."""

    cpu_ns: int = 0
    """Processor time of all its processes since it was created: two readings make a rate."""
    memory_bytes: int = 0
    """In use, without the part of the page cache that the kernel can drop at once (usage - inactive_file)."""
    memory_peak_bytes: int | None = None
    """The most that was ever charged, page cache included."""
    memory_limit_bytes: int | None = None
    """None: unlimited."""
    pids: int = 0
    """Processes and threads."""
    oom_kills: int = 0
    """Processes that the kernel has killed for want of memory."""
    read_bytes: int | None = None
    """From block devices, since it was created."""
    written_bytes: int | None = None
    """To block devices, since it was created."""
