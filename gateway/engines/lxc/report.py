"""What `lxc-start` says in its log, which is where it tells how the container ended and why one did not start. Pure.

lxc-start a.b.1 20261125074246.115 INFO     error - ../src/lxc/error.c:f:31 - Child <25> ended on error (42)
lxc-start a.b.1 20261125074246.758 INFO     error - ../src/lxc/error.c:f:34 - Child <49> ended on signal Killed(9)
"""

from __future__ import annotations

import re
from typing import Final

_END: Final = re.compile(r" - Child <\d+> ended on (error|signal)[^(]*\((\d+)\)$", re.MULTILINE)
_ERROR: Final = re.compile(r" ERROR +\S+ - \S+:\d+ - (.+)$", re.MULTILINE)
MAX_CAUSES: Final = 3


def exit_code(text: str, code: int) -> int:
    """Of the main process, when `lxc-start` itself ended with `code`: it says nothing of one that ended with 0."""
    ends = _END.findall(text)
    if not ends:
        return code
    kind, number = ends[-1]
    return int(number) + (128 if kind == "signal" else 0)


def failure(text: str) -> str:
    """Why it did not start: what lxc calls errors, the first ones; "" when it says none."""
    return "; ".join(_ERROR.findall(text)[:MAX_CAUSES])


def oom_kills(text: str) -> int:
    """Of `memory.events` or v1's `memory.oom_control`."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == "oom_kill" and value.isdecimal():
            return int(value)
    return 0
