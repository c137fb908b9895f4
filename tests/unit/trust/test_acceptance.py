"""Revisions and owners."""

from __future__ import annotations

import pytest

from gateway.errors import Conflict
from gateway.model.app import App
from gateway.model.desired import AcceptedDesired, Desired
from gateway.trust.acceptance import Decision, decide


def accepted(authority: str, revision: int, *apps: str, digest: str = "sha256:a") -> AcceptedDesired:
    return AcceptedDesired(
        Desired("gw", "inc", authority, revision, tuple(App(name, ()) for name in apps)), digest, ("k",)
    )


CURRENT = {"cloud": accepted("cloud", 5, "meter"), "local": accepted("local", 2, "probe")}


@pytest.mark.parametrize(
    ("candidate", "decision"),
    [
        (accepted("cloud", 6, "meter", "other", digest="sha256:b"), Decision.ACCEPT),
        (accepted("cloud", 100, digest="sha256:b"), Decision.ACCEPT),
        (accepted("cloud", 5, "meter"), Decision.UNCHANGED),
        (accepted("contractor", 1, "pump"), Decision.ACCEPT),
    ],
)
def test_what_is_taken(candidate: AcceptedDesired, decision: Decision) -> None:
    assert decide(CURRENT, candidate) is decision


@pytest.mark.parametrize(
    ("candidate", "cause"),
    [
        (accepted("cloud", 4, "meter"), "cannot accept revision 4 of cloud: revision 5 is in force already"),
        (accepted("cloud", 5, "meter", digest="sha256:b"), "accepted with other content"),
        (accepted("cloud", 6, "meter", "probe"), "apps.probe: belongs to authority local"),
        (accepted("local", 3, "probe", "meter"), "apps.meter: belongs to authority cloud"),
        (accepted("contractor", 1, "meter"), "so contractor may not deploy it"),
    ],
)
def test_what_is_refused(candidate: AcceptedDesired, cause: str) -> None:
    with pytest.raises(Conflict) as caught:
        decide(CURRENT, candidate)
    assert cause in str(caught.value)


def test_an_app_that_its_owner_gave_up_is_free() -> None:
    current = {**CURRENT, "local": accepted("local", 3)}
    assert decide(current, accepted("cloud", 6, "meter", "probe")) is Decision.ACCEPT
