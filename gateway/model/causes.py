"""Why an APP is as it is: chains of causes, each from what is seen to its root. Printed by both CLIs.

Found by `operations/explain.py`, sent to the cloud as they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class CauseKind(StrEnum):
    RUNS = "runs"
    """It is well; since when."""
    STARTING = "starting"
    NOT_DEPLOYED = "not_deployed"
    REMOVING = "removing"
    STOPPED = "stopped"
    """By the operator."""
    WITHHELD = "withheld"
    """The firmware profile does not allow it."""
    PULLING = "pulling"
    PULL_FAILED = "pull_failed"
    EXHAUSTED = "exhausted"
    """Memory or disk of the board."""
    DEPENDENCY = "dependency"
    """It waits for another service."""
    ENDED = "ended"
    UNHEALTHY = "unhealthy"
    STEP_FAILED = "step_failed"
    """It could not be created, started, stopped or removed."""
    ROLLED_BACK = "rolled_back"
    PINNED = "pinned"
    REFUSED = "refused"
    """A desired state was not accepted."""
    ENGINE = "engine"
    """The engine does not answer."""
    REGISTRY = "registry"
    LINK = "link"
    """A network link, or the connection to the cloud."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One link of a chain; the next one says why."""

    kind: CauseKind
    text: str
    subject: str = ""
    """Service, image, link or authority."""
    since_ns: int = 0
    """Unix time; 0: not known."""
    next_try_s: float | None = None
    """When it is tried again, seconds from now."""
    details: tuple[str, ...] = ()
    """What the service printed last, what its probe said."""


@dataclass(frozen=True, slots=True)
class Explanation:
    app: str
    well: bool
    """Every service does what it should; chains may tell of a version that waits."""
    chains: tuple[tuple[Cause, ...], ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A way out of the box: a network interface, or the session with the broker."""

    name: str
    up: bool
    since_ns: int
    error: str = ""


def lines(explanation: Explanation, now_ns: int) -> Iterator[str]:
    """For people: `app: seen; cause; its cause since 10:42`, a line per chain, below it what was printed."""
    for chain in explanation.chains:
        yield f"{explanation.app}: " + "; ".join(_words(cause, now_ns) for cause in chain)
        for cause in chain:
            # What an APP printed is text: a terminal must not obey it.
            yield from (f"    | {_printable(line)}" for line in cause.details)


def _words(cause: Cause, now_ns: int) -> str:
    since = f" since {_clock(cause.since_ns, now_ns)}" if cause.since_ns else ""
    again = f", next try in {cause.next_try_s:.0f} s" if cause.next_try_s is not None else ""
    return _printable(cause.text) + since + again


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _clock(at_ns: int, now_ns: int) -> str:
    at, now = time.localtime(at_ns // 10**9), time.localtime(now_ns // 10**9)
    return time.strftime("%H:%M" if at[:3] == now[:3] else "%Y-%m-%d %H:%M", at)
