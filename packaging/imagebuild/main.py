"""The program `packaging/image`: one subcommand per thing that can be made; `--json` prints what was made as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagebuild import BuildError
from imagebuild.app import build_app
from imagebuild.base import build_base
from imagebuild.layout import Image
from imagebuild.package import build_package, write_archive
from imagebuild.push import push


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 with one line on stderr."""
    arguments = _parser().parse_args(argv)
    os.umask(0o022)  # modes of what is made on the way become modes in the image
    try:
        made: dict[str, Any] = arguments.run(arguments)
    except (BuildError, OSError) as failure:
        print(f"image: {failure}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(made))
    else:
        print("\n".join(f"{key}: {value}" for key, value in made.items()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="image", description="Build and push container images without a daemon.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    base = commands.add_parser("base", help="build the APP base image, or take it from the cache")
    base.add_argument("--cache", type=Path, default=Path("build/cache"), help="default: build/cache")
    base.add_argument("--fresh", action="store_true", help="build it even if the cache has it")
    base.set_defaults(run=_base)

    app = commands.add_parser("app", help="build an APP's image: one layer on a base")
    app.add_argument("context", type=Path, help="the build context: what COPY copies from")
    app.add_argument("--file", type=Path, help="default: CONTEXT/Containerfile")
    app.add_argument("--base", type=Path, required=True, help="OCI layout that takes the place of FROM's image")
    app.add_argument("--output", type=Path, required=True, help="the OCI layout to write")
    app.set_defaults(run=_app)

    package = commands.add_parser("package", help="build an APP package, to be put into a running container")
    package.add_argument("directory", type=Path, help="has app.toml; everything else in it becomes the package")
    package.add_argument("--output", type=Path, required=True, help="the OCI layout to write")
    package.add_argument("--archive", type=Path, help="also write the layout as one tar, for `fieldgate deploy`")
    package.add_argument("--reference", default="", metavar="HOST/REPOSITORY", help="name of the imported package")
    package.add_argument("--compression", choices=("gzip", "zstd"), default="zstd", help="default: zstd")
    package.set_defaults(run=_package)

    send = commands.add_parser("push", help="push an OCI layout to a registry")
    send.add_argument("layout", type=Path)
    send.add_argument("reference", help="host[:port]/repository[:tag]")
    send.add_argument("--plain-http", action="store_true", help="the registry has no TLS")
    send.set_defaults(run=_push)

    for command in (base, app, package, send):
        command.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _base(arguments: argparse.Namespace) -> dict[str, Any]:
    image, cached = build_base(arguments.cache, fresh=arguments.fresh)
    return {**_about(image), "cached": cached}


def _app(arguments: argparse.Namespace) -> dict[str, Any]:
    file = arguments.file or arguments.context / "Containerfile"
    return _about(build_app(arguments.base, arguments.context, file, arguments.output))


def _package(arguments: argparse.Namespace) -> dict[str, Any]:
    zstd = arguments.compression == "zstd"
    image = build_package(arguments.directory, arguments.output, zstd=zstd, reference=arguments.reference)
    if arguments.archive is None:
        return _about(image)
    write_archive(image.layout, arguments.archive)
    return {**_about(image), "archive": str(arguments.archive)}


def _push(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"image": push(arguments.layout, arguments.reference, plain_http=arguments.plain_http)}


def _about(image: Image) -> dict[str, Any]:
    size = sum(layer["size"] for layer in image.manifest["layers"])
    return {"layout": str(image.layout), "digest": image.digest, "bytes": size, "layers": len(image.manifest["layers"])}
