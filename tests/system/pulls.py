"""What the system tests of images share: small images, stores, and a pull run to its end."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

from imagebuild.layers import Member, compress_gzip, write_tar
from imagebuild.layout import GZIP_TYPE, write_layout

from gateway.images.puller import Puller, PullProgress
from gateway.images.store import ImageStore
from gateway.lifecycle.backoff import Backoff

FAST = Backoff(first_s=0.01, cap_s=0.05)


def make_image(directory: Path, name: str, layers: list[dict[str, bytes]], **config: Any) -> Path:
    """An OCI layout with one layer per dict of path to content."""
    packed, diff_ids = [], []
    for number, files in enumerate(layers):
        members: dict[str, Member] = {}
        for path, content in files.items():
            source = directory / f"{name}-{number}-{path.replace('/', '_')}"
            source.write_bytes(content)
            members[path] = Member(source, 0o644)
        tar, blob = directory / f"{name}-{number}.tar", directory / f"{name}-{number}.tar.gz"
        diff_ids.append(write_tar(tar, members))
        compress_gzip(tar, blob)
        packed.append((blob, GZIP_TYPE))
    document = {
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/x"], **config},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }  # fmt: skip
    write_layout(directory / name, document, packed)
    return directory / name


def noise(seed: int, size: int) -> bytes:
    """Incompressible and the same each time."""
    return random.Random(seed).randbytes(size)


def open_store(directory: Path) -> ImageStore:
    store = ImageStore(directory / "images")
    store.open()
    return store


def puller(store: ImageStore, *plain_http: str, reserved: int = 0, tries: int = 4) -> Puller:
    return Puller(store, "amd64", plain_http, reserved, retry=FAST, tries=tries)


async def pulled(puller: Puller, image: str) -> list[PullProgress]:
    async with contextlib.aclosing(puller.pull(image)) as steps:
        return [step async for step in steps]


def pull(puller: Puller, image: str) -> list[PullProgress]:
    return asyncio.run(pulled(puller, image))
