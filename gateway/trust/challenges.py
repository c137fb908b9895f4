"""Challenges: what stands in for a clock that the box may not have. Pure: time and randomness are handed in.

Who asks for one gets a random token that is good for one operation, in this boot of this agent, for a while of the
monotonic clock. Few are outstanding: who asks for more makes the oldest one void. Nothing is kept on disk: a new agent
knows none of the old ones, so an operation that was recorded can never be done by a later one.
Used by `operations/remote.py`; docs/decisions holds the why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.errors import Conflict, NotPermitted
from gateway.model.operations import Challenge

LIFETIME_S: Final = 120.0
"""Several round trips of a bad link, and the signer's time in between."""
OUTSTANDING: Final = 8
REMEMBERED: Final = 64
"""Used and expired ones, for a refusal that says which it was."""
_WHAT: Final = "cannot accept the operation"


@dataclass(slots=True)
class _Issued:
    at_s: float
    used: bool = False


class Challenges:
    def __init__(self, boot_id: str, token: Callable[[], str], lifetime_s: float = LIFETIME_S) -> None:
        """`token`: 32 random hexadecimal digits."""
        self._boot_id = boot_id
        self._token = token
        self._lifetime_s = lifetime_s
        self._issued: dict[str, _Issued] = {}

    def issue(self, now_s: float) -> Challenge:
        token = self._token()
        self._issued[token] = _Issued(now_s)
        while len(self.outstanding(now_s)) > OUTSTANDING:
            del self._issued[self.outstanding(now_s)[0]]
        while len(self._issued) > REMEMBERED:
            del self._issued[next(iter(self._issued))]
        return Challenge(token, self._boot_id, self._lifetime_s)

    def outstanding(self, now_s: float) -> list[str]:
        """Good for an operation now, oldest first."""
        return [token for token, known in self._issued.items() if not known.used and self._left_s(known, now_s) >= 0]

    def redeem(self, challenge: str, boot_id: str, now_s: float) -> None:
        """Use it up. NotPermitted: of another boot, unknown here, too late. Conflict: used before."""
        if boot_id != self._boot_id:
            raise NotPermitted(f"{_WHAT}: its challenge is from another boot of this gateway")
        known = self._issued.get(challenge)
        if known is None:
            raise NotPermitted(f"{_WHAT}: its challenge is none of those that this agent gave and still knows")
        if known.used:
            raise Conflict(f"{_WHAT}: its challenge was used before")
        if (left_s := self._left_s(known, now_s)) < 0:
            raise NotPermitted(f"{_WHAT}: its challenge expired {-left_s:.0f} s ago")
        known.used = True

    def _left_s(self, known: _Issued, now_s: float) -> float:
        """Seconds that are left; negative when it has expired."""
        return known.at_s + self._lifetime_s - now_s
