"""What an engine remembers of a container, when it cannot be read as it was written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.engines.base import ContainerSpec
from gateway.engines.records import Record, Records
from gateway.errors import Corrupted

SPEC = ContainerSpec("app", "main", 3, "sha256:1", "registry.test/a@sha256:1", stop_signal="SIGINT")


@pytest.fixture
def records(tmp_path: Path) -> Records:
    records = Records(tmp_path)
    records.prepare()
    records.create(SPEC)
    return records


def test_who_it_is(records: Records) -> None:
    assert records.read(SPEC.id) == Record("app", "main", 3, "sha256:1", "SIGINT")


@pytest.mark.parametrize("content", [b'{"schema": 2, "who": "app"}', b'{"schema": 1, "who": "app"}', b"{", b"[]"])
def test_one_that_runs_is_known_by_its_id_whatever_its_record_says(records: Records, content: bytes) -> None:
    (records.directory(SPEC.id) / "record.json").write_bytes(content)
    with pytest.raises(Corrupted):
        records.read(SPEC.id)
    records.set_process(SPEC.id, os.getpid())
    assert records.read(SPEC.id) == Record("app", "main", 3, "", "SIGTERM")
