"""The smallest root file system: one static busybox, as an image that needs no registry."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

from gateway.errors import NotFound
from gateway.images.export import ImageExport
from gateway.images.manifest import Descriptor
from gateway.model.image import ImageConfig, Rootfs

IMAGE = "registry.test/busybox@sha256:" + "0" * 64
PACKAGE = "registry.test/package@sha256:" + "9" * 64
"""What lives in another container: a program in `bin/`, and a file that says which package it is."""
CONFIG = ImageConfig(command=("sleep", "1000"), environment=("FROM_IMAGE=yes", "BOTH=image"))
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
COMMANDS = (
    "sh",
    "cat",
    "dd",
    "echo",
    "env",
    "false",
    "grep",
    "id",
    "kill",
    "ls",
    "mkdir",
    "pwd",
    "sleep",
    "touch",
    "true",
)


class BusyboxImage:
    """A RootfsSource and an ExportSource with one image."""

    def __init__(self, directory: Path) -> None:
        self.layer = directory / "layer"
        for name in ("bin", "etc", "tmp"):
            (self.layer / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", self.layer / "bin" / "busybox")
        for command in COMMANDS:
            (self.layer / "bin" / command).symlink_to("busybox")
        (self.layer / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n")
        (self.layer / "etc" / "group").write_text("root:x:0:\napp:x:1000:\nserial:x:20:app\n")

        self.package = directory / "package"
        (self.package / "bin").mkdir(parents=True)
        (self.package / "bin" / "hello").write_text("#!/bin/sh\necho hello from $PACKAGE\n")
        (self.package / "bin" / "hello").chmod(0o755)
        self._exported = self._export(directory / "blobs")

    def rootfs(self, image: str) -> Rootfs:
        if image == PACKAGE:
            return Rootfs("sha256:" + "9" * 64, (self.package,), ImageConfig())
        self._check(image)
        return Rootfs("sha256:" + "0" * 64, (self.layer,), CONFIG)

    def export(self, image: str) -> ImageExport:
        self._check(image)
        return self._exported

    def exports(self) -> frozenset[str]:
        return frozenset({self._exported.config_digest})

    def forget_damaged(self, image: str) -> None:
        raise AssertionError("nothing is damaged here")

    def _check(self, image: str) -> None:
        if image != IMAGE:
            raise NotFound(f"cannot find image {image}")

    def _export(self, blobs: Path) -> ImageExport:
        """The same layer, packed."""
        blobs.mkdir()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.add(self.layer, ".")
        layer = _put(blobs, buffer.getvalue())
        process = {"Cmd": CONFIG.command, "Env": CONFIG.environment}
        document = {
            "architecture": ARCHITECTURES[os.uname().machine], "os": "linux", "config": process,
            "rootfs": {"type": "layers", "diff_ids": [layer]},
        }  # fmt: skip
        config = _put(blobs, json.dumps(document).encode())
        return ImageExport(config, (layer,), CONFIG, blobs, (Descriptor(layer, len(buffer.getvalue())),))


def _put(blobs: Path, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    (blobs / name).write_bytes(data)
    return f"sha256:{name}"
