"""What outlives the agent on tmpfs, and the files that containers have mounted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from gateway.model.wire import from_wire, to_wire
from gateway.network.layout import Link
from gateway.network.remembered import Remembered, load, rewrite, save
from tests.unit.network.links import links


@given(links())
def test_links_come_back_as_they_were(made: dict[str, Link]) -> None:
    remembered = Remembered(tuple(made.values()), {"one.test": ("192.0.2.1",)}, ("ipv4",))
    assert from_wire(Remembered, to_wire(remembered)) == remembered


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 2, "links": []}', '{"links": [{"app": 1}]}'])
def test_what_cannot_be_read_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "links.json"
    assert load(file) == Remembered()
    file.write_text(text)
    assert load(file) == Remembered()
    save(file, Remembered(names={"a": ("192.0.2.1",)}))
    assert load(file) == Remembered(names={"a": ("192.0.2.1",)})


def test_a_mounted_file_is_rewritten_in_place(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    rewrite(file, "a long first text\n")
    inode = file.stat().st_ino
    with file.open() as mounted:
        rewrite(file, "short\n")
        assert mounted.read() == "short\n"
    assert file.stat().st_ino == inode
