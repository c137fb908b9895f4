"""The smallest root file system: one static busybox, as an image that needs no registry."""

from __future__ import annotations

import shutil
from pathlib import Path

from gateway.errors import NotFound
from gateway.model.image import ImageConfig, Rootfs

IMAGE = "registry.test/busybox@sha256:" + "0" * 64
PACKAGE = "registry.test/package@sha256:" + "9" * 64
"""What lives in another container: a program in `bin/`, and a file that says which package it is."""
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
    """A RootfsSource with one image."""

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

    def rootfs(self, image: str) -> Rootfs:
        if image == PACKAGE:
            return Rootfs("sha256:" + "9" * 64, (self.package,), ImageConfig())
        if image != IMAGE:
            raise NotFound(f"cannot find image {image}")
        config = ImageConfig(command=("sleep", "1000"), environment=("FROM_IMAGE=yes", "BOTH=image"))
        return Rootfs("sha256:" + "0" * 64, (self.layer,), config)
