"""The agent's own settings: limits and intervals, all with defaults that suit a box with 256 MB of RAM."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Config:
    """`/etc/fieldgate/config.toml` (docs/operations.md); every key is optional."""

    log_level: str = "info"
    outbox_max_bytes: int = 64 << 20
    outbox_commit_interval_s: float = 0.2
    """Group commit: a durable sample waits at most this long for others."""
    uplink_window: int = 4
    """Batches sent and not yet confirmed."""
    uplink_resend_s: float = 15.0
    """A batch that is not confirmed after this long is sent again."""
    esdk_max_connections: int = 16
    """Per endpoint."""
    esdk_max_header_bytes: int = 16 << 10
    esdk_max_body_bytes: int = 256 << 10
    esdk_first_byte_timeout_s: float = 10.0
    esdk_max_unread_events: int = 256
    container_log_bytes: int = 1 << 20
