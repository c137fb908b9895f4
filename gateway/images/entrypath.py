"""Where an entry of a layer goes: its path taken apart and judged, before anything is written.

Pure. Used by `layer.py`. A leading `/` or `./` means the layer's root, as every engine reads it; `..` is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from gateway.errors import InvalidInput

MAX_PATH_BYTES: Final = 4096
MAX_NAME_BYTES: Final = 255
MAX_DEPTH: Final = 128
_WHITEOUT: Final = ".wh."
_RESERVED: Final = ".wh..wh."


class Role(Enum):
    """What an entry means to the layers below (OCI image-spec, layer.md "Whiteouts")."""

    CONTENT = auto()
    WHITEOUT = auto()
    """It hides the path in the layers below."""
    OPAQUE = auto()
    """The path is a directory that hides everything in the layers below."""
    IGNORED = auto()
    """Bookkeeping of aufs."""


@dataclass(frozen=True, slots=True)
class Place:
    """`parts` is the path below the layer's root; empty: the root itself."""

    parts: tuple[str, ...]
    role: Role


def split_path(name: str) -> tuple[str, ...]:
    """The components of `name` below the layer's root. InvalidInput: `..`, NUL, or beyond Linux' limits."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts or "\0" in name:
        raise InvalidInput(f"cannot unpack {name[:200]!r}: it leads out of the layer")
    if len(parts) > MAX_DEPTH or len(name.encode("utf-8", "surrogateescape")) > MAX_PATH_BYTES:
        raise InvalidInput(f"cannot unpack {name[:200]!r}: the path is too long")
    if any(len(part.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES for part in parts):
        raise InvalidInput(f"cannot unpack {name[:200]!r}: a name in it is too long")
    return parts


def place(name: str) -> Place:
    """Where the entry called `name` belongs and what it means there."""
    parts = split_path(name)
    if any(part.startswith(_WHITEOUT) for part in parts[:-1]):
        raise InvalidInput(f"cannot unpack {name[:200]!r}: a whiteout is not a directory")
    if not parts or not parts[-1].startswith(_WHITEOUT):
        return Place(parts, Role.CONTENT)
    if parts[-1] == f"{_RESERVED}.opq":
        return Place(parts[:-1], Role.OPAQUE)
    if parts[-1].startswith(_RESERVED):
        return Place(parts, Role.IGNORED)
    hidden = parts[-1].removeprefix(_WHITEOUT)
    if hidden in ("", ".", ".."):
        raise InvalidInput(f"cannot unpack {name[:200]!r}: a whiteout of nothing")
    return Place((*parts[:-1], hidden), Role.WHITEOUT)
