"""Services that live in other containers: they wait for their host, go with it, and need its leave."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.engines.simulated.behaviour import Behaviour
from gateway.model.app import App, Restart
from gateway.model.reports import Phase, Rollout
from gateway.reconcile.hosting import admits
from gateway.reconcile.loop import Reconciler
from gateway.reconcile.view import service_digest
from tests.unit.reconcile.agent import Site, app, report, service, until


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def host(image: str = "host", guests: tuple[str, ...] = ("*",)) -> App:
    return app(image, "site", guests=guests)


def guest(name: str = "one", image: str = "package", **changes: object) -> App:
    return app(image, name, host="site/main", **changes)


def phase(agent: Reconciler, name: str) -> Phase | None:
    entry = report(agent, name)
    return entry.services[0].phase if entry is not None else None


def rollout(agent: Reconciler, name: str) -> Rollout | None:
    entry = report(agent, name)
    return entry.rollout if entry is not None else None


def reason(agent: Reconciler, name: str = "one") -> str:
    entry = report(agent, name)
    return entry.services[0].reason if entry is not None else ""


def version(agent: Reconciler, name: str) -> str:
    entry = report(agent, name)
    return entry.version if entry is not None else ""


def restarts(agent: Reconciler, name: str) -> int:
    entry = report(agent, name)
    assert entry is not None
    return entry.services[0].restarts


async def settled(agent: Reconciler, *names: str) -> None:
    await until(lambda: all((rollout(agent, n), phase(agent, n)) == (Rollout.DONE, Phase.HEALTHY) for n in names))


async def running(site: Site, *containers: str) -> None:
    await until(lambda: site.machine.running() == list(containers))


def test_a_guest_waits_for_its_host_and_is_put_into_it(site: Site) -> None:
    async def scenario() -> None:
        site.desire(guest())
        async with site.agent() as agent:
            await until(lambda: "no APP site is deployed" in reason(agent))
        site.desire(host(), guest())
        async with site.agent() as agent:
            await settled(agent, "site", "one")
            spec = site.machine.specs["one.main.1"]
            assert spec.host is not None
            assert (spec.host.container, spec.host.pid) == ("site.main.1", site.machine.statuses["site.main.1"].pid)

    asyncio.run(scenario())


def test_the_crash_of_a_host_is_no_failure_of_its_guests(site: Site) -> None:
    async def scenario() -> None:
        site.desire(host(), guest("one"), guest("two", restart=Restart.NO, healthcheck=None))
        async with site.agent() as agent:
            await settled(agent, "site", "one")
            await until(lambda: "two.main.1" in site.machine.running())
            for generation in (1, 2):
                site.machine.crash(f"site.main.{generation}")
                await running(site, *(f"{name}.main.{generation + 1}" for name in ("one", "site", "two")))
                await settled(agent, "site", "one")
            assert (restarts(agent, "site"), restarts(agent, "one"), restarts(agent, "two")) == (2, 0, 0)

    asyncio.run(scenario())


def test_the_crash_of_a_guest_is_its_own(site: Site) -> None:
    async def scenario() -> None:
        site.desire(host(), guest("one"), guest("two"))
        async with site.agent() as agent:
            await settled(agent, "site", "one", "two")
            site.machine.crash("one.main.1", 3)
            await until(lambda: site.machine.running() == ["one.main.2", "site.main.1", "two.main.1"])
            assert restarts(agent, "one") == 1

    asyncio.run(scenario())


def test_guests_are_stopped_before_their_host_and_come_back_with_it(site: Site) -> None:
    async def scenario() -> None:
        site.desire(host("host"), guest("one"), guest("two"))
        async with site.agent() as agent:
            await settled(agent, "site", "one", "two")
        before = len(site.machine.history)
        site.desire(host("newer"), guest("one"), guest("two"))
        async with site.agent() as agent:
            await until(lambda: version(agent, "site") == "newer")
            await settled(agent, "site", "one", "two")
            await until(lambda: len(site.machine.statuses) == 3)
            (new,) = [name for name in site.machine.running() if name.startswith("site")]
            hosts = [site.machine.specs[name].host for name in site.machine.running() if name != new]
            assert [entry.container for entry in hosts if entry is not None] == [new, new]
            assert (restarts(agent, "one"), restarts(agent, "two")) == (0, 0)
        stops = [line for line in site.machine.history[before:] if line.startswith("stop")]
        assert sorted(stops[:2]) == ["stop one.main.1", "stop two.main.1"]
        assert stops[2:] == ["stop site.main.1"]

    asyncio.run(scenario())


def test_an_upgrade_or_a_roll_back_of_a_guest_concerns_nobody_else(site: Site) -> None:
    site.machine.behaviour = lambda spec: Behaviour(healthy="bad" not in spec.image)

    async def scenario() -> None:
        site.desire(host(), guest("one"), guest("two"))
        async with site.agent() as agent:
            await settled(agent, "site", "one", "two")
        site.desire(host(), guest("one", "bad"), guest("two"))
        async with site.agent() as agent:
            await until(lambda: (rollout(agent, "one"), phase(agent, "one")) == (Rollout.ROLLED_BACK, Phase.HEALTHY))
            await settled(agent, "site", "two")
        site.desire(host(), guest("one", "newer"))
        async with site.agent() as agent:
            await settled(agent, "one")
            await until(lambda: report(agent, "two") is None)
            assert len(site.machine.running()) == 2
        assert not {"stop site.main.1", "create two.main.2"} & set(site.machine.history)

    asyncio.run(scenario())


def test_a_host_that_is_stopped_or_removed_is_reported_by_its_guests(site: Site) -> None:
    async def scenario() -> None:
        site.desire(host(), guest())
        async with site.agent() as agent:
            await settled(agent, "site", "one")
            await agent.set_stopped("site", True)
            await until(lambda: "waiting for its host site/main to run" in reason(agent))
            await until(lambda: not site.machine.statuses)
            await agent.set_stopped("site", False)
            await settled(agent, "site", "one")
        site.desire(guest())
        async with site.agent() as agent:
            await until(lambda: "no APP site is deployed" in reason(agent))
            await until(lambda: not site.machine.statuses)

    asyncio.run(scenario())


def test_a_host_that_does_not_let_it_in_keeps_it_out_and_says_how(site: Site) -> None:
    async def scenario() -> None:
        site.desire(host(guests=("other",)), guest())
        async with site.agent() as agent:
            await until(lambda: "x-esdk.guests: [one] there would allow it" in reason(agent))
            await settled(agent, "site")
            assert site.machine.running() == ["site.main.1"]
            assert rollout(agent, "one") is Rollout.FAILED
            assert "one.main" not in await anext(agent.grants)
        site.desire(host(guests=("one",)), guest())
        async with site.agent() as agent:
            await settled(agent, "site", "one")
            assert site.machine.running() == ["one.main.1", "site.main.1"], "the host need not be made anew for that"
        site.desire(host(guests=()), guest())
        async with site.agent():
            await until(lambda: site.machine.running() == ["site.main.1"])

    asyncio.run(scenario())


def test_whose_apps_may_come_in_is_said_by_authority(site: Site) -> None:
    async def scenario() -> None:
        site.desire(host(guests=("*",)))
        site.desire(guest("one"), authority="local")
        async with site.agent() as agent:
            await until(lambda: "x-esdk.guests: [local/one] there" in reason(agent))
        site.desire(host(guests=("local/o*",)))
        async with site.agent() as agent:
            await settled(agent, "one")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("pattern", "app", "authority", "admitted"),
    [
        ("one", "one", "cloud", True),
        ("one", "one", "local", False),
        ("vendor-*", "vendor-a", "cloud", True),
        ("vendor-*", "other", "cloud", False),
        ("local/*", "one", "local", True),
        ("local/*", "one", "cloud", False),
        ("*", "one", "cloud", True),
    ],
)
def test_a_pattern_covers_the_hosts_own_authority_unless_it_names_another(
    pattern: str, app: str, authority: str, admitted: bool
) -> None:
    assert admits(pattern, "cloud", app, authority) is admitted


def test_a_hosted_service_of_the_same_app_needs_no_leave_and_comes_second(site: Site) -> None:
    services = (service("package", "tool", host="site/main"), service("host", "main"))

    async def scenario() -> None:
        site.desire(App("site", services))
        async with site.agent() as agent:
            await until(lambda: rollout(agent, "site") is Rollout.DONE)
        starts = [line for line in site.machine.history if line.startswith("start")]
        assert [line.split(".")[1] for line in starts] == ["main", "tool"]

    asyncio.run(scenario())


def test_a_host_that_is_hosted_is_none(site: Site) -> None:
    async def scenario() -> None:
        site.desire(host(), guest("one", guests=("*",)), app("package", "two", host="one/main"))
        async with site.agent() as agent:
            await until(lambda: "one/main is hosted itself" in reason(agent, "two"))

    asyncio.run(scenario())


def test_who_may_live_in_a_container_is_nothing_that_it_runs() -> None:
    assert service_digest("site", service("x")) == service_digest("site", service("x", guests=("one",)))
    assert service_digest("site", service("x")) != service_digest("site", service("x", host="a/b"))


def test_a_new_agent_touches_no_guest(site: Site) -> None:
    async def scenario() -> None:
        site.desire(host(), guest("one"), guest("two"))
        async with site.agent() as agent:
            await settled(agent, "site", "one", "two")
        before = list(site.machine.history)
        for _ in range(2):
            async with site.agent() as agent:
                await settled(agent, "site", "one", "two")
        assert site.machine.history == before

    asyncio.run(scenario())
