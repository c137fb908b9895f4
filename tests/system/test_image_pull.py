"""Pulls from Debian's docker-registry: over good and bad links, killed in the middle, damaged, refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.errors import Corrupted, InvalidInput, NotFound, NotPermitted, NotSupported, Unavailable
from gateway.images.puller import Puller
from tests.site.bad_link import BadLink
from tests.site.processes import wait_until
from tests.site.registry import ROOT, Registry
from tests.system.pulls import FAST, make_image, noise, open_store, pull, pulled, puller

BIG = 12 << 20


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("layouts")
    shared = {"usr/lib/shared": noise(1, BIG)}
    return {
        "one": make_image(directory, "one", [shared, {"app/main": b"one"}], Env=["A=b"], WorkingDir="/app"),
        "two": make_image(directory, "two", [shared, {"app/main": b"two"}]),
    }


def via(image: str, registry: Registry, link: BadLink) -> str:
    return image.replace(registry.host, link.host)


def test_a_pulled_image_is_whole(registry: Registry, layouts: dict[str, Path], tmp_path: Path) -> None:
    image = registry.push(layouts["one"], "whole:1")
    store = open_store(tmp_path)
    assert not store.has(image)
    with pytest.raises(NotFound):
        store.rootfs(image)
    steps = pull(puller(store, registry.host), image)
    rootfs = store.rootfs(image)
    assert (rootfs.layers[0] / "app/main").read_bytes() == b"one"
    assert (rootfs.layers[1] / "usr/lib/shared").read_bytes() == noise(1, BIG)
    assert (rootfs.config.command, rootfs.config.environment, rootfs.config.working_dir) == (("/x",), ("A=b",), "/app")
    assert steps[-1].done_bytes == steps[-1].total_bytes > BIG
    assert [step.done_bytes for step in steps] == sorted(step.done_bytes for step in steps)
    again = open_store(tmp_path)
    assert again.has(image)
    assert again.rootfs(image) == rootfs
    assert pull(puller(again, registry.host), image) == []


def test_a_cut_link_costs_no_bytes(registry: Registry, layouts: dict[str, Path], tmp_path: Path) -> None:
    image = registry.push(layouts["one"], "cut")
    store = open_store(tmp_path)
    with BadLink(registry.port) as link:
        link.cut_after_bytes = 1_500_000
        pull(puller(store, link.host, tries=2), via(image, registry, link))
        assert link.cuts >= 7
        assert link.moved < BIG * 1.02
    assert store.has(image)


def test_killed_in_the_middle_it_resumes(registry: Registry, layouts: dict[str, Path], tmp_path: Path) -> None:
    image = registry.push(layouts["one"], "killed")
    with BadLink(registry.port) as link:
        link.bytes_per_second = 6 << 20
        for _ in range(2):
            before = link.moved
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.system.pull_once", str(tmp_path), link.host, via(image, registry, link)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'packaging'}"},
            )
            try:
                wait_until(lambda before=before: link.moved > before + BIG // 3, "a third of the layer")  # type: ignore[misc]
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
            assert not open_store(tmp_path).has(image)
        link.bytes_per_second = 0
        store = open_store(tmp_path)
        pull(puller(store, link.host), via(image, registry, link))
        assert link.moved < BIG * 1.25  # what was in flight in the sockets when it was killed
    assert (store.rootfs(image).layers[1] / "usr/lib/shared").read_bytes() == noise(1, BIG)


def test_a_link_that_stays_down_is_given_up(registry: Registry, layouts: dict[str, Path], tmp_path: Path) -> None:
    image = registry.push(layouts["one"], "down")
    store = open_store(tmp_path)
    with BadLink(registry.port) as link:
        link.refuse = True
        with pytest.raises(Unavailable, match="cannot read from 127"):
            pull(puller(store, link.host), via(image, registry, link))
    assert not store.has(image)


def test_a_pull_says_where_it_is_and_why_nothing_comes(
    registry: Registry, layouts: dict[str, Path], tmp_path: Path
) -> None:
    image = registry.push(layouts["one"], "troubled")
    store = open_store(tmp_path)

    async def scenario(link: BadLink) -> list[tuple[int, int]]:
        ours, pinned = puller(store, link.host, tries=100_000), via(image, registry, link)

        async def until(condition: Callable[[], bool]) -> None:
            async with asyncio.timeout(20):
                while not condition():
                    await asyncio.sleep(0.01)

        pulling = asyncio.create_task(pulled(ours, pinned))
        await until(lambda: link.moved > 1 << 20)
        assert ours.trouble(pinned) == ""
        link.refuse = True
        link.cut()
        await until(lambda: "cannot read" in ours.trouble(pinned))
        link.refuse = False
        await until(lambda: ours.trouble(pinned) == "")
        link.bytes_per_second = 0
        return [(step.layer, step.layers) for step in await pulling]

    with BadLink(registry.port) as link:
        link.bytes_per_second = 2 << 20
        steps = asyncio.run(scenario(link))
    assert steps[0] == (0, 0)
    assert set(steps[1:-1]) == {(1, 2), (2, 2)}
    assert steps[1:-1] == sorted(steps[1:-1])


def test_cancelling_ends_at_once_and_keeps_what_came(
    registry: Registry, layouts: dict[str, Path], tmp_path: Path
) -> None:
    image = registry.push(layouts["one"], "cancelled")
    store = open_store(tmp_path)

    async def scenario(link: BadLink) -> float:
        task = asyncio.create_task(pulled(puller(store, link.host), via(image, registry, link)))
        while link.moved < 1 << 20:
            await asyncio.sleep(0.02)
        started = time.monotonic()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return time.monotonic() - started

    with BadLink(registry.port) as link:
        link.bytes_per_second = 2 << 20
        assert asyncio.run(scenario(link)) < 2.0
        [partial] = store.ingest.iterdir()
        assert partial.stat().st_size > 1 << 19
        assert store.remove_unreferenced([image]) == 0
        assert partial.exists()
        assert store.remove_unreferenced([]) > 1 << 19
        assert not partial.exists()
        assert not list(store.blobs.iterdir())


def test_a_shared_layer_is_pulled_once(registry: Registry, layouts: dict[str, Path], tmp_path: Path) -> None:
    images = [registry.push(layouts[name], f"shared-{name}") for name in ("one", "two")]
    store = open_store(tmp_path)

    async def both(link: BadLink) -> None:
        one = puller(store, link.host)
        await asyncio.gather(*(pulled(one, via(image, registry, link)) for image in [*images, images[0]]))

    with BadLink(registry.port) as link:
        asyncio.run(both(link))
        assert link.moved < BIG * 1.02
    one, two = (store.rootfs(image) for image in images)
    assert one.layers[1] == two.layers[1]
    assert store.remove_unreferenced([images[1]]) < 1 << 16
    assert (two.layers[1] / "usr/lib/shared").exists()
    assert store.remove_unreferenced([]) > BIG
    assert not list(store.layers.iterdir())
    assert not list(store.blobs.iterdir())


def test_a_damaged_blob_is_found(registry: Registry, tmp_path: Path) -> None:
    layout = make_image(tmp_path, "damaged", [{"f": noise(7, 100_000)}])
    image = registry.push(layout, "damaged")
    digest = next(path.name for path in (layout / "blobs/sha256").iterdir() if path.stat().st_size > 90_000)
    stored = registry.blob_path(f"sha256:{digest}")
    good = stored.read_bytes()
    stored.write_bytes(good[:5000] + b"\0" * 10 + good[5010:])
    store = open_store(tmp_path)
    with pytest.raises(Corrupted, match="another digest"):
        pull(puller(store, registry.host), image)
    assert not store.has(image)
    stored.write_bytes(good)
    pull(puller(store, registry.host), image)
    assert store.has(image)


def test_a_damaged_partial_download_heals(registry: Registry, layouts: dict[str, Path], tmp_path: Path) -> None:
    image = registry.push(layouts["one"], "partial")
    store = open_store(tmp_path)
    largest = max((layouts["one"] / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    store.partial(f"sha256:{largest.name}", image.partition("@")[2]).write_bytes(b"\0" * 100_000)
    pull(puller(store, registry.host), image)
    assert (store.rootfs(image).layers[1] / "usr/lib/shared").read_bytes() == noise(1, BIG)


def test_a_damaged_store_forgets_and_pulls_again(registry: Registry, layouts: dict[str, Path], tmp_path: Path) -> None:
    image = registry.push(layouts["one"], "healing")
    store = open_store(tmp_path)
    pull(puller(store, registry.host), image)
    store.rootfs(image).layers[0].rename(store.layers / "tmp-half-removed")
    again = open_store(tmp_path)
    assert not again.has(image)
    assert not (store.layers / "tmp-half-removed").exists()
    pull(puller(again, registry.host), image)
    assert (again.rootfs(image).layers[0] / "app/main").read_bytes() == b"one"


def test_refusals(registry: Registry, layouts: dict[str, Path], tmp_path: Path) -> None:
    image = registry.push(layouts["one"], "refused")
    store = open_store(tmp_path)
    with pytest.raises(NotPermitted, match="plain_http_registries"):
        pull(puller(store), image)
    with pytest.raises(InvalidInput, match="no digest"):
        pull(puller(store, registry.host), f"{registry.host}/refused:1")
    with pytest.raises(NotFound):
        pull(puller(store, registry.host), f"{registry.host}/refused@sha256:{'0' * 64}")
    with pytest.raises(NotSupported, match="it is for amd64, this is arm64"):
        pull(Puller(store, "arm64", [registry.host], 0, retry=FAST), image)
    with pytest.raises(Unavailable, match=r"it needs about \d+\.\d MiB of disk, and 0\.0 MiB are free"):
        pull(puller(store, registry.host, reserved=1 << 60), image)
    assert not list(store.ingest.iterdir())
    assert not list(store.refs.iterdir())


def test_a_store_of_a_newer_agent_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    (store.root / "store.json").write_text('{"schema": 99, "content": {}}')
    with pytest.raises(NotSupported, match="schema 99 is newer"):
        open_store(tmp_path)
