"""Who decides about one output line, and at what value: safe state, then rules, then the APPs' wishes. Pure.

Does not drive anything: see `lines.py`, its only user.
"""

from __future__ import annotations

from typing import Literal

DecidedBy = Literal["safe", "rule", "app"]


class LineDecision:
    """Collects what everybody wants of a line. Of several rules, or wishes, the latest counts."""

    def __init__(self, safe_value: int, keep: bool) -> None:
        """With `keep` the level stays what it is until somebody decides for the first time."""
        self._safe_value = safe_value
        self._untouched = keep
        self._forced = False
        self._rules: dict[str, int] = {}
        self._wishes: dict[str, int] = {}

    def now(self) -> tuple[int | None, DecidedBy]:
        """The value to drive and who decided it; None: leave the level alone, nobody has decided yet."""
        if self._forced:
            return self._safe_value, "safe"
        if self._rules:
            return next(reversed(self._rules.values())), "rule"
        if self._wishes:
            return next(reversed(self._wishes.values())), "app"
        return (None if self._untouched else self._safe_value), "safe"

    def hold(self, rule_id: str, value: int) -> None:
        self._untouched = False
        self._rules.pop(rule_id, None)
        self._rules[rule_id] = value

    def release(self, rule_id: str) -> bool:
        """False when that changes nothing. A rule that held nothing decides as well: the line is not left alone."""
        held = self._rules.pop(rule_id, None) is not None
        changes = held or self._untouched
        self._untouched = False
        return changes

    def wish(self, owner: str, value: int) -> None:
        self._untouched = False
        self._wishes.pop(owner, None)
        self._wishes[owner] = value

    def forget(self, owner: str) -> bool:
        """False when this owner wished nothing here."""
        return self._wishes.pop(owner, None) is not None

    def force_safe(self) -> None:
        """From now on the safe value, whoever wants what."""
        self._forced = True
