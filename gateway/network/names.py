"""What the names in egress lists stand for: asked for again and again, as the gateway itself would ask.

An address that was answered within KEEP_S stays allowed, since servers behind a name take turns; the hosts file has
the last answer. Without an answer the last one holds.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gateway.lifecycle.backoff import Backoff

log = logging.getLogger(__name__)

REFRESH_S: Final = 60.0
KEEP_S: Final = 3600.0
RETRY: Final = Backoff(first_s=5.0, cap_s=REFRESH_S)
ANSWER_TIMEOUT_S: Final = 10.0
MAX_ADDRESSES: Final = 32
MAX_AT_ONCE: Final = 2

LookUp = Callable[[str], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Known:
    """One name. Times are seconds of a monotonic clock."""

    seen: Mapping[str, float]
    """Address -> when it was last in an answer."""
    last: tuple[str, ...] = ()
    failures: int = 0
    due: float = 0.0


def answered(known: Known, answer: Sequence[str], now: float) -> Known:
    """Pure. The answer counts with its first MAX_ADDRESSES addresses."""
    last = tuple(dict.fromkeys(answer))[:MAX_ADDRESSES]
    recent = {address: at for address, at in known.seen.items() if now - at < KEEP_S and address not in last}
    newest = sorted(recent, key=lambda address: recent[address], reverse=True)[: MAX_ADDRESSES - len(last)]
    seen = {**dict.fromkeys(last, now), **{address: recent[address] for address in newest}}
    return Known(dict(sorted(seen.items())), last, 0, now + REFRESH_S)


def failed(known: Known, now: float) -> Known:
    """Pure: what was known holds."""
    failures = known.failures + 1
    return Known(known.seen, known.last, failures, now + RETRY.delay_s(failures, lambda: 0.5))


class Names:
    """`current` is for hosts files, `allowed` for rules: both by name."""

    def __init__(self, look_up: LookUp, remembered: Mapping[str, Sequence[str]] = MappingProxyType({})) -> None:
        self._look_up = look_up
        self._known = {name: Known(dict.fromkeys(last, 0.0), tuple(last)) for name, last in remembered.items()}

    @property
    def current(self) -> dict[str, tuple[str, ...]]:
        return {name: known.last for name, known in self._known.items()}

    @property
    def allowed(self) -> dict[str, tuple[str, ...]]:
        return {name: tuple(known.seen) for name, known in self._known.items()}

    def unknown(self, wanted: Collection[str]) -> set[str]:
        """Never asked for."""
        return {name for name in wanted if name not in self._known}

    def keep_only(self, wanted: Collection[str]) -> None:
        self._known = {name: known for name, known in self._known.items() if name in wanted}

    def next_due(self, wanted: Collection[str]) -> float | None:
        """When to refresh; None when there is nothing to ask."""
        return min((self._known[name].due if name in self._known else 0.0 for name in wanted), default=None)

    async def refresh(self, wanted: Collection[str], now: float) -> bool:
        """Ask for those that are due, side by side; whether anything differs from before."""
        due = [name for name in sorted(wanted) if name not in self._known or self._known[name].due <= now]
        before = (self.current, self.allowed)
        one_or_two = asyncio.Semaphore(MAX_AT_ONCE)  # others of the agent want to look names up, too

        async def ask(name: str) -> Sequence[str]:
            async with one_or_two:
                return await self._look_up(name)

        answers = await asyncio.gather(*(ask(name) for name in due))
        for name, answer in zip(due, answers, strict=True):
            known = self._known.get(name, Known({}))
            if not answer and not known.failures:
                log.warning("name not found name=%s", name)
            self._known[name] = answered(known, answer, now) if answer else failed(known, now)
        return (self.current, self.allowed) != before


async def look_up(name: str) -> Sequence[str]:
    """Its addresses in the resolver's order, IPv4 and IPv6; empty when there is no answer in time."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return ()
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
