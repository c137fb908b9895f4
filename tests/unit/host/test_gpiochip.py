"""How chips are opened and how they fail. What all kinds have in common: tests/conformance/test_gpiochip.py."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Conflict, InvalidInput, Unavailable
from gateway.host.gpiochip import open_chip
from gateway.host.simulated_gpiochip import TIMEOUT_S
from gateway.host.simulated_gpiochip_server import MAX_REQUEST_BYTES
from tests.site.field import GpioBoard


@pytest.fixture
def board(tmp_path: Path) -> Iterator[GpioBoard]:
    with GpioBoard(tmp_path, tmp_path / "chip.sock") as running:
        yield running


@pytest.mark.parametrize("spec", ["simulated:gone.sock", "/dev/gpiochip-gone", "/etc/hostname", "/dev/null"])
def test_no_chip(tmp_path: Path, spec: str) -> None:
    with pytest.raises(Unavailable, match=r"cannot open (simulated gpiochip )?/"):
        open_chip(spec, tmp_path)


def test_a_simulated_chip_that_dies(board: GpioBoard) -> None:
    chip = open_chip("simulated:chip.sock", board.socket.parent)
    chip.request_output(0, 1, keep=False, active_low=False)
    board.stop()
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot use simulated gpiochip"):
            chip.get(0)
    chip.close()


def test_a_simulated_chip_that_hangs(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "chip.sock"))
        listener.listen()
        chip = open_chip("simulated:chip.sock", tmp_path)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="timed out"):
            chip.request_input(0, active_low=False)
        assert time.monotonic() - began < TIMEOUT_S + 0.5
        chip.close()


def test_the_wire_does_not_drive_an_output(board: GpioBoard) -> None:
    chip = open_chip("simulated:chip.sock", board.socket.parent)
    chip.request_output(0, 0, keep=False, active_low=False)
    with pytest.raises(Conflict, match="it is an output"):
        board.drive(0, 1)
    chip.close()


def test_history_tells_who_and_when(board: GpioBoard) -> None:
    chip = open_chip("simulated:chip.sock", board.socket.parent)
    chip.request_output(0, 1, keep=False, active_low=False)
    chip.set(0, 1)
    chip.set(0, 0)
    board.drive(3, 1)
    changes = [*board.history(0), *board.history(3)]
    assert [(change.offset, change.level, change.by) for change in changes] == [
        (0, 1, "client"), (0, 0, "client"), (3, 1, "drive"),
    ]  # fmt: skip
    assert changes[0].monotonic_ns < changes[1].monotonic_ns < changes[2].monotonic_ns < time.monotonic_ns()
    assert board.history(1) == []
    chip.close()


def said(board: GpioBoard, data: bytes) -> Any:
    """The answer to `data` as it stands; None when the chip hangs up."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(2.0)
        peer.connect(str(board.socket))
        try:
            peer.sendall(data)
            answer = peer.makefile("rb").readline()
        except ConnectionError:
            answer = b""
    return json.loads(answer) if answer else None


@pytest.mark.parametrize(
    "nonsense",
    [b"\n", b"{\n", b"[]\n", b"\xff\n", b'{"op": "set"}\n', b'{"op": "dance", "offset": 0}\n',
     b'{"op": "set", "offset": "0"}\n', b'{"op": "drive", "offset": 0, "level": []}\n', b"[" * 4000 + b"\n"],
)  # fmt: skip
def test_nonsense_is_answered_and_harms_nobody(board: GpioBoard, nonsense: bytes) -> None:
    assert said(board, nonsense)["error"]["code"] in (InvalidInput.code, "not_found")
    assert said(board, b'{"op": "levels"}\n') == {"ok": [0] * 8}


def test_a_request_without_an_end_is_cut_off(board: GpioBoard) -> None:
    assert said(board, b"x" * (MAX_REQUEST_BYTES + 1)) is None
    assert said(board, b'{"op": "levels"}\n') == {"ok": [0] * 8}
