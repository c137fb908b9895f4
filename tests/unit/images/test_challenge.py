"""WWW-Authenticate headers, good and strange."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.images.challenge import Challenge, parse_challenge


def test_bearer_and_basic() -> None:
    header = 'Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"'
    assert parse_challenge(header) == Challenge(
        "bearer", "https://auth.example/token", "reg", "repository:a/b:pull,push"
    )
    assert parse_challenge('basic realm="x \\"y\\""') == Challenge("basic", 'x "y"')
    assert parse_challenge("Bearer realm=https://a/t") == Challenge("bearer", "https://a/t")


@given(st.text(max_size=300) | st.text(max_size=300).map("Bearer ".__add__))
def test_never_fails(header: str) -> None:
    assert parse_challenge(header).scheme in ("", "basic", "bearer")
