"""Image references: a registry is always named, and what is accepted can be written and read again."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidInput
from gateway.model.image import Reference

DIGEST = "sha256:" + "0a" * 32


@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(r"[a-z.:/@A-Z0-9_\[\]-]{1,30}/[a-z.:/@_-]{1,30}", fullmatch=True),
        st.from_regex(r"[a-z]+\.example(:[0-9]{1,5})?/[a-z]+(/[a-z]+)?(:[a-z0-9.]+)?", fullmatch=True),
    ),
    st.sampled_from(["", f"@{DIGEST}"]),
)
def test_what_is_accepted_survives_a_round_trip_and_is_safe_in_a_url(text: str, pin: str) -> None:
    try:
        reference = Reference.parse(text + pin)
    except InvalidInput:
        return
    assert Reference.parse(str(reference)) == reference
    assert str(reference) == text + pin
    path = f"{reference.host}/{reference.repository}"
    assert re.fullmatch(r"[A-Za-z0-9._:/\[\]-]+", path)
    assert not re.search(r"\.\.|//", path)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("registry.example/apps/reader:1.2@" + DIGEST, ("registry.example", "apps/reader", "1.2", DIGEST)),
        ("127.0.0.1:5000/a", ("127.0.0.1:5000", "a", "", "")),
        ("localhost/a__b/c-d.e", ("localhost", "a__b/c-d.e", "", "")),
        ("[::1]:5000/a:T_1", ("[::1]:5000", "a", "T_1", "")),
    ],
)
def test_good_ones(text: str, parts: tuple[str, str, str, str]) -> None:
    found = Reference.parse(text)
    assert (found.host, found.repository, found.tag, found.digest) == parts


@pytest.mark.parametrize(
    "text",
    [
        "python:3.11", "library/python", "registry.example/", "registry.example/A", "registry.example/a:",
        "registry.example/a@sha256:12", "registry.example/a@md5:" + "0" * 32, "registry.example/a/../b",
        "registry.example/a b", "registry.example/a?x=1", "registry.example:port/a", "user@registry.example/a",
        "registry.example/" + "a" * 300, "registry.example/a:" + "t" * 129, "registry.example/a\r\nX: y", "",
    ],
)  # fmt: skip
def test_bad_ones(text: str) -> None:
    with pytest.raises(InvalidInput, match="cannot use image"):
        Reference.parse(text)
