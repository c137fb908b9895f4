"""The APP base image: bit-identical twice, an APP layer on it, and Python that runs from both in a real container."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.engines.base import ContainerSpec, ContainerState
from gateway.engines.oci.engine import OciEngine
from gateway.errors import ToolFailed
from gateway.images.store import ImageStore
from tests.site.registry import ROOT, Registry, image_tool
from tests.system.pulls import open_store, pulled, puller

CONTAINERFILE = """\
FROM docker.io/library/python:3-slim
ENV GREETING="it runs"
WORKDIR /app
COPY hello.py lib /app/
USER 65534
ENTRYPOINT ["python3"]
CMD ["hello.py"]
"""
HELLO = """\
import asyncio, ctypes, hashlib, http.client, json, mmap, os, socket, sqlite3, ssl, subprocess, zlib
import greeting
print(greeting.text(), os.getuid(), os.getcwd(), json.__cached__.endswith(".pyc"), os.path.exists(json.__cached__))
"""


@pytest.fixture(scope="module")
def base() -> Path:
    return Path(str(image_tool("base", "--cache", str(ROOT / "build" / "cache"))["layout"]))


@pytest.fixture
def context(tmp_path: Path) -> Path:
    context = tmp_path / "context"
    (context / "lib" / "__pycache__").mkdir(parents=True)
    (context / "lib" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (context / "lib" / "greeting.py").write_text("import os\ndef text(): return os.environ['GREETING']\n")
    (context / "hello.py").write_text(HELLO)
    (context / "Containerfile").write_text(CONTAINERFILE)
    return context


@pytest.fixture
def engine_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="fg-", dir="/run"))
    yield directory
    shutil.rmtree(directory)


@pytest.mark.timeout(300)
def test_two_builds_are_bit_identical(base: Path, tmp_path: Path) -> None:
    built = image_tool("base", "--cache", str(tmp_path), "--fresh")
    assert built["cached"] is False
    cached = image_tool("base", "--cache", str(ROOT / "build" / "cache"))
    assert (cached["cached"], cached["digest"]) == (True, built["digest"])
    assert cached["layers"] == 1
    assert int(str(cached["bytes"])) < 20 << 20


def build(context: Path, base: Path, output: Path) -> dict[str, object]:
    return image_tool("app", str(context), "--base", str(base), "--output", str(output))


def test_an_app_layer_is_small_and_reproducible(base: Path, context: Path, tmp_path: Path) -> None:
    one = build(context, base, tmp_path / "one")
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(context, elsewhere, copy_function=shutil.copyfile)
    two = build(elsewhere, base, tmp_path / "two")
    assert (one["digest"], one["layers"]) == (two["digest"], 2)
    manifest = next(
        document for path in (tmp_path / "one" / "blobs" / "sha256").iterdir()
        if path.stat().st_size < 100_000 and path.read_bytes()[:1] == b"{"
        and "layers" in (document := json.loads(path.read_bytes()))
    )  # fmt: skip
    base_bytes, app_bytes = (layer["size"] for layer in manifest["layers"])
    assert app_bytes < 10_000 < 5_000_000 < base_bytes
    (context / "hello.py").write_text("changed")
    assert build(context, base, tmp_path / "three")["digest"] != one["digest"]


def test_mistakes_are_one_clear_line(base: Path, context: Path, tmp_path: Path) -> None:
    (context / "Containerfile").write_text("FROM x\nRUN true\n")
    with pytest.raises(ToolFailed, match="line 2: RUN: this instruction is not supported"):
        build(context, base, tmp_path / "out")
    (context / "Containerfile").write_text("FROM x\nCOPY missing /x\n")
    with pytest.raises(ToolFailed, match="line 2: COPY: no 'missing' in"):
        build(context, base, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_it_runs_in_a_container(base: Path, context: Path, tmp_path: Path, engine_directory: Path) -> None:
    build(context, base, tmp_path / "app")
    with Registry(tmp_path) as registry:
        image = registry.push(tmp_path / "app", "apps/hello:1")
        assert registry.push(tmp_path / "app", "apps/hello:1") == image
        store = open_store(tmp_path)
        assert asyncio.run(run(store, registry, image, engine_directory)) == ["it runs 65534 /app True True"]


async def run(store: ImageStore, registry: Registry, image: str, directory: Path) -> list[str]:
    """Pull it, run it to its end, return what it printed."""
    await pulled(puller(store, registry.host), image)
    engine = OciEngine(directory, store, ["crun"], 64 << 10)
    spec = ContainerSpec("hello", "main", 1, "sha256:1", image, read_only=True)
    async with asyncio.timeout(60):
        await engine.prepare()
        try:
            await engine.create(spec)
            await engine.start(spec.id)
            while (await engine.list())[0].state is not ContainerState.EXITED:
                await asyncio.sleep(0.05)
            return [line.text async for line in engine.logs(spec.id, tail=50, follow=False)]
        finally:
            await engine.teardown()
