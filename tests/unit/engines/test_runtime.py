"""Which OCI runtime is taken: the first that is installed and runs. The programs are real files on a PATH."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.engines.oci.runtime import choose
from gateway.errors import NotSupported


def program(directory: Path, name: str, script: str) -> str:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_first_that_runs_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program(tmp_path, "broken-crun", "echo libyajl.so.2: cannot open shared object file >&2; exit 127")
    (tmp_path / "foreign-crun").write_bytes(b"\x7fELF of another board")
    (tmp_path / "foreign-crun").chmod(0o755)
    good = program(tmp_path, "good-runc", "echo runc version 1.1.5")
    program(tmp_path, "later-runc", "echo runc version 1.1.5")
    assert choose(["absent-crun", "broken-crun", "foreign-crun", "good-runc", "later-runc"]) == good
    assert "libyajl.so.2" in caplog.text
    assert "foreign-crun" in caplog.text
    with pytest.raises(NotSupported, match="absent-crun, broken-crun is installed and runs"):
        choose(["absent-crun", "broken-crun"])
