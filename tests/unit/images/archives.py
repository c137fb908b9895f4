"""OCI archives for tests: a good layout as member names and bytes, which a test may spoil before it is packed."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

from tests.unit.images.tars import make_tar, member

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Layout:
    """`files` are its members, in the order in which they are packed."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
        self.entries: list[dict[str, Any]] = []

    def blob(self, data: bytes, media_type: str = "") -> dict[str, Any]:
        """Its descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def image(self, *layers: dict[str, bytes], architecture: str = "amd64", **changes: Any) -> dict[str, Any]:
        """The descriptor of a manifest with a layer per dict of path to content."""
        tars = [make_tar([member(path, content) for path, content in files.items()]) for files in layers]
        config = {
            "architecture": architecture, "os": "linux", "config": {"Cmd": ["/x"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]},
        }  # fmt: skip
        manifest = {
            "schemaVersion": 2, "mediaType": MANIFEST, "config": self.blob(json.dumps(config).encode()),
            "layers": [self.blob(tar, LAYER) for tar in tars], **changes,
        }  # fmt: skip
        return self.blob(json.dumps(manifest).encode(), MANIFEST)

    def add(self, descriptor: dict[str, Any], name: str = "") -> str:
        """Into index.json; its digest."""
        annotations = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
        self.entries.append({**descriptor, **annotations})
        return str(descriptor["digest"])

    def index(self, *descriptors: dict[str, Any]) -> dict[str, Any]:
        """The descriptor of an index of several platforms."""
        return self.blob(json.dumps({"mediaType": INDEX, "manifests": list(descriptors)}).encode(), INDEX)

    def pack(self, path: Path, prefix: str = "") -> Path:
        # index.json last, as some tools have it.
        files = {**self.files, "index.json": json.dumps({"schemaVersion": 2, "manifests": self.entries}).encode()}
        path.write_bytes(make_tar([member(prefix + name, data) for name, data in files.items()]))
        return path


def raw_pax(kind: bytes, records: bytes) -> bytes:
    """An extended header and nothing that it belongs to."""
    info, _ = member("PaxHeader", records, kind)
    return info.tobuf() + io.BytesIO(records).read() + bytes(-len(records) % 512)
