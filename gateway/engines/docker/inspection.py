"""What the API says of a container, in our words. Pure. Source: Docker Engine API 1.41, `ContainerInspect`."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Mapping
from typing import Any, Final

from gateway.engines.base import ContainerState, ContainerStatus
from gateway.errors import Corrupted

LABEL: Final = "io.fieldgate."
APP, SERVICE, GENERATION, DIGEST, INSTANCE, BOOT = (
    LABEL + name for name in ("app", "service", "generation", "digest", "instance", "boot")
)
_STATES: Final = {
    "created": ContainerState.CREATED,
    "configured": ContainerState.CREATED,  # podman's word
    "running": ContainerState.RUNNING,
    "paused": ContainerState.RUNNING,
    "restarting": ContainerState.RUNNING,
}
"""All others (exited, dead, removing, stopped) are ends."""
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:Z|([+-])(\d\d):(\d\d))")


def state_of(word: str) -> ContainerState:
    return _STATES.get(word, ContainerState.EXITED)


def status_of(document: Mapping[str, Any]) -> ContainerStatus:
    """Of an inspected container that has our labels. Corrupted when it has not."""
    try:
        labels, state = document["Config"]["Labels"], document["State"]
        now = state_of(state["Status"])
        ended = now is ContainerState.EXITED
        return ContainerStatus(
            app=labels[APP],
            service=labels[SERVICE],
            generation=int(labels[GENERATION]),
            digest=labels[DIGEST],
            state=now,
            pid=0 if ended else int(state.get("Pid") or 0),
            exit_code=int(state["ExitCode"]) if ended else None,
            oom_killed=ended and bool(state.get("OOMKilled")),
            started_ns=time_ns(state.get("StartedAt", "")),
            finished_ns=time_ns(state.get("FinishedAt", "")) if ended else 0,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as failure:
        raise Corrupted(f"cannot understand container {str(document.get('Name'))[:100]}: {failure!r}") from None


def time_ns(text: str) -> int:
    """Unix time of RFC 3339; 0 for what is none, and for Go's zero time (the year 1)."""
    match = _TIME.fullmatch(text)
    if match is None or text.startswith("0001"):
        return 0
    whole, fraction, sign, hours, minutes = match.groups()
    seconds = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
    offset_s = (int(hours) * 3600 + int(minutes) * 60) * (1 if sign == "+" else -1) if sign else 0
    return (seconds - offset_s) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
