"""Modbus framer: chunks do not matter, noise is skipped, nothing but the documented errors is raised."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import FieldgateError, InvalidInput, NotSupported
from gateway.field.modbus_frame import ResponseFramer, check_request, crc16
from tests.unit.field.wire import ask, frame, reply

UNITS = st.integers(1, 247)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A request and a response to it, of every function code whose length is known."""
    unit = draw(UNITS)
    function = draw(
        st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 0x0B, 0x0C, 0x0F, 0x10, 0x11, 0x14, 0x16, 0x17, 0x18, 0x2B])
    )

    def data(low: int, high: int) -> bytes:
        return draw(st.binary(min_size=low, max_size=high))

    if function in (1, 2, 3, 4):
        quantity = draw(st.integers(1, 125))
        count = 2 * quantity if function > 2 else (quantity + 7) // 8
        request = bytes([unit, function, *data(2, 2), 0, quantity])
        answer = bytes([unit, function, count, *data(count, count)])
    elif function == 0x2B:
        objects = draw(st.lists(st.binary(max_size=30), max_size=5))
        request = bytes([unit, function, 14, 1, 0])
        listed = b"".join(bytes([i, len(value)]) + value for i, value in enumerate(objects))
        answer = bytes([unit, function, 14, 1, 1, 0, 0, len(objects)]) + listed
    elif function == 8:
        request = bytes([unit, function, 0, 0, *data(2, 20)])
        answer = request
    elif function == 0x18:
        values = data(0, 62)
        request = bytes([unit, function, *data(2, 2)])
        answer = bytes([unit, function, *(len(values)).to_bytes(2, "big"), *values])
    elif function in (0x0C, 0x11, 0x14):
        values = data(0, 250)
        request = bytes([unit, function])
        answer = bytes([unit, function, len(values), *values])
    elif function == 0x17:
        request = bytes([unit, function, *data(2, 2), 0, 3, *data(5, 7)])
        answer = bytes([unit, function, 6, *data(6, 6)])
    else:
        size = {5: 4, 6: 4, 7: 1, 0x0B: 4, 0x0F: 4, 0x10: 4, 0x16: 6}[function]
        request = bytes([unit, function, *data(4, 10)])
        answer = bytes([unit, function, *data(size, size)])
    if draw(st.booleans()):
        answer = bytes([unit, function | 0x80, draw(st.integers(1, 11))])
    return request + crc16(request), answer + crc16(answer)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[low:high] for low, high in itertools.pairwise(edges)]


def fed(request: bytes, chunks: list[bytes]) -> bytes | None:
    framer = ResponseFramer(request)
    for chunk in chunks:
        if (answer := framer.feed(chunk)) is not None:
            return answer
    return framer.on_idle()


@given(exchanges(), st.binary(max_size=40), st.binary(max_size=40), st.lists(st.integers(0, 999), max_size=12))
def test_any_split_with_noise_around_gives_the_same_frame(
    exchange: tuple[bytes, bytes], before: bytes, after: bytes, cuts: list[int]
) -> None:
    request, answer = exchange
    assert fed(request, pieces(before + answer + after, cuts)) == answer


@given(exchanges())
def test_byte_by_byte(exchange: tuple[bytes, bytes]) -> None:
    request, answer = exchange
    assert fed(request, [bytes([byte]) for byte in answer]) == answer
    assert fed(request, [answer[:-1]]) is None


@pytest.mark.parametrize("noise", [3000, 70])
def test_a_flood_in_one_chunk_hides_no_answer(noise: int) -> None:
    assert fed(ask(1), [reply(1, 7) + bytes(noise)]) == reply(1, 7)
    assert fed(ask(1), [bytes(noise) + reply(1, 7)]) == reply(1, 7)
    assert fed(ask(1), [bytes([1, 4]) * noise + reply(1, 7)]) == reply(1, 7)


@given(exchanges(), st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_is_no_answer(exchange: tuple[bytes, bytes], where: int, flip: int) -> None:
    request, answer = exchange
    damaged = bytearray(answer)
    damaged[where % len(answer)] ^= flip
    assert fed(request, [bytes(damaged)]) is None


@given(st.binary(max_size=300), st.lists(st.binary(max_size=300), max_size=6), st.booleans())
def test_garbage_raises_only_what_is_documented(request_data: bytes, chunks: list[bytes], with_crc: bool) -> None:
    request = request_data + crc16(request_data) if with_crc else request_data
    with contextlib.suppress(InvalidInput, NotSupported):
        fed(request, chunks)


@given(st.binary(max_size=300))
def test_a_request_passes_only_with_its_crc(data: bytes) -> None:
    whole = data + crc16(data)
    if 2 <= len(data) <= 254 and data[1] < 0x80:
        check_request(whole)
        with pytest.raises(InvalidInput, match="the CRC is"):
            check_request(whole[:-1] + bytes([whole[-1] ^ 1]))
    else:
        with pytest.raises(InvalidInput):
            check_request(whole)


def test_the_crc_of_the_specification() -> None:
    assert crc16(b"\x02\x07") == b"\x41\x12"  # MODBUS over Serial Line V1.02, appendix B
    assert crc16(b"123456789") == (0x4B37).to_bytes(2, "little")  # the check value of CRC-16/MODBUS


def test_answers_of_others_are_skipped() -> None:
    others = reply(2, 1) + frame(1, 3, 2, 0, 0) + frame(1, 4, 4, 0, 0, 0, 0)
    assert fed(ask(1), [others + reply(1, 9)]) == reply(1, 9)
    assert fed(ask(1), [ask(1) + reply(1, 9)]) == reply(1, 9), "an adapter that echoes"


def test_a_broadcast_expects_no_answer() -> None:
    assert not ResponseFramer(frame(0, 6, 0, 1, 0, 1)).expects_answer
    assert ResponseFramer(ask(1)).expects_answer


def test_an_unknown_function_code_is_named() -> None:
    with pytest.raises(NotSupported, match="function code 65") as caught:
        ResponseFramer(frame(1, 65, 0, 0))
    assert isinstance(caught.value, FieldgateError)
    assert "gap" in caught.value.hint
