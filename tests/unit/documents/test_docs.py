"""The documentation names every key that the models know, and its examples are good."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from gateway.documents import manifest, manifest_esdk, manifest_network, manifest_service, package, profile
from gateway.documents.manifest_refused import REFUSED
from tests.unit.documents import samples

DOCS = Path(__file__).parents[3] / "docs"
MANIFEST = (DOCS / "app-manifest.md").read_text()
PROFILE = (DOCS / "firmware-profile.md").read_text()


@pytest.mark.parametrize(
    "model", [manifest.Manifest, manifest_service.Service, manifest_esdk.Esdk, manifest_network.EsdkNetwork]
)
def test_every_key_of_the_manifest_has_a_line(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert f"\n| `{field.alias or name}` |" in MANIFEST


def test_every_refusal_is_in_the_table() -> None:
    for key, reason in REFUSED.items():
        assert f"\n| `{key}` | {reason} |" in MANIFEST


@pytest.mark.parametrize(
    "model", [profile.SerialPort, profile.GpioLine, profile.Authority, profile.Network, profile.Uplink]
)
def test_every_key_of_the_profile_has_a_line(model: type[BaseModel]) -> None:
    for name in model.model_fields:
        assert f"\n| `{name}` |" in PROFILE


def test_a_package_in_the_documentation_becomes_what_stands_beside_it() -> None:
    text = (DOCS / "hosted-apps.md").read_text()
    (toml,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    host, guest = (manifest.load(part.encode()) for part in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    manifest.parse(host, at_gateway=False)
    shown = manifest.parse(guest, at_gateway=False)
    made = manifest.parse(package.expand(toml.encode(), shown.services[0].image), at_gateway=False)
    assert (made.name, made.version) == (shown.name, shown.version)
    assert made.services[0].command == shown.services[0].command
    assert made.services[0].host == shown.services[0].host == f"{host['name']}/{next(iter(host['services']))}"
    for key in package.Service.model_fields:
        assert f"`{key}`" in text


def test_the_examples_are_accepted() -> None:
    (compose,) = re.findall(r"```yaml\n(.*?)```", MANIFEST, re.DOTALL)
    document = manifest.load(compose.encode())
    image = document["services"]["reader"]["image"]
    manifest.parse(manifest.pin(document, {image: f"{image}@{samples.DIGEST}"}))
    (toml,) = re.findall(r"```toml\n(.*?)```", PROFILE, re.DOTALL)
    profile.parse_profile((toml + '[gpio.DI1]\nchip = "/dev/gpiochip0"\noffset = 16\n').encode())
