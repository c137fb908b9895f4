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
    """Directories and mounts of a stage; mounts elsewhere are others'."""
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


@pytest.mark.timeout(120)
def test_ctrl_c_clears_the_stage(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        demo = subprocess.Popen([sys.executable, "-m", "tests.demo"], cwd=ROOT, stdout=log, stderr=log)
    try:
        wait_until(lambda: "[ 7/11]" in (tmp_path / "log").read_text(), "the APP deployed", 60)
        demo.send_signal(signal.SIGINT)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(40) == 130
    finally:
        if demo.poll() is None:
            os.kill(demo.pid, signal.SIGKILL)
            demo.wait()
    assert "interrupted; the stage is cleared" in (tmp_path / "log").read_text()
    assert leftovers() == []
