"""The C library's allocator, told that memory is scarcer than time. Does nothing where that is not glibc."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_ARENA_MAX: Final = -8
TRIM_THRESHOLD_BYTES: Final = 64 << 10
"""Free memory at the end of the heap goes back to the kernel beyond this; glibc waits for twice its largest block."""


def be_frugal() -> None:
    """One arena for all threads, and what is free goes back: mallopt(3). For a long-running process, at its start."""
    with contextlib.suppress(AttributeError):  # musl has none
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
