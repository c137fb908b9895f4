"""Reads a tar from a stream: ustar, GNU long names, pax; one entry at a time, in bounded memory.

Why not `tarfile`: it reads a pax header of any size into memory, keeps every member, and Debian 12's has no `filter=`.
Knows no file system: `layer.py` writes what this reads. Sources: POSIX.1-2017 pax "ustar Interchange Format", GNU tar
manual "Basic Tar Format".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gateway.errors import Corrupted, NotSupported

BLOCK: Final = 512
MAX_EXTENSION_BYTES: Final = 1 << 20
"""All pax headers and GNU long names of one entry; Linux' own limit is 4096 bytes for a path, 64 KiB for an extended
attribute. The same again for pax headers that hold for all entries.
"""
_XATTR: Final = "SCHILY.xattr."


class Kind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"
    FIFO = "fifo"
    DEVICE = "device node"


_KINDS: Final = {
    b"\0": Kind.FILE, b"0": Kind.FILE, b"7": Kind.FILE, b"1": Kind.HARDLINK, b"2": Kind.SYMLINK,
    b"3": Kind.DEVICE, b"4": Kind.DEVICE, b"5": Kind.DIRECTORY, b"6": Kind.FIFO,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One member. Names are decoded with surrogateescape, as `os.fsdecode` does; nothing about them is checked."""

    name: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    """Bytes of data, 0 for everything but files."""
    mtime_ns: int
    link: str = ""
    xattrs: dict[str, bytes] = field(default_factory=dict)


class TarStream:
    """Iterate `entries()`; `read()` gives the data of the entry that came last. `source(n)` gives up to n bytes.

    `skip(n)`, where the source can do that faster than by reading, drops n bytes; its caller looks for the end.
    """

    def __init__(self, source: Callable[[int], bytes], skip: Callable[[int], None] | None = None) -> None:
        self._source = source
        self._skip_source = skip
        self._left = 0
        """Data bytes of the current entry that were not read yet."""
        self._padding = 0

    def entries(self) -> Iterator[Entry]:
        """Corrupted: not a tar, or cut. NotSupported: a sparse or multi-volume member."""
        everywhere: dict[str, bytes] = {}
        extended: dict[str, bytes] = {}
        everywhere_bytes = extended_bytes = 0
        while True:
            self._skip()
            header = self._exactly(BLOCK)
            if header == bytes(BLOCK):
                return
            _check(header)
            kind = header[156:157]
            if kind in b"xgLK":
                size = _number(header[124:136], "size")
                everywhere_bytes += size if kind == b"g" else 0
                extended_bytes += 0 if kind == b"g" else size
                if max(everywhere_bytes, extended_bytes) > MAX_EXTENSION_BYTES:
                    raise Corrupted(f"cannot read tar: extended headers of more than {MAX_EXTENSION_BYTES} bytes")
                body = self._exactly(size)
                self._padding = -size % BLOCK
                if kind == b"g":
                    everywhere |= _pax(body)
                elif kind == b"x":
                    extended |= _pax(body)
                else:
                    extended["path" if kind == b"L" else "linkpath"] = body.split(b"\0", 1)[0]
                continue
            entry = _entry(header, {**everywhere, **extended})
            extended, extended_bytes = {}, 0
            self._left, self._padding = entry.size, -entry.size % BLOCK
            yield entry

    def read(self, limit: int) -> bytes:
        """Up to `limit` bytes of the current entry's data; empty when it is over. Corrupted: the tar is cut."""
        wanted = min(limit, self._left)
        if wanted == 0:
            return b""
        data = self._source(wanted)
        if not data:
            raise Corrupted("cannot read tar: it ends in the middle of a file")
        self._left -= len(data)
        return data

    def after_end(self, limit: int) -> int:
        """Read and drop up to `limit` bytes of what follows the last entry; 0 at the end of the stream."""
        return len(self._source(limit))

    def _skip(self) -> None:
        if self._skip_source is not None and self._left:
            self._skip_source(self._left)
            self._left = 0
        while self._left:
            self.read(1 << 18)
        self._exactly(self._padding)
        self._padding = 0

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = self._source(size - len(data))
            if not chunk:
                raise Corrupted("cannot read tar: it ends in the middle of an entry")
            data += chunk
        return bytes(data)


