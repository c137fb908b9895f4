"""How long to wait before the next try: exponential, capped, with jitter, for ever. Pure: randomness is handed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """`first_s * factor ** failures`, at most `cap_s`, spread by +-`jitter` of itself, so that no fleet marches."""

    first_s: float = 1.0
    cap_s: float = 60.0
    factor: float = 2.0
    jitter: float = 0.2

    def delay_s(self, failures: int, random: Callable[[], float]) -> float:
        """Seconds to wait after that many failures in a row (0 gives 0). `random` gives numbers from 0 to 1."""
        if failures <= 0:
            return 0.0
        exponent = min(failures - 1, 64)
        delay = min(self.cap_s, self.first_s * self.factor**exponent)
        return delay * (1 - self.jitter + 2 * self.jitter * random())
