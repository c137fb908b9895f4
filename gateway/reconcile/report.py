"""Snapshots of APPs for the cloud and the CLI. Pure."""

from __future__ import annotations

from gateway.engines.base import ContainerState
from gateway.model.app import Service
from gateway.model.reports import AppReport, Phase, Rollout, ServiceReport
from gateway.reconcile.phases import Standing, standing
from gateway.reconcile.records import AppRecord, Pin
from gateway.reconcile.view import AppView


def app_report(
    view: AppView, record: AppRecord, authority: str, revision: int, now: float, pin: Pin | None = None
) -> AppReport:
    """One APP as it is now. `since_ns` of a service is when its container started."""
    if view.target is None:
        services = tuple(
            ServiceReport(c.status.service, Phase.REMOVING, "", c.status.id, c.status.pid) for c in view.containers
        )
        return AppReport(view.name, authority, revision, "", "", Rollout.ROLLING, services, "no longer wanted")
    rollout, reason = _rollout(view, record, pin)
    return AppReport(
        app=view.name,
        authority=authority,
        revision=revision,
        version=view.target.version,
        digest=view.target.digest,
        rollout=rollout,
        services=tuple(_service_report(view, s, standing(view, s, now)) for s in view.target.services),
        reason=reason,
        stopped_by_operator=view.stopped,
        pinned_by=pin.by if pin else "",
        pinned_ns=pin.since_ns if pin else 0,
    )


def _rollout(view: AppView, record: AppRecord, pin: Pin | None) -> tuple[Rollout, str]:
    if view.withheld:
        return Rollout.FAILED, view.withheld
    if view.held and pin is not None:
        return Rollout.PINNED, f"version {pin.version.version} is pinned by {pin.by}"
    if view.rolled_back:
        return Rollout.ROLLED_BACK, record.failed_reason
    if not view.rolling:
        return Rollout.DONE, ""
    failing = [past for past in view.history.values() if past.failures]
    unhealthy = [c for c in view.containers if c.health == "unhealthy"]
    if (failing and max(past.failures for past in failing) >= 3) or unhealthy:
        reason = unhealthy[0].health_reason if unhealthy else failing[0].last_error
        # About to be rolled back: that will be the last word, not this.
        return (Rollout.ROLLING if view.can_roll_back else Rollout.FAILED), reason
    return Rollout.ROLLING, ""


def _service_report(view: AppView, service: Service, now_standing: Standing) -> ServiceReport:
    container = now_standing.container
    status = container.status if container else None
    running = status is not None and status.state is ContainerState.RUNNING
    return ServiceReport(
        name=service.name,
        phase=now_standing.phase,
        image=service.image,
        container=status.id if status else "",
        pid=status.pid if status and running else 0,
        restarts=view.past(service.name).restarts,
        exit_code=status.exit_code if status else None,
        reason=now_standing.reason,
        since_ns=status.started_ns if status else 0,
        host=service.host,
        spare=spare.status.id if (spare := view.spare(service)) else "",
    )
