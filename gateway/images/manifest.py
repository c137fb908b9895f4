"""OCI and Docker manifests, indexes and image configurations: bytes in, checked dataclasses out.

Pure. Sources: OCI image-spec 1.1 (manifest.md, image-index.md, config.md), Docker image manifest version 2 schema 2.
Used by `puller.py`, `archive.py` and, for the configuration, by `store.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import InvalidInput, NotSupported
from gateway.model import names
from gateway.model.image import ImageConfig

MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_CONFIG_BYTES: Final = 4 << 20
MAX_LAYERS: Final = 96
"""overlayfs takes about 120 lower layers on one page of mount options; nobody needs that many on a gateway."""
MAX_LAYER_BYTES: Final = 8 << 30
MAX_LAYOUT_IMAGES: Final = 64
_NAME_ANNOTATION: Final = "org.opencontainers.image.ref.name"
"""A whole reference, or only its tag."""

INDEX_TYPES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_COMPRESSION: Final[Mapping[str, str]] = {
    "application/vnd.oci.image.layer.v1.tar": "none",
    "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
    "application/vnd.docker.image.rootfs.diff.tar": "none",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
}
ANY: Final = "any"
_ARM_VARIANTS: Final = ("v8", "v7", "v6", "v5")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob: its digest (`sha256:<hex>`) and exact size in bytes; for a layer how it is compressed."""

    digest: str
    size: int
    compression: str = "none"


@dataclass(frozen=True, slots=True)
class LayoutImage:
    """What an image layout's index.json names: a manifest or an index, and what the archive's maker called it."""

    descriptor: Descriptor
    name: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image of one platform. `layers` run from the lowest to the uppermost."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Configuration:
    """An image configuration: `diff_ids` are the digests of the uncompressed layers, lowest first."""

    architecture: str
    diff_ids: tuple[str, ...]
    process: ImageConfig
    is_package: bool = False
    """An APP package (docs/hosted-apps.md): its configuration holds `app.toml`; its files are no root file system."""

    def runs_on(self, board: str) -> bool:
        """`board`: `arm/v7`. A package may have nothing in it that depends on the processor."""
        return self.architecture == board.partition("/")[0] or (self.is_package and self.architecture == ANY)


def parse_layout(raw: bytes) -> tuple[LayoutImage, ...]:
    """The images of an index.json (image-layout.md); other things that it may name are left out. InvalidInput."""
    found = []
    for index, entry in enumerate(_list(_load(raw, "index.json"), "manifests", "index.json", MAX_LAYOUT_IMAGES)):
        if entry.get("mediaType") in (*INDEX_TYPES, *MANIFEST_TYPES):
            annotations = entry.get("annotations")
            name = annotations.get(_NAME_ANNOTATION) if isinstance(annotations, dict) else None
            descriptor = _descriptor(entry, f"index.json.manifests[{index}]", MAX_MANIFEST_BYTES)
            found.append(LayoutImage(descriptor, name if isinstance(name, str) else ""))
    return tuple(found)


def is_index(raw: bytes) -> bool:
    """Whether this is an index (several platforms) and not a manifest; the bytes decide, not the server's header."""
    document = _load(raw, "manifest")
    return document.get("mediaType") in INDEX_TYPES or ("manifests" in document and "layers" not in document)


def choose_platform(raw: bytes, architecture: str) -> Descriptor:
    """The manifest in an index for linux on `architecture`, which may name its variant (`arm/v7`).

    NotSupported lists the platforms that there are. Of several variants the highest that the board has is taken.
    """
    wanted, _, variant = architecture.partition("/")
    candidates: list[tuple[int, Descriptor]] = []
    seen: list[str] = []
    for index, entry in enumerate(_list(_load(raw, "index"), "manifests", "index", 256)):
        where = f"index.manifests[{index}]"
        platform = entry.get("platform") or {}
        if not isinstance(platform, dict):
            raise InvalidInput(f"cannot use image: {where}.platform is not an object")
        seen.append("/".join(str(platform[key]) for key in ("os", "architecture", "variant") if platform.get(key)))
        if platform.get("os") != "linux" or platform.get("architecture") != wanted:
            continue
        rank = _variant_rank(str(platform.get("variant") or ""), variant)
        if rank is not None:
            candidates.append((rank, _descriptor(entry, where, MAX_MANIFEST_BYTES)))
    if not candidates:
        raise NotSupported(f"cannot use image: it has no linux/{architecture}, only {', '.join(seen) or 'nothing'}")
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _variant_rank(offered: str, board: str) -> int | None:
    """0 is best; None: the board cannot run it."""
    if not offered or not board or offered == board:
        return 0 if offered == board else _ARM_VARIANTS.index(offered) + 1 if offered in _ARM_VARIANTS else 50
    if offered not in _ARM_VARIANTS or board not in _ARM_VARIANTS:
        return None
    distance = _ARM_VARIANTS.index(offered) - _ARM_VARIANTS.index(board)
    return distance if distance > 0 else None


