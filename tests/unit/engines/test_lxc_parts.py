"""The small rooms of engine lxc: mount points, seccomp policy, what lxc-start says, names of signals."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from gateway.engines.lxc import mountpoints, report, seccomp, tools
from gateway.engines.oci import seccomp as profile
from gateway.errors import InvalidInput, NotSupported


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system whose links try to lead out of it."""
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/sh").touch()
    (root / "bin").symlink_to("usr/bin")
    (root / "var").mkdir()
    (root / "var/run").symlink_to("/run")
    (root / "out").symlink_to("../../../..")
    (root / "loop").symlink_to("loop")
    (root / "file").touch()
    return root


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("/data", "data"),
        ("/a/b/../c//", "a/c"),
        ("/var/run/esdk", "run/esdk"),
        ("/out/etc", "etc"),
        ("/../../x", "x"),
        ("/bin/new", "usr/bin/new"),
    ],
)
def test_mount_points_stay_inside(root: Path, target: str, place: str) -> None:
    outside = sorted(root.parent.iterdir())
    assert mountpoints.make(root, target, directory=True) == place
    assert (root / place).is_dir()
    assert sorted(root.parent.iterdir()) == outside


def test_a_file_and_what_is_there_already(root: Path) -> None:
    assert mountpoints.make(root, "/etc/hosts", directory=False) == "etc/hosts"
    assert (root / "etc/hosts").is_file()
    assert mountpoints.make(root, "/file", directory=True) == "file"  # the kernel refuses it, with its own word


@pytest.mark.parametrize("target", ["/loop", "/file/x"])
def test_what_leads_nowhere_is_refused(root: Path, target: str) -> None:
    with pytest.raises(InvalidInput):
        mountpoints.make(root, target, directory=True)


def test_find(root: Path) -> None:
    assert mountpoints.find(root, "/bin/sh") == "usr/bin/sh"
    assert mountpoints.find(root, "/bin/bash") is None


def test_the_default_profile_as_a_policy() -> None:
    lines = seccomp.policy(profile.resolve(profile.load_default(), (), "x86_64", (6, 1))).splitlines()
    assert lines[:3] == ["2", "allowlist errno 38", "[all]"]
    assert {"read allow", "bpf errno 1", "personality allow [0,0,SCMP_CMP_EQ]"} <= set(lines)
    assert "socket errno 22 [0,16,SCMP_CMP_EQ][2,9,SCMP_CMP_EQ]" in lines


def test_policies() -> None:
    masked = {"index": 0, "value": 0xF0, "valueTwo": 0x10, "op": "SCMP_CMP_MASKED_EQ"}
    rules = {
        "defaultAction": "SCMP_ACT_KILL",
        "syscalls": [{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [masked]}],
    }
    assert seccomp.policy(rules) == "2\nallowlist kill\n[all]\nclone allow [0,16,SCMP_CMP_MASKED_EQ,240]\n"
    with pytest.raises(NotSupported, match="SCMP_ACT_TRACE"):
        seccomp.policy({"defaultAction": "SCMP_ACT_TRACE", "syscalls": []})


LOG = """\
lxc-start app.main.1 20261125075117.125 INFO     seccomp - ../src/lxc/seccomp.c:parse_config_v2:815 - Processing "read"
lxc-start app.main.1 20261125075117.125 {}
"""


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("INFO     error - ../src/lxc/error.c:lxc_error_set_and_log:31 - Child <25> ended on error (42)", 42),
        ("INFO     error - ../src/lxc/error.c:lxc_error_set_and_log:34 - Child <49> ended on signal Killed(9)", 137),
        ("INFO     error - ../src/lxc/error.c:lxc_error_set_and_log:34 - Child <49> ended on signal (15)", 143),
        ("NOTICE   start - ../src/lxc/start.c:post_start:2205 - Started", 0),
    ],
)
def test_how_it_ended(line: str, code: int) -> None:
    assert report.exit_code(LOG.format(line), 0) == code


def test_why_it_did_not_start() -> None:
    line = 'ERROR    start - ../src/lxc/start.c:start:2197 - No such file or directory - Failed to exec "/no/such"'
    assert report.failure(LOG.format(line)) == 'No such file or directory - Failed to exec "/no/such"'
    assert report.exit_code(LOG.format(line), 1) == 1
    assert report.failure(LOG) == ""


def test_kills_for_want_of_memory() -> None:
    assert report.oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n") == 2
    assert report.oom_kills("low 0\noom 1\noom_kill 1\noom_group_kill 1\n") == 1
    assert report.oom_kills("") == 0


@pytest.mark.parametrize(
    ("name", "number"),
    [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", signal.SIGRTMIN + 3), ("SIGRTMIN", signal.SIGRTMIN)],
)
def test_signals(name: str, number: int) -> None:
    assert tools.signal_number(name) == number


@pytest.mark.parametrize("name", ["SIGNONE", "", "SIGRTMIN+x", "9+1"])
def test_no_signals(name: str) -> None:
    with pytest.raises(InvalidInput):
        tools.signal_number(name)
