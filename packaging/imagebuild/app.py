"""An APP's image: a base layout and one small layer with what the Containerfile copies. Used by `main.py`."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagebuild import BuildError
from imagebuild.containerfile import Containerfile, Copy, parse
from imagebuild.layers import Member, compress_gzip, epoch, write_tar
from imagebuild.layout import GZIP_TYPE, Image, read_layout, write_layout

LEFT_OUT = ("__pycache__", ".git")
"""Never copied: they differ from machine to machine."""


def build_app(base: Path, context: Path, containerfile: Path, target: Path) -> Image:
    """Build `target` (an OCI layout). The base that FROM names is replaced by the layout `base`."""
    try:
        recipe = parse(containerfile.read_text())
    except (OSError, UnicodeDecodeError) as failure:
        raise BuildError(f"cannot read {containerfile}: {failure}") from failure
    below = read_layout(base)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        tar, layer = Path(scratch, "layer.tar"), Path(scratch, "layer.tar.gz")
        diff_id = write_tar(tar, _members(recipe, context))
        compress_gzip(tar, layer)
        layers = [(below.blob(entry["digest"]), entry["mediaType"]) for entry in below.manifest["layers"]]
        return write_layout(target, _config(below.config, recipe, diff_id), [*layers, (layer, GZIP_TYPE)])


def _members(recipe: Containerfile, context: Path) -> dict[str, Member]:
    members: dict[str, Member] = {}
    for copy in recipe.copies:
        for path, source in _copied(copy, context):
            mode = 0o755 if source is None or os.access(source, os.X_OK) else 0o644
            members[path] = Member(source, mode)
    if recipe.working_dir.strip("/"):
        members.setdefault(recipe.working_dir.strip("/"), Member(None, 0o755))
    for path in list(members):
        for parent in list(Path(path).parents)[:-1]:
            members.setdefault(str(parent), Member(None, 0o755))
    return members


def _copied(copy: Copy, context: Path) -> Iterator[tuple[str, Path | None]]:
    """(path in the layer, host's file or None for a directory), as `docker build` places them."""
    target = copy.target.strip("/")
    for name in copy.sources:
        source = context / name
        if not source.exists() or not source.resolve().is_relative_to(context.resolve()):
            raise BuildError(f"cannot build from Containerfile: line {copy.line}: COPY: no {name!r} in {context}")
        if source.is_file():
            yield os.path.join(target, source.name) if copy.target.endswith("/") else target, source
            continue
        if target:
            yield target, None
        for path in sorted(source.rglob("*")):
            if any(part in LEFT_OUT for part in path.relative_to(source).parts):
                continue
            is_directory = path.is_dir() and not path.is_symlink()
            yield os.path.join(target, path.relative_to(source)), None if is_directory else path


def _config(below: dict[str, Any], recipe: Containerfile, diff_id: str) -> dict[str, Any]:
    """The base's configuration with what the Containerfile says. A new ENTRYPOINT clears the base's CMD."""
    process = dict(below.get("config") or {})
    environment = dict(pair.split("=", 1) for pair in process.get("Env") or []) | recipe.environment
    process["Env"] = [f"{key}={value}" for key, value in environment.items()]
    if recipe.working_dir:
        process["WorkingDir"] = recipe.working_dir.rstrip("/") or "/"
    if recipe.user:
        process["User"] = recipe.user
    if recipe.entrypoint is not None:
        process["Entrypoint"] = recipe.entrypoint
        process.pop("Cmd", None)
    if recipe.command is not None:
        process["Cmd"] = recipe.command
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch()))
    rootfs = {"type": "layers", "diff_ids": [*below["rootfs"]["diff_ids"], diff_id]}
    return {**below, "created": created, "config": process, "rootfs": rootfs}
