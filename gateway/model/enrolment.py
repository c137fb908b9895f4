"""What `fieldgate-cloud enroll` gives to one gateway, apart from its certificate files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Enrolment:
    """`identity/enrolment.json`. `confirmation_key` is a secret: it never appears in a log or a report."""

    gateway: str
    incarnation: str
    broker_host: str
    broker_port: int
    confirmation_key: str
    """Hexadecimal, 32 bytes: authenticates the cloud's confirmations (model/batches.py)."""
    keys: dict[str, Any]
    """The first `keys` document (documents/keys.py): where trust in the cloud's signers begins."""
