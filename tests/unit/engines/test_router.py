"""Several engines as one: who runs what, and what is known while one of them does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from gateway.engines import router as module
from gateway.engines.base import ContainerSpec, ContainerState, ContainerStatus, HostContainer
from gateway.engines.router import EngineRouter
from gateway.engines.simulated.behaviour import Behaviour
from gateway.engines.simulated.engine import SimulatedEngine
from gateway.engines.simulated.machine import Machine
from gateway.errors import NotFound, NotSupported, Unavailable

SPEC = ContainerSpec("app", "main", 1, "sha256:1", "image")
OTHER = replace(SPEC, app="other", engine="two")


class Site:
    def __init__(self) -> None:
        self.one, self.two = Machine(), Machine(behaviour=lambda spec: Behaviour(output=(("stdout", "hello"),)))
        self.router = EngineRouter({"one": SimulatedEngine(self.one), "two": SimulatedEngine(self.two)})

    async def states(self) -> dict[str, ContainerState]:
        return {status.id: status.state for status in await self.router.list()}


def run(scenario: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        site = Site()
        await site.router.prepare()
        try:
            await scenario(site)
        finally:
            await site.router.close()

    asyncio.run(main())


def test_each_container_goes_to_its_engine() -> None:
    async def scenario(site: Site) -> None:
        for spec in (SPEC, OTHER):
            await site.router.create(spec)
            await site.router.start(spec.id)
        assert (site.one.running(), site.two.running()) == (["app.main.1"], ["other.main.1"])
        assert site.router.name == "one, two"
        assert [line.text async for line in site.router.logs(OTHER.id, tail=1, follow=False)] == ["hello"]
        assert (await site.router.exec(OTHER.id, ["true"], 1.0)).exit_code == 0
        assert (await site.router.stats(OTHER.id)).pids == 1
        site.two.crash(OTHER.id)
        assert (await anext(aiter(site.router.exits()))).id == OTHER.id
        await site.router.remove(OTHER.id)
        assert not site.two.statuses
        await site.router.remove(OTHER.id)
        with pytest.raises(NotFound):
            await site.router.start(OTHER.id)
        with pytest.raises(NotSupported, match="no engine three here, only one, two"):
            await site.router.create(replace(SPEC, engine="three"))

    run(scenario)


def test_a_new_router_finds_who_has_it() -> None:
    async def scenario(site: Site) -> None:
        await site.router.create(OTHER)
        again = EngineRouter({"one": SimulatedEngine(site.one), "two": SimulatedEngine(site.two)})
        await again.start(OTHER.id)
        assert site.two.running() == [OTHER.id]

    run(scenario)


def test_one_that_is_away_hides_neither_the_others_nor_what_it_had() -> None:
    async def scenario(site: Site) -> None:
        for spec in (SPEC, OTHER):
            await site.router.create(spec)
            await site.router.start(spec.id)
        await site.router.list()
        site.two.away = "the daemon has gone"
        assert await site.states() == {SPEC.id: ContainerState.RUNNING, OTHER.id: ContainerState.UNKNOWN}
        assert (site.router.away(""), site.router.away("one")) == ("", "")
        assert site.router.away("two") == "the daemon has gone"
        with pytest.raises(Unavailable, match="engine two is away: the daemon has gone"):
            await site.router.create(replace(OTHER, generation=2))
        with pytest.raises(Unavailable):
            await site.router.stop(OTHER.id, 1.0)
        with pytest.raises(Unavailable, match=r"cannot find container x\.y\.1: engine two is away"):
            await site.router.remove("x.y.1")
        site.two.away = ""
        assert (await site.states())[OTHER.id] is ContainerState.RUNNING
        assert site.router.away("two") == ""

    run(scenario)


def test_one_that_was_away_at_the_start_is_prepared_later() -> None:
    async def scenario() -> None:
        machine = Machine(away="not up yet")
        router = EngineRouter({"one": SimulatedEngine(machine)})
        await router.prepare()
        assert router.away("") == "not up yet"
        machine.away = ""
        assert await router.list() == []
        assert router.away("") == ""
        await router.teardown()

    asyncio.run(scenario())


def test_one_that_hangs_is_away_and_not_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_TIMEOUT_S", 0.05)
    monkeypatch.setattr(module, "AWAY_TIMEOUT_S", 0.01)
    asked: list[asyncio.Event] = []

    class Hanging(SimulatedEngine):
        async def list(self) -> Sequence[ContainerStatus]:
            if self.machine.history:
                asked.append(asyncio.Event())
                await asked[-1].wait()
            return await super().list()

    async def scenario() -> None:
        one, two = Machine(), Machine()
        router = EngineRouter({"one": SimulatedEngine(one), "two": Hanging(two)})
        await router.prepare()
        await router.create(SPEC)
        await router.create(OTHER)
        assert [status.id for status in await router.list()] == [SPEC.id]  # it was never seen
        assert router.away("two") == "no answer within 0.05 s"
        await router.list()
        await router.list()
        assert len(asked) == 1
        two.history.clear()
        asked[0].set()
        assert {status.id for status in await router.list()} == {SPEC.id, OTHER.id}
        assert router.away("two") == ""
        await router.close()

    asyncio.run(scenario())


def test_a_guest_is_run_by_whoever_can_put_it_into_its_host() -> None:
    async def scenario() -> None:
        docker, oci = Machine(), Machine()
        router = EngineRouter({"docker": SimulatedEngine(docker), "oci": SimulatedEngine(oci)})
        await router.prepare()
        for host, service in ((SPEC, "one"), (replace(SPEC, service="other", engine="oci"), "two")):
            await router.create(host)
            await router.create(replace(SPEC, service=service, host=HostContainer(host.id, 1)))
        assert (list(docker.specs), list(oci.specs)) == (["app.main.1"], ["app.one.1", "app.other.1", "app.two.1"])
        await router.close()
        alone = EngineRouter({"docker": SimulatedEngine(Machine())})
        await alone.prepare()
        with pytest.raises(NotSupported, match="oci would"):
            await alone.create(replace(SPEC, host=HostContainer("app.main.1", 1)))
        await alone.close()

    asyncio.run(scenario())
