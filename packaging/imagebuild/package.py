"""An APP package: a directory with `app.toml` and files, as an OCI artifact of one layer. Used by `main.py`.

Format: docs/hosted-apps.md. What is in `app.toml` beyond the name is checked when the package is deployed.
"""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path
from typing import Any

from imagebuild import BuildError
from imagebuild.app import LEFT_OUT
from imagebuild.layers import Member, compress_gzip, compress_zstd, members_of, write_tar
from imagebuild.layout import GZIP_TYPE, ZSTD_TYPE, Image, write_layout

FILE = "app.toml"
ARTIFACT_TYPE = "application/vnd.fieldgate.app.v1"
CONFIG_TYPE = "application/vnd.fieldgate.app.config.v1+json"
VERSION = "org.opencontainers.image.version"
TITLE = "org.opencontainers.image.title"
REFERENCE = "org.opencontainers.image.ref.name"


def build_package(directory: Path, target: Path, *, zstd: bool, reference: str = "") -> Image:
    """Build `target` (an OCI layout). `reference`: `host/repository` by which a gateway is to know an imported one."""
    text, document = _read(directory)
    if target.resolve().is_relative_to(directory.resolve()):
        raise BuildError(f"cannot build {target}: it lies in the package's own directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        tar, layer = Path(scratch, "layer.tar"), Path(scratch, "layer")
        diff_id = write_tar(tar, _members(directory))
        (compress_zstd if zstd else compress_gzip)(tar, layer)
        config: dict[str, Any] = {
            "architecture": document.get("architecture", "any"),
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "app": text,
        }
        return write_layout(
            target,
            config,
            [(layer, ZSTD_TYPE if zstd else GZIP_TYPE)],
            config_type=CONFIG_TYPE,
            artifact={
                "artifactType": ARTIFACT_TYPE,
                "annotations": {TITLE: document["name"], VERSION: document["version"]},
            },
            annotations={REFERENCE: f"{reference}:{document['version']}"} if reference else {},
        )


def write_archive(layout: Path, target: Path) -> None:
    """The layout in one uncompressed tar, which a gateway imports. The same layout gives the same bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    write_tar(target, dict(members_of(layout)))


def _read(directory: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = (directory / FILE).read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (OSError, ValueError) as failure:
        raise BuildError(f"cannot read {directory / FILE}: {failure}") from failure
    for key in ("name", "version"):
        if not isinstance(document.get(key), str):
            raise BuildError(f"cannot build from {directory / FILE}: {key} is missing, or no string")
    return text, document


def _members(directory: Path) -> dict[str, Member]:
    """Without `app.toml`; modes as they are to be on the gateway: a file is executable or it is not."""
    members = {}
    for path, member in members_of(directory):
        if path == FILE or any(part in LEFT_OUT for part in Path(path).parts):
            continue
        executable = member.source is None or bool(member.mode & 0o111)
        members[path] = Member(member.source, 0o755 if executable else 0o644)
    if all(member.source is None for member in members.values()):
        raise BuildError(f"cannot build from {directory}: there is nothing in it but {FILE}")
    return members