def _check(header: bytes) -> None:
    """The checksum counts its own field as spaces; old tars summed signed bytes."""
    stored = _number(header[148:156], "checksum")
    rest = header[:148] + b" " * 8 + header[156:]
    if stored != sum(rest) and stored != sum(byte - 256 if byte > 127 else byte for byte in rest):
        raise Corrupted("cannot read tar: the checksum of a header is wrong")


def _number(text: bytes, what: str) -> int:
    """Octal, or GNU's base 256 for what does not fit. Never negative."""
    if text[0] == 0x80:
        return int.from_bytes(text[1:], "big")
    digits = text.split(b"\0", 1)[0].strip()
    try:
        value = int(digits, 8) if digits else 0
    except ValueError:
        value = -1
    if value < 0 or b"_" in digits:
        raise Corrupted(f"cannot read tar: {what} {text!r} is not a number")
    return value


def _pax(body: bytes) -> dict[str, bytes]:
    """Records `<length> <key>=<value>\\n`, the length counting the whole record."""
    records: dict[str, bytes] = {}
    position = 0
    while position < len(body) and body[position : position + 1] != b"\0":
        space = body.find(b" ", position, position + 9)
        digits = body[position : max(space, position)]
        end = position + int(digits) if digits.isdigit() else 0
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if not space < end <= len(body) or not equals or body[end - 1 : end] != b"\n":
            raise Corrupted("cannot read tar: a pax record is broken")
        records[key.decode("utf-8", "surrogateescape")] = value
        position = end
    return records


def _entry(header: bytes, extended: dict[str, bytes]) -> Entry:
    kind = _KINDS.get(header[156:157])
    if kind is None or any(key.startswith("GNU.sparse.") for key in extended):
        raise NotSupported(f"cannot read tar: member type {header[156:157]!r} (sparse or multi-volume)")
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and header[345] != 0:
        name = header[345:500].split(b"\0", 1)[0] + b"/" + name
    name = extended.get("path", name)
    if kind is Kind.FILE and name.endswith(b"/"):
        kind = Kind.DIRECTORY  # V7 had no type for directories
    link = extended.get("linkpath", header[157:257].split(b"\0", 1)[0])
    return Entry(
        name=name.decode("utf-8", "surrogateescape"),
        kind=kind,
        mode=_number(header[100:108], "mode") & 0o7777,
        uid=_decimal(extended, "uid") if "uid" in extended else _number(header[108:116], "uid"),
        gid=_decimal(extended, "gid") if "gid" in extended else _number(header[116:124], "gid"),
        size=_size(header, extended) if kind is Kind.FILE else 0,
        mtime_ns=_mtime_ns(extended) if "mtime" in extended else _number(header[136:148], "mtime") * 10**9,
        link=link.decode("utf-8", "surrogateescape") if kind in (Kind.SYMLINK, Kind.HARDLINK) else "",
        xattrs={key[len(_XATTR) :]: value for key, value in extended.items() if key.startswith(_XATTR)},
    )


def _size(header: bytes, extended: dict[str, bytes]) -> int:
    return _decimal(extended, "size") if "size" in extended else _number(header[124:136], "size")


def _decimal(extended: dict[str, bytes], key: str) -> int:
    text = extended[key]
    if not text.isdigit() or len(text) > 19:
        raise Corrupted(f"cannot read tar: pax {key} {text[:40]!r} is not a number")
    return int(text)


def _mtime_ns(extended: dict[str, bytes]) -> int:
    """`seconds[.fraction]`; a time before 1970 becomes 1970."""
    whole, _, fraction = extended["mtime"].partition(b".")
    digits = whole.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 12 or (fraction and not fraction.isdigit()):
        raise Corrupted(f"cannot read tar: pax mtime {extended['mtime'][:40]!r} is not a time")
    return 0 if whole.startswith(b"-") else int(whole) * 10**9 + int(fraction[:9].ljust(9, b"0"))
