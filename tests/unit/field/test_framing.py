"""The framings that an APP can ask for."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidInput, NotSupported
from gateway.field.framing import MAX_ANSWER_BYTES, framer_for, silent_interval_s, wire_time_s
from tests.unit.field.wire import ask

CHUNKS = st.lists(st.binary(max_size=60), max_size=20)


@given(CHUNKS, st.integers(1, 400))
def test_a_length_ends_at_that_byte_whatever_the_chunks(chunks: list[bytes], length: int) -> None:
    framer = framer_for(f"length:{length}", b"?", 9600)
    answers = [answer for chunk in chunks if (answer := framer.feed(chunk)) is not None]
    whole = b"".join(chunks)
    assert answers[:1] == ([whole[:length]] if len(whole) >= length else [])
    assert framer.on_idle() is None
    assert framer.idle_s is None


@given(CHUNKS)
def test_a_gap_gives_everything_in_order(chunks: list[bytes]) -> None:
    framer = framer_for("gap", b"?", 9600)
    assert [framer.feed(chunk) for chunk in chunks] == [None] * len(chunks)
    assert framer.on_idle() == (b"".join(chunks) or None)


def test_a_gap_ends_at_the_limit() -> None:
    assert framer_for("gap", b"?", 9600).feed(bytes(MAX_ANSWER_BYTES + 5)) == bytes(MAX_ANSWER_BYTES)


@pytest.mark.parametrize(("framing", "idle_s"), [("gap", 0.02), ("gap:1", 0.001), ("gap:1000", 1.0)])
def test_the_gap_that_was_asked_for(framing: str, idle_s: float) -> None:
    assert framer_for(framing, b"?", 9600).idle_s == idle_s


def test_a_slow_line_has_a_longer_gap() -> None:
    assert framer_for("gap", b"?", 1200).idle_s == pytest.approx(3.5 * 11 / 1200)
    assert silent_interval_s(115200) == 0.00175
    assert wire_time_s(8, 9600) == pytest.approx(8 * 11 / 9600)


@pytest.mark.parametrize(
    "framing", ["", "modbus", "modbus-rtu ", "length:0", "length:4097", "length:", "length:-1", "length:٣",
                "gap:0", "gap:1001", "gap:", "gap:1.5", "GAP"]
)  # fmt: skip
def test_no_framing(framing: str) -> None:
    with pytest.raises(InvalidInput, match="cannot use framing"):
        framer_for(framing, ask(1), 9600)


@pytest.mark.parametrize("request_data", [b"", bytes(1025)])
def test_no_request(request_data: bytes) -> None:
    with pytest.raises(InvalidInput, match="expected 1 to 1024"):
        framer_for("gap", request_data, 9600)


@given(st.text(max_size=20), st.binary(max_size=40))
def test_garbage_raises_only_what_is_documented(framing: str, request_data: bytes) -> None:
    with contextlib.suppress(InvalidInput, NotSupported):
        framer_for(framing, request_data, 9600)
