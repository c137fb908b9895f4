"""The command line where no cloud is needed: errors in words, exit codes, and what a terminal is spared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloud.cli.deploy import load
from cloud.cli.main import main
from gateway.errors import InvalidInput, NotFound
from gateway.mqtt import Address

BAD = """\
name: meter-reader
services:
  reader:
    image: registry.example/apps/meter-reader:1.0
    sysctls: ["a=1"]
    x-esdk: {gpio: {DO1: toggle}}
"""


def test_a_bad_file_is_refused_with_all_its_faults_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(BAD)
    assert main(["deploy", "--state", str(tmp_path), "--gateway", "gw-1", str(file)]) == 65
    said = capsys.readouterr().err
    assert "2 problems" in said
    assert "services.reader.sysctls" in said
    assert "services.reader.x-esdk.gpio.DO1" in said


@pytest.mark.parametrize(
    "command", [["diff", "--gateway", "a"], ["tags", "--gateway", "a"], ["watch"], ["keys", "rotate"]]
)
def test_without_a_cloud_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    main(["keys", "init", "--state", str(tmp_path / "state")])
    assert main([*command, "--state", str(tmp_path / "state")]) == 75
    assert "is `fieldgate-cloud serve` running?" in capsys.readouterr().err


def test_serve_before_init_and_with_a_bad_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--state", str(tmp_path / "state"), "--broker", "localhost:8883"]) == 66
    assert "fieldgate-cloud keys init" in capsys.readouterr().err
    main(["keys", "init", "--state", str(tmp_path / "state")])
    assert main(["serve", "--state", str(tmp_path / "state"), "--broker", "nowhere"]) == 65


def test_addresses() -> None:
    assert Address.parse("broker.example:8883") == Address("broker.example", 8883)
    assert Address.parse("[::1]:1") == Address("::1", 1)
    for text in ("", "host", "host:", ":1", "host:0", "host:65536", "host:x"):
        with pytest.raises(InvalidInput):
            Address.parse(text)


def test_a_package_in_a_registry_becomes_a_compose_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'name = "tool"\nversion = "1"\n[services.main]\ncommand = ["./tool"]\n'
    image = f"registry.example/packages/tool:1@sha256:{'a' * 64}"
    asked: list[str] = []

    def package(reference: str, plain_http: list[str]) -> tuple[str, bytes]:
        asked.append(reference)
        return image, json.dumps({"app": text}).encode()

    monkeypatch.setattr("cloud.registry.package", package)
    name, document = load("registry.example/packages/tool:1", [], "site/main")
    assert asked == ["registry.example/packages/tool:1"]
    assert (name, document["services"]["main"]["image"]) == ("tool", image)
    assert document["services"]["main"]["x-esdk"]["host"] == "site/main"
    with pytest.raises(InvalidInput, match="as APP/SERVICE"):
        load("registry.example/packages/tool:1", [], "")
    (tmp_path / "compose.yaml").write_text(BAD)
    with pytest.raises(InvalidInput, match="--host is for packages"):
        load(str(tmp_path / "compose.yaml"), [], "site/main")
    with pytest.raises(NotFound):
        load(str(tmp_path / "none.yaml"), [], "")
