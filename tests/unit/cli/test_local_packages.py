"""A package as a file: what `fieldgate deploy` makes of it, and what it refuses to take for one."""

from __future__ import annotations

from pathlib import Path

import pytest
from imagebuild.package import build_package, write_archive

from gateway.cli.local_packages import is_package, load_package
from gateway.documents import manifest
from gateway.errors import InvalidInput
from tests.unit.images.archives import Layout

SAMPLE = Path(__file__).parents[3] / "apps" / "shared_box" / "heartbeat"


def archive(directory: Path, reference: str = "") -> Path:
    layout = build_package(SAMPLE, directory / "layout", zstd=False, reference=reference).layout
    write_archive(layout, directory / "heartbeat.tar")
    return directory / "heartbeat.tar"


def test_a_file_becomes_a_document_that_names_what_the_store_will_have(tmp_path: Path) -> None:
    file = archive(tmp_path, "registry.example/packages/heartbeat")
    (service,) = manifest.parse(load_package(file, "")).services
    assert service.image.startswith("registry.example/packages/heartbeat:1.0.0@sha256:")
    assert service.host == "shared-box/runtime"
    assert manifest.parse(load_package(file, "other/main")).services[0].host == "other/main"
    assert (
        manifest.parse(load_package(archive(tmp_path), "")).services[0].image.startswith("localhost/imported@sha256:")
    )


def test_an_image_in_a_file_is_no_package(tmp_path: Path) -> None:
    layout = Layout()
    layout.add(layout.image({"bin/x": b"x"}))
    file = layout.pack(tmp_path / "image.tar")
    with pytest.raises(InvalidInput, match="is it an image"):
        load_package(file, "site/main")


def test_which_files_are_packages() -> None:
    assert is_package(Path("build/x.tar"))
    assert not is_package(Path("compose.yaml"))
