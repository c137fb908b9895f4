"""Whether a verified desired state is to be taken, given what was accepted before. Pure; `reconcile/` asks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from gateway.errors import Conflict, Problem
from gateway.model.desired import AcceptedDesired


class Decision(StrEnum):
    ACCEPT = "accept"
    UNCHANGED = "unchanged"
    """It is what was accepted already: a retained message that came again."""


def decide(current: Mapping[str, AcceptedDesired], candidate: AcceptedDesired) -> Decision:
    """`current`: authority -> what it has in force.

    Conflict: an older revision, the same revision with other bytes, or an APP that another authority owns.
    """
    authority, revision = candidate.desired.authority, candidate.desired.revision
    what = f"cannot accept revision {revision} of {authority}"
    held = current.get(authority)
    if held is not None:
        if revision < held.desired.revision:
            raise Conflict(f"{what}: revision {held.desired.revision} is in force already")
        if revision == held.desired.revision:
            if candidate.digest != held.digest:
                raise Conflict(f"{what}: that revision was accepted with other content ({held.digest[:19]})")
            return Decision.UNCHANGED
    if problems := _owned_by_others(current, candidate):
        raise Conflict(f"{what}: an APP belongs to one authority", problems=problems)
    return Decision.ACCEPT


def _owned_by_others(current: Mapping[str, AcceptedDesired], candidate: AcceptedDesired) -> list[Problem]:
    authority = candidate.desired.authority
    owners = {app.name: other for other, held in current.items() if other != authority for app in held.desired.apps}
    return [
        Problem(f"apps.{app.name}", f"belongs to authority {owners[app.name]}, so {authority} may not deploy it")
        for app in candidate.desired.apps
        if app.name in owners
    ]
