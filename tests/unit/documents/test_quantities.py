"""Durations and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.documents.quantities import seconds, size_bytes


@pytest.mark.parametrize(
    ("text", "value"),
    [("30s", 30), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), ("0s", 0), ("20us", 0.00002), ("2h0m1s", 7201)],
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1d", "1s ", "1 s", 30, None, True, "9999999h", "1.s"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("64M", 64 << 20), ("64mb", 64 << 20), ("1g", 1 << 30), ("512k", 512 << 10), ("7b", 7), ("42", 42), (4096, 4096)],
)
def test_sizes(text: object, value: int) -> None:
    assert size_bytes(text) == value


@pytest.mark.parametrize("text", ["", "M", "-1", "1.5M", "1T", "1 M", True, None, 1.5, "9" * 18 + "g"])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        size_bytes(text)


@given(st.one_of(st.text(max_size=20), st.from_regex(r"[0-9.]{0,12}(us|ms|s|m|h|k|mb|G)?", fullmatch=True)))
def test_anything_else_is_a_value_error(text: str) -> None:
    for parse in (seconds, size_bytes):
        try:
            assert parse(text) >= 0
        except ValueError as failure:
            assert "must be a" in str(failure)  # noqa: PT017
