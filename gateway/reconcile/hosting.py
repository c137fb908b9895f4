"""Services that live in other containers: who may, in which one, and whether it is there. Pure.

A host's manifest says who may (`x-esdk.guests`); services of one APP may without that. docs/hosted-apps.md.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Set

from gateway.engines.base import ContainerState, ContainerStatus
from gateway.model.app import App, Service
from gateway.reconcile.view import HostView

Find = Callable[[str], tuple[App, str] | None]
"""APP name -> what is to run of it, and the authority that wants it; None when nobody does."""


def refusal(app: App, authority: str, find: Find) -> str:
    """Why this APP must not run: one of its hosts does not want it. A host that is not there is waited for instead."""
    for service in app.services:
        host = _host_of(service, find)
        if host is None or service.host.partition("/")[0] == app.name:
            continue
        target, owner = host
        path = f"{service.name}.x-esdk.host"
        if target.host:
            return f"{path}: {service.host} is hosted itself"
        if not any(admits(pattern, owner, app.name, authority) for pattern in target.guests):
            wanted = app.name if owner == authority else f"{authority}/{app.name}"
            return f"{path}: {service.host} does not let it in; x-esdk.guests: [{wanted}] there would allow it"
    return ""


def admits(pattern: str, owner: str, app: str, authority: str) -> bool:
    """Whether an entry of `x-esdk.guests` in a manifest of `owner` lets in that APP of that authority."""
    who, _, name = pattern.rpartition("/")
    return (who or owner) == authority and fnmatch.fnmatchcase(app, name)


def host_view(service: Service, find: Find, statuses: Iterable[ContainerStatus], leaving: Set[str]) -> HostView:
    """The newest running container of its host. `leaving`: containers that are being stopped."""
    app, _, name = service.host.partition("/")
    running = [
        status
        for status in statuses
        if (status.app, status.service, status.state) == (app, name, ContainerState.RUNNING)
        and status.id not in leaving
    ]
    if running:
        newest = max(running, key=lambda status: status.generation)
        return HostView(newest.id, newest.pid)
    if find(app) is None:
        return HostView(reason=f"waiting for its host {service.host}: no APP {app} is deployed")
    if _host_of(service, find) is None:
        return HostView(reason=f"waiting for its host {service.host}: {app} has no service {name}")
    return HostView(reason=f"waiting for its host {service.host} to run")


def _host_of(service: Service, find: Find) -> tuple[Service, str] | None:
    """The service that it lives in, and the authority that wants that one."""
    app, _, name = service.host.partition("/")
    found = find(app) if service.host else None
    for candidate in found[0].services if found is not None else ():
        if candidate.name == name:
            return candidate, found[1] if found is not None else ""
    return None
