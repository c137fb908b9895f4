"""What `fieldgate deploy` remembers, cut short at every point."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.local_apps import LocalApps, local_apps
from gateway.errors import NotFound, NotSupported
from gateway.host.statefile import StateFile
from gateway.paths import Paths

ONE = {"one": {"name": "one"}}
BOTH = {**ONE, "two": {"name": "two"}}


def test_what_the_agent_has_accepted_is_what_the_next_command_builds_on(tmp_path: Path) -> None:
    kept = LocalApps(tmp_path)
    assert (kept.accepted(0), kept.next_revision(0)) == ({}, 1)
    kept.propose(1, ONE, {})
    assert LocalApps(tmp_path).accepted(0) == {}, "the end came before the agent was asked, or it refused"
    assert LocalApps(tmp_path).accepted(1) == ONE, "the end came after it had accepted"
    kept.confirm(1, ONE)
    kept.propose(2, BOTH, ONE)
    assert LocalApps(tmp_path).accepted(1) == ONE
    assert LocalApps(tmp_path).accepted(2) == BOTH
    kept.confirm(2, BOTH)
    assert LocalApps(tmp_path).accepted(0) == BOTH, "the agent's own state is damaged: nothing is forgotten"


def test_a_revision_is_used_once(tmp_path: Path) -> None:
    kept = LocalApps(tmp_path)
    kept.propose(kept.next_revision(7), ONE, {})
    assert kept.next_revision(7) == 9
    assert kept.next_revision(20) == 21


def test_a_newer_file_is_refused_and_left(tmp_path: Path) -> None:
    StateFile(tmp_path / "apps.json", 2).write({})
    with pytest.raises(NotSupported, match="newer"):
        LocalApps(tmp_path).accepted(0)
    assert StateFile(tmp_path / "apps.json", 2).read() == {}


def test_without_a_state_directory_it_says_so(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "none", tmp_path / "run")
    with pytest.raises(NotFound, match="state directory"), local_apps(paths):
        pass
    assert not paths.state.exists()
