"""Takes a signed desired state in: verified by the border worker, judged, made durable, and only then in force.

Whatever is refused changes nothing. The doors (`cloud_link/`, `admin_api/`) call `accept` and report what it raises.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from gateway.errors import InvalidInput
from gateway.model import names
from gateway.model.desired import AcceptedDesired
from gateway.model.trust import Expected
from gateway.reconcile.desired_store import DesiredStore
from gateway.trust.acceptance import Decision, decide

log = logging.getLogger(__name__)


class Verifier(Protocol):
    """`trust.border.Border`."""

    async def desired(self, envelope: bytes, expected: Expected) -> AcceptedDesired: ...


class Expectations(Protocol):
    """`trust.keyring.KeyRing`."""

    def expected(self, authority: str) -> Expected: ...


class Acceptance:
    """One at a time: two envelopes must not both be judged against the same state."""

    def __init__(
        self, verifier: Verifier, keys: Expectations, store: DesiredStore, accepted: Callable[[], None]
    ) -> None:
        self._verifier = verifier
        self._keys = keys
        self._store = store
        self._accepted = accepted
        self._one_at_a_time = asyncio.Lock()

    async def accept(self, authority: str, envelope: bytes) -> Decision:
        """ACCEPT when it is in force now, UNCHANGED when it was already. Raises why it is refused (any FieldgateError).

        An empty envelope is what a cleared retained message looks like: refused, it never means "remove everything".
        """
        names.check(names.AUTHORITY, authority, "authority")
        if not envelope:
            raise InvalidInput(f"cannot accept an empty desired state of {authority}: nothing changes")
        async with self._one_at_a_time:
            candidate = await self._verifier.desired(envelope, self._keys.expected(authority))
            decision = decide(self._store.current, candidate)
            if decision is Decision.ACCEPT:
                await asyncio.to_thread(self._store.put, candidate)
                log.info("desired state accepted authority=%s revision=%d", authority, candidate.desired.revision)
        if decision is Decision.ACCEPT:
            self._accepted()
        return decision

    def revisions(self) -> dict[str, int]:
        """Authority -> revision in force."""
        return {name: accepted.desired.revision for name, accepted in self._store.current.items()}
