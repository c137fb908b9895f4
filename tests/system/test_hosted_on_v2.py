"""Containers in a container on pure cgroup v2, whatever this machine has: in User-mode Linux, with crun."""

from __future__ import annotations

import json

from tests.site.uml import RESULT, run_inside
from tests.system.hosted_smoke import MEMORY_BYTES


def test_a_container_in_a_container_on_pure_cgroup_v2() -> None:
    seen = json.loads(run_inside(f"-m tests.system.hosted_smoke {RESULT}", timeout_s=60))
    assert "failed" not in seen, seen["failed"]
    assert seen["mode"] == "v2"
    assert seen["shared"] == [True, True, True, True, False, False]
    assert (seen["memory.max"], seen["pids.max"]) == (str(MEMORY_BYTES), "8")
    assert seen["oom"] == [137, True, False]
    assert (seen["exit"], seen["left_inside"]) == (3, False)
    assert seen["unharmed"] == [True, True]
    assert seen["with_its_host"] == [137, True]
    assert seen["left"] == []
