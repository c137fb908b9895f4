"""Notices that somebody else has changed our rules: by the ruleset's generation first, by a listing only when it moved.

Others change rulesets, too (firewalls, container engines); as long as ours are as they were, nothing is done.
"""

from __future__ import annotations

import time
from typing import Final

from gateway.errors import FieldgateError
from gateway.host.nftgeneration import generation
from gateway.network.caller import WorkerCaller
from gateway.network.layout import Layout

QUIET_S: Final = 30.0
"""After a change by others that was not about us, the next one is looked at this much later."""


class Watch:
    def __init__(self, layout: Layout, worker: WorkerCaller) -> None:
        self._layout = layout
        self._worker = worker
        self._generation: int | None = None
        """As we left it; None: whatever it is after the next time that we write."""
        self._digest = ""
        """Of our table as we left it; empty when it was not listed since."""
        self._not_before = 0.0

    def changed_ourselves(self, transactions: int) -> None:
        """We have just written rules, in so many transactions."""
        if not transactions:
            return
        now = generation()
        # Another number than the next: somebody wrote at the same time, and we do not know what.
        expected = self._generation in (None, now if now is None else now - transactions)
        self._generation = now if expected else -1
        self._digest = ""

    async def changed(self) -> bool:
        """Whether somebody else has changed our rules since."""
        now = generation()
        if now is None or (self._digest and now == self._generation) or time.monotonic() < self._not_before:
            return False
        try:
            (digest,) = await self._worker.ask({"do": "listing", "table": self._layout.table})
        except FieldgateError:
            digest = ""
        if digest and now == self._generation:
            self._digest = digest  # only we have changed anything: this is how it should look
            return False
        if digest and digest == self._digest:
            self._generation = now
            self._not_before = time.monotonic() + QUIET_S
            return False
        self._generation = None
        return True
