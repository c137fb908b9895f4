"""The documentation names every key that the models know, and its examples are good."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from gateway.documents import manifest, manifest_esdk, manifest_network, manifest_service, profile
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


@pytest.mark.parametrize("model", [profile.SerialPort, profile.GpioLine, profile.Authority, profile.Network])
def test_every_key_of_the_profile_has_a_line(model: type[BaseModel]) -> None:
    for name in model.model_fields:
        assert f"\n| `{name}` |" in PROFILE


def test_the_examples_are_accepted() -> None:
    (compose,) = re.findall(r"```yaml\n(.*?)```", MANIFEST, re.DOTALL)
    document = manifest.load(compose.encode())
    image = document["services"]["reader"]["image"]
    manifest.parse(manifest.pin(document, {image: f"{image}@{samples.DIGEST}"}))
    (toml,) = re.findall(r"```toml\n(.*?)```", PROFILE, re.DOTALL)
    profile.parse_profile((toml + '[gpio.DI1]\nchip = "/dev/gpiochip0"\noffset = 16\n').encode())
