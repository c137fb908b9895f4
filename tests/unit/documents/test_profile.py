"""The firmware profile: the ones that we ship, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.documents.profile import parse_profile
from gateway.errors import InvalidInput
from gateway.model.profile import AuthorityCaps, GpioLine, OnAgentLoss, Profile, SerialPort
from gateway.model.wire import from_wire, to_wire

PROFILES = sorted((Path(__file__).parents[3] / "firmware_profiles").glob("*.toml"))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_shipped_profiles_are_good_and_named_like_their_file(path: Path) -> None:
    profile = parse_profile(path.read_bytes(), str(path))
    assert profile.name == path.stem
    assert from_wire(Profile, to_wire(profile)) == profile


def test_the_developers_machine() -> None:
    path = next(path for path in PROFILES if path.stem == "developer-x86_64")
    profile = parse_profile(path.read_bytes())
    assert profile.architecture == "amd64"
    assert profile.serial == (SerialPort("RS485-1", "field/RS485-1"),)
    assert profile.gpio == (
        GpioLine("DI1", "simulated:field/gpiochip0.sock", 0),
        GpioLine("DO1", "simulated:field/gpiochip0.sock", 1, output=True),
    )
    assert profile.gpio[1].on_agent_loss is OnAgentLoss.HOLD
    assert profile.authorities["contractor"] == AuthorityCaps()
    assert profile.authorities["local"].key_files == ("identity/local.pub",)


def test_engines_in_their_order() -> None:
    assert parse_profile(BASE.encode()).engines == ("oci",)
    profile = parse_profile((BASE + "engines = ['docker', 'oci', 'docker']\ndocker_socket = '/run/x.sock'").encode())
    assert (profile.engines, profile.docker_socket) == (("docker", "oci"), "/run/x.sock")


BASE = 'name = "b"\narchitecture = "arm64"\n'


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("name = 'b'", "architecture"),
        (BASE + "colour = 1", "colour"),
        (BASE.replace("arm64", "z80"), "architecture"),
        (BASE + "reserved_memory_bytes = 'much'", "reserved_memory_bytes"),
        (BASE + "runtimes = []", "runtimes"),
        (BASE + "engines = []", "engines"),
        (BASE + "engines = ['oci', 'qemu']", "engines[1]"),
        (BASE + "docker_socket = 'docker.sock'", "docker_socket"),
        (BASE + "[authorities.a]\noperations = ['*']", "authorities.a.operations[0]"),
        (BASE + "[authorities.a]\noperations = ['why', 'reboot']", "authorities.a.operations[1]"),
        (BASE + "[serial.A]\ndevice = '../x'", "serial.A.device"),
        (BASE + "[serial.A]\ndevice = 'a'\n[serial.B]\ndevice = 'a'", "serial.B.device"),
        (BASE + "[serial.A]\ndevice = 'a'\nparity = 'mark'", "serial.A.parity"),
        (BASE + "[serial.'a b']\ndevice = 'a'", "serial.a b"),
        (BASE + "[gpio.A]\nchip = 'gpiochip0'\noffset = 1", "gpio.A.chip"),
        (BASE + "[gpio.A]\nchip = '/dev/gpiochip0'\noffset = -1", "gpio.A.offset"),
        (BASE + "[gpio.A]\nchip = '/dev/gpiochip0'\noffset = 1\nsafe_value = 1", "gpio.A"),
        (BASE + "".join(f"[gpio.{n}]\nchip = '/dev/c'\noffset = 1\n" for n in "AB"), "gpio.B.offset"),
        (BASE + "[authorities.x]\nserial = ['A']", "authorities.x.serial[0]"),
        (BASE + "[authorities.x]\ngpio = ['A']", "authorities.x.gpio[0]"),
        (BASE + "[authorities.x]\nkey_files = ['../../k']", "authorities.x.key_files[0]"),
        (BASE + "[authorities.X]\n", "authorities.X"),
        (BASE + "[authorities.x]\ncapabilities = ['net raw']", "authorities.x.capabilities[0]"),
    ],
)
def test_faults_are_named_by_path(text: str, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_profile(text.encode(), "board.toml")
    assert path in [problem.path for problem in caught.value.problems]
    assert "board.toml" in caught.value.message
