"""What a container takes from its host, as far as it needs no container."""

from __future__ import annotations

import os
import subprocess

import pytest

from gateway.engines.oci import joining
from gateway.errors import NotPermitted, NotSupported, Unavailable


def test_a_service_has_one_uid_for_ever_and_nobody_of_the_distribution_has_it() -> None:
    uids = {joining.own_uid("app", f"service{number}") for number in range(500)}
    assert len(uids) > 480
    assert all(20_000 <= uid < 60_000 for uid in uids)
    assert joining.own_uid("heartbeat", "main") == 46_528, "what it wrote into its volumes must stay its own"


def test_two_names_do_not_run_together() -> None:
    assert joining.own_uid("a", "b-c") != joining.own_uid("a-b", "c")


def test_a_uid_of_another_is_refused_by_its_name() -> None:
    joining.check_uid("one.main.1", 20_001, {"site.main.1": 0, "two.main.1": 20_002})
    with pytest.raises(NotPermitted, match=r"uid 20002 is that of two\.main\.1"):
        joining.check_uid("one.main.1", 20_002, {"site.main.1": 0, "two.main.1": 20_002})
    with pytest.raises(NotPermitted, match="cannot be root"):
        joining.check_uid("one.main.1", 0, {})


def test_namespaces_are_those_of_the_process() -> None:
    found = joining.namespaces_of(os.getpid())
    assert found == {
        "pid": f"/proc/{os.getpid()}/ns/pid", "network": f"/proc/{os.getpid()}/ns/net",
        "ipc": f"/proc/{os.getpid()}/ns/ipc", "uts": f"/proc/{os.getpid()}/ns/uts",
    }  # fmt: skip
    assert joining.uid_of(os.getpid()) == os.geteuid()
    with pytest.raises(OSError, match="No such file"):
        joining.namespaces_of(0x7FFFFFFF)
    with pytest.raises(Unavailable):
        joining.uid_of(0x7FFFFFFF)


def test_a_user_namespace_of_its_own_is_refused() -> None:
    with subprocess.Popen(["unshare", "--user", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"there")
        process.stdin.flush()
        assert process.stdout.read(5) == b"there"
        with pytest.raises(NotSupported, match="user namespace"):
            joining.namespaces_of(process.pid)
        process.stdin.close()
