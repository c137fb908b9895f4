"""What the board is and how it is doing, read from /proc and /sys; nothing is cached but what cannot change.

Used by `esdk_server/` for `GET /v1/system`. A fact that this board cannot tell is left out, never guessed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any, Final

_TIME_ERROR: Final = 5
"""adjtimex(2): the clock is not synchronised."""


class Facts:
    """`state` is the directory whose disk is told of."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._libc = ctypes.CDLL(None, use_errno=True)

    def facts(self) -> dict[str, Any]:
        """JSON: sizes in bytes, `time` as Unix time in ns, `uptime_s` seconds, `temperature_c` in degrees Celsius."""
        memory = _memory()
        disk = shutil.disk_usage(self._state)
        system = os.uname()
        facts: dict[str, Any] = {
            "hostname": socket.gethostname(),
            "board": _line("/proc/device-tree/model") or _line("/sys/class/dmi/id/product_name"),
            "kernel": system.release,
            "architecture": system.machine,
            "boot_id": boot_id(),
            "uptime_s": time.clock_gettime(time.CLOCK_BOOTTIME),
            "time": {"unix_ns": time.time_ns(), "synchronised": self.synchronised()},
            "cpus": os.cpu_count(),
            "load": list(os.getloadavg()),
            "memory": {"total": memory.get("MemTotal", 0), "available": memory.get("MemAvailable", 0)},
            "disk": {"total": disk.total, "free": disk.free},
        }
        if (temperature := _temperature()) is not None:
            facts["temperature_c"] = temperature
        return facts

    def synchronised(self) -> bool:
        """Whether the kernel's clock is disciplined by somebody (NTP, PTP, GPS)."""
        buffer = ctypes.create_string_buffer(256)  # struct timex, with `modes` 0: read only
        return int(self._libc.adjtimex(buffer)) not in (-1, _TIME_ERROR)


def boot_id() -> str:
    """Another one after every boot."""
    return _line("/proc/sys/kernel/random/boot_id")


def ram_bytes() -> int:
    """Memory of the board."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def max_processes() -> int:
    """How many processes and threads the kernel lets there be at once."""
    return min(int(_line(f"/proc/sys/kernel/{name}") or 32768) for name in ("pid_max", "threads-max"))


def _line(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(errors="replace").strip("\0\n ")[:200]
    return ""


def _memory() -> dict[str, int]:
    sizes = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            number, _, unit = rest.strip().partition(" ")
            sizes[name] = int(number) * (1024 if unit == "kB" else 1)
    return sizes


def _temperature() -> float | None:
    """Of the hottest zone."""
    found = []
    for zone in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(zone.read_text()) / 1000)
    return max(found, default=None)
