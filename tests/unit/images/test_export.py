"""Images as archives: what tarfile reads in them, and what happens when a blob is not what it was."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from gateway.errors import Corrupted
from gateway.images.export import Forms, ImageExport
from gateway.images.manifest import Descriptor
from gateway.images.records import Record
from gateway.images.store import ImageStore
from gateway.model.image import ImageConfig
from tests.unit.images.tars import make_tar, member

LAYER = make_tar([member("file", b"content" * 1000)])
DIFF = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"
PACKED = {
    "none": LAYER,
    "gzip": gzip.compress(LAYER),
    "zstd": subprocess.run(["zstd", "-q"], input=LAYER, capture_output=True, check=True).stdout,
}


def put(blobs: Path, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    (blobs / name).write_bytes(data)
    return f"sha256:{name}"


def exported(blobs: Path, *kinds: str) -> ImageExport:
    layers = tuple(Descriptor(put(blobs, PACKED[kind]), len(PACKED[kind]), kind) for kind in kinds)
    config = put(blobs, b'{"rootfs": {}}')
    return ImageExport(config, (DIFF,) * len(kinds), ImageConfig(), blobs, layers)


def test_the_archive_is_what_docker_load_reads(tmp_path: Path) -> None:
    export = exported(tmp_path, "none", "gzip", "zstd", "none")
    with tarfile.open(fileobj=io.BytesIO(b"".join(export.archive("localhost/x:1")))) as tar:
        names = tar.getnames()
        (manifest,) = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        assert manifest["RepoTags"] == ["localhost/x:1"]
        assert tar.extractfile(manifest["Config"]).read() == b'{"rootfs": {}}'  # type: ignore[union-attr]
        assert [member.mode for member in tar.getmembers()] == [0o644] * len(names)
        data = [tar.extractfile(name).read() for name in manifest["Layers"]]  # type: ignore[union-attr]
    assert len(names) == len(set(names)) == 5, "a layer that is there twice is written once"
    assert data == [LAYER, PACKED["gzip"], LAYER, LAYER]


@pytest.mark.parametrize("kind", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("damage", [b"", b"x"])
def test_a_damaged_blob_is_never_given_out_to_the_end(tmp_path: Path, kind: str, damage: bytes) -> None:
    export = exported(tmp_path, kind)
    blob = tmp_path / export.layers[0].digest.removeprefix("sha256:")
    blob.write_bytes(blob.read_bytes()[:-1] + damage)
    with pytest.raises(Corrupted):
        list(export.archive("localhost/x:1"))


def pulled(root: Path, forms: Forms) -> tuple[ImageStore, str]:
    """A store with one image of one layer, as a puller leaves it."""
    store = ImageStore(root, forms)
    store.open()
    layer = Descriptor(put(store.blobs, PACKED["gzip"]), len(PACKED["gzip"]), "gzip")
    document = {"architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": [DIFF]}}
    config = put(store.blobs, json.dumps(document).encode())
    size = (store.blobs / config.removeprefix("sha256:")).stat().st_size
    of_config, of_layer = (f"application/vnd.oci.image.{kind}" for kind in ("config.v1+json", "layer.v1.tar+gzip"))
    manifest = put(
        store.blobs,
        json.dumps(
            {
                "schemaVersion": 2,
                "config": {"mediaType": of_config, "digest": config, "size": size},
                "layers": [{"mediaType": of_layer, "digest": layer.digest, "size": layer.size}],
            }
        ).encode(),
    )
    if forms.unpacked:
        (store.layers / DIFF.removeprefix("sha256:")).mkdir()
    image = f"registry.test/a@{manifest}"
    store.commit(Record(image, manifest, manifest, config, (DIFF,)))
    return store, image


PACKED_ONLY, BOTH, UNPACKED = Forms(unpacked=False, packed=True), Forms(packed=True), Forms()


@pytest.mark.parametrize("forms", [PACKED_ONLY, BOTH])
def test_blobs_stay_for_engines_with_a_store_of_their_own(tmp_path: Path, forms: Forms) -> None:
    store, image = pulled(tmp_path, forms)
    assert store.remove_unreferenced([image]) == 0
    again = ImageStore(tmp_path, forms)
    again.open()
    export = again.export(image)
    assert again.exports() == {export.config_digest}
    assert len(list(export.archive("localhost/x:1"))) > 4
    assert again.remove_unreferenced([]) > 0
    assert again.exports() == frozenset()
    assert not list(again.blobs.iterdir())


def test_another_profile_finds_what_is_missing(tmp_path: Path) -> None:
    _, image = pulled(tmp_path, PACKED_ONLY)
    for forms, there in ((PACKED_ONLY, True), (BOTH, False)):  # a layer that nobody has unpacked
        store = ImageStore(tmp_path, forms)
        store.open()
        assert store.has(image) is there
    layer = Descriptor(f"sha256:{hashlib.sha256(PACKED['gzip']).hexdigest()}", len(PACKED["gzip"]), "gzip")
    assert store.has_blob(layer), "what is there need not be downloaded"
    assert not store.is_complete(layer, DIFF)
    assert ImageStore(tmp_path, PACKED_ONLY).is_complete(layer, DIFF)


def test_damage_is_found_and_the_image_forgotten(tmp_path: Path) -> None:
    store, image = pulled(tmp_path, PACKED_ONLY)
    store.forget_damaged(image)
    assert store.has(image), "nothing was damaged"
    blob = store.blob_path(store.export(image).layers[0].digest)
    blob.write_bytes(b"?" * blob.stat().st_size)
    store.forget_damaged(image)
    assert not store.has(image)
    assert not blob.exists()
