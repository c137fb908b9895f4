"""The meter reader against the fake gateway: when all is well, and when bus or agent are away."""

from __future__ import annotations

import ast
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from esdk.testing import FakeGateway

ROOT = Path(__file__).parents[3]
APP = ROOT / "apps" / "meter_reader"
LIVE = {"meter/voltage": 230.5, "meter/current": 2.0, "meter/power": 461.0}


def registers() -> dict[int, int]:
    found = {}
    for address, number in ((0, 230.5), (6, 2.0), (12, 461.0), (0x48, 1234.5)):
        found[address], found[address + 1] = struct.unpack(">HH", struct.pack(">f", number))
    return found


def gateway(**settings: str) -> FakeGateway:
    given = {"interval_s": "0.1", "energy_interval_s": "0.2", **settings}
    return FakeGateway(serial=["RS485-1"], publish=["meter/#"], settings=given)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 8
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


class Reader:
    """The APP as a process."""

    def __init__(self, fake: FakeGateway, directory: Path) -> None:
        paths = f"{ROOT}{os.pathsep}{APP}"
        self.env = {"PYTHONPATH": paths, "ESDK_SOCKET": fake.path, "READER_HEARTBEAT": str(directory / "beat.json")}
        self.log = directory / "log"
        self._file = self.log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reader"], env=self.env, stdout=self._file, stderr=subprocess.STDOUT
        )

    def health(self) -> tuple[int, str]:
        argv = [sys.executable, "-m", "reader.health"]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=10, check=False)
        return done.returncode, done.stdout.strip()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._file.close()


def qualities(fake: FakeGateway) -> set[str]:
    return {sample["quality"] for sample in fake.latest.values() if sample["tag"] in LIVE}


def test_it_publishes_and_stops_at_once(tmp_path: Path) -> None:
    with gateway() as fake, Reader(fake, tmp_path) as reader:
        fake.answer("RS485-1", registers=registers())
        until(lambda: "meter/energy" in fake.latest and qualities(fake) == {"good"})
        assert {tag: fake.latest[tag]["value"] for tag in LIVE} == LIVE
        assert fake.latest["meter/energy"]["value"] == 1234.5
        assert all(durable == (batch[0]["tag"] == "meter/energy") for batch, durable, _ in fake.published)
        assert reader.health() == (0, "")
        reader.process.send_signal(signal.SIGTERM)
        assert reader.process.wait(1.0) == 0
    assert "started version=test" in reader.log.read_text()


def test_a_silent_meter_is_bad_quality_and_one_line_of_log(tmp_path: Path) -> None:
    with gateway() as fake, Reader(fake, tmp_path) as reader:
        until(lambda: len(fake.published) > 3)
        assert qualities(fake) == {"bad"}
        assert "meter/energy" not in fake.latest
        assert reader.health() == (0, "")
        fake.answer("RS485-1", registers=registers())
        until(lambda: qualities(fake) == {"good"})
    assert reader.log.read_text().count("cannot get an answer") == 1


def test_it_outlives_the_agent(tmp_path: Path) -> None:
    with gateway() as fake, Reader(fake, tmp_path) as reader:
        fake.answer("RS485-1", registers=registers())
        until(lambda: fake.published)
        fake.go_away()
        count = len(fake.published)
        time.sleep(0.5)
        assert reader.process.poll() is None
        assert reader.health() == (0, "")
        fake.come_back()
        until(lambda: len(fake.published) > count and qualities(fake) == {"good"})
        stamps = [s["time_ns"] for batch, _, _ in fake.published for s in batch if s["tag"] == "meter/power"]
        assert len(stamps) == len(set(stamps))
        assert max(b - a for a, b in zip(sorted(stamps), sorted(stamps)[1:], strict=False)) < 450_000_000


@pytest.mark.parametrize("setting", [{"unit": "300"}, {"interval_s": "soon"}, {"speed": "1"}])
def test_wrong_settings_end_it_with_their_names(tmp_path: Path, setting: dict[str, str]) -> None:
    with gateway(**setting) as fake, Reader(fake, tmp_path) as reader:
        assert reader.process.wait(8) == 1
    assert f"cannot start: settings: {next(iter(setting))}: " in reader.log.read_text()


def test_it_imports_esdk_and_the_standard_library_only() -> None:
    for path in (*(APP / "reader").glob("*.py"), *(ROOT / "esdk").glob("*.py")):
        tree = ast.parse(path.read_text(), feature_version=(3, 9))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.partition(".")[0]
                assert top in sys.stdlib_module_names or top in ("esdk", "reader"), f"{path.name}: {name}"
