"""Images for a test site that are made on the spot, without a base image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imagebuild.layers import Member, compress_gzip, write_tar
from imagebuild.layout import GZIP_TYPE, write_layout

from tests.site.registry import Registry


def push_busybox(registry: Registry, directory: Path) -> str:
    """One static busybox at /bin/busybox, which is the entrypoint: the pinned reference."""
    tar, blob = directory / "busybox.tar", directory / "busybox.tar.gz"
    diff_id = write_tar(tar, {"bin/busybox": Member(Path("/bin/busybox"), 0o755)})
    compress_gzip(tar, blob)
    config: dict[str, Any] = {
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/bin/busybox"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }  # fmt: skip
    write_layout(directory / "busybox", config, [(blob, GZIP_TYPE)])
    return registry.push(directory / "busybox", "test/busybox:1")
