"""What one container may take from the others: lines of log, processes, room on its root file system, memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from gateway.engines.base import DEFAULT_PIDS, Engine
from gateway.model.app import Limits
from tests.conformance.conftest import LOG_BYTES, Scenario
from tests.conformance.test_engine import SPEC, ended, launch, output, shell

Run = Callable[[Scenario], Awaitable[None]]
FLOOD = "i=0; while [ $i -lt 8000 ]; do echo line $i of a flood that is long enough; i=$((i+1)); done"


def numbers(lines: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in lines if line.startswith("line ")]


@pytest.mark.log_ring
def test_a_flood_of_lines_leaves_a_history_and_takes_no_more_than_its_ring(run: Run) -> None:
    """8000 lines are some 600 KB. Whenever one looks, the newest lines are there and a good deal before them."""

    async def scenario(engine: Engine) -> None:
        spec = shell(f"{FLOOD}; echo line 8000 is the last; exec sleep 1000")
        await launch(engine, spec)
        async with asyncio.timeout(20):
            while True:
                found = [line async for line in engine.logs(SPEC.id, tail=10**6, follow=False)]
                seen = numbers([line.text for line in found])
                assert len(found) * 40 < LOG_BYTES
                assert seen == sorted(seen)
                if seen and seen[0] > 0:  # the first file was full
                    assert len(found) * 70 >= LOG_BYTES // 4, "hardly any history"
                if seen and seen[-1] == 8000:
                    break
                await asyncio.sleep(0.05)

    run(scenario)


@pytest.mark.log_ring
def test_a_follower_misses_nothing_when_files_change_under_it(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        slow = FLOOD.replace("8000", "800").replace("; i=", "; [ $((i % 50)) -gt 0 ] || sleep 0.2; i=")
        await launch(engine, shell(f"{slow}; echo line 800 is the last; exec sleep 1000"))
        seen: list[str] = []
        async with asyncio.timeout(30):
            async for line in engine.logs(SPEC.id, tail=10**6, follow=True):
                seen.append(line.text)
                if line.text.endswith("last"):
                    break
        # Docker's daemon may tell the line before a change of files once more after it.
        assert list(dict.fromkeys(numbers(seen))) == list(range(801))
        kept = numbers([line.text async for line in engine.logs(SPEC.id, tail=10**6, follow=False)])
        assert kept == list(range(kept[0], 801)), "the history has a hole"
        assert len(kept) * 80 >= LOG_BYTES // 3, "less than a whole file"

    run(scenario)


@pytest.mark.kernel
def test_a_service_without_a_limit_of_processes_has_one(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        await launch(
            engine, shell(f"i=0; while [ $i -lt {DEFAULT_PIDS + 100} ]; do sleep 100 & i=$((i+1)); done; wait")
        )
        async with asyncio.timeout(20):
            async for line in engine.logs(SPEC.id, tail=100, follow=True):
                if "fork" in line.text:
                    break
        assert (await engine.stats(SPEC.id)).pids <= DEFAULT_PIDS

    run(scenario)


@pytest.mark.bounded_root
def test_the_root_file_system_is_bounded(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        fill = "dd if=/dev/zero of=/big bs=1M count=40 2>&1 | grep -c 'No space left'; ls -l /big | grep -c 83"
        lines = await output(engine, shell(fill, limits=Limits(root_bytes=8 << 20)))
        assert lines == ["1", "1"]  # 8 MiB are 838 8608 bytes, a little less with what is there already
        await engine.remove(SPEC.id)
        roomy = shell("dd if=/dev/zero of=/big bs=1M count=40 2>/dev/null && echo fits", limits=Limits(), generation=2)
        assert await output(engine, roomy) == ["fits"]

    run(scenario)


@pytest.mark.bounded_root
def test_what_is_written_to_the_root_is_memory_of_who_wrote_it(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        limits = Limits(memory_bytes=16 << 20, root_bytes=64 << 20)
        await launch(
            engine, replace(SPEC, command=("dd", "if=/dev/zero", "of=/big", "bs=1M", "count=40"), limits=limits)
        )
        assert (await ended(engine)).oom_killed

    run(scenario)


@pytest.mark.kernel
def test_an_app_is_taken_before_the_agent_when_memory_is_short(run: Run) -> None:
    async def scenario(engine: Engine) -> None:
        assert int((await output(engine, shell("cat /proc/self/oom_score_adj")))[0]) > 0

    run(scenario)
