"""`python -m esdk`: the fake gateway as a process, for an APP in a container on a laptop."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import esdk
from tests.site.processes import wait_until

ROOT = Path(__file__).parents[3]


def test_it_answers_on_its_directory_and_prints_what_is_published(tmp_path: Path) -> None:
    argv = [
        sys.executable, "-m", "esdk", str(tmp_path / "esdk"), "--serial", "RS485-1", "--register", "RS485-1:1:12=0x4b0",
        "--publish", "meter/#", "--gpio", "DO1=write", "--setting", "unit=1",
    ]  # fmt: skip
    fake = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        wait_until((tmp_path / "esdk" / "esdk.sock").exists, "the socket")
        with esdk.Gateway(str(tmp_path / "esdk" / "esdk.sock"), timeout_s=5) as gateway:
            assert gateway.settings() == {"unit": "1"}
            assert gateway.serial("RS485-1").read_registers(unit=1, address=12, count=1) == [1200]
            assert gateway.gpio("DO1").set(1)["value"] == 1
            assert gateway.tags.publish([{"tag": "meter/power", "value": 1200, "unit": "W"}], durable=True)
    finally:
        fake.send_signal(signal.SIGINT)
        said, _ = fake.communicate(timeout=10)
    assert fake.returncode == 0
    assert "meter/power 1200 W good durable" in said


def test_wrong_arguments_are_one_clear_line(tmp_path: Path) -> None:
    for option, value, said in (
        ("--register", "RS485-1:12=1", "must be PORT:UNIT:ADDRESS=VALUE"),
        ("--register", "RS485-1:1:0=65536", "a register has 16 bits"),
        ("--setting", "unit", "must be KEY=VALUE"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "esdk", str(tmp_path), option, value],
            cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert said in done.stderr
