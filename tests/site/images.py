"""Images for a test site that are made on the spot, without a base image."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import Any

from imagebuild.layers import Member, compress_gzip, write_tar
from imagebuild.layout import GZIP_TYPE, write_layout

from tests.site.registry import Registry


def push_busybox(registry: Registry, directory: Path) -> str:
    """One static busybox at /bin/busybox, which is the entrypoint: the pinned reference."""
    return registry.push(_busybox(directory, Path("/bin/busybox"), "amd64"), "test/busybox:1")


def archive_busybox(target: Path, busybox: Path, architecture: str) -> None:
    """The same as an OCI archive, of a static busybox for `architecture` (OCI's name of it)."""
    with tempfile.TemporaryDirectory() as scratch:
        layout = _busybox(Path(scratch), busybox, architecture)
        with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
            for path in sorted(layout.rglob("*")):
                tar.add(path, path.relative_to(layout), recursive=False)


def _busybox(directory: Path, busybox: Path, architecture: str) -> Path:
    """An image layout."""
    tar, blob = directory / "busybox.tar", directory / "busybox.tar.gz"
    diff_id = write_tar(tar, {"bin/busybox": Member(busybox, 0o755)})
    compress_gzip(tar, blob)
    config: dict[str, Any] = {
        "architecture": architecture, "os": "linux", "config": {"Entrypoint": ["/bin/busybox"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }  # fmt: skip
    write_layout(directory / "busybox", config, [(blob, GZIP_TYPE)])
    return directory / "busybox"