def parse_manifest(raw: bytes) -> Manifest:
    """InvalidInput: not a manifest, or beyond the limits. NotSupported: a layer in a format that we cannot unpack."""
    document = _load(raw, "manifest")
    config = _descriptor(document.get("config"), "manifest.config", MAX_CONFIG_BYTES)
    layers = []
    for index, entry in enumerate(_list(document, "layers", "manifest", MAX_LAYERS)):
        where = f"manifest.layers[{index}]"
        media_type = str(entry.get("mediaType"))
        if media_type not in _COMPRESSION:
            raise NotSupported(f"cannot use image: {where}.mediaType {media_type[:100]!r} is not supported")
        plain = _descriptor(entry, where, MAX_LAYER_BYTES)
        layers.append(Descriptor(plain.digest, plain.size, _COMPRESSION[media_type]))
    if not layers:
        raise InvalidInput("cannot use image: manifest.layers is empty")
    return Manifest(config, tuple(layers))


def parse_configuration(raw: bytes) -> Configuration:
    """InvalidInput names the key that is wrong."""
    document = _load(raw, "config")
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not all(
        isinstance(item, str) and names.DIGEST.fullmatch(item) for item in diff_ids
    ):
        raise InvalidInput("cannot use image: config.rootfs.diff_ids is not a list of sha256 digests")
    process = document.get("config") or {}
    if not isinstance(process, dict):
        raise InvalidInput("cannot use image: config.config is not an object")
    return Configuration(
        str(document.get("architecture", "")),
        tuple(diff_ids),
        ImageConfig(
            entrypoint=_strings(process, "Entrypoint"),
            command=_strings(process, "Cmd"),
            environment=_strings(process, "Env"),
            user=_string(process, "User"),
            working_dir=_string(process, "WorkingDir"),
            stop_signal=_string(process, "StopSignal"),
        ),
        is_package=isinstance(document.get("app"), str),
    )


def _load(raw: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as failure:
        raise InvalidInput(f"cannot use image: its {what} is not JSON: {str(failure)[:200]}") from failure
    if not isinstance(document, dict):
        raise InvalidInput(f"cannot use image: its {what} is not a JSON object")
    return document


def _list(document: Mapping[str, Any], key: str, where: str, limit: int) -> list[dict[str, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidInput(f"cannot use image: {where}.{key} is not a list of objects")
    if len(entries) > limit:
        raise InvalidInput(f"cannot use image: {where}.{key} has {len(entries)} entries, more than {limit}")
    return entries


def _descriptor(entry: Any, where: str, limit: int) -> Descriptor:
    digest, size = (entry.get("digest"), entry.get("size")) if isinstance(entry, dict) else (None, None)
    if not isinstance(digest, str) or not names.DIGEST.fullmatch(digest):
        raise InvalidInput(f"cannot use image: {where}.digest is not a sha256 digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= limit:
        raise InvalidInput(f"cannot use image: {where}.size must be from 1 to {limit} bytes")
    return Descriptor(digest, size)


def _strings(process: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = process.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) and "\0" not in item for item in value):
        raise InvalidInput(f"cannot use image: config.config.{key} is not a list of strings")
    return tuple(value)


def _string(process: Mapping[str, Any], key: str) -> str:
    value = process.get(key) or ""
    if not isinstance(value, str) or "\0" in value:
        raise InvalidInput(f"cannot use image: config.config.{key} is not a string")
    return value
