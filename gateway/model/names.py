"""What may be called what: one regular expression per kind of name, and the checks that use them.

The running agent, the border worker and the cloud use the same ones, so that a name that one of them accepts is never
refused by another.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.errors import InvalidInput

GATEWAY: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""A gateway id: also its certificate's common name, its MQTT user name and client id."""
APP: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""An APP (the Compose project name) and a service within it."""
VOLUME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
STREAM: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
"""A data stream, which is the uplink class of the APPs that write to it."""
PORT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
"""A serial port or a digital line, by the name printed on the case (`RS485-1`, `DO1`)."""
AUTHORITY: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
OPERATION: Final = re.compile(r"[a-z][a-z-]{0,31}")
"""What is asked of a gateway (`model/operations.py`)."""
TAG: Final = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){0,7}")
"""A tag: one to eight levels, as in `meter/power`."""
HOST: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}/[a-z0-9][a-z0-9_-]{0,62}")
"""A container that others may live in: `app/service`."""
GUEST: Final = re.compile(r"([a-z0-9][a-z0-9-]{0,31}/)?[a-z0-9_*-]{1,63}")
"""Which APPs may: `[authority/]app`, with `*` for any characters; without authority those of the host's own."""
TAG_MAX_CHARS: Final = 128
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def check(kind: re.Pattern[str], text: str, what: str) -> str:
    """`text` when it is a name of that kind; otherwise InvalidInput that shows the rule. `what` is the name's role."""
    if not kind.fullmatch(text):
        raise InvalidInput(f"cannot use {text[:80]!r} as {what}: it must match {kind.pattern}")
    return text


def is_tag(text: str) -> bool:
    """True for a tag name of at most TAG_MAX_CHARS characters."""
    return len(text) <= TAG_MAX_CHARS and TAG.fullmatch(text) is not None


def is_tag_pattern(text: str) -> bool:
    """True for a tag name, or a tag pattern with the MQTT wildcards `+` (one level) and, at the end, `#` (the rest)."""
    if text == "#":
        return True
    levels = text.removesuffix("/#").split("/")
    return len(text) <= TAG_MAX_CHARS and is_tag("/".join("x" if level == "+" else level for level in levels))


def tag_matches(pattern: str, tag: str) -> bool:
    """Whether `tag` falls under `pattern`; both must be valid. `meter/#` covers `meter` and everything below it."""
    wanted, levels = pattern.split("/"), tag.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)
