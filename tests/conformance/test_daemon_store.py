"""What lies with a daemon: images that our store has handed over, containers of others and of earlier boots."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.engines.base import ContainerSpec, ContainerState
from gateway.engines.docker import engine as module
from gateway.engines.docker.engine import DockerEngine
from gateway.engines.docker.http import Api
from gateway.engines.instance import instance_name
from gateway.errors import Corrupted, NotFound, Unavailable
from gateway.images.export import ImageExport
from gateway.images.manifest import Descriptor
from tests.conformance.conftest import DAEMONS, LOG_BYTES
from tests.conformance.rootfs import IMAGE, BusyboxImage
from tests.site.daemons import ApiDaemon

pytestmark = pytest.mark.daemon
SPEC = ContainerSpec("app", "main", 1, "sha256:1", IMAGE)


class Store:
    """An ExportSource whose one image can be exchanged, damaged and taken away."""

    def __init__(self, image: BusyboxImage) -> None:
        self.exported: ImageExport | None = image.export(IMAGE)
        self.damaged: list[str] = []

    def export(self, image: str) -> ImageExport:
        if self.exported is None:
            raise NotFound(f"cannot use image {image}")
        return self.exported

    def exports(self) -> frozenset[str]:
        return frozenset() if self.exported is None else frozenset({self.exported.config_digest})

    def forget_damaged(self, image: str) -> None:
        self.damaged.append(image)


class Site:
    """An agent's engine beside the API that shows what it did."""

    def __init__(self, run: Path, daemon: ApiDaemon, image: BusyboxImage) -> None:
        self.store = Store(image)
        self.run = run
        self.api = Api(daemon.socket)
        self.engine = self.another()
        self.repository = f"localhost/{instance_name(run)}"

    def another(self) -> DockerEngine:
        return DockerEngine(self.run, self.api.socket, self.store, LOG_BYTES)

    async def tags(self) -> list[str]:
        """What stands behind the colon of our images' names."""
        found: list[dict[str, Any]] = await self.api.call("GET", "/images/json") or []
        names = [name for entry in found for name in entry.get("RepoTags") or ()]
        return sorted(name.rpartition(":")[2] for name in names if name.startswith(f"{self.repository}:"))

    async def containers(self) -> list[str]:
        found = await self.api.call("GET", "/containers/json", {"all": "1"})
        return sorted(entry["Names"][0].lstrip("/") for entry in found)


@pytest.fixture
def site(daemon: ApiDaemon, image: BusyboxImage) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="fg-", dir="/run") as directory:
        yield Site(Path(directory), daemon, image)


