"""What was done by order and not by plan: who, what, when, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuditEntry:
    id: str
    """Of the operation; the same one is never done twice."""
    by: str
    """`the operator` (root of the box), or the authority that signed it and whom it named."""
    op: str
    app: str
    service: str = ""
    arguments: str = ""
    """For people: the command, the option."""
    boot_id: str = ""
    began_ns: int = 0
    """Unix time by the box's clock, which may not have been set."""
    ended_ns: int = 0
    """0: it has not ended, or the agent ended before it."""
    outcome: str = ""
    """`done`, or the error."""
    exit_code: int | None = None
    output_bytes: int = 0
    output_digest: str = ""
    """sha256 of what it printed, as far as it was kept."""
