"""The unpacking process: what a layer becomes on disk, and what hostile layers do not achieve. Needs root."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import stat
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.errors import Corrupted, FieldgateError, InvalidInput, NotFound, NotSupported, TimedOut, Unavailable
from gateway.images import unpacker
from gateway.images.manifest import Descriptor
from tests.unit.images.tars import make_tar, member

Members = Sequence[tuple[tarfile.TarInfo, bytes]]
DIR, SYM, LNK, CHR = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE


def unpack(
    directory: Path, members: Members | bytes, *, compression: str = "none", max_bytes: int = 1 << 24, diff_id: str = ""
) -> Path:
    """Unpack a tar of `members` into `directory/layer`."""
    raw = members if isinstance(members, bytes) else make_tar(members)
    blob, target = directory / "blob", directory / "layer"
    blob.write_bytes(raw)
    if compression == "gzip":
        blob.write_bytes(gzip.compress(raw[:1000]) + gzip.compress(raw[1000:]))
    elif compression == "zstd":
        blob.write_bytes(subprocess.run(["zstd", "-q", "-c"], input=raw, capture_output=True, check=True).stdout)
    target.mkdir()
    layer = Descriptor("sha256:" + "0" * 64, blob.stat().st_size, compression)
    wanted = diff_id or f"sha256:{hashlib.sha256(raw).hexdigest()}"
    asyncio.run(unpacker.unpack_layer(blob, layer, wanted, target, max_bytes))
    return target


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_layer_on_disk(tmp_path: Path, compression: str) -> None:
    layer = unpack(tmp_path, [
        member("./", kind=DIR, mode=0o751), member("bin", kind=DIR, mode=0o1777),
        member("bin/su", b"x" * 3000, mode=0o4755, uid=7, gid=8, mtime=1_000_000_000),
        member("bin/link", kind=SYM, link="/etc/../anywhere"), member("bin/hard", kind=LNK, link="./bin/su"),
        member("/made/on/the/way", b"y"), member("pipe", kind=tarfile.FIFOTYPE),
        member("bin/su2", b"old"), member("bin/su2", b"new"),
    ], compression=compression)  # fmt: skip
    found = (layer / "bin/su").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o4755, 7, 8)
    assert (found.st_mtime, found.st_nlink) == (1_000_000_000, 2)
    assert os.readlink(layer / "bin/link") == "/etc/../anywhere"
    assert (layer / "made/on/the/way").read_bytes() == b"y"
    assert (layer / "bin/su2").read_bytes() == b"new"
    assert stat.S_ISFIFO((layer / "pipe").stat().st_mode)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (layer, layer / "bin")] == [0o751, 0o1777]


def test_extended_attributes(tmp_path: Path) -> None:
    capability = "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    headers = {
        "SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.a": "b",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.trusted.overlay.opaque": "y",
    }  # fmt: skip
    layer = unpack(tmp_path, [member("d", kind=DIR, pax_headers=headers), member("ping", b"x", pax_headers=headers)])
    assert os.getxattr(layer / "ping", "security.capability") == capability.encode()
    assert not [name for name in os.listxattr(layer / "d") if name.startswith("trusted.")]


def is_whiteout(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_opaque(path: Path) -> bool:
    return "trusted.overlay.opaque" in os.listxattr(path)


def test_whiteouts(tmp_path: Path) -> None:
    layer = unpack(tmp_path, [
        member("a/.wh.gone"), member("b/.wh..wh..opq"), member("b/new", b"x"), member(".wh..wh.plnk", kind=DIR),
        member(".wh.again"), member("again", kind=DIR), member("again/x", b"y"),
        member("kept", b"z"), member(".wh.kept"), member("late", kind=DIR), member(".wh.late"),
    ])  # fmt: skip
    assert is_whiteout(layer / "a/gone")
    assert [is_opaque(layer / name) for name in ("a", "b", "again", "late")] == [False, True, True, True]
    assert (layer / "kept").read_bytes() == b"z"
    assert sorted(path.name for path in layer.iterdir()) == ["a", "again", "b", "kept", "late"]


ESCAPE = member("out", kind=SYM, link="..")
HOSTILE: dict[str, tuple[Members, type[FieldgateError], str]] = {
    "parent": ([member("../evil", b"x")], InvalidInput, "leads out of the layer"),
    "parent inside": ([member("a/../../evil", b"x")], InvalidInput, "leads out of the layer"),
    "through a link": ([ESCAPE, member("out/evil", b"x")], InvalidInput, "symbolic link"),
    "through an absolute link": (
        [member("out", kind=SYM, link="/tmp"), member("out/evil", b"x")],
        InvalidInput,
        "symbolic link",
    ),
    "directory over a link": ([ESCAPE, member("out/evil", kind=DIR)], InvalidInput, "symbolic link"),
    "hard link to the outside": ([member("h", kind=LNK, link="../blob")], InvalidInput, "leads out of the layer"),
    "hard link through a link": ([ESCAPE, member("h", kind=LNK, link="out/blob")], InvalidInput, "symbolic link"),
    "hard link to the host": ([member("h", kind=LNK, link="/etc/passwd")], NotFound, "to link to"),
    "hard link to a directory": ([member("d", kind=DIR), member("h", kind=LNK, link="d")], InvalidInput, "not a file"),
    "hard link to itself": ([member("h", kind=LNK, link="./h")], InvalidInput, "itself"),
    "whiteout of the parent": ([member("a/.wh...", b"")], InvalidInput, "whiteout of nothing"),
    "opaque through a link": ([ESCAPE, member("out/.wh..wh..opq")], InvalidInput, "symbolic link"),
    "device": ([member("sda", kind=CHR, devmajor=8)], NotSupported, "device nodes"),
    "block device": ([member("sda", kind=tarfile.BLKTYPE, devmajor=8)], NotSupported, "device nodes"),
    "below a file": ([member("f", b"x"), member("f/g", b"y")], InvalidInput, "a symbolic link or a file"),
    "huge owner": ([member("f", b"x", uid=1 << 40)], InvalidInput, "cannot unpack 'f'"),
    "bytes bomb": ([member("zeros", bytes(2 << 20))], Unavailable, "more bytes than the limit"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_layers_are_refused_and_write_nothing_outside(tmp_path: Path, name: str) -> None:
    members, error, message = HOSTILE[name]
    with pytest.raises(error, match=message):
        unpack(tmp_path, members, compression="gzip", max_bytes=1 << 20)
    assert {path.name for path in tmp_path.iterdir()} == {"blob", "layer"}
    assert not Path("/tmp/evil").exists()
    assert is_opaque(tmp_path) is False


def test_an_absolute_path_means_the_layer(tmp_path: Path) -> None:
    layer = unpack(tmp_path, [member("/etc/fieldgate-was-here", b"x"), ESCAPE, member("out", b"replaced")])
    assert (layer / "etc/fieldgate-was-here").exists()
    assert not Path("/etc/fieldgate-was-here").exists()
    assert (layer / "out").read_bytes() == b"replaced"


def test_more_entries_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacker, "MAX_ENTRIES", 10)
    with pytest.raises(Unavailable, match="more entries than the limit"):
        unpack(tmp_path, [member(f"f{number}") for number in range(11)])


def test_zeros_after_the_end_are_limited(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="follow the end"):
        unpack(tmp_path, make_tar([member("f")]) + bytes(4 << 20), compression="gzip", max_bytes=1 << 20)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_damage(tmp_path: Path, compression: str) -> None:
    with pytest.raises(Corrupted, match=r"has digest|have digest"):
        unpack(tmp_path, [member("f", b"x")], compression=compression, diff_id="sha256:" + "1" * 64)
    blob = tmp_path / "blob"
    blob.write_bytes(blob.read_bytes()[:-6])
    (tmp_path / "two").mkdir()
    layer = Descriptor("sha256:" + "0" * 64, 1, compression)
    with pytest.raises(Corrupted, match=r"cannot decompress|cannot read tar"):
        asyncio.run(unpacker.unpack_layer(blob, layer, "sha256:" + "1" * 64, tmp_path / "two", 1 << 20))


def test_a_slow_one_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacker, "TIMEOUT_S", 0.3)
    os.mkfifo(tmp_path / "blob")
    holder = os.open(tmp_path / "blob", os.O_RDWR)
    (tmp_path / "layer").mkdir()
    try:
        with pytest.raises(TimedOut):
            asyncio.run(
                unpacker.unpack_layer(tmp_path / "blob", Descriptor("sha256:" + "0" * 64, 1), "", tmp_path / "layer", 1)
            )
    finally:
        os.close(holder)
