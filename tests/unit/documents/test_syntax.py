"""JSON and TOML within limits."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.documents.syntax import MAX_DEPTH, MAX_VALUES, parse_json, parse_toml
from gateway.errors import InvalidInput

LIMIT = 1 << 20


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\xff{}", "not UTF-8 at byte 0"),
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"NaN", "NaN is not a finite number"),
        (b'{"a": -Infinity}', "-Infinity is not a finite number"),
        (b'{"a": {"b": [1e999]}}', r"a\.b\[0\] is not a finite number"),
        (b'{"a": 9223372036854775808}', "a is an integer beyond 64 bits"),
        (b"1" * 5000, "cannot read it"),
        (b'{"a": 1, "b": 2, "a": 3}', "key 'a' appears twice"),
        (rb'{"a": "\u0000"}', "a holds a NUL"),
        (rb'["\ud800"]', r"\[0\] holds half a surrogate"),
        (rb'{"\ud800": 1}', "holds half a surrogate"),
        (b'["' + b"x" * (65 << 10) + b'"]', "is longer than"),
        (b"[" * 100_000, "deeper than 32|not JSON"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deeper than 32"),
        (b"[" + b"1," * MAX_VALUES + b"1]", f"more than {MAX_VALUES} values"),
        (b" " * (LIMIT + 1), "are more than the"),
    ],
)
def test_json_that_is_refused(data: bytes, cause: str) -> None:
    with pytest.raises(InvalidInput, match=cause):
        parse_json(data, "it", LIMIT)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"a = ", "not TOML"),
        (b"a = 1\na = 2", "not TOML"),
        (b"a = nan", "a is not a finite number"),
        (b"a = 2020-01-01", "a is a date"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "deeper than 32"),
        (b"a = 0x" + b"f" * 40, "beyond 64 bits"),
    ],
)
def test_toml_that_is_refused(data: bytes, cause: str) -> None:
    with pytest.raises(InvalidInput, match=cause):
        parse_toml(data, "it", LIMIT)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
def test_good_json_comes_back(value: object) -> None:
    assert parse_json(json.dumps(value).encode(), "it", LIMIT) == value


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_crash(data: bytes) -> None:
    for parse in (parse_json, parse_toml):
        try:
            parse(data, "it", LIMIT)
        except InvalidInput as failure:
            assert failure.message.startswith("cannot read it: ")  # noqa: PT017
