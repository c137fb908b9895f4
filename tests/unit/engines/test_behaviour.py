"""The words by which a manifest says how a simulated container behaves."""

from __future__ import annotations

import asyncio

import pytest

from gateway.engines.base import ContainerSpec, ContainerState, ExecResult
from gateway.engines.simulated.behaviour import VARIABLE, Behaviour, parse
from gateway.engines.simulated.engine import SimulatedEngine
from gateway.errors import InvalidInput, ToolFailed


@pytest.mark.parametrize(
    ("text", "behaviour"),
    [
        ("", Behaviour()),
        ("broken", Behaviour(startable=False)),
        ("unhealthy", Behaviour(healthy=False)),
        ("after=1.5s", Behaviour(runs_s=1.5)),
        ("exit=3", Behaviour(runs_s=0.0, exit_code=3)),
        ("exit=3 after=5", Behaviour(runs_s=5.0, exit_code=3)),
        ("after=5 exit=3", Behaviour(runs_s=5.0, exit_code=3)),
        ("oom after=2", Behaviour(runs_s=2.0, oom_killed=True)),
        ("ignores=SIGTERM ignores=SIGHUP", Behaviour(signals={"SIGTERM": None, "SIGHUP": None})),
        ("says=one says=two", Behaviour(output=(("stdout", "one"), ("stdout", "two")))),
    ],
)
def test_words(text: str, behaviour: Behaviour) -> None:
    assert parse(text) == behaviour


@pytest.mark.parametrize("text", ["nonsense", "after=soon", "after", "broken=1", "exit=-1"])
def test_what_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=VARIABLE):
        parse(text)


def test_ends() -> None:
    assert parse("oom").end() == 137
    assert (parse("ignores=SIGTERM").exit_by("SIGTERM"), parse("").exit_by("SIGTERM")) == (None, 0)
    assert parse("ignores=SIGKILL").exit_by("SIGKILL") == 137
    assert parse("unhealthy").answer(("check",)) == ExecResult(1, b"not well\n")


def test_the_environment_scripts_a_container() -> None:
    def spec(service: str, words: str) -> ContainerSpec:
        return ContainerSpec("app", service, 1, "sha256:1", "image", environment={VARIABLE: words})

    async def scenario() -> None:
        engine = SimulatedEngine()
        await engine.prepare()
        failing, broken = spec("failing", "says=bye exit=3"), spec("broken", "broken")
        for each in (failing, broken):
            await engine.create(each)
        await engine.start(failing.id)
        assert (await anext(aiter(engine.exits()))).id == failing.id
        states = {status.service: (status.state, status.exit_code) for status in await engine.list()}
        assert states["failing"] == (ContainerState.EXITED, 3)
        assert [line.text async for line in engine.logs(failing.id, tail=5, follow=False)] == ["bye"]
        with pytest.raises(ToolFailed):
            await engine.start(broken.id)
        with pytest.raises(ToolFailed):
            await engine.exec(failing.id, ["true"], 1.0)
        with pytest.raises(InvalidInput):
            await engine.create(spec("odd", "nonsense"))
        await engine.teardown()
        assert not await engine.list()

    asyncio.run(scenario())
