"""The engines on pure cgroup v2, whatever this machine has: in User-mode Linux."""

from __future__ import annotations

from tests.site.uml import run_inside
from tests.system.engine_smoke import MEMORY_BYTES, PIDS


def test_the_engines_on_pure_cgroup_v2() -> None:
    for name, seen in run_inside("tests.system.engine_smoke", timeout_s=60).items():
        assert "failed" not in seen, f"{name}: {seen['failed']}"
        assert (seen["mode"], seen["state"]) == ("v2", "running"), name
        assert seen["group"].startswith("/sys/fs/cgroup/fieldgate")
        assert (seen["memory.max"], seen["pids.max"], seen["memory.oom.group"]) == (str(MEMORY_BYTES), str(PIDS), "1")
        assert seen["options"] == ["nsdelegate", "favordynmods", "memory_recursiveprot"], "as it was, and faster"
        assert seen["stats"] == [True, True, MEMORY_BYTES, 2, 0]
        assert seen["counts_io"]
        assert seen["exec"] == [7, "inside\n"]
        assert seen["stop"] == ["exited", 3, False]
        assert seen["oom"] == [137, True]
        assert seen["group_is_gone"]
        assert seen["left"] == []
