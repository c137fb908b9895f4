"""An image as it was pulled, for an engine with a store of its own: the format of `docker save`, made as it is read.

    manifest.json            [{"Config", "RepoTags", "Layers"}]
    <config's hex>.json      the configuration, byte for byte: its digest is the image's identity there, too
    <blob's hex>.tar         each layer as it came, gzip or plain; zstd, which not every engine takes, is decompressed

Made by `store.py`, read by `engines/docker/`. Blocks for the disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import Corrupted, FieldgateError
from gateway.images.decompress import open_decompressed
from gateway.images.manifest import Descriptor, parse_configuration, parse_manifest
from gateway.images.records import Record, hexadecimal
from gateway.model.image import ImageConfig

PIECE_BYTES: Final = 1 << 20
_BLOCK: Final = 512


@dataclass(frozen=True, slots=True)
class Forms:
    """In which forms the layers of images are kept: as the engines of this board want them."""

    unpacked: bool = True
    """As directories, for engines that mount them themselves."""
    packed: bool = False
    """As blobs, for engines with a store of their own: what that loses is given to it again."""


@dataclass(frozen=True, slots=True)
class ImageExport:
    """Implements `engines.base.ImageExport`. `layers` (lowest first) lie in the directory `blobs`."""

    config_digest: str
    diff_ids: tuple[str, ...]
    config: ImageConfig
    blobs: Path
    layers: tuple[Descriptor, ...]

    def archive(self, name: str) -> Iterator[bytes]:
        """The tar in pieces, with `name` (`repository:tag`) as the image's. OSError, Corrupted: a blob is damaged.

        What is read is hashed: what was given out to the end is what was pulled.
        """
        unique = {layer.digest: layer for layer in self.layers}
        config = f"{hexadecimal(self.config_digest)}.json"
        layers = [f"{hexadecimal(layer.digest)}.tar" for layer in self.layers]
        manifest = json.dumps([{"Config": config, "RepoTags": [name], "Layers": layers}]).encode()
        yield _header("manifest.json", len(manifest)) + _padded(manifest)
        data = (self.blobs / hexadecimal(self.config_digest)).read_bytes()
        yield _header(config, len(data)) + _padded(data)
        for layer in unique.values():
            yield from self._layer(layer)
        yield bytes(2 * _BLOCK)

    def _layer(self, layer: Descriptor) -> Iterator[bytes]:
        compression = layer.compression if layer.compression == "zstd" else "none"
        expected, size = layer.digest, layer.size
        if compression == "zstd":  # its size comes before its data
            expected = self.diff_ids[self.layers.index(layer)]
            size = sum(len(piece) for piece in self._pieces(layer, compression, expected))
        yield _header(f"{hexadecimal(layer.digest)}.tar", size)
        yield from self._pieces(layer, compression, expected)
        yield bytes(-size % _BLOCK)

    def _pieces(self, layer: Descriptor, compression: str, expected: str) -> Iterator[bytes]:
        blob = self.blobs / hexadecimal(layer.digest)
        with blob.open("rb", buffering=0) as file, open_decompressed(file, compression) as stream:
            while piece := stream.read(PIECE_BYTES):
                yield piece
            if stream.digest != expected:
                raise Corrupted(f"cannot read layer {layer.digest}: its blob is damaged")


DIRECTORIES: Final = Forms()


def load_export(record: Record, blobs: Path, manifest: bytes, config: bytes) -> ImageExport | str:
    """What an engine with a store of its own gets; a string: what of the image is missing or damaged."""
    try:
        layers, configuration = parse_manifest(manifest).layers, parse_configuration(config)
    except FieldgateError as error:
        return error.message
    for layer in layers:
        blob = blobs / hexadecimal(layer.digest)
        if not blob.is_file() or blob.stat().st_size != layer.size:
            return f"blob {blob.name} is missing"
    return ImageExport(record.config, record.diff_ids, configuration.process, blobs, layers)


def _header(name: str, size: int) -> bytes:
    """A ustar header of a file (POSIX.1-2017, pax, "ustar Interchange Format"); sizes from 8 GiB on as GNU tar does."""
    length = b"%011o\0" % size if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")
    fields = [
        name.encode().ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", length, b"00000000000\0", b" " * 8,
        b"0", bytes(100), b"ustar\x0000", bytes(247),
    ]  # fmt: skip
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)
