"""Manifests, indexes and configurations: what is read, what is refused and how it is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import FieldgateError, InvalidInput, NotSupported
from gateway.images.manifest import (
    MAX_LAYERS,
    choose_platform,
    is_index,
    parse_configuration,
    parse_manifest,
)

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def raw(document: Any) -> bytes:
    return json.dumps(document).encode()


def manifest(**changes: Any) -> bytes:
    good = {
        "config": {"digest": digest("c"), "size": 10},
        "layers": [{"mediaType": LAYER, "digest": digest("a"), "size": 5}],
    }
    return raw({**good, **changes})


def index(*platforms: dict[str, str]) -> bytes:
    letters = "0123456789abcdef"
    return raw(
        {"manifests": [{"digest": digest(letters[i]), "size": 7, "platform": p} for i, p in enumerate(platforms)]}
    )


def test_good_ones() -> None:
    found = parse_manifest(manifest())
    assert (found.config.digest, found.layers[0].compression, found.layers[0].size) == (digest("c"), "gzip", 5)
    config = parse_configuration(raw({
        "architecture": "arm64", "rootfs": {"diff_ids": [digest("d")]},
        "config": {"Entrypoint": ["python3"], "Cmd": None, "Env": ["A=b"], "User": "65534", "WorkingDir": "/app"},
    }))  # fmt: skip
    assert (config.process.entrypoint, config.process.command, config.process.user) == (("python3",), (), "65534")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"config": None}, "manifest.config.digest"),
        ({"config": {"digest": "sha256:12", "size": 1}}, "manifest.config.digest"),
        ({"config": {"digest": digest("c"), "size": True}}, "manifest.config.size"),
        ({"config": {"digest": digest("c"), "size": 1 << 40}}, "manifest.config.size"),
        ({"layers": []}, "manifest.layers is empty"),
        ({"layers": [1]}, "manifest.layers"),
        ({"layers": [{}] * (MAX_LAYERS + 1)}, "more than 96"),
        ({"layers": [{"mediaType": "text/html"}]}, r"manifest.layers\[0\].mediaType"),
        ({"layers": [{"mediaType": LAYER, "digest": digest("a"), "size": 0}]}, r"manifest.layers\[0\].size"),
    ],
)
def test_refused_by_path(changes: dict[str, Any], where: str) -> None:
    with pytest.raises((InvalidInput, NotSupported), match=where):
        parse_manifest(manifest(**changes))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["manifests", "layers", "config", "rootfs", "diff_ids", "platform", "digest"]), inner
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_json_gives_one_of_our_errors(document: Any) -> None:
    for parse in (is_index, parse_manifest, parse_configuration, lambda data: choose_platform(data, "arm")):
        try:
            parse(raw(document))
        except FieldgateError as error:
            assert error.message.startswith("cannot use image")  # noqa: PT017


def test_platforms() -> None:
    two = index({"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64", "variant": "v8"})
    assert is_index(two)
    assert choose_platform(two, "amd64").digest == digest("0")
    assert choose_platform(two, "arm64").digest == digest("1")
    with pytest.raises(NotSupported, match="only linux/amd64, linux/arm64/v8"):
        choose_platform(two, "riscv64")


def test_arm_variants() -> None:
    arms = index(*({"os": "linux", "architecture": "arm", "variant": v} for v in ("v5", "v6", "v7")))
    assert choose_platform(arms, "arm/v7").digest == digest("2")
    assert choose_platform(arms, "arm/v6").digest == digest("1")
    assert choose_platform(arms, "arm").digest == digest("2")
    with pytest.raises(NotSupported):
        choose_platform(index({"os": "linux", "architecture": "arm", "variant": "v7"}), "arm/v6")
