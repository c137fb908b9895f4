"""What the store knows of one image: the record under `refs/`, written last, so that it exists only for whole images.

Used by `store.py`. The process configuration is not in it: it is read from the configuration blob, by digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import FieldgateError
from gateway.host.statefile import StateFile
from gateway.images.manifest import parse_configuration
from gateway.model.image import Rootfs
from gateway.model.wire import from_wire, to_wire

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Record:
    """An image of which everything is here. `image` is the reference that it was pulled by, for people."""

    image: str
    pinned: str
    """The digest that references name: of an index, or of the manifest itself."""
    manifest: str
    config: str
    diff_ids: tuple[str, ...]
    """Lowest layer first."""
    imported: bool = False
    """Came from an archive and no APP has used it yet: it stays until one does, or until it is removed by hand."""

    @property
    def blobs(self) -> frozenset[str]:
        return frozenset({self.pinned, self.manifest, self.config})


def hexadecimal(digest: str) -> str:
    """The file name of a digest."""
    return digest.removeprefix("sha256:")


def write_record(directory: Path, record: Record) -> None:
    """Durable when it returns."""
    StateFile(directory / hexadecimal(record.pinned), SCHEMA).write(to_wire(record))


def read_record(path: Path) -> Record:
    """FieldgateError: not a record that this agent can read."""
    return from_wire(Record, StateFile(path, SCHEMA).read())


def load_rootfs(record: Record, layers: Path, config: bytes) -> Rootfs | str:
    """What an engine gets; a string: what of the image is missing or damaged."""
    try:
        configuration = parse_configuration(config)
    except FieldgateError as error:
        return error.message
    directories = tuple(layers / hexadecimal(diff_id) for diff_id in record.diff_ids)
    for directory in directories:
        if not directory.is_dir():
            return f"layer {directory.name} is missing"
    # The same layer twice: the upper one wins, and overlayfs refuses to mount one directory twice.
    uppermost_first = tuple(dict.fromkeys(reversed(directories)))
    return Rootfs(record.manifest, uppermost_first, configuration.process, configuration.is_package)
