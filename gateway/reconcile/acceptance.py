"""Takes a signed desired state in: verified by the border worker, judged, made durable, and only then in force.

Whatever is refused changes nothing. The doors (`cloud_link/`, `admin_api/`) call `accept` and report what it raises.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from gateway.errors import FieldgateError, InvalidInput
from gateway.model import names
from gateway.model.desired import AcceptedDesired
from gateway.model.trust import Expected
from gateway.reconcile.desired_store import DesiredStore
from gateway.reconcile.situation import Refusal
from gateway.trust.acceptance import Decision, decide

log = logging.getLogger(__name__)

MAX_REFUSALS: Final = 16


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
        self._refusals: dict[str, Refusal] = {}

    def refusals(self) -> list[Refusal]:
        """Of every authority whose last desired state was refused, why. At most MAX_REFUSALS."""
        return list(self._refusals.values())

    async def accept(self, authority: str, envelope: bytes) -> Decision:
        """ACCEPT when it is in force now, UNCHANGED when it was already. Raises why it is refused (any FieldgateError).

        An empty envelope is what a cleared retained message looks like: refused, it never means "remove everything".
        """
        names.check(names.AUTHORITY, authority, "authority")
        if not envelope:
            raise InvalidInput(f"cannot accept an empty desired state of {authority}: nothing changes")
        try:
            decision = await self._judge(authority, envelope)
        except FieldgateError as failure:
            self._note_refusal(authority, failure)
            raise
        self._refusals.pop(authority, None)
        if decision is Decision.ACCEPT:
            self._accepted()
        return decision

    async def _judge(self, authority: str, envelope: bytes) -> Decision:
        async with self._one_at_a_time:
            candidate = await self._verifier.desired(envelope, self._keys.expected(authority))
            decision = decide(self._store.current, candidate)
            if decision is Decision.ACCEPT:
                await asyncio.to_thread(self._store.put, candidate)
                log.info("desired state accepted authority=%s revision=%d", authority, candidate.desired.revision)
        return decision

    def _note_refusal(self, authority: str, failure: FieldgateError) -> None:
        self._refusals.pop(authority, None)
        self._refusals[authority] = Refusal(authority, str(failure), failure.code, time.time_ns())
        if len(self._refusals) > MAX_REFUSALS:
            del self._refusals[next(iter(self._refusals))]

    def revisions(self) -> dict[str, int]:
        """Authority -> revision in force."""
        return {name: accepted.desired.revision for name, accepted in self._store.current.items()}
