"""What the kernel's log says of a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.engines.docker import oom

RECORD = b"6,16476,664,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/docker/4f00,task_memcg=/docker/4f00,task=dd\n"


@pytest.mark.parametrize(("group", "seen"), [("4f00", True), ("4f01", False)])
def test_a_kill_is_found_by_the_containers_name(
    group: str, seen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kmsg").write_bytes(b"6,1,2,-;usb 1-1: 4f01 new device\n" + RECORD)
    monkeypatch.setattr(oom, "KERNEL_LOG", str(tmp_path / "kmsg"))
    assert oom.in_kernel_log(group) is seen
    (tmp_path / "kmsg").unlink()
    assert oom.in_kernel_log(group) is False
