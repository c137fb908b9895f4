"""What became of a change: reads a gateway's events until it is done, failed or refused. `Following` is pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from gateway.model.reports import Rollout

CLOUD: Final = "cloud"
SETTLE_S: Final = 3.0
"""A version that failed may be rolled back in the next moment: only then is it known what became of it."""


class Result(StrEnum):
    HEALTHY = "healthy"
    REMOVED = "removed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    PINNED = "pinned"
    """Another version is pinned there: this one waits."""
    REFUSED = "refused"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class Verdict:
    result: Result
    reason: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return self.result in (Result.HEALTHY, Result.REMOVED)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Following:
    """The change that `revision` brought, signed in `envelope`: the APP with this digest is to run, or (no digest) to
    be gone."""

    app: str
    revision: int
    envelope: str
    digest: str = ""

    def judge(self, event: dict[str, Any]) -> Verdict | None:
        """What the event says about it; None: nothing final."""
        if event["kind"] == "progress":
            return self._refusal(event["progress"])
        if event["kind"] == "removed" and event["app"] == self.app and not self.digest:
            return Verdict(Result.REMOVED)
        if event["kind"] == "reported" and self.digest:
            return self._report(event["report"])
        return None

    def _refusal(self, progress: dict[str, Any]) -> Verdict | None:
        mine = progress.get("authority") == CLOUD and progress.get("envelope") == self.envelope
        if progress["kind"] != "refused" or not mine:
            return None
        return Verdict(Result.REFUSED, str(progress.get("text", "")))

    def concerns(self, report: dict[str, Any]) -> bool:
        """Whether it speaks of this APP at this revision or a later one."""
        return bool(report["app"] == self.app and report["authority"] == CLOUD and report["revision"] >= self.revision)

    def _report(self, report: dict[str, Any]) -> Verdict | None:
        if not self.concerns(report):
            return None
        reason = report.get("reason", "")
        match report["rollout"]:
            case Rollout.ROLLED_BACK if report["digest"] != self.digest:
                return Verdict(Result.ROLLED_BACK, reason)
            case Rollout.PINNED if report["digest"] != self.digest:
                return Verdict(Result.PINNED, reason)
            case Rollout.FAILED:
                return Verdict(Result.FAILED, reason)
            case Rollout.DONE if report["digest"] == self.digest:
                return Verdict(Result.HEALTHY)
        return None


def follow(
    events: Iterator[dict[str, Any]],
    following: Following,
    timeout_s: float,
    show: Callable[[dict[str, Any]], None],
) -> Verdict:
    """Reads until there is a verdict; the cloud says something every few seconds, so the timeout is kept."""
    started = time.monotonic()
    online, failed, last = True, None, ""
    for event in events:
        seconds = round(time.monotonic() - started, 3)
        show(event)
        if event["kind"] == "status":
            online = bool(event["status"]["online"])
        elif event["kind"] == "reported" and following.concerns(event["report"]):
            last = _standing(event["report"])
        verdict = following.judge(event)
        if verdict is not None:
            verdict = replace(verdict, seconds=seconds)
            if verdict.result is not Result.FAILED:
                return verdict
            failed = failed or verdict
        if failed is not None and seconds - failed.seconds >= SETTLE_S:
            return failed
        if seconds > timeout_s:
            break
    if failed is not None:
        return failed
    cause = "".join(f"; {why}" for why in ("" if online else "the gateway is offline", last) if why)
    return Verdict(Result.TIMED_OUT, f"nothing final after {timeout_s:g} s{cause}", round(timeout_s, 3))


def _standing(report: dict[str, Any]) -> str:
    """What an APP that is not done yet waits for, by its last report: the reasons that it gives."""
    services = [f"{entry['name']} is {entry['phase']}: {entry['reason']}" for entry in report["services"]
                if entry.get("reason")]  # fmt: skip
    return "; ".join([*([report["reason"]] if report.get("reason") else []), *services])
