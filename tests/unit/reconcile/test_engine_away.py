"""An engine that does not answer: what it ran is unknown, not gone; nothing is done until it answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.engines.base import ContainerState, ContainerStatus
from gateway.errors import Unavailable
from gateway.model.app import App, Service
from gateway.model.reports import Phase, Rollout
from gateway.reconcile import loop
from gateway.reconcile.gate import Verdict, judge
from gateway.reconcile.health import HealthWatch
from gateway.reconcile.planner import Plan, plan
from gateway.reconcile.view import AppView, ContainerView, service_digest
from tests.unit.reconcile.agent import CHECK, Site, app, report, until

MAIN = Service("main", "registry.test/a@sha256:" + "1" * 64)
APP = App("app", (MAIN,))
UNSEEN = ContainerStatus("app", "main", 1, service_digest("app", MAIN), ContainerState.UNKNOWN)


def view(target: App | None, *statuses: ContainerStatus, away: str = "") -> AppView:
    containers = tuple(ContainerView(status) for status in statuses)
    return AppView("app", target, containers=containers, away={"main": away} if away else {})


@pytest.mark.parametrize(
    "unseen",
    [
        view(APP, UNSEEN),
        view(APP, away="gone"),  # a new agent has never seen its containers
        view(None, UNSEEN),
        replace(view(APP, UNSEEN), stopped=True),
        view(APP, replace(UNSEEN, digest="sha256:older")),
    ],
)
def test_nothing_is_planned_for_what_cannot_be_seen(unseen: AppView) -> None:
    assert plan(unseen, 100.0) == Plan()
    assert unseen.blind


def test_the_gate_of_a_version_stays_open() -> None:
    assert judge(replace(view(APP, UNSEEN, away="gone"), rolling=True), 1e6).verdict is Verdict.OPEN


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(loop, "AFTER_ENGINE_FAILURE_S", 0.05)
    return Site(tmp_path)


def test_it_is_reported_unknown_and_goes_on_when_the_engine_is_back(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
            before = list(site.machine.history)
            site.machine.away = "the daemon has gone"
            agent.wake()
            await until(lambda: (r := report(agent)) is not None and r.services[0].phase is Phase.UNKNOWN)
            entry = report(agent)
            assert entry is not None
            assert (entry.services[0].reason, entry.services[0].pid) == ("the daemon has gone", 0)
            await asyncio.sleep(0.3)
            site.machine.away = ""
            await until(lambda: (r := report(agent)) is not None and r.services[0].phase is Phase.HEALTHY)
            assert site.machine.history == before

    asyncio.run(scenario())


def test_a_new_agent_waits_for_the_engine_instead_of_failing_the_version(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
        site.desire(app("two"))
        site.machine.away = "not up yet"
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.services[0].phase is Phase.UNKNOWN)
            await asyncio.sleep(0.5)
            entry = report(agent)
            assert entry is not None
            assert entry.rollout is Rollout.ROLLING
            site.machine.away = ""
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
        (running,) = site.machine.running()
        assert site.machine.specs[running].image.startswith("registry.test/two@")

    asyncio.run(scenario())


def test_a_probe_that_could_not_be_made_is_no_failure() -> None:
    class Gone:
        async def exec(self, container: str, argv: object, timeout_s: float) -> object:
            raise Unavailable("the daemon has gone")

    async def scenario() -> None:
        changes: list[None] = []
        watch = HealthWatch(Gone(), lambda: changes.append(None))  # type: ignore[arg-type]
        watch.watch("app.main.1", replace(CHECK, retries=1, interval_s=0.01))
        await asyncio.sleep(0.2)
        assert watch.assessment("app.main.1").failures == 0
        assert not changes
        await watch.close()

    asyncio.run(scenario())
