"""OCI archives: what is found in them, and what broken and hostile ones come to. See also test_image_import.py."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import Corrupted, FieldgateError, InvalidInput, NotFound, NotSupported, Unavailable
from gateway.images.archive import MAX_MEMBERS, open_archive
from gateway.images.manifest import MAX_LAYOUT_IMAGES, MAX_MANIFEST_BYTES
from tests.unit.images.archives import LAYER, Layout, raw_pax
from tests.unit.images.tars import make_tar, member


def good() -> Layout:
    layout = Layout()
    layout.add(layout.image({"app/main": b"one"}), "registry.example/apps/reader:1.2")
    return layout


@pytest.mark.parametrize("prefix", ["", "./"])
def test_images_are_found_and_blobs_are_read_from_anywhere(tmp_path: Path, prefix: str) -> None:
    layout = good()
    digest = layout.entries[0]["digest"]
    archive = open_archive(layout.pack(tmp_path / "a.tar", prefix))
    assert archive.images == (f"registry.example/apps/reader:1.2@{digest}",)
    manifest = json.loads(archive.manifest("any/thing", digest))
    layer = manifest["layers"][0]
    data = layout.files[f"blobs/sha256/{layer['digest'].removeprefix('sha256:')}"]
    for offset in (0, 1, len(data) - 1, len(data), len(data) + 7):
        with archive.blob("", layer["digest"], offset) as body:
            assert (body.start, body.size) == (min(offset, len(data)), max(0, len(data) - offset))
            assert b"".join(iter(lambda: body.read(100), b"")) == data[offset:]
    archive.abort()
    with pytest.raises(Unavailable, match="cancelled"):
        archive.manifest("", digest)
    archive.close()


@pytest.mark.parametrize(
    ("name", "reference"),
    [("1.2.0", "localhost/imported:1.2.0"), ("", "localhost/imported"), ("..; rm -rf /", "localhost/imported"),
     ("registry.example/a@sha256:" + "0" * 64, "registry.example/a")],
)  # fmt: skip
def test_what_an_image_is_called(tmp_path: Path, name: str, reference: str) -> None:
    layout = Layout()
    digest = layout.add(layout.image({"f": b""}), name)
    archive = open_archive(layout.pack(tmp_path / "a.tar"))
    archive.close()
    assert archive.images == (f"{reference}@{digest}",)


def spoil(change: Callable[[Layout], object]) -> Layout:
    layout = good()
    change(layout)
    return layout


def other_content(layout: Layout) -> None:
    name = "blobs/sha256/" + layout.entries[0]["digest"].removeprefix("sha256:")
    layout.files[name] = layout.files[name].replace(b"2", b"3", 1)


def huge_manifest(layout: Layout) -> None:
    layout.entries[0] = layout.blob(b" " * (MAX_MANIFEST_BYTES + 1), layout.entries[0]["mediaType"])


@pytest.mark.parametrize(
    ("layout", "error", "says"),
    [
        (spoil(other_content), Corrupted, "has bytes with digest"),
        (spoil(lambda it: it.files.pop("blobs/sha256/" + it.entries[0]["digest"][7:])), InvalidInput, "lacks blobs/"),
        (spoil(huge_manifest), InvalidInput, "size must be"),
        (spoil(lambda it: it.files.pop("oci-layout")), NotSupported, "not an OCI archive"),
        (spoil(lambda it: it.files.update({"oci-layout": b'{"imageLayoutVersion": "9"}'})), NotSupported, "1.0.0"),
        (spoil(lambda it: it.files.update({"oci-layout": b" " * 5000})), InvalidInput, "longer than"),
        (spoil(lambda it: it.entries.clear()), InvalidInput, "no image"),
        (spoil(lambda it: it.entries[0].update(mediaType=LAYER)), InvalidInput, "no image"),
        (spoil(lambda it: it.entries[0].update(digest="sha256:../../etc/passwd")), InvalidInput, "not a sha256"),
        (spoil(lambda it: it.entries[0].update(size=-1)), InvalidInput, "size must be"),
        (spoil(lambda it: it.entries.extend(it.entries * MAX_LAYOUT_IMAGES)), InvalidInput, "entries, more than"),
        (spoil(lambda it: it.files.update({f"blobs/{n}": b"" for n in range(MAX_MEMBERS)})), InvalidInput, "members"),
    ],
)
def test_hostile_layouts(tmp_path: Path, layout: Layout, error: type[FieldgateError], says: str) -> None:
    path = layout.pack(tmp_path / "a.tar")
    with pytest.raises(error, match=says):
        read_it(path)


def read_it(path: Path) -> None:
    """Open, and read what is read whole."""
    archive = open_archive(path)
    try:
        for image in archive.images:
            archive.manifest("", image.partition("@")[2])
    finally:
        archive.close()


def test_names_lead_nowhere(tmp_path: Path) -> None:
    """Members with other names are not looked at, links are not followed, and no member counts twice."""
    layout, outside = good(), tmp_path / "outside"
    outside.write_bytes(b"secret")
    digest = layout.entries[0]["digest"].removeprefix("sha256:")
    layout.files |= {"../../escape": b"x", "/etc/escape": b"x", f"blobs/sha256/../sha256/{digest}": b"x"}
    read_it(layout.pack(tmp_path / "a.tar"))
    assert not list(tmp_path.parent.glob("escape"))

    del layout.files[f"blobs/sha256/{digest}"]
    links = [
        member(f"blobs/sha256/{digest}", kind=kind, link=str(outside)) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE)
    ]
    files = {**layout.files, "index.json": json.dumps({"manifests": layout.entries}).encode()}
    path = tmp_path / "links.tar"
    path.write_bytes(make_tar([*links, *(member(name, data) for name, data in files.items())]))
    with pytest.raises(InvalidInput, match="lacks blobs"):
        read_it(path)

    path.write_bytes(make_tar([*(member(name, data) for name, data in files.items()), member("./index.json", b"{}")]))
    with pytest.raises(InvalidInput, match="twice"):
        read_it(path)


def test_what_is_no_tar(tmp_path: Path) -> None:
    path = good().pack(tmp_path / "a.tar")
    whole = path.read_bytes()
    for length in (0, 100, 700, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(Corrupted):
            read_it(path)
    path.write_bytes(gzip.compress(whole))
    with pytest.raises(NotSupported, match="compressed"):
        read_it(path)
    with pytest.raises(NotFound):
        read_it(tmp_path / "none")
    with pytest.raises(InvalidInput, match="not a file"):
        read_it(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InvalidInput, match="not a file"):
        read_it(tmp_path / "fifo")


@pytest.mark.parametrize("kind", [b"x", b"g", b"L"])
def test_endless_headers_are_given_up(tmp_path: Path, kind: bytes) -> None:
    """They would be kept in memory until their entry comes."""
    path = tmp_path / "a.tar"
    records = b"".join(b"%d %s=%s\n" % (1006, b"k%d" % n, b"v" * 996) for n in range(10, 100))
    path.write_bytes(raw_pax(kind, records) * 200)
    with pytest.raises(Corrupted, match="extended headers"):
        read_it(path)


def test_an_archive_that_is_cut_later(tmp_path: Path) -> None:
    path = good().pack(tmp_path / "a.tar")
    archive = open_archive(path)
    os.truncate(path, 1024)
    with pytest.raises(Corrupted, match="cut while it was read"):
        archive.manifest("", archive.images[0].partition("@")[2])
    archive.close()
