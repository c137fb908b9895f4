"""What the gateway tells: the state of its APPs, its own, and why a desired state was refused.

Sent by `cloud_link/report.py` (docs/mqtt-topics.md), answered by `admin_api/`, printed by both CLIs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """Of a service, in the order in which a good start passes through them."""

    WAITING = "waiting"
    PULLING = "pulling"
    STARTING = "starting"
    RUNNING = "running"
    """The process runs; it has no health check, or none has passed yet."""
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    BACKOFF = "backoff"
    """It ended and will be started again."""
    STOPPED = "stopped"
    """By request, or it ended and its restart policy says no."""
    FAILED = "failed"
    REMOVING = "removing"
    UNKNOWN = "unknown"
    """Its engine does not answer; nothing is done about it until it does."""


class Rollout(StrEnum):
    """Of an APP's newest version."""

    ROLLING = "rolling"
    DONE = "done"
    ROLLED_BACK = "rolled_back"
    """The newest version failed; the last good one runs again."""
    PINNED = "pinned"
    """Another version is pinned: the newest one waits until it is unpinned."""
    FAILED = "failed"
    """The newest version failed and there is no good one to go back to; it is tried again."""


@dataclass(frozen=True, slots=True)
class ServiceReport:
    name: str
    phase: Phase
    image: str
    container: str = ""
    pid: int = 0
    restarts: int = 0
    exit_code: int | None = None
    reason: str = ""
    """Why it is in this phase, in words; empty when all is well."""
    since_ns: int = 0
    """When the phase began, Unix time."""
    spare: str = ""
    """The container that is ready to follow this one at once (`x-esdk.standby`)."""
    host: str = ""
    """`app/service` of the container that it lives in; empty: it has one of its own."""


@dataclass(frozen=True, slots=True)
class AppReport:
    """A full snapshot of one APP; retained at `reported/{app}`."""

    app: str
    authority: str
    revision: int
    """The desired revision that this snapshot speaks of."""
    version: str
    digest: str
    """`App.digest` of what runs."""
    rollout: Rollout
    services: tuple[ServiceReport, ...]
    reason: str = ""
    stopped_by_operator: bool = False
    pinned_by: str = ""
    """Who pinned the version that runs; empty when it is not pinned."""
    pinned_ns: int = 0
    """When, Unix time."""


class ProgressKind(StrEnum):
    PULL = "pull"
    STEP = "step"
    REFUSED = "refused"
    """A desired state was refused; nothing changed."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One passing event; not retained."""

    kind: ProgressKind
    authority: str = ""
    revision: int = 0
    app: str = ""
    service: str = ""
    text: str = ""
    """What is being done, or why it was refused."""
    code: str = ""
    """Of a refusal: the error's code."""
    envelope: str = ""
    """Of a refusal: `sha256:<hex>` of what was refused, so that whoever sent it knows that it was his."""
    image: str = ""
    """Of a pull, without its digest."""
    done_bytes: int = 0
    total_bytes: int = 0


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """Retained at `status`; the broker sends the offline one as our last will."""

    online: bool
    incarnation: str
    agent_version: str = ""
    revisions: dict[str, int] | None = None
    """Authority -> accepted revision. The cloud publishes `desired` again when it holds another one."""
    boot_id: str = ""


@dataclass(frozen=True, slots=True)
class AppRemoved:
    """News: nothing is left of this APP but its volumes; its retained report is to be cleared."""

    app: str
