"""Images without a registry: an OCI archive goes through the same steps and checks as a pull."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Corrupted, FieldgateError, InvalidInput, NotFound, NotSupported, ToolFailed, Unavailable
from gateway.images.puller import Puller
from gateway.images.store import ImageStore
from gateway.operations import Images
from tests.site.enrolment import enrol
from tests.site.gateway import ROOT, Gateway
from tests.system.pulls import noise, open_store, puller
from tests.unit.images.archives import LAYER, Layout

LARGE = noise(3, 3 << 20)


async def _nothing() -> None:
    """No APP, so nothing to clean."""


def take(store: ImageStore, file: Path, by: Puller | None = None) -> list[dict[str, Any]]:
    """All that the import says."""

    async def run() -> list[dict[str, Any]]:
        images = Images(store, by or puller(store), _nothing)
        async with contextlib.aclosing(images.import_archive(str(file))) as steps:
            return [step async for step in steps]

    return asyncio.run(run())


def test_an_imported_image_is_whole_and_stays_until_it_was_used(tmp_path: Path) -> None:
    layout = Layout()
    layout.add(layout.image({"usr/lib/large": LARGE}, {"app/main": b"one"}), "registry.example/apps/reader:1")
    store = open_store(tmp_path)
    said = take(store, layout.pack(tmp_path / "a.tar"))
    image = said[-1]["image"]
    assert image.startswith("registry.example/apps/reader:1@sha256:")
    assert [step["done_bytes"] for step in said[:-1]] == sorted(step["done_bytes"] for step in said[:-1])
    assert said[-2]["done_bytes"] == said[-2]["total_bytes"] > len(LARGE)
    rootfs = store.rootfs(image)
    assert (rootfs.layers[0] / "app/main").read_bytes() == b"one"
    assert (rootfs.layers[1] / "usr/lib/large").read_bytes() == LARGE
    assert not list(store.ingest.iterdir())

    # A deployment may name it in another way: the digest counts. Until one does, it stays, across restarts too.
    store = open_store(tmp_path)
    assert store.remove_unreferenced([]) == 0
    digest = image.partition("@")[2]
    store.remove_unreferenced([f"another.example/reader@{digest}"])
    assert store.has(image)
    assert not open_store(tmp_path).images()[0].imported
    assert take(store, tmp_path / "a.tar") == [{"image": image}]
    assert store.images()[0].imported
    store.set_imported(image, False)
    assert store.remove_unreferenced([]) > len(LARGE)
    assert not list(store.layers.iterdir())
    with pytest.raises(NotFound):
        store.set_imported(image, False)


def test_of_several_platforms_and_images_the_fitting_ones_are_taken(tmp_path: Path) -> None:
    layout, store = Layout(), open_store(tmp_path)
    arm = {**layout.image({"f": b"arm"}, architecture="arm64"), "platform": {"os": "linux", "architecture": "arm64"}}
    here = {**layout.image({"f": b"here"}), "platform": {"os": "linux", "architecture": "amd64"}}
    both = layout.add(layout.index(arm, here))
    layout.add(arm)
    said = take(store, layout.pack(tmp_path / "a.tar"))
    assert [step["image"] for step in said if "image" in step] == [f"localhost/imported@{both}"]
    assert next(step["skipped"] for step in said if "skipped" in step).endswith("it is for arm64, this is amd64")
    assert (store.rootfs(f"x.example/y@{both}").layers[0] / "f").read_bytes() == b"here"
    layout.entries.pop(0)
    with pytest.raises(NotSupported, match="it is for arm64"):
        take(store, layout.pack(tmp_path / "b.tar"))


def test_a_layer_that_is_here_need_not_be_in_the_archive(tmp_path: Path) -> None:
    layout, store = Layout(), open_store(tmp_path)
    layout.add(layout.image({"large": LARGE}))
    take(store, layout.pack(tmp_path / "a.tar"))
    layout.add(layout.image({"large": LARGE}, {"small": b"new"}))
    layout.entries.pop(0)
    layout.files = {name: data for name, data in layout.files.items() if len(data) < len(LARGE)}
    said = take(store, layout.pack(tmp_path / "thin.tar"))
    assert (store.rootfs(said[-1]["image"]).layers[1] / "large").read_bytes() == LARGE


def damaged() -> Layout:
    layout = Layout()
    layout.add(layout.image({"f": LARGE}))
    name = next(name for name, data in layout.files.items() if len(data) > len(LARGE))
    layout.files[name] = layout.files[name][:5000] + b"!" + layout.files[name][5001:]
    return layout


def missing() -> Layout:
    layout = damaged()
    layout.files = {name: data for name, data in layout.files.items() if len(data) < len(LARGE)}
    return layout


def another_length() -> Layout:
    layout = damaged()
    layout.files = {name: data + b"x" * 100 for name, data in layout.files.items() if len(data) > len(LARGE)} | {
        name: data for name, data in layout.files.items() if len(data) < len(LARGE)
    }
    return layout


def another_diff_id() -> Layout:
    layout = Layout()
    layout.add(layout.image({"f": b"one"}, layers=[layout.blob(b"\0" * 1024, LAYER)]))
    return layout


def leads_out() -> Layout:
    layout = Layout()
    layout.add(layout.image({"../../../etc/escape": b"x"}))
    return layout


@pytest.mark.parametrize(
    ("layout", "error", "says"),
    [
        (damaged(), Corrupted, "another digest"), (missing(), InvalidInput, "lacks blobs/sha256"),
        (another_length(), Corrupted, "bytes, not"), (another_diff_id(), Corrupted, "have digest"),
        (leads_out(), InvalidInput, "leads out of the layer"),
    ],
)  # fmt: skip
def test_what_is_refused_leaves_nothing(tmp_path: Path, layout: Layout, error: type[FieldgateError], says: str) -> None:
    store = open_store(tmp_path)
    with pytest.raises(error, match=says):
        take(store, layout.pack(tmp_path / "a.tar"))
    assert store.images() == []
    store.remove_unreferenced([])
    assert not [path for part in (store.layers, store.blobs, store.ingest, store.refs) for path in part.iterdir()]


def test_a_full_disk_is_said_at_once(tmp_path: Path) -> None:
    layout, store = Layout(), open_store(tmp_path)
    layout.add(layout.image({"large": LARGE}))
    with pytest.raises(Unavailable, match="reserved_disk_bytes"):
        take(store, layout.pack(tmp_path / "a.tar"), puller(store, reserved=1 << 60))


def test_by_the_command_while_the_agent_runs(tmp_path: Path) -> None:
    layout = Layout()
    layout.add(layout.image({"f": b"one"}), "1.2.0")
    gateway = Gateway(tmp_path, ROOT / "firmware_profiles" / "developer-x86_64.toml")
    enrol(gateway.paths, "gw-test")
    with gateway:
        said = gateway.cli("images", "import", str(layout.pack(tmp_path / "a.tar")))
        [image] = said["images"]
        assert gateway.cli("images", "list") == [{"image": image, "imported": True}]
        (tmp_path / "bad.tar").write_bytes(b"no tar")
        with pytest.raises(ToolFailed, match="cannot read tar"):
            gateway.cli("images", "import", str(tmp_path / "bad.tar"))
        gateway.cli("images", "remove", image)
        assert gateway.cli("images", "list") == []
        with pytest.raises(ToolFailed, match="exit code 66"):
            gateway.cli("images", "remove", image)
    assert json.loads((gateway.paths.images / "store.json").read_text())["schema"] == 1
