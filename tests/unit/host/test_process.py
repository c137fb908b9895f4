"""Programs are run to their end, within their bounds, on both event loops."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from gateway.errors import TimedOut, ToolFailed, Unavailable
from gateway.host.process import Finished, run_tool

uvloop.new_event_loop().close()  # with the first one it makes a pipe that it keeps
Run = Callable[[Coroutine[Any, Any, Finished]], Finished]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop])
def run(request: pytest.FixtureRequest) -> Run:
    def runner(work: Coroutine[Any, Any, Finished]) -> Finished:
        with asyncio.Runner(loop_factory=request.param) as loop:
            return loop.run(work)

    return runner


def test_outputs_and_code(run: Run) -> None:
    argv = ["sh", "-c", "cat; echo wrong >&2; exit 3"]
    assert run(run_tool(argv, timeout_s=5, stdin=b"said", check=False)) == Finished(3, b"said", b"wrong\n")
    with pytest.raises(ToolFailed, match="wrong"):
        run(run_tool(argv, timeout_s=5))
    with pytest.raises(Unavailable, match="No such file"):
        run(run_tool(["/no/such/program"], timeout_s=5))


def test_merged_outputs_keep_their_order(run: Run) -> None:
    argv = ["sh", "-c", "echo 1; echo 2 >&2; echo 3"]
    assert run(run_tool(argv, timeout_s=5, merged=True)) == Finished(0, b"1\n2\n3\n", b"")


def test_more_than_a_pipe_holds_goes_both_ways(run: Run) -> None:
    data = os.urandom(1 << 20)
    assert run(run_tool(["cat"], timeout_s=10, stdin=data)).stdout == data
    assert run(run_tool(["cat"], timeout_s=10, stdin=data, max_output_bytes=100)).stdout == data[:100]
    assert run(run_tool(["true"], timeout_s=10, stdin=data)).exit_code == 0, "it need not read"


def test_one_that_does_not_end_is_killed(run: Run) -> None:
    began = time.monotonic()
    with pytest.raises(TimedOut):
        run(run_tool(["sleep", "100"], timeout_s=0.2))
    assert time.monotonic() - began < 5


def test_cancelling_kills(run: Run) -> None:
    async def cancel() -> Finished:
        work = asyncio.create_task(run_tool(["sleep", "100"], timeout_s=50))
        await asyncio.sleep(0.1)
        work.cancel()
        return await work

    with pytest.raises(asyncio.CancelledError):
        run(cancel())


def test_a_signal_is_a_negative_code(run: Run) -> None:
    assert run(run_tool(["sh", "-c", "kill -9 $$"], timeout_s=5, check=False)).exit_code == -9
