"""Roll back, try again, pin, unpin: what the record says then, and what the agent does, also the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import Conflict, NotFound, NotPermitted
from gateway.model.app import Grant
from gateway.model.desired import Desired
from gateway.model.reports import Phase, Rollout
from gateway.reconcile.loop import Reconciler
from gateway.reconcile.orders import pin, roll_back, try_again, unpin
from gateway.reconcile.records import AppRecord, AppRecords, Pin
from tests.unit.reconcile.agent import Site, app, report, until

ONE, TWO = app("one"), app("two")
BY = "the operator"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def runs(agent: Reconciler, version: str, rollout: Rollout = Rollout.DONE) -> Callable[[], bool]:
    def holds() -> bool:
        entry = report(agent)
        return (
            entry is not None
            and (entry.version, entry.rollout) == (version, rollout)
            and entry.services[0].phase is Phase.HEALTHY
        )

    return holds


def test_a_version_on_trial_goes_back_to_the_good_one_and_a_good_one_to_the_one_before() -> None:
    trial = roll_back(AppRecord(good=ONE), TWO, "cloud", BY)
    assert (trial.good, trial.failed_digest, trial.failed_reason) == (ONE, TWO.digest, "rolled back by the operator")
    settled = roll_back(AppRecord(good=TWO, previous=ONE), TWO, "cloud", BY)
    assert (settled.good, settled.previous, settled.failed_digest) == (ONE, None, TWO.digest)
    assert try_again(settled, TWO).failed_digest == ""


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (lambda: roll_back(AppRecord(), ONE, "cloud", BY), "no version before one has been good"),
        (lambda: roll_back(AppRecord(good=ONE), ONE, "cloud", BY), "no version before one has been good"),
        (lambda: roll_back(AppRecord(good=ONE, failed_digest=TWO.digest), TWO, "cloud", BY), "it is, version one runs"),
        (
            lambda: roll_back(pin(AppRecord(good=ONE), ONE, "cloud", BY, 1), TWO, "cloud", BY),
            "the operator has pinned version one",
        ),
        (lambda: try_again(AppRecord(good=ONE), ONE), "was not rolled back"),
        (lambda: pin(AppRecord(good=ONE), TWO, "cloud", BY, 1), "two has not proved good yet"),
        (lambda: pin(pin(AppRecord(good=ONE), ONE, "cloud", BY, 1), ONE, "cloud", BY, 2), "pinned already"),
        (lambda: unpin(AppRecord(), "app"), "it is not pinned"),
    ],
)
def test_what_cannot_be_ordered_says_why(order: Callable[[], AppRecord], why: str) -> None:
    with pytest.raises(Conflict, match=why):
        order()


def test_a_pin_of_an_earlier_owner_is_none() -> None:
    record = AppRecord(good=TWO, previous=ONE, pin=Pin(TWO, "contractor", BY, 1))
    assert roll_back(record, TWO, "cloud", BY).good == ONE
    assert pin(record, TWO, "cloud", BY, 5).pin == Pin(TWO, "cloud", BY, 5)


def test_what_two_threads_change_is_both_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        records = AppRecords(tmp_path)
        stop = asyncio.to_thread(records.change, "app", lambda record: replace(record, stopped=True))
        good = asyncio.to_thread(records.change, "app", lambda record: replace(record, good=ONE))
        await asyncio.gather(stop, good)
        assert records.get("app") == AppRecord(good=ONE, stopped=True)
        with pytest.raises(Conflict):
            records.change("app", lambda record: unpin(record, "app"))
        again = AppRecords(tmp_path)
        again.load()
        assert again.get("app") == records.get("app")

    asyncio.run(scenario())


def test_rolled_back_by_the_operator_until_another_version_comes(site: Site) -> None:
    async def scenario() -> None:
        for version in ("one", "two"):
            site.desire(app(version))
            async with site.agent() as agent:
                await until(runs(agent, version))
        async with site.agent() as agent:
            await until(runs(agent, "two"))
            with pytest.raises(NotFound):
                await agent.orders.roll_back("nothing", BY)
            site.images.online = False
            assert await agent.orders.roll_back("app", BY) == "one"
            await until(runs(agent, "one", Rollout.ROLLED_BACK))
            entry = report(agent)
            assert entry is not None
            assert entry.reason == "rolled back by the operator"
        async with site.agent() as agent:  # it survives the agent
            await until(runs(agent, "one", Rollout.ROLLED_BACK))
            await agent.orders.try_again("app", BY)
            await until(runs(agent, "two"))
            await agent.orders.roll_back("app", BY)
            await until(runs(agent, "one", Rollout.ROLLED_BACK))
        site.images.online = True
        site.desire(app("three"))
        async with site.agent() as agent:
            await until(runs(agent, "three"))
            await until(lambda: {image.split("/")[1][:3] for image in site.images.kept} == {"one", "thr"})

    asyncio.run(scenario())


def test_a_pin_holds_whatever_is_desired_until_it_is_taken_away(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(runs(agent, "one"))
            assert await agent.orders.pin("app", BY) == "one"
        before = list(site.machine.history)
        site.desire(app("two"))
        async with site.agent() as agent:
            await until(runs(agent, "one", Rollout.PINNED))
            entry = report(agent)
            assert entry is not None
            assert (entry.pinned_by, entry.reason) == (BY, "version one is pinned by the operator")
            assert entry.pinned_ns > 0
            assert site.machine.history == before, "what is pinned and well is not touched"
            assert await agent.orders.unpin("app", BY) == "two"
            await until(runs(agent, "two"))
            await agent.orders.pin("app", BY)
        site.desire()
        async with site.agent() as agent:  # a pin holds a version: an APP that nobody wants goes
            await until(lambda: not site.machine.statuses and report(agent) is None)

    asyncio.run(scenario())


def test_a_pinned_version_must_fit_the_profile_too(site: Site) -> None:
    def no_serial(desired: Desired) -> None:
        if any(service.esdk.serial for entry in desired.apps for service in entry.services):
            raise NotPermitted("authority cloud may not grant serial port RS485-1")

    async def scenario() -> None:
        site.desire(app("one", esdk=Grant(serial=("RS485-1",))))
        async with site.agent() as agent:
            await until(runs(agent, "one"))
            await agent.orders.pin("app", BY)
        site.desire(app("two"))
        async with site.agent(no_serial) as agent:
            await until(lambda: (r := report(agent)) is not None and "may not grant serial port" in r.reason)
            await until(lambda: not site.machine.running())
            await agent.orders.unpin("app", BY)
            await until(runs(agent, "two"))

    asyncio.run(scenario())
