"""The tar reader against the standard library's writer, and against broken bytes."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Corrupted, FieldgateError, NotSupported
from gateway.images.tarstream import MAX_EXTENSION_BYTES, Entry, Kind, TarStream
from tests.unit.images.tars import make_tar, member


def read(raw: bytes, piece: int = 1 << 16) -> list[tuple[Entry, bytes]]:
    """All entries with their data; the source gives at most `piece` bytes at a time, as a pipe may."""
    source = io.BytesIO(raw)
    tar = TarStream(lambda limit: source.read(min(limit, piece)))
    return [(entry, b"".join(iter(lambda: tar.read(4096), b""))) for entry in tar.entries()]


_NAMES = st.lists(st.text("ab.é-", min_size=1, max_size=60), min_size=1, max_size=6).map("/".join)
_MEMBERS = st.lists(
    st.builds(
        lambda name, data, mode, uid, mtime: member(name, data, mode=mode, uid=uid, mtime=mtime),
        _NAMES, st.binary(max_size=1500), st.integers(0, 0o7777), st.integers(0, 1 << 31), st.integers(0, 1 << 33),
    ),
    max_size=5,
)  # fmt: skip


@given(_MEMBERS, st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]), st.integers(1, 700))
@settings(max_examples=60, deadline=None)
def test_reads_what_tarfile_writes(members: list[tuple[tarfile.TarInfo, bytes]], layout: int, piece: int) -> None:
    found = read(make_tar(members, layout), piece)
    assert [(e.name, e.mode, e.uid, e.mtime_ns, data) for e, data in found] == [
        (info.name, info.mode, info.uid, info.mtime * 10**9, data) for info, data in members
    ]


@given(st.binary(max_size=3000))
def test_noise_is_refused_clearly(noise: bytes) -> None:
    with pytest.raises(FieldgateError):
        read(b"\1" + noise)


@given(_MEMBERS.filter(bool), st.data())
@settings(max_examples=40, deadline=None)
def test_damage_never_gets_past_as_another_exception(
    members: list[tuple[tarfile.TarInfo, bytes]], data: st.DataObject
) -> None:
    raw = bytearray(make_tar(members))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read(bytes(raw))
    except FieldgateError:
        pass


def test_kinds_links_and_attributes() -> None:
    capability = {"SCHILY.xattr.security.capability": "cap"}
    entries = [entry for entry, _ in read(make_tar([
        member("d", kind=tarfile.DIRTYPE), member("d/f", b"x", pax_headers=capability),
        member("s", kind=tarfile.SYMTYPE, link="d/f"), member("h", kind=tarfile.LNKTYPE, link="d/f"),
        member("p", kind=tarfile.FIFOTYPE), member("c", kind=tarfile.CHRTYPE),
    ]))]  # fmt: skip
    kinds = [Kind.DIRECTORY, Kind.FILE, Kind.SYMLINK, Kind.HARDLINK, Kind.FIFO, Kind.DEVICE]
    assert [entry.kind for entry in entries] == kinds
    assert [entry.link for entry in entries] == ["", "", "d/f", "d/f", "", ""]
    assert entries[1].xattrs == {"security.capability": b"cap"}


def test_a_pax_header_cannot_be_a_memory_bomb() -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, MAX_EXTENSION_BYTES + 1
    with pytest.raises(Corrupted, match="extended header"):
        read(info.tobuf())


def test_sparse_members_are_not_supported() -> None:
    info = tarfile.TarInfo("x")
    info.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(NotSupported):
        read(info.tobuf())


def test_a_cut_is_seen() -> None:
    raw = make_tar([member("f", b"x" * 5000)])
    for length in (100, 512, 600, 5000):
        with pytest.raises(Corrupted):
            read(raw[:length])
