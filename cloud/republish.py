"""When a gateway needs its desired state once more: it is online and reports an older revision than is wanted, or none.

Pure: time is handed in. Levels, not events: whatever message got lost, the next look finds it. A gateway that refuses
what it gets is asked again ever more rarely.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

GRACE_S: Final = 2.0
"""After a gateway has come: what the broker retains for it is on its way to it, and takes a moment to verify."""
FIRST_PAUSE_S: Final = 5.0
LAST_PAUSE_S: Final = 300.0


@dataclass(slots=True)
class _Gateway:
    wanted: int = 0
    reported: int | None = None
    """None: offline, or it has not said anything yet."""
    since_s: float = 0.0
    """When it began to report that."""
    published_s: float = float("-inf")
    times: int = 0


@dataclass(slots=True)
class Republication:
    """Tell it what is wanted, what is reported and what was published; ask it what is due."""

    _gateways: dict[str, _Gateway] = field(default_factory=dict)

    def want(self, gateway: str, revision: int) -> None:
        """A new revision is due at once, whatever was published before."""
        entry = self._entry(gateway)
        if revision != entry.wanted:
            entry.wanted, entry.published_s, entry.times = revision, float("-inf"), 0

    def report(self, gateway: str, revision: int | None, now_s: float) -> None:
        """What it has in force; None when it went offline. Saying so again begins with short pauses again."""
        entry = self._entry(gateway)
        if revision != entry.reported:
            entry.since_s = now_s
        entry.reported, entry.times = revision, min(entry.times, 1)

    def published(self, gateway: str, now_s: float) -> None:
        entry = self._entry(gateway)
        entry.published_s, entry.times = now_s, entry.times + 1

    def due(self, now_s: float) -> list[str]:
        """Gateways to publish to now. A revision above ours is none of them: they would only refuse ours."""
        return [
            name
            for name, entry in self._gateways.items()
            if entry.reported is not None
            and entry.reported < entry.wanted
            and now_s - entry.since_s >= GRACE_S
            and now_s - entry.published_s >= min(FIRST_PAUSE_S * 2 ** min(entry.times - 1, 16), LAST_PAUSE_S)
        ]

    def _entry(self, gateway: str) -> _Gateway:
        return self._gateways.setdefault(gateway, _Gateway())
