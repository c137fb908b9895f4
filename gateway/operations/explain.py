"""Why is this APP as it is? The chain of causes, from what is seen to its root. Pure; `operations.py` asks.

What is well takes one line. What is not is followed down: a service to the one that it waits for, a pull to the
registry's failure, that to the link. Each service appears once: where it is the root of another one's trouble.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.engines.base import ContainerState
from gateway.model.app import App, Service
from gateway.model.causes import Cause, CauseKind, Explanation, Link
from gateway.model.reports import Phase
from gateway.reconcile.phases import Standing, standing, waits_for
from gateway.reconcile.situation import Pulling, Refusal, Situation
from gateway.reconcile.steps import Create, Pull, Remove, Start, Stop
from gateway.reconcile.view import Health, start_order

Chain = tuple[Cause, ...]

TROUBLED: Final = (Phase.BACKOFF, Phase.FAILED, Phase.UNHEALTHY)
"""Phases in which it helps to see what the service printed."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lies outside of the reconciler."""

    links: Sequence[Link] = ()
    """Network interfaces that lead out; empty: nobody watches them."""
    broker: Link | None = None
    """The session with it."""
    refusal: Refusal | None = None
    """The last desired state of the authority that wants the APP."""
    printed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Service -> its last lines."""


def explain(situation: Situation, around: Surroundings) -> Explanation:
    """One chain for each thing that is not as it should be; one that says since when, if there is none."""
    view = situation.view
    chains = [*_engine(situation)]
    well = not chains
    if view.target is None:
        chains.append(_removing(situation))
        well = False
    elif view.withheld:
        chains.append((Cause(CauseKind.WITHHELD, f"withheld: {view.withheld}"),))
        well = False
    elif view.stopped:
        chains.append((Cause(CauseKind.STOPPED, "stopped by the operator"),))
    elif troubles := _services(situation, view.target, around):
        chains += troubles
        well = False
    elif well:
        chains.append((_runs(situation, view.target),))
    chains += _versions(situation)
    if around.refusal is not None:
        chains.append((_refused(around.refusal),))
    return Explanation(view.name, well, tuple(chains))


def not_deployed(app: str, refusals: Sequence[Refusal]) -> Explanation | None:
    """For an APP that nobody wants here; None when nothing explains that."""
    named = re.compile(rf"apps\.{re.escape(app)}(?![a-z0-9_-])")
    about = [refusal for refusal in refusals if named.search(refusal.reason)]
    if not about:
        return None
    cause = Cause(CauseKind.NOT_DEPLOYED, f"{app} is not deployed here")
    return Explanation(app, False, tuple((cause, _refused(refusal)) for refusal in about))


def troubled(situation: Situation) -> list[tuple[str, str]]:
    """(service, container) of those whose last lines would tell something."""
    view = situation.view
    found = [(s.name, standing(view, s, situation.now)) for s in (view.target.services if view.target else ())]
    return [
        (name, state.container.status.id)
        for name, state in found
        if state.phase in TROUBLED and state.container is not None
    ]


def _engine(situation: Situation) -> list[Chain]:
    if not situation.engine_error:
        return []
    text = f"the engine does not tell what runs: {situation.engine_error}"
    return [(Cause(CauseKind.ENGINE, text, since_ns=situation.engine_error_ns),)]


def _removing(situation: Situation) -> Chain:
    left = len(situation.view.containers)
    return (Cause(CauseKind.REMOVING, f"nobody wants it here any more: {left} container(s) left to remove"),)


def _runs(situation: Situation, target: App) -> Cause:
    states = [standing(situation.view, service, situation.now) for service in target.services]
    started = [s.container.status.started_ns for s in states if s.container and s.phase is not Phase.STOPPED]
    done = all(state.phase is Phase.STOPPED for state in states)
    word = "has done its work" if done else "healthy" if any(s.phase is Phase.HEALTHY for s in states) else "running"
    trial = ", on trial" if situation.view.rolling else ""
    return Cause(CauseKind.RUNS, f"version {target.version} {word}{trial}", since_ns=max(started, default=0))


# Services


def _services(situation: Situation, target: App, around: Surroundings) -> list[Chain]:
    """A chain per service that is not well, dependents first, so that a chain ends at what all of them wait for."""
    if situation.view.missing_images:
        return [_images(situation, around)]
    told: set[str] = set()
    chains = []
    for service in reversed(start_order(target)):
        if service.name not in told and (chain := _service(situation, target, service, around, told)):
            chains.append(chain)
    return chains


def _service(situation: Situation, target: App, service: Service, around: Surroundings, told: set[str]) -> Chain:
    """Empty when it is well."""
    told.add(service.name)
    now_standing = standing(situation.view, service, situation.now)
    match now_standing.phase:
        case Phase.HEALTHY | Phase.STOPPED:
            return ()
        case Phase.RUNNING:
            return _unproved(service, now_standing)
        case Phase.UNKNOWN:
            return (
                Cause(CauseKind.ENGINE, f"nothing is known of {service.name}: {now_standing.reason}", service.name),
            )
        case Phase.WAITING:
            return _dependency(situation, target, service, around, told)
        case _:
            return (_troubled(situation, service, now_standing, around),)


def _unproved(service: Service, now_standing: Standing) -> Chain:
    container = now_standing.container
    if service.healthcheck is None or container is None or container.health is not Health.STARTING:
        return ()
    said = container.health_reason or "it has not been asked yet"
    text = f"{service.name} runs, but its health check has not passed yet: {said}"
    return (Cause(CauseKind.STARTING, text, service.name, container.status.started_ns),)


def _dependency(situation: Situation, target: App, service: Service, around: Surroundings, told: set[str]) -> Chain:
    blocked = waits_for(situation.view, service, situation.now)
    words = "is" if blocked.startswith("waiting for ") else "must wait:"
    cause = Cause(CauseKind.DEPENDENCY, f"{service.name} {words} {blocked}", service.name)
    for name in service.depends_on:
        if f" {name} " in f"{blocked} ":
            return (cause, *_service(situation, target, target.service(name), around, told))
    return (cause,)


def _troubled(situation: Situation, service: Service, now_standing: Standing, around: Surroundings) -> Cause:
    past = situation.view.past(service.name)
    container, wait_s = now_standing.container, past.not_before - situation.now
    printed = tuple(around.printed.get(service.name, ()))
    since_ns = container.status.finished_ns if container else 0
    doing = _doing(situation, service)
    times = f", {past.failures} times in a row" if past.failures > 1 else ""
    if now_standing.phase is Phase.UNHEALTHY:
        text = f"{service.name} is unhealthy: {now_standing.reason}{doing}"
        return Cause(CauseKind.UNHEALTHY, text, service.name, details=printed)
    if container is not None and container.status.state is ContainerState.EXITED:
        end = "" if now_standing.phase is not Phase.FAILED else "; its restart policy lets it be"
        next_try_s = round(wait_s, 1) if wait_s > 0 and not end else None
        text = f"{service.name} {now_standing.reason}{times}{end}{doing}"
        return Cause(CauseKind.ENDED, text, service.name, since_ns, next_try_s, printed)
    if now_standing.reason:
        next_try_s = round(wait_s, 1) if wait_s > 0 else None
        text = f"{service.name} cannot be started{times}: {now_standing.reason}{doing}"
        return Cause(CauseKind.STEP_FAILED, text, service.name, next_try_s=next_try_s)
    return Cause(CauseKind.STARTING, f"{service.name} is about to start{doing}", service.name)


def _doing(situation: Situation, service: Service) -> str:
    """What is being done about it at this moment."""
    match situation.step:
        case Create() if situation.step.service.name == service.name:
            return "; its container is being created"
        case Start(service=name) if name == service.name:
            return "; it is being started"
        case Stop(service=name, grace_s=grace_s) if name == service.name:
            return f"; it is being stopped (it has {grace_s:g} s)"
        case Remove(service=name) if name == service.name:
            return "; its old container is being removed"
    return ""


# Images


def _images(situation: Situation, around: Surroundings) -> Chain:
    view, pulling = situation.view, situation.pulling
    waiting = ", ".join(sorted(image.partition("@")[0] for image in view.missing_images))
    runs = [c for c in view.containers if c.status.state is ContainerState.RUNNING]
    meanwhile = "; the version before goes on meanwhile" if runs else ""
    if pulling is not None:
        cause = Cause(CauseKind.PULLING, _progress(pulling) + meanwhile, pulling.image)
        if not pulling.trouble:
            return (cause,)
        return (cause, Cause(CauseKind.REGISTRY, pulling.trouble, pulling.image), *_link(around))
    wait_s = view.pull_not_before - situation.now
    if not view.pull_error or isinstance(situation.step, Pull):
        return (Cause(CauseKind.PULLING, f"waiting for {waiting}: the pull is about to begin{meanwhile}", waiting),)
    cause = Cause(CauseKind.PULLING, f"waiting for {waiting}{meanwhile}", waiting)
    next_try_s = round(max(0.0, wait_s), 1)
    if view.pull_exhausted:
        return (cause, Cause(CauseKind.EXHAUSTED, view.pull_error, next_try_s=next_try_s))
    return (cause, Cause(CauseKind.PULL_FAILED, view.pull_error, waiting, next_try_s=next_try_s), *_link(around))


def _progress(pulling: Pulling) -> str:
    if not pulling.layers:
        return f"waiting for {pulling.image}: {pulling.text}"
    done, total = pulling.done_bytes / 1e6, pulling.total_bytes / 1e6
    verb = "unpacking" if pulling.text.startswith("unpacking") else "waiting for"
    return f"{verb} layer {pulling.layer}/{pulling.layers} of {pulling.image}, {done:.1f} of {total:.1f} MB"


def _link(around: Surroundings) -> Chain:
    """Why nothing comes over the network: no interface leads out any more, or the broker is away."""
    if around.links and not any(link.up for link in around.links):
        last = max(around.links, key=lambda link: link.since_ns)
        others = " and all others" if len(around.links) > 1 else ""
        return (_down(last, f"link {last.name}{others} down"),)
    if around.broker is not None and not around.broker.up:
        return (_down(around.broker, f"link {around.broker.name} down"),)
    return ()


def _down(link: Link, text: str) -> Cause:
    return Cause(CauseKind.LINK, f"{text}: {link.error}" if link.error else text, link.name, link.since_ns)


# Versions


def _versions(situation: Situation) -> list[Chain]:
    view, record, wanted = situation.view, situation.record, situation.desired_version
    if situation.pin is not None:
        pin = situation.pin
        other = f"; version {wanted} waits until it is unpinned" if view.held else ""
        text = f"version {pin.version.version} is pinned by {pin.by}{other}"
        return [(Cause(CauseKind.PINNED, text, since_ns=pin.since_ns),)]
    if view.rolled_back and view.target is not None:
        text = f"version {wanted} is not what runs, but the last good one, {view.target.version}"
        return [(Cause(CauseKind.ROLLED_BACK, text), Cause(CauseKind.ROLLED_BACK, record.failed_reason))]
    return []


def _refused(refusal: Refusal) -> Cause:
    reason = " ".join(refusal.reason.split())
    text = f"the last desired state of {refusal.authority} was refused: {reason}"
    return Cause(CauseKind.REFUSED, text, refusal.authority, refusal.since_ns)
