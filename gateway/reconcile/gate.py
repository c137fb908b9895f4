"""The health gate of a new version: passed, failed with a reason, or still open until some time. Pure.

A service passes when its health check has succeeded; one without a health check when it ran RUN_S without ending; one
that is not to be restarted when it ended with 0. A version fails when a service is unhealthy, ended CRASHES times, or
ended for good with an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.model.app import Service
from gateway.model.reports import Phase
from gateway.reconcile.phases import standing
from gateway.reconcile.view import AppView

RUN_S: Final = 5.0
CRASHES: Final = 3


class Verdict(StrEnum):
    OPEN = "open"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Judgement:
    verdict: Verdict
    reason: str = ""
    wake_at: float | None = None


def judge(view: AppView, now: float) -> Judgement:
    """The gate of the target as a whole."""
    assert view.target is not None
    judgements = [_judge_service(view, service, now) for service in view.target.services]
    for judgement in judgements:
        if judgement.verdict is Verdict.FAILED:
            return judgement
    if all(judgement.verdict is Verdict.PASSED for judgement in judgements):
        return Judgement(Verdict.PASSED)
    times = [judgement.wake_at for judgement in judgements if judgement.wake_at is not None]
    return Judgement(Verdict.OPEN, wake_at=min(times, default=None))


def _judge_service(view: AppView, service: Service, now: float) -> Judgement:
    now_standing = standing(view, service, now)
    past = view.past(service.name)
    reason = f"{service.name}: {now_standing.reason or past.last_error}"
    if now_standing.phase in (Phase.UNHEALTHY, Phase.FAILED) or past.failures >= CRASHES:
        return Judgement(Verdict.FAILED, reason)
    if now_standing.phase is Phase.HEALTHY:
        return Judgement(Verdict.PASSED)
    if now_standing.phase is Phase.STOPPED:
        return Judgement(Verdict.PASSED)
    container = now_standing.container
    if now_standing.phase is Phase.RUNNING and service.healthcheck is None and container is not None:
        passes_at = (now if container.running_since is None else container.running_since) + RUN_S
        return Judgement(Verdict.PASSED) if now >= passes_at else Judgement(Verdict.OPEN, wake_at=passes_at)
    return Judgement(Verdict.OPEN)
