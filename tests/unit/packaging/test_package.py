"""Packages as artifacts: the same bytes from the same directory, and what a gateway finds in them."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from imagebuild import BuildError
from imagebuild.package import ARTIFACT_TYPE, build_package, write_archive

from gateway.documents import package
from gateway.images.manifest import parse_configuration, parse_manifest

SAMPLE = Path(__file__).parents[3] / "apps" / "shared_box" / "heartbeat"


@pytest.mark.parametrize("zstd", [True, False])
def test_the_same_directory_gives_the_same_bytes(tmp_path: Path, zstd: bool) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(SAMPLE, copy)
    os.utime(copy / "bin" / "beat", (1, 1))
    (copy / "bin" / "beat").chmod(0o775)
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "x.pyc").touch()
    made = [build_package(source, tmp_path / name, zstd=zstd) for source, name in ((SAMPLE, "one"), (copy, "two"))]
    assert made[0].digest == made[1].digest
    for image in made:
        write_archive(image.layout, image.layout.with_suffix(".tar"))
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_a_gateway_finds_app_toml_and_one_layer(tmp_path: Path) -> None:
    image = build_package(SAMPLE, tmp_path / "layout", zstd=False, reference="registry.example/packages/heartbeat")
    assert image.manifest["artifactType"] == ARTIFACT_TYPE
    config = image.blob(image.manifest["config"]["digest"]).read_bytes()
    found = parse_configuration(config)
    assert (found.is_package, found.runs_on("arm/v7"), len(found.diff_ids)) == (True, True, 1)
    assert package.app_toml(config) == (SAMPLE / "app.toml").read_bytes()
    (layer,) = parse_manifest(image.blob(image.digest).read_bytes()).layers
    with tarfile.open(image.blob(layer.digest)) as tar:
        assert tar.getnames() == ["bin", "bin/beat", "bin/is-beating"]
    index = json.loads((image.layout / "index.json").read_bytes())
    name = "registry.example/packages/heartbeat:1.0.0"
    assert index["manifests"][0]["annotations"] == {"org.opencontainers.image.ref.name": name}


def test_one_for_a_processor_runs_on_that_one_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "app.toml").write_text('name = "x"\nversion = "1"\narchitecture = "arm64"\n')
    image = build_package(tmp_path, tmp_path.with_suffix(".out"), zstd=False)
    found = parse_configuration(image.blob(image.manifest["config"]["digest"]).read_bytes())
    assert (found.runs_on("arm64"), found.runs_on("amd64")) == (True, False)


@pytest.mark.parametrize("text", [None, "=", 'name = "x"', 'name = "x"\nversion = 1', 'name = "x"\nversion = "1"'])
def test_what_is_no_package_is_not_built(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "app.toml").write_text(text)
    with pytest.raises(BuildError, match="cannot"):
        build_package(tmp_path, tmp_path.with_suffix(".out"), zstd=False)


def test_a_package_is_not_built_into_itself(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    with pytest.raises(BuildError, match="own directory"):
        build_package(tmp_path, tmp_path / "out", zstd=False)


def test_an_image_is_no_package() -> None:
    document = {"architecture": "any", "rootfs": {"type": "layers", "diff_ids": []}}
    found = parse_configuration(json.dumps(document).encode())
    assert (found.is_package, found.runs_on("amd64")) == (False, False)