def run(site: Site, scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await site.engine.prepare()
        try:
            async with asyncio.timeout(60):
                await scenario()
        finally:
            await site.engine.teardown()
        assert await site.tags() == []
        assert await site.containers() == []

    asyncio.run(main())


def exported(site: Site) -> ImageExport:
    assert site.store.exported is not None
    return site.store.exported


def test_an_image_is_handed_over_once_and_goes_with_our_store(site: Site) -> None:
    async def scenario() -> None:
        await site.engine.create(SPEC)
        tag = exported(site).config_digest.removeprefix("sha256:")
        assert await site.tags() == [tag]
        site.store.exported = replace(exported(site), blobs=Path("/nowhere"))  # to hand it over again would fail
        await site.engine.create(replace(SPEC, generation=2))

        site.store.exported = None
        await site.engine.list()
        assert await site.tags() == [tag], "a container still uses it"
        for generation in (1, 2):
            await site.engine.remove(replace(SPEC, generation=generation).id)
        await site.engine.list()
        assert await site.tags() == []

    run(site, scenario)


def test_what_was_loaded_and_never_named_is_loaded_again(site: Site) -> None:
    """As after a power cut during the load: nobody knows which of its files are on the disk."""

    async def scenario() -> None:
        unfinished = exported(site).config_digest.removeprefix("sha256:") + "-loading"
        upload = exported(site).archive(f"{site.repository}:{unfinished}")
        async with site.api.open("POST", "/images/load", {"quiet": "1"}, upload=upload) as told:
            assert [piece async for piece in told]
        assert await site.tags() == [unfinished]
        again = site.another()
        await again.prepare()
        assert await site.tags() == []
        await again.create(SPEC)
        await again.close()
        assert await site.tags() == [unfinished.removesuffix("-loading")]

    run(site, scenario)


def test_a_name_with_other_content_is_not_believed(site: Site) -> None:
    async def scenario() -> None:
        await site.engine.create(SPEC)
        ours = exported(site)
        await site.engine.remove(SPEC.id)
        site.store.exported = replace(ours, diff_ids=("sha256:" + "1" * 64,))
        with pytest.raises(Exception, match="another one"):
            await site.engine.create(replace(SPEC, generation=2))
        assert site.store.damaged == [IMAGE]
        site.store.exported = ours
        await site.engine.create(replace(SPEC, generation=3))

    run(site, scenario)


def test_a_damaged_blob_is_told_and_nothing_of_it_stays(site: Site, tmp_path: Path) -> None:
    async def scenario() -> None:
        (layer,) = exported(site).layers
        for digest in (layer.digest, exported(site).config_digest):
            name = digest.removeprefix("sha256:")
            (tmp_path / name).write_bytes((exported(site).blobs / name).read_bytes())
        damaged = tmp_path / layer.digest.removeprefix("sha256:")
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
        site.store.exported = replace(exported(site), blobs=tmp_path)
        with pytest.raises(Corrupted, match="its blob is damaged"):
            await site.engine.create(SPEC)
        assert site.store.damaged == [IMAGE]
        assert await site.tags() == []
        assert await site.engine.list() == []

    run(site, scenario)


def test_layers_that_the_daemon_may_not_read_are_decompressed(site: Site, tmp_path: Path) -> None:
    async def scenario() -> None:
        export = exported(site)
        (layer,) = export.layers
        plain = export.blobs / layer.digest.removeprefix("sha256:")
        argv = ["zstd", "-q", str(plain), "-o", str(tmp_path / "0")]
        subprocess.run(argv, check=True, timeout=20)
        packed = Descriptor("sha256:" + "0" * 64, (tmp_path / "0").stat().st_size, "zstd")
        (tmp_path / "0").rename(tmp_path / ("0" * 64))
        config = export.config_digest.removeprefix("sha256:")
        (tmp_path / config).write_bytes((export.blobs / config).read_bytes())
        site.store.exported = replace(export, blobs=tmp_path, layers=(packed,))
        await site.engine.create(SPEC)
        assert await site.tags() == [config]

    run(site, scenario)


def test_two_agents_do_not_see_each_other(site: Site, daemon: ApiDaemon, image: BusyboxImage) -> None:
    async def scenario() -> None:
        with tempfile.TemporaryDirectory(prefix="fg-", dir="/run") as directory:
            other = Site(Path(directory), daemon, image)
            await other.engine.prepare()
            for agent in (site, other):
                await agent.engine.create(SPEC)
                await agent.engine.start(SPEC.id)
            await other.engine.teardown()
            assert await other.tags() == []
        assert [status.state.value for status in await site.engine.list()] == ["running"]
        assert len(await site.tags()) == 1

    run(site, scenario)


def test_the_daemon_is_killed_and_comes_back(engine: str, image: BusyboxImage) -> None:
    """podman's containers need no daemon; Docker, without live-restore, ends its own when it is back."""

    async def scenario(site: Site, daemon: ApiDaemon) -> None:
        script = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
        await site.engine.create(replace(SPEC, command=("sh", "-c", script)))
        await site.engine.start(SPEC.id)
        (before,) = await site.engine.list()
        daemon.kill()
        with pytest.raises(Unavailable):
            await site.engine.list()
        await asyncio.to_thread(daemon.start)
        went_on = False
        async for _ in site.engine.exits():
            with suppress(Unavailable):
                (status,) = await site.engine.list()
                if status.state is ContainerState.EXITED:
                    break
                if not went_on and engine == "podman":
                    went_on = True
                    assert status == before
                    await site.engine.kill(SPEC.id)
        assert went_on is (engine == "podman")

    with tempfile.TemporaryDirectory(prefix="fg-", dir="/run") as directory, DAEMONS[engine]() as mortal:
        site = Site(Path(directory), mortal, image)
        run(site, lambda: scenario(site, mortal))


def test_containers_of_an_earlier_boot_are_made_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their mounts lay on a tmpfs. One that runs is never taken away."""

    async def scenario() -> None:
        with monkeypatch.context() as earlier:
            earlier.setattr(module, "boot_id", lambda: "earlier")
            before = site.another()
        await before.prepare()
        for generation in (1, 2):
            await before.create(replace(SPEC, generation=generation))
        await before.start(SPEC.id)
        await before.close()
        now = site.another()
        await now.prepare()
        assert await now.list() == []
        assert await site.containers() == [f"{instance_name(site.run)}.{SPEC.id}"]
        await now.close()

    run(site, scenario)
