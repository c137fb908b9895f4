"""Digital lines on a simulated chip in a process of its own: precedence, a chip that goes away, starts and ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import InvalidInput, NotFound, Unavailable
from gateway.field.lines import Lines, LineState
from gateway.host.gpiochip import open_chip
from gateway.model.profile import GpioLine, OnAgentLoss
from tests.site.field import GpioBoard

CHIP = "simulated:chip.sock"
DO1 = GpioLine(name="DO1", chip=CHIP, offset=1, output=True, safe_value=0)
DO2 = GpioLine(name="DO2", chip=CHIP, offset=2, output=True, safe_value=1, on_agent_loss=OnAgentLoss.SAFE)
DI1 = GpioLine(name="DI1", chip=CHIP, offset=4)
ALL = (DO1, DO2, DI1)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[GpioBoard]:
    with GpioBoard(tmp_path, tmp_path / "chip.sock") as running:
        yield running


@contextlib.contextmanager
def lines_on(board: GpioBoard, *lines: GpioLine) -> Iterator[Lines]:
    """Open; given back without tear-down, as when the agent ends."""
    opened = Lines(lines or ALL, board.socket.parent)
    opened.open()
    try:
        yield opened
    finally:
        opened.close(tear_down=False)


@contextlib.asynccontextmanager
async def running(lines: Lines) -> AsyncIterator[None]:
    task = asyncio.create_task(lines.run())
    try:
        async with asyncio.timeout(15):
            yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def available(lines: Lines, wanted: bool, name: str = "DO1") -> None:
    while next(state.available for state in lines.status() if state.line == name) is not wanted:
        await asyncio.sleep(0.01)


def decided(state: LineState) -> tuple[int, str]:
    return state.value, state.decided_by


def test_safe_rule_app_in_that_order(board: GpioBoard) -> None:
    with lines_on(board) as lines:
        assert [(state.line, *decided(state)) for state in lines.status()] == [
            ("DO1", 0, "safe"), ("DO2", 1, "safe"), ("DI1", 0, "safe"),
        ]  # fmt: skip
        assert decided(lines.set("DO1", 1, "app.one")) == (1, "app")
        assert board.level(1) == 1
        lines.hold("rule", "DO1", 0)
        assert board.level(1) == 0, "driven when hold returns"
        assert decided(lines.set("DO1", 1, "app.one")) == (0, "rule")
        assert board.level(1) == 0
        lines.release("rule", "DO1")
        assert decided(lines.read("DO1")) == (1, "app"), "the wish was kept"
        lines.forget("app.one")
        assert decided(lines.read("DO1")) == (0, "safe")
        assert [change.level for change in board.history(1)] == [1, 0, 1, 0]


def test_of_several_the_latest_counts(board: GpioBoard) -> None:
    with lines_on(board) as lines:
        lines.hold("one", "DO1", 1)
        lines.hold("two", "DO1", 0)
        assert board.level(1) == 0
        lines.release("two", "DO1")
        assert board.level(1) == 1
        lines.release("never held", "DO1")
        lines.release("one", "DO1")
        assert board.level(1) == 0
        lines.set("DO1", 1, "app.one")
        lines.set("DO1", 0, "app.two")
        lines.forget("app.two")
        assert board.level(1) == 1


def test_inputs(board: GpioBoard) -> None:
    low = replace(DI1, name="DI2", offset=5, active_low=True)
    with lines_on(board, DI1, low) as lines:
        assert [lines.read(name).value for name in lines.names()] == [0, 1]
        for offset in (4, 5):
            board.drive(offset, 1)
        assert [lines.read(name).value for name in lines.names()] == [1, 0]
        with pytest.raises(InvalidInput, match="cannot set DI1: it is an input"):
            lines.set("DI1", 1, "app.one")


def test_since_is_the_last_change(board: GpioBoard) -> None:
    with lines_on(board) as lines:
        first = lines.set("DO1", 1, "app.one")
        assert lines.set("DO1", 1, "app.one") == lines.read("DO1") == first
        lines.hold("rule", "DO1", 1)
        by_rule = lines.read("DO1")
        assert by_rule.since_ns > first.since_ns
        assert decided(by_rule) == (1, "rule")
        assert len(board.history(1)) == 1, "the same level is not written again"


@pytest.mark.parametrize("value", [2, -1])
def test_no_value(board: GpioBoard, value: int) -> None:
    with lines_on(board) as lines, pytest.raises(InvalidInput, match="expected 0 or 1"):
        lines.set("DO1", value, "app.one")


def test_no_such_line(board: GpioBoard) -> None:
    with lines_on(board) as lines:
        for call in (lambda: lines.read("DO9"), lambda: lines.set("DO9", 1, "a.b"), lambda: lines.hold("r", "DO9", 1)):
            with pytest.raises(NotFound, match="this board has DO1, DO2, DI1"):
                call()


def test_hold_keeps_the_level_over_a_restart_and_safe_does_not(board: GpioBoard) -> None:
    with lines_on(board) as lines:
        lines.hold("rule", "DO1", 1)
        lines.hold("rule", "DO2", 0)
    assert (board.level(1), board.level(2)) == (1, 0), "nobody touches them without an agent"
    with lines_on(board) as lines:
        assert (board.level(1), board.level(2)) == (1, 1)
        assert len(board.history(1)) == 1, "no glitch"
        lines.release("rule", "DO1")
        assert board.level(1) == 0, "the rule has looked and does not want it"


def test_a_fresh_board_gets_the_safe_values(board: GpioBoard) -> None:
    low = replace(DO2, name="DO3", offset=3, active_low=True)
    with lines_on(board, DO1, replace(DO2, on_agent_loss=OnAgentLoss.HOLD), low):
        assert [board.level(offset) for offset in (1, 2, 3)] == [0, 1, 0]


def test_tear_down_leaves_safe_values(board: GpioBoard) -> None:
    with lines_on(board) as lines:
        lines.hold("rule", "DO1", 1)
        lines.set("DO2", 0, "app.one")
        lines.close(tear_down=True)
        assert (board.level(1), board.level(2)) == (0, 1)
        with pytest.raises(Unavailable, match="cannot read DO1: closed"):
            lines.read("DO1")


def test_what_is_decided_while_the_chip_is_away_is_driven_when_it_is_back(board: GpioBoard) -> None:
    async def main() -> None:
        with lines_on(board) as lines:
            async with running(lines):
                board.stop()
                lines.hold("rule", "DO1", 1)
                with pytest.raises(Unavailable, match="cannot set DO2: ") as caught:
                    lines.set("DO2", 0, "app.one")
                assert caught.value.hint == "it is set as soon as the chip is back"
                with pytest.raises(Unavailable, match="cannot read DI1: "):
                    lines.read("DI1")
                assert not any(state.available for state in lines.status())
                board.start()
                await available(lines, True)
                assert decided(lines.read("DO1")) == (1, "rule")
                assert decided(lines.read("DO2")) == (0, "app")
                assert (board.level(1), board.level(2)) == (1, 0)

    asyncio.run(main())


def test_a_chip_that_goes_while_nobody_uses_it_is_noticed(board: GpioBoard) -> None:
    async def main() -> None:
        with lines_on(board) as lines:
            async with running(lines):
                board.stop()
                await available(lines, False)
                board.start()
                await available(lines, True)

    asyncio.run(main())


def test_a_line_in_use_elsewhere_leaves_the_others_alone(board: GpioBoard) -> None:
    """Neither does one that the chip does not have; the busy one is taken once it is free."""

    async def main() -> None:
        other = open_chip(CHIP, board.socket.parent)
        other.request_output(1, 0, keep=False, active_low=False)
        try:
            with lines_on(board, *ALL, replace(DO1, name="DO99", offset=99)) as lines:
                assert [state.available for state in lines.status()] == [False, True, True, False]
                with pytest.raises(Unavailable, match=r"cannot read DO1: .*busy"):
                    lines.read("DO1")
                lines.hold("rule", "DO1", 1)
                lines.hold("rule", "DO2", 0)
                assert (board.level(1), board.level(2)) == (0, 0)
                async with running(lines):
                    other.close()
                    await available(lines, True, "DO1")
                    assert board.level(1) == 1
                    board.stop()
                    await available(lines, False, "DO2")
        finally:
            other.close()

    asyncio.run(main())
