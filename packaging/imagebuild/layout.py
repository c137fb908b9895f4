"""An OCI image layout on disk (image-spec 1.1, image-layout.md): blobs by digest and an index with one manifest.

Used by `base.py`, `app.py` (write) and `push.py` (read).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from imagebuild import BuildError

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
GZIP_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
ZSTD_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"


@dataclass(frozen=True)
class Image:
    """One image of a layout, read."""

    layout: Path
    digest: str
    manifest: dict[str, Any]
    config: dict[str, Any]

    def blob(self, digest: str) -> Path:
        return blob_path(self.layout, digest)


def blob_path(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def read_layout(layout: Path) -> Image:
    """BuildError: not a layout with exactly one image."""
    try:
        index = json.loads((layout / "index.json").read_bytes())
        [entry] = index["manifests"]
        manifest = json.loads(blob_path(layout, entry["digest"]).read_bytes())
        config = json.loads(blob_path(layout, manifest["config"]["digest"]).read_bytes())
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise BuildError(f"cannot read image layout {layout}: {failure}") from failure
    return Image(layout, entry["digest"], manifest, config)


def write_layout(
    layout: Path,
    config: dict[str, Any],
    layers: Sequence[tuple[Path, str]],
    *,
    config_type: str = CONFIG_TYPE,
    artifact: Mapping[str, Any] = MappingProxyType({}),
    annotations: Mapping[str, str] = MappingProxyType({}),
) -> Image:
    """A new layout of `config` and `layers` (compressed file, media type), which are copied; replaces an old one.

    `artifact`: further keys of the manifest, where it is not an image; `annotations`: of its entry in the index.
    """
    temporary = layout.with_name(f".{layout.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "blobs" / "sha256").mkdir(parents=True)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        **artifact,
        "config": _add_bytes(temporary, _canonical(config), config_type),
        "layers": [_add_bytes(temporary, path.read_bytes(), media_type) for path, media_type in layers],
    }
    entry: dict[str, Any] = _add_bytes(temporary, _canonical(manifest), MANIFEST_TYPE)
    if annotations:
        entry["annotations"] = dict(annotations)
    (temporary / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (temporary / "index.json").write_bytes(_canonical({"schemaVersion": 2, "manifests": [entry]}))
    shutil.rmtree(layout, ignore_errors=True)
    os.rename(temporary, layout)
    return read_layout(layout)


def _add_bytes(layout: Path, data: bytes, media_type: str) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    blob_path(layout, digest).write_bytes(data)
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def _canonical(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
