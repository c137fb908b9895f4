"""What events say about a change."""

from __future__ import annotations

from typing import Any

import pytest

from cloud.cli.follow import Following, Result, follow

DEPLOY = Following("app", 5, "sha256:signed", "sha256:new")
REMOVE = Following("app", 5, "sha256:signed")


def _report(**changes: Any) -> dict[str, Any]:
    report = {"app": "app", "authority": "cloud", "revision": 5, "version": "2", "digest": "sha256:new",
              "rollout": "done", "services": [], **changes}  # fmt: skip
    return {"kind": "reported", "gateway": "gw", "report": report}


def _refusal(**changes: Any) -> dict[str, Any]:
    progress = {"kind": "refused", "authority": "cloud", "envelope": "sha256:signed", "text": "why", **changes}
    return {"kind": "progress", "gateway": "gw", "progress": progress}


@pytest.mark.parametrize(
    ("event", "result"),
    [
        (_report(), Result.HEALTHY),
        (_report(revision=6), Result.HEALTHY),
        (_report(revision=4), None),
        (_report(digest="sha256:old"), None),
        (_report(rollout="rolling"), None),
        (_report(rollout="failed", reason="why"), Result.FAILED),
        (_report(rollout="rolled_back", digest="sha256:old", reason="why"), Result.ROLLED_BACK),
        (_report(rollout="rolled_back"), None),  # of the version before: this one is being started
        (_report(rollout="rolled_back", revision=4), None),
        (_report(rollout="pinned", digest="sha256:old", reason="why"), Result.PINNED),
        (_report(rollout="pinned", digest="sha256:old", revision=4), None),
        (_report(app="other"), None),
        (_report(authority="local"), None),
        (_refusal(), Result.REFUSED),
        (_refusal(envelope="sha256:replayed"), None),  # somebody else's, or an old one of ours
        (_refusal(authority="local"), None),
        ({"kind": "progress", "gateway": "gw", "progress": {"kind": "pull"}}, None),
        ({"kind": "removed", "gateway": "gw", "app": "app"}, None),
        ({"kind": "idle", "gateway": "gw"}, None),
    ],
)
def test_a_deployment(event: dict[str, Any], result: Result | None) -> None:
    verdict = DEPLOY.judge(event)
    assert (verdict.result if verdict else None) == result
    if verdict and not verdict.good:
        assert verdict.reason == "why"


def test_a_removal() -> None:
    assert REMOVE.judge(_report()) is None
    assert REMOVE.judge({"kind": "removed", "gateway": "gw", "app": "other"}) is None
    assert REMOVE.judge(_refusal()) is not None
    verdict = REMOVE.judge({"kind": "removed", "gateway": "gw", "app": "app"})
    assert verdict is not None
    assert verdict.result is Result.REMOVED


def test_without_a_verdict_it_times_out_and_says_that_the_gateway_is_away() -> None:
    events = [{"kind": "status", "gateway": "gw", "status": {"online": False}}, {"kind": "idle", "gateway": "gw"}]
    seen: list[dict[str, Any]] = []
    verdict = follow(iter(events), DEPLOY, -1.0, seen.append)
    assert verdict.result is Result.TIMED_OUT
    assert "offline" in verdict.reason
    assert len(seen) == 1


def test_without_a_verdict_it_says_what_the_app_waits_for() -> None:
    waits = {"name": "main", "phase": "waiting", "reason": "cannot reach the registry"}
    old = _report(rollout="rolling", revision=4, services=[{**waits, "reason": "of the version before"}])
    verdict = follow(iter([_report(rollout="rolling", services=[waits]), old]), DEPLOY, 0.0, lambda event: None)
    assert verdict.result is Result.TIMED_OUT
    assert "main is waiting: cannot reach the registry" in verdict.reason
    assert "version before" not in verdict.reason


def test_a_failure_waits_a_moment_for_what_becomes_of_it() -> None:
    failed, rolled_back = _report(rollout="failed", reason="sick"), _report(rollout="rolled_back", digest="sha256:old")
    verdict = follow(iter([failed, rolled_back]), DEPLOY, 60.0, lambda event: None)
    assert verdict.result is Result.ROLLED_BACK
    verdict = follow(iter([failed]), DEPLOY, 60.0, lambda event: None)
    assert (verdict.result, verdict.reason) == (Result.FAILED, "sick")
