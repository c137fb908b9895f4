"""Remembered verdicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.model.config import Config
from gateway.trust import verdicts
from gateway.trust.verdicts import Verdicts

CONFIG = Config(uplink_window=7)


def test_the_same_text_is_known_and_another_is_not(tmp_path: Path) -> None:
    known = Verdicts(tmp_path)
    assert known.find("config", Config, b"a") is None
    known.remember("config", CONFIG, b"a")
    assert Verdicts(tmp_path).find("config", Config, b"a") == CONFIG
    assert known.find("config", Config, b"b") is None
    assert known.find("profile", Config, b"a") is None
    known.remember("config", Config(), b"b")
    assert known.find("config", Config, b"a") is None


def test_another_version_of_the_agent_asks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Verdicts(tmp_path).remember("config", CONFIG, b"a")
    monkeypatch.setattr(verdicts, "__version__", "99")
    assert Verdicts(tmp_path).find("config", Config, b"a") is None


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema":1,"content":[]}', b'{"schema":7,"content":{}}'])
def test_a_damaged_file_means_to_ask_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "verdict-config.json").write_bytes(content)
    assert Verdicts(tmp_path).find("config", Config, b"a") is None


def test_where_nothing_can_be_written_nothing_breaks(tmp_path: Path) -> None:
    Verdicts(tmp_path / "missing").remember("config", CONFIG, b"a")
