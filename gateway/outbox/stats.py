"""The outbox's accounts: for every stream `appended == pending + confirmed + dropped`, over all restarts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamStats:
    """Counts are records of this stream in this epoch."""

    stream: str
    appended: int
    """Also the sequence number of the newest record: they start at 1."""
    pending: int
    """On flash, not confirmed yet."""
    confirmed: int
    dropped: int
    """Lost to the quota or to damaged flash before they were confirmed: gaps in the sequence that the cloud sees."""
    bytes: int
    """Of the pending batches, compressed."""


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """As of the last commit."""

    epoch: str = ""
    """Empty while the database cannot be opened."""
    streams: tuple[StreamStats, ...] = ()
    used_bytes: int = 0
    """Of the quota: database pages in use."""
    max_bytes: int = 0
    foreign_confirmations: int = 0
    """Ignored since the agent started: for another incarnation, epoch or stream, or for records never appended."""
    fault: str = ""
    """Why the outbox takes nothing right now; empty when all is well."""
