"""No name of a layer leads out of it."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import InvalidInput
from gateway.images.entrypath import Role, place, split_path

_PARTS = st.sampled_from(["..", ".", "", "a", "etc", ".wh.", ".wh.a", ".wh..", ".wh...", ".wh..wh..opq", "…", "a\0"])
_NAMES = st.one_of(st.text(max_size=40), st.lists(_PARTS, max_size=8).map("/".join))


@given(_NAMES)
@example("/../../etc/passwd")
@example(".wh...")
def test_every_accepted_path_stays_below(name: str) -> None:
    try:
        found = place(name)
    except InvalidInput:
        return
    joined = posixpath.normpath(posixpath.join("/layer", *found.parts))
    assert joined == "/layer" or joined.startswith("/layer/")
    assert all(part not in ("", ".", "..") and "/" not in part and "\0" not in part for part in found.parts)


@pytest.mark.parametrize(
    "name", ["..", "a/../b", "../a", "/..", "a/..", "x\0y", "a/.wh.b/c", ".wh.", "d/.wh...", ".wh.."]
)
def test_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot unpack"):
        place(name)


@pytest.mark.parametrize("name", ["a" * 256, "a/" * 129, "é" * 128, "ab/" * 1400])
def test_too_long(name: str) -> None:
    with pytest.raises(InvalidInput, match="too long"):
        split_path(name)


def test_roles() -> None:
    assert place("./a//b/").parts == ("a", "b")
    assert place("/a").parts == ("a",)
    assert (place("d/.wh.f").parts, place("d/.wh.f").role) == (("d", "f"), Role.WHITEOUT)
    assert (place("d/.wh..wh..opq").parts, place("d/.wh..wh..opq").role) == (("d",), Role.OPAQUE)
    assert place(".wh..wh.plnk").role is Role.IGNORED
