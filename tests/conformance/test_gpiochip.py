"""What every GPIO chip must do, real or simulated: the promises of `GpioChip` in gateway/host/gpiochip.py.

The kernel's chip is one of an arm64 board: `tests/system/test_gpiochip_on_arm64.py` runs this file there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from gateway.errors import Conflict, InvalidInput, NotFound
from gateway.host.gpiochip import GpioChip, open_chip
from tests.conformance.gpio_wires import WiredBoard, channel
from tests.site.arm64_wires import LINES
from tests.site.field import GpioBoard


class Board(Protocol):
    """The wires of a chip."""

    spec: str

    def drive(self, offset: int, level: int) -> None: ...

    def level(self, offset: int) -> int: ...


class SimulatedBoard(GpioBoard):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory, directory / "chip.sock", LINES)
        self.spec = f"simulated:{self.socket}"


@contextmanager
def simulated(directory: Path) -> Iterator[Board]:
    board = SimulatedBoard(directory)
    with board:
        yield board


@contextmanager
def of_the_kernel(directory: Path) -> Iterator[Board]:
    board = WiredBoard()
    try:
        board.start()
        yield board
    finally:
        board.stop()


@pytest.fixture(
    params=[pytest.param(simulated, id="simulated"), *([pytest.param(of_the_kernel, id="kernel")] if channel() else [])]
)
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Board]:
    with request.param(tmp_path) as running:
        yield running


@pytest.fixture
def chip(board: Board) -> Iterator[GpioChip]:
    with closing(open_chip(board.spec, Path("/"))) as opened:
        yield opened


def test_an_output_has_the_value_that_it_is_given(board: Board, chip: GpioChip) -> None:
    for offset, first in ((0, 0), (1, 1)):
        assert chip.request_output(offset, first, keep=False, active_low=False) == first
        assert board.level(offset) == chip.get(offset) == first
        for value in (1, 0, 0, 1):
            chip.set(offset, value)
            assert board.level(offset) == chip.get(offset) == value


def test_active_low_turns_the_wire_and_nothing_else(board: Board, chip: GpioChip) -> None:
    assert chip.request_output(0, 1, keep=False, active_low=True) == 1
    assert (board.level(0), chip.get(0)) == (0, 1)
    chip.set(0, 0)
    assert (board.level(0), chip.get(0)) == (1, 0)
    chip.request_input(2, active_low=True)
    board.drive(2, 1)
    assert chip.get(2) == 0
    board.drive(2, 0)
    assert chip.get(2) == 1


def test_an_input_follows_the_wire(board: Board, chip: GpioChip) -> None:
    assert chip.request_input(2, active_low=False) == 0
    for level in (1, 0, 1):
        board.drive(2, level)
        assert chip.get(2) == level
    assert chip.request_input(2, active_low=False) == 1, "the value now"


def test_an_input_is_not_set(chip: GpioChip) -> None:
    chip.request_input(0, active_low=False)
    with pytest.raises(InvalidInput, match="it is an input"):
        chip.set(0, 1)


def test_a_line_changes_its_direction_with_a_new_request(board: Board, chip: GpioChip) -> None:
    chip.request_input(0, active_low=False)
    assert chip.request_output(0, 1, keep=False, active_low=False) == 1
    assert board.level(0) == 1
    chip.request_input(0, active_low=False)
    with pytest.raises(InvalidInput, match="it is an input"):
        chip.set(0, 1)


@pytest.mark.parametrize("value", [2, -1])
def test_a_value_is_0_or_1(board: Board, chip: GpioChip, value: int) -> None:
    for keep in (False, True):
        with pytest.raises(InvalidInput, match="expected 0 or 1"):
            chip.request_output(0, value, keep=keep, active_low=False)
    chip.request_output(0, 1, keep=False, active_low=False)
    with pytest.raises(InvalidInput, match="expected 0 or 1"):
        chip.set(0, value)
    assert board.level(0) == 1


@pytest.mark.parametrize("offset", [LINES, -1, 4000])
def test_no_such_line(chip: GpioChip, offset: int) -> None:
    calls: list[Callable[[], object]] = [
        lambda: chip.request_output(offset, 0, keep=False, active_low=False),
        lambda: chip.request_output(offset, 0, keep=True, active_low=False),
        lambda: chip.request_input(offset, active_low=False),
        lambda: chip.get(offset),
        lambda: chip.set(offset, 0),
    ]
    for call in calls:
        with pytest.raises(NotFound, match=f"cannot use line {offset}"):
            call()


def test_a_line_that_was_not_requested_is_not_touched(board: Board, chip: GpioChip) -> None:
    for call in (lambda: chip.get(0), lambda: chip.set(0, 1)):
        with pytest.raises(InvalidInput, match="it was not requested"):
            call()
    assert board.level(0) == 0


def test_a_line_has_one_user(board: Board, chip: GpioChip) -> None:
    with closing(open_chip(board.spec, Path("/"))) as other:
        other.request_output(0, 1, keep=False, active_low=False)
        for keep in (False, True):
            with pytest.raises(Conflict, match="busy"):
                chip.request_output(0, 0, keep=keep, active_low=False)
        with pytest.raises(Conflict, match="busy"):
            chip.request_input(0, active_low=False)
        assert board.level(0) == other.get(0) == 1
        assert chip.request_output(1, 1, keep=False, active_low=False) == 1, "another line of the same chip"
    assert chip.request_output(0, 0, keep=False, active_low=False) == 0, "given back by close"


@pytest.mark.parametrize("active_low", [False, True])
def test_an_output_keeps_its_level_from_one_user_to_the_next(board: Board, active_low: bool) -> None:
    with closing(open_chip(board.spec, Path("/"))) as first:
        first.request_output(0, 1, keep=False, active_low=active_low)
    level = board.level(0)
    assert level == (not active_low)
    with closing(open_chip(board.spec, Path("/"))) as second:
        assert second.request_output(0, 0, keep=True, active_low=active_low) == 1
        assert board.level(0) == level
        second.set(0, 0)
        assert board.level(0) != level, "it is an output that obeys"
    with closing(open_chip(board.spec, Path("/"))) as third:
        assert third.request_output(0, 1, keep=False, active_low=active_low) == 1
        assert board.level(0) == level


def test_a_fresh_line_has_nothing_to_keep(board: Board, chip: GpioChip) -> None:
    assert chip.request_output(0, 1, keep=True, active_low=False) == 1
    assert board.level(0) == 1
