"""What lxc is told: the whole configuration of one container, and that no value breaks out of its line."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engines.base import ContainerSpec, Mount
from gateway.engines.devices import DeviceNode
from gateway.engines.lxc.config import Bound, Place, config, is_system, launcher, start_only
from gateway.engines.users import User
from gateway.errors import InvalidInput
from gateway.model.app import Limits
from gateway.model.image import ImageConfig

SPEC = ContainerSpec(
    "app", "main", 1, "sha256:1", "image", read_only=True, cap_add=("net_raw",), environment={"SITE": "pump 'house' "},
    limits=Limits(cpus=0.5, memory_bytes=32 << 20, pids=16),
)  # fmt: skip
USER = User(1000, 1000, "/home/app", (20,))
PLACE = Place(
    Path("/run/x/app.main.1"), "fieldgate/app.main.1", "fieldgate-monitors", False,
    mounts=(Bound("run/esdk", Mount(Path("/run/e 1"), "/run/esdk", read_only=True), True),),
    tmpfs=(("scratch", 4096),),
    devices=(("dev/ttyS1", DeviceNode("/dev/ttyS1", "c", 4, 65, 0o660, 0, 20)),),
    masked=(("/proc/kcore", False), ("/sys/firmware", True)),
)  # fmt: skip


def told(spec: ContainerSpec = SPEC, place: Place = PLACE, system: bool = False) -> list[tuple[str, str]]:
    """As lxc reads it: key, value without the outer quotes."""
    pairs = []
    for line in config(spec, ImageConfig(environment=("A=1",)), USER, system, place).split("\n")[:-1]:
        key, _, value = line.partition(" = ")
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        pairs.append((key, value))
    return pairs


def test_everything_asked_for_is_told() -> None:
    pairs = told()
    values = dict(pairs)
    assert (values["lxc.init.uid"], values["lxc.init.groups"], values["lxc.init.cwd"]) == ("1000", "20", "/")
    assert values["lxc.cap.keep"].split() == [
        "chown", "dac_override", "fowner", "fsetid", "kill", "net_bind_service", "net_raw", "setgid", "setpcap",
        "setuid", "sys_chroot",
    ]  # fmt: skip
    assert values["lxc.no_new_privs"] == "1"
    assert (values["lxc.rootfs.path"], values["lxc.rootfs.options"]) == ("dir:/run/x/app.main.1/rootfs", "ro")
    assert (values["lxc.net.0.type"], values["lxc.console.path"]) == ("empty", "none")
    assert [value for key, value in pairs if key == "lxc.environment"] == [
        "HOME=/home/app", "HOSTNAME=main", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=1",
        "SITE=pump 'house' ",
    ]  # fmt: skip
    mounts = [value for key, value in pairs if key == "lxc.mount.entry"]
    assert "/run/e\\0401 run/esdk none rbind,nosuid,nodev,ro 0 0" in mounts
    assert "tmpfs scratch tmpfs nosuid,nodev,mode=1777,size=4096 0 0" in mounts
    assert "/dev/ttyS1 dev/ttyS1 none bind,create=file 0 0" in mounts
    assert "/dev/null proc/kcore none bind,optional 0 0" in mounts
    assert "tmpfs sys/firmware tmpfs ro,size=0,optional 0 0" in mounts


@pytest.mark.parametrize(
    ("v2", "wanted"),
    [
        (False, {
            ("lxc.cgroup.memory.limit_in_bytes", "33554432"), ("lxc.cgroup.pids.max", "16"),
            ("lxc.cgroup.cpu.cfs_quota_us", "50000"), ("lxc.cgroup.devices.allow", "c 4:65 rw"),
        }),
        (True, {
            ("lxc.cgroup2.memory.max", "33554432"), ("lxc.cgroup2.memory.oom.group", "1"),
            ("lxc.cgroup2.pids.max", "16"), ("lxc.cgroup2.cpu.max", "50000 100000"),
            ("lxc.cgroup2.devices.deny", "a"), ("lxc.cgroup2.devices.allow", "c 4:65 rw"),
        }),
    ],
)  # fmt: skip
def test_limits_in_the_words_of_both_cgroup_versions(v2: bool, wanted: set[tuple[str, str]]) -> None:
    pairs = told(place=replace(PLACE, cgroup_v2=v2))
    assert wanted <= set(pairs)
    other = "lxc.cgroup." if v2 else "lxc.cgroup2."
    assert not [key for key, _ in pairs if key.startswith(other) and ".dir." not in key]
    counted = "memory.events" if v2 else "memory.oom_control"
    assert counted in start_only(replace(PLACE, cgroup_v2=v2))


def test_network_and_console() -> None:
    assert ("lxc.net.0.type", "none") in told(replace(SPEC, host_network=True))
    routed = told(place=replace(PLACE, namespace=Path("/run/n")))
    assert ("lxc.namespace.share.net", "/run/n") in routed
    assert not [key for key, _ in routed if key.startswith("lxc.net")]
    assert ("lxc.console.logfile", "/proc/self/fd/1") in told(system=True)
    assert ("lxc.cap.keep", "none") in told(replace(SPEC, cap_drop=("ALL",), cap_add=()))
    assert is_system(("/sbin/init",))
    assert not is_system(("sh", "-c", "/sbin/init"))


def test_a_mount_below_a_tmpfs_is_made_by_lxc_and_no_other() -> None:
    mounts = (Bound("scratch/f", Mount(Path("/f"), "/x"), False), Bound("scratchy", Mount(Path("/d"), "/y"), True))
    entries = [value for key, value in told(place=replace(PLACE, mounts=mounts)) if key == "lxc.mount.entry"]
    assert [entry.split()[3] for entry in entries if entry.startswith(("/f ", "/d "))] == [
        "rbind,nosuid,nodev,create=file", "rbind,nosuid,nodev",
    ]  # fmt: skip


def test_a_line_break_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match='app/main on lxc: a line break in "PEM'):
        config(replace(SPEC, environment={"PEM": "a\nb"}), ImageConfig(), USER, False, PLACE)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n"), max_size=20)


@given(value=TEXT, directory=TEXT, path=TEXT)
def test_no_value_breaks_out_of_its_line(value: str, directory: str, path: str) -> None:
    spec = replace(SPEC, environment={"VALUE": value}, working_dir=f"/{directory}")
    bound = Bound(f"x{path}", Mount(Path(f"/{path}"), f"/{path}"), True)
    pairs = told(spec, replace(PLACE, mounts=(bound,)))
    assert len(pairs) == len(told())
    assert ("lxc.environment", f"VALUE={value}") in pairs
    entry = next(entry for key, entry in pairs if key == "lxc.mount.entry" and "rbind" in entry)
    fields = [re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), field) for field in re.split("[ \t]", entry)]
    assert fields[:3] == [str(bound.mount.source), bound.target, "none"]
    assert len(fields) == 6


@given(arguments=st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=9), min_size=1))
def test_the_launcher_hands_on_every_argument(arguments: list[str]) -> None:
    line = launcher("app.main.1", Path("/run/x"), tuple(arguments)).rpartition(" &\n")[0]
    words = shlex.split(line)
    assert words[words.index("--") + 1 :] == arguments


def test_the_launcher_is_a_runtime_for_conmon(tmp_path: Path) -> None:
    program = tmp_path / "lxc-start"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$0.said"\n')
    program.chmod(0o755)
    script = launcher("app.main.1", Path("/run/x"), ("echo", "two words", "$HOME"))
    (tmp_path / "launch").write_text(script + "wait\n")
    command = ["sh", str(tmp_path / "launch"), "create", "--bundle", "b", "--pid-file", str(tmp_path / "pid"), "id"]
    subprocess.run(command, check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert (tmp_path / "pid").read_text().strip().isdecimal()
    said = (tmp_path / "lxc-start.said").read_text().splitlines()
    assert said[said.index("--") + 1 :] == ["echo", "two words", "$HOME"]
