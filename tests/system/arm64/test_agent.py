"""The agent on an arm64 board without a network (QEMU, Debian's kernel, pure cgroup v2): an APP's whole life."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from tests.bench.figure import Figure, keep
from tests.site.arm64 import RESULT, run_inside
from tests.site.images import archive_busybox

LONGEST_S = 600.0
"""On a machine that does other things as well; the budget of `make test-arm64` is for one that does not."""


# The first run fetches and unpacks the guest's system.
@pytest.mark.timeout(LONGEST_S + 240)
def test_an_apps_life_on_arm64(capsys: pytest.CaptureFixture[str]) -> None:
    def prepare(shared: Path, root: Path) -> None:
        archive_busybox(shared / "image.tar", root / "usr/bin/busybox", "arm64")

    seen = json.loads(run_inside(f"-m tests.system.arm64.story {RESULT}", LONGEST_S, prepare=prepare))
    assert "failed" not in seen, seen["failed"]
    assert seen["machine"] == "aarch64"
    assert len(seen["import"]) == 1
    assert seen["first version"] == {"memory.max": str(32 << 20), "pids.max": "16"}
    assert seen["APP killed"] == 1
    assert seen["agent killed"]["the APP went on"]
    assert seen["second version"], "the first version was stopped"
    assert seen["bad version"] == {"rollout": "rolled_back", "reason": "main: health check: exit code 1"}
    assert seen["left"] == []
    starts = seen["start_one_ms"]
    figures = [
        Figure("arm64_agent_pss_mb", seen["agent killed"]["pss_mb"], "MB", 1),
        Figure("arm64_agent_start_s", seen["agent killed"]["start_s"], "s", 1),
        Figure("arm64_start_one_ms", statistics.median(starts), "ms", len(starts)),
    ]
    keep(figures)
    with capsys.disabled():
        print("\n" + "\n".join(f"{figure.name} {figure.us:.2f} {figure.unit}" for figure in figures))
