"""The loop, from a desired state to running containers, across sudden ends of the agent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.engines.simulated.behaviour import Behaviour
from gateway.errors import Conflict, InvalidInput, NotFound, NotPermitted, NotSupported, Unavailable
from gateway.model.app import App, Condition, Grant, Limits, VolumeMount
from gateway.model.desired import Desired
from gateway.model.reports import Phase, Rollout
from gateway.reconcile.desired_store import DesiredStore
from tests.unit.reconcile.agent import Site, app, report, service, until


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_desired_app_is_pulled_started_and_healthy(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
            entry = report(agent)
            assert entry is not None
            assert entry.services[0].phase is Phase.HEALTHY
            assert entry.services[0].container == "app.main.1"
            grants = await anext(agent.grants)
            assert list(grants) == ["app.main"]
        assert site.machine.history == ["create app.main.1", "start app.main.1"]

    asyncio.run(scenario())


def test_a_new_agent_touches_nothing_that_is_well(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
        before = list(site.machine.history)
        site.images.online = False
        for _ in range(3):
            async with site.agent() as agent:
                await until(lambda: (r := report(agent)) is not None and r.services[0].phase is Phase.HEALTHY)
                await asyncio.sleep(0.1)
        assert site.machine.history == before

    asyncio.run(scenario())


def test_a_crash_is_restarted_at_once_and_the_old_container_removed(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
            site.machine.crash("app.main.1")
            await until(lambda: site.machine.running() == ["app.main.2"], 1.0)
            await until(lambda: list(site.machine.statuses) == ["app.main.2"])
            entry = report(agent)
            assert entry is not None
            assert entry.services[0].restarts == 1

    asyncio.run(scenario())


def test_an_update_pulls_before_it_stops(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
        site.desire(app("two"))
        site.images.online = False
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.services[0].phase is Phase.WAITING)
            assert site.machine.running() == ["app.main.1"]
        site.images.online = True
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.version == "two" and r.rollout is Rollout.DONE)
            assert len(site.machine.running()) == 1
            await until(lambda: len(site.machine.statuses) == 1)
            assert {image.split("/")[1][:3] for image in site.images.kept} == {"one", "two"}, "to roll back to"

    asyncio.run(scenario())


def test_an_unhealthy_version_is_rolled_back_and_not_tried_again(site: Site) -> None:
    site.machine.behaviour = lambda spec: Behaviour(healthy="bad" not in spec.image)

    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
        site.desire(app("bad"))
        async with site.agent() as agent:
            await until(
                lambda: (
                    (r := report(agent)) is not None
                    and r.rollout is Rollout.ROLLED_BACK
                    and r.services[0].phase is Phase.HEALTHY
                )
            )
            entry = report(agent)
            assert entry is not None
            assert "not well" in entry.reason
            assert entry.version == "one"
        before = list(site.machine.history)
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.services[0].phase is Phase.HEALTHY)
            await asyncio.sleep(0.2)
        assert site.machine.history == before

    asyncio.run(scenario())


def test_what_does_not_fit_into_memory_is_not_even_pulled_and_the_old_version_goes_on(site: Site) -> None:
    small, large = (Limits(memory_bytes=mib << 20) for mib in (600, 700))

    async def scenario() -> None:
        site.desire(app("one", limits=small), app("one", "other", limits=Limits(memory_bytes=300 << 20)))
        async with site.agent() as agent:
            await until(lambda: [r.rollout for r in agent.reports()] == [Rollout.DONE, Rollout.DONE])
        site.desire(app("two", limits=large), app("one", "other", limits=Limits(memory_bytes=400 << 20)))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and "memory" in r.services[0].reason)
            entry = report(agent)
            assert entry is not None
            assert "its memory limits are 700 MiB, but 623 MiB are free" in entry.services[0].reason
            assert (entry.rollout, entry.services[0].phase) == (Rollout.ROLLING, Phase.WAITING)
            assert site.images.present == {service("one").image}
            assert "app.main.1" in site.machine.running()
        site.desire(app("two", limits=large))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.version == "two" and r.rollout is Rollout.DONE)

    asyncio.run(scenario())


def test_a_first_version_that_fails_is_tried_for_ever(site: Site) -> None:
    site.machine.behaviour = lambda spec: Behaviour(startable=False)

    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and "no such program" in r.services[0].reason)
            entry = report(agent)
            assert entry is not None
            assert entry.rollout in (Rollout.ROLLING, Rollout.FAILED)

    asyncio.run(scenario())


def test_removed_apps_go_and_their_volumes_stay_until_purged(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one", volumes=(VolumeMount("data", "/data"),)))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
        site.desire()
        async with site.agent() as agent:
            await until(lambda: not site.machine.statuses)
            await until(lambda: report(agent) is None)
            assert (site.paths.volumes / "app" / "data").is_dir()
            assert not list(site.paths.endpoints.glob("app*"))
            (site.paths.volumes / ".app.1").mkdir()  # of a purge that was cut short
            (site.paths.volumes / "app-2").mkdir()
            await agent.purge("app")
            assert [path.name for path in site.paths.volumes.iterdir()] == ["app-2"]
            with pytest.raises(NotFound):
                await agent.purge("app")

    asyncio.run(scenario())


def test_volumes_are_not_purged_before_their_app_is_gone(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one", volumes=(VolumeMount("data", "/data"),)))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
            with pytest.raises(Conflict, match="still deployed"):
                await agent.purge("app")
        site.desire()
        site.machine.behaviour = lambda spec: Behaviour(signals={"SIGTERM": None})
        async with site.agent() as agent:
            await until(lambda: report(agent) is not None)
            with pytest.raises(Unavailable, match="still being removed"):
                await agent.purge("app")
            assert (site.paths.volumes / "app" / "data").is_dir()
            site.machine.crash("app.main.1")
            await until(lambda: report(agent) is None)
            await agent.purge("app")

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "app/data"])
def test_only_the_volumes_of_an_app_are_purged(site: Site, name: str) -> None:
    async def scenario() -> None:
        site.desire()
        (site.paths.volumes / "app" / "data").mkdir(parents=True)
        async with site.agent() as agent:
            with pytest.raises(InvalidInput, match="cannot use"):
                await agent.purge(name)
        assert (site.paths.volumes / "app" / "data").is_dir()
        assert site.paths.desired.is_dir()

    asyncio.run(scenario())


def test_a_damaged_desired_state_stops_nothing(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
        (site.paths.desired / "cloud.json").write_text("{")
        async with site.agent():
            await asyncio.sleep(0.2)
            assert site.machine.running() == ["app.main.1"]
        store = DesiredStore(site.paths.desired)
        store.load()
        assert list(store.damaged) == ["cloud"]

    asyncio.run(scenario())


def test_stopped_and_started_again_and_again_it_starts_at_once(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            for _ in range(4):
                await until(lambda: len(site.machine.running()) == 1, 1.0)
                await agent.set_stopped("app", True)
                await until(lambda: not site.machine.statuses)
                await agent.set_stopped("app", False)

    asyncio.run(scenario())


def test_the_operators_stop_survives_the_agent(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
            await agent.set_stopped("app", True)
            await until(lambda: not site.machine.statuses)
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.stopped_by_operator)
            await asyncio.sleep(0.1)
            assert not site.machine.running()
            await agent.set_stopped("app", False)
            await until(lambda: len(site.machine.running()) == 1)

    asyncio.run(scenario())


def test_restart_replaces_the_container(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
            agent.restart("app")
            await until(lambda: site.machine.running() == ["app.main.2"])

    asyncio.run(scenario())


def test_services_start_in_order_of_dependency(site: Site) -> None:
    first, second = service("b", "base"), service("t", "top", depends_on={"base": Condition.HEALTHY})

    async def scenario() -> None:
        site.desire(App("app", (second, first)))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
        assert [line for line in site.machine.history if "start" in line] == ["start app.base.1", "start app.top.2"]

    asyncio.run(scenario())


def test_an_app_that_waits_is_looked_at_when_its_time_has_come(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one", "quiet"), app("one", "restless", healthcheck=None))
        async with site.agent() as agent:
            await until(lambda: len(site.machine.running()) == 2)
            for generation in (1, 2):
                site.machine.crash(f"restless.main.{generation}")
                await until(lambda: f"restless.main.{generation + 1}" in site.machine.running(), 3.0)  # noqa: B023
            assert report(agent, "quiet") is not None
        assert "start quiet.main.2" not in site.machine.history

    asyncio.run(scenario())


def test_apps_do_not_wait_for_each_other(site: Site) -> None:
    site.machine.behaviour = lambda spec: Behaviour(startable=spec.app != "bad")

    async def scenario() -> None:
        site.desire(app("one", "bad"), app("one", "good"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent, "good")) is not None and r.rollout is Rollout.DONE)

    asyncio.run(scenario())


def test_what_a_newer_profile_does_not_allow_is_stopped_and_told(site: Site) -> None:
    def no_serial(desired: Desired) -> None:
        if any(service.esdk.serial for app in desired.apps for service in app.services):
            raise NotPermitted("authority cloud may not grant serial port RS485-1")

    async def scenario() -> None:
        site.desire(app("one", esdk=Grant(serial=("RS485-1",))), app("two", "other"))
        async with site.agent() as agent:
            await until(lambda: site.machine.running() == ["app.main.1", "other.main.1"])
        async with site.agent(no_serial) as agent:
            await until(lambda: site.machine.running() == ["other.main.1"])
            await until(lambda: (r := report(agent)) is not None and r.services[0].phase is Phase.STOPPED)
            entry = report(agent)
            assert entry is not None
            assert "may not grant serial port RS485-1" in entry.reason
            assert "app.main" not in await anext(agent.grants)
        async with site.agent():
            await until(lambda: len(site.machine.running()) == 2)

    asyncio.run(scenario())


def test_the_good_version_deployed_again_after_a_roll_back_is_done(site: Site) -> None:
    async def scenario() -> None:
        site.machine.behaviour = lambda spec: Behaviour(healthy="bad" not in spec.image)
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
        site.desire(app("bad"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.ROLLED_BACK)
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)

    asyncio.run(scenario())


def test_a_desired_state_of_a_newer_agent_is_kept_for_it(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one"))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.rollout is Rollout.DONE)
        file = site.paths.desired / "cloud.json"
        content = file.read_bytes()
        file.write_bytes(content.replace(b'"schema":1', b'"schema":2'))
        async with site.agent() as agent:
            await asyncio.sleep(0.1)
        assert site.machine.running() == ["app.main.1"], "what cannot be read unwants nothing"
        file.write_bytes(file.read_bytes().replace(b'"schema":2', b'"schema":1'))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.services[0].phase is Phase.HEALTHY)

    asyncio.run(scenario())


def test_a_record_of_a_newer_agent_is_kept_for_it_and_its_stop_is_honoured(site: Site) -> None:
    async def scenario() -> None:
        site.desire(app("one"), app("one", "other"))
        async with site.agent() as agent:
            await until(lambda: [r.rollout for r in agent.reports()] == [Rollout.DONE, Rollout.DONE])
            await agent.set_stopped("app", True)
            await until(lambda: list(site.machine.statuses) == ["other.main.1"])
        newer = {}
        for name in ("app", "other"):
            file = site.paths.apps / f"{name}.json"
            newer[file] = file.read_bytes().replace(b'"schema":1', b'"schema":2')
            file.write_bytes(newer[file])
        before = list(site.machine.history)
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.stopped_by_operator)
            await until(lambda: (r := report(agent, "other")) is not None and r.rollout is Rollout.DONE)
            assert site.machine.history == before, "what was stopped stays so, what runs goes on"
            with pytest.raises(NotSupported, match="newer agent"):
                await agent.set_stopped("app", False)
            site.machine.crash("other.main.1")
            await until(lambda: site.machine.running() == ["other.main.2"])
        assert {file: file.read_bytes() for file in newer} == newer
        for file, content in newer.items():
            file.write_bytes(content.replace(b'"schema":2', b'"schema":1'))
        async with site.agent() as agent:
            await until(lambda: (r := report(agent)) is not None and r.stopped_by_operator)

    asyncio.run(scenario())
