"""`fieldgate doctor` on this machine, and on a board that lacks nearly everything."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.cli.board_checks import CHECKS, Check, Verdict
from gateway.cli.doctor import examine
from gateway.paths import Paths

PROFILE = """
name = "bare"
architecture = "arm"
[serial.RS485-1]
device = "/dev/ttyNONE0"
[gpio.DO1]
chip = "/dev/gpiochip99"
offset = 1
output = true
"""


def test_every_check_answers_and_what_fails_has_a_cure(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(PROFILE)
    checks = {check.name: check for check in examine(tmp_path / "board.toml", Paths(tmp_path / "s", tmp_path / "r"))}
    assert len(checks) == len(CHECKS) + 1
    assert all(check.seen and (check.cure or check.verdict is Verdict.OK) for check in checks.values())
    failed = {name for name, check in checks.items() if check.verdict is Verdict.FAILED}
    assert failed >= {"serial ports", "gpio chips", "identity"}
    assert "RS485-1 (/dev/ttyNONE0)" in checks["serial ports"].seen
    assert checks["kernel"].verdict is Verdict.OK
    assert checks["durable writes"].seen.startswith("fsync in ")
    assert list(tmp_path.iterdir()) == [tmp_path / "board.toml"], "it leaves nothing behind"


def test_what_the_engines_of_the_profile_need(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(f"engines = ['docker']\ndocker_socket = '{tmp_path}/d.sock'\n{PROFILE}")

    def seen() -> dict[str, Check]:
        return {check.name: check for check in examine(tmp_path / "board.toml", Paths(tmp_path / "s", tmp_path / "r"))}

    assert seen()["Docker"].verdict is Verdict.FAILED
    assert "No such file" in seen()["Docker"].seen
    assert (seen()["conmon"].verdict, seen()["OCI runtime"].verdict) == (Verdict.OK, Verdict.OK)
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "d.sock"))
        daemon.listen()

        def answer() -> None:
            with daemon.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nOK")

        thread = threading.Thread(target=answer)
        thread.start()
        assert seen()["Docker"].verdict is Verdict.OK
        thread.join()


def test_what_engine_lxc_needs(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(f"engines = ['lxc']\n{PROFILE}")
    checks = {check.name: check for check in examine(tmp_path / "board.toml", Paths(tmp_path / "s", tmp_path / "r"))}
    assert checks["lxc"].verdict is Verdict.OK
    assert checks["lxc"].seen[0].isdigit()
    assert checks["conmon"].seen.startswith("conmon")
    assert checks["OCI runtime"].seen == "not needed by the profile's engines"


def test_a_profile_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "board.toml").write_text("nme = 1")
    arguments = ["doctor", "--profile", str(tmp_path / "board.toml"), "--state", str(tmp_path), "--run", str(tmp_path)]
    assert main.main(arguments) == 1
    printed = capsys.readouterr().out
    assert "FAIL  profile" in printed
    assert "nme" in printed
