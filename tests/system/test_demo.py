"""`make demo`, as its spectator sees it: every step, its record, an empty stage; and Ctrl-C in the middle of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo.story import STEPS
from tests.site.gateway import ROOT
from tests.site.processes import wait_until


def leftovers() -> list[str]:
    """Directories and mounts of a stage; the demo itself looks for its processes and cgroups."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [name for name in (*mounts, *map(str, Path("/run").glob("fg-demo-*"))) if "fg-demo-" in name]


@pytest.mark.timeout(240)
def test_every_step_is_seen_and_nothing_is_left(tmp_path: Path) -> None:
    target = tmp_path / "demo.json"
    argv = [sys.executable, "-m", "tests.demo", "--json", str(target)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=230, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    records = json.loads(target.read_text())
    assert [record["step"] for record in records] == [title for title, _ in STEPS]
    assert all(record["ok"] and record["seen"] and record["seconds"] >= 0 for record in records)
    assert "nothing is left running, nothing mounted" in done.stdout
    assert leftovers() == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "moment",
    ["[ 6/11]", "fieldgate-cloud deploy ... --wait", "agent killed with SIGKILL"],
    ids=["start", "deploy", "dead"],
)
def test_ctrl_c_clears_the_stage(tmp_path: Path, moment: str) -> None:
    """As a terminal sends it: to the demo and all that it has started in its process group, and twice."""
    with (tmp_path / "log").open("w") as log:
        argv = [sys.executable, "-u", "-m", "tests.demo"]
        # Wide: a line that is told in two would not be found.
        wide = {**os.environ, "COLUMNS": "200"}
        demo = subprocess.Popen(argv, cwd=ROOT, env=wide, stdout=log, stderr=log, process_group=0)
    try:
        wait_until(lambda: moment in (tmp_path / "log").read_text(), moment, 90)
        os.killpg(demo.pid, signal.SIGINT)
        os.killpg(demo.pid, signal.SIGINT)
        assert demo.wait(60) == 130
    finally:
        if demo.poll() is None:
            demo.terminate()
            demo.wait(60)
    assert "interrupted; the stage is cleared" in (tmp_path / "log").read_text()
    assert leftovers() == []
