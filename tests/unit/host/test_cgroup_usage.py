"""The files of a cgroup v1 tree as the kernel writes them; v2 is read on the real thing (tests/system)."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.host import cgroup, cgroup_usage
from gateway.model.stats import ContainerStats

FILES = {
    "cpuacct/g/cpuacct.usage": "123456789\n",
    "memory/g/memory.usage_in_bytes": "9000000\n",
    "memory/g/memory.max_usage_in_bytes": "9500000\n",
    "memory/g/memory.limit_in_bytes": "9223372036854771712\n",
    "memory/g/memory.stat": "cache 4096\ntotal_inactive_file 1000000\ntotal_active_file 5\n",
    "memory/g/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "pids/g/pids.current": "3\n",
    "blkio/g/blkio.throttle.io_service_bytes_recursive": (
        "8:0 Read 4096\n8:0 Write 100\n8:0 Total 4196\n8:16 Read 1\n8:16 Write 0\n8:16 Total 1\nTotal 4197\n"
    ),
}


def test_a_v1_group_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cgroup_usage.usage("g") == ContainerStats(
        cpu_ns=123456789, memory_bytes=8000000, memory_peak_bytes=9500000, memory_limit_bytes=None, pids=3,
        oom_kills=2, read_bytes=4097, written_bytes=100,
    )  # fmt: skip


def test_a_group_that_is_gone_uses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    assert cgroup_usage.usage("g") == ContainerStats()
