"""State files: migrated forward step by step, refused backward, never half written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.errors import Corrupted, NotSupported
from gateway.host.statefile import MAX_BYTES, StateFile

MIGRATIONS = {
    1: lambda old: {"names": [old["name"]]},
    2: lambda old: {"names": old["names"], "count": len(old["names"])},
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json", 1)
    assert file.read() is None
    file.write({"name": "ä"})
    assert file.read() == {"name": "ä"}
    file.remove()
    assert file.read() is None


def test_an_older_schema_is_migrated_through_every_version(tmp_path: Path) -> None:
    StateFile(tmp_path / "s", 1).write({"name": "one"})
    newer = StateFile(tmp_path / "s", 3, MIGRATIONS)
    assert newer.read() == {"names": ["one"], "count": 1}
    assert StateFile(tmp_path / "s", 1).read() == {"name": "one"}, "reading changes nothing on disk"
    newer.write(newer.read())
    assert json.loads((tmp_path / "s").read_bytes())["schema"] == 3


def test_a_newer_schema_and_a_gap_are_refused_by_name(tmp_path: Path) -> None:
    StateFile(tmp_path / "s", 4).write({})
    with pytest.raises(NotSupported, match=r"schema 4 is newer than this agent's 3") as refused:
        StateFile(tmp_path / "s", 3, MIGRATIONS).read()
    assert "install the agent version that wrote it" in str(refused.value)
    StateFile(tmp_path / "s", 1).write({})
    with pytest.raises(NotSupported, match="no migration from schema 1 to 2"):
        StateFile(tmp_path / "s", 3).read()


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"schema": "x", "content": 1}', b'{"content": 1}', b"[" * 100_000, b"\xff\xfe"]
)
def test_damage_is_named_and_left_in_place(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "s").write_bytes(damage)
    with pytest.raises(Corrupted, match="cannot read"):
        StateFile(tmp_path / "s").read()
    assert (tmp_path / "s").read_bytes() == damage


def test_a_file_that_is_too_large_is_not_read_into_memory(tmp_path: Path) -> None:
    with (tmp_path / "s").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(Exception, match="cannot read"):
        StateFile(tmp_path / "s").read()
