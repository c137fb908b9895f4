"""The composition root: builds every room and wires them, and does nothing else.

Read the three `build_...` functions from top to bottom: they are the pictures of docs/architecture.md.
`run()` is what `fieldgate run` calls.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import logging
import secrets
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from gateway import __version__
from gateway.admin_api.server import AdminServer
from gateway.cloud_link import CloudLink, LinkPorts
from gateway.endpoints import Endpoints
from gateway.engines.base import Engine, NetworkPort
from gateway.engines.router import EngineRouter
from gateway.errors import Conflict, NotFound, NotSupported
from gateway.esdk_server.ports import Ports
from gateway.esdk_server.server import EsdkServer
from gateway.field.line_commands import LineCommands
from gateway.field.lines import Lines
from gateway.field.serial_buses import SerialBuses
from gateway.host.facts import Facts, boot_id, max_processes, ram_bytes
from gateway.host.files import read_limited
from gateway.host.memory import be_frugal
from gateway.host.process import shield_from_oom
from gateway.images.export import Forms
from gateway.images.puller import Puller
from gateway.images.store import ImageStore
from gateway.lifecycle import log as logs
from gateway.lifecycle.queue import NewsQueue
from gateway.lifecycle.supervisor import Part, supervise
from gateway.model.config import Config
from gateway.model.desired import Desired
from gateway.model.enrolment import Enrolment
from gateway.model.profile import Profile
from gateway.network.network import Network
from gateway.network.uplinks import Uplinks
from gateway.operations import Images, Operations, Rooms
from gateway.operations.audit import Audit
from gateway.operations.remote import Remote
from gateway.outbox.outbox import Outbox
from gateway.paths import Paths
from gateway.pipeline.pipeline import Pipeline
from gateway.reconcile.acceptance import Acceptance
from gateway.reconcile.desired_store import DesiredStore
from gateway.reconcile.execute import Executor
from gateway.reconcile.loop import News, Reconciler
from gateway.reconcile.records import AppRecords
from gateway.serving import Limits
from gateway.tags.table import TagTable
from gateway.trust.border import Border
from gateway.trust.caps import check_caps
from gateway.trust.challenges import Challenges
from gateway.trust.keyring import KeyRing

log = logging.getLogger(__name__)

MAX_DOCUMENT_BYTES = 1 << 20
NEWS_LIMIT = 1024
MIN_APPS_BYTES = 32 << 20
"""For all APPs together, on a board whose profile reserves more than it has."""


@dataclass(frozen=True, slots=True)
class Site:
    """What this agent is told from outside, checked: its board, its settings, its identity."""

    paths: Paths
    profile: Profile
    config: Config
    enrolment: Enrolment
    border: Border


@dataclass(frozen=True, slots=True)
class ControlLine:
    """Cloud or CLI -> kernel, and the report back."""

    engine: Engine
    network: Network
    images: Images
    endpoints: Endpoints
    keys: KeyRing
    acceptance: Acceptance
    reconciler: Reconciler


@dataclass(frozen=True, slots=True)
class DataLine:
    """Field -> APP -> tags -> outbox, and the local response back to the field."""

    lines: Lines
    buses: SerialBuses
    table: TagTable
    outbox: Outbox
    pipeline: Pipeline
    server: EsdkServer

    @property
    def parts(self) -> list[Part]:
        return [self.lines, self.buses, self.pipeline, self.server]


def run(profile: Path, config: Path | None, paths: Paths) -> int:
    """Run the agent until SIGTERM or SIGINT; the exit status of the process. Its APPs go on afterwards."""
    paths.prepare()
    shield_from_oom()
    be_frugal()
    with _OnlyAgent(paths):
        try:
            import uvloop
        except ImportError:  # there is no wheel for armv7
            return asyncio.run(_main(profile, config, paths))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_main(profile, config, paths))


async def _main(profile: Path, config: Path | None, paths: Paths) -> int:
    site = await read_site(profile, config, paths)
    logs.configure(site.config.log_level)
    control = await build_control_line(site)
    data = await build_data_line(site, control)
    stop = asyncio.Event()
    uplinks = Uplinks(site.profile.uplinks)
    audit = Audit(paths.audit)
    audit.load()
    rooms = Rooms(
        control.acceptance, control.reconciler, control.engine,
        data.table, data.outbox, data.pipeline, data.lines, data.buses, audit, control.images,
        lambda: asdict(link.status()), uplinks.links, uplinks.status,
    )  # fmt: skip
    operations = Operations(site.enrolment, site.profile.name, rooms, stop)
    challenges = Challenges(boot_id(), lambda: secrets.token_hex(16))
    remote = Remote(site.enrolment, site.border, control.keys, operations, challenges)
    link = build_cloud_link(site, control, data, remote)
    parts: list[Part] = [
        *data.parts, control.network, uplinks, control.reconciler, link, AdminServer(paths.admin_socket, operations),
    ]  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    gc.freeze()  # what was built lives as long as the agent: no collection need look at it again
    log.info("agent started gateway=%s profile=%s", site.enrolment.gateway, site.profile.name)
    await supervise(parts, stop)
    await operations.close()
    data.lines.close(operations.tear_down)
    await data.outbox.close()
    await (control.engine.teardown() if operations.tear_down else control.engine.close())
    await (control.network.teardown() if operations.tear_down else control.network.close())
    control.endpoints.close()
    log.info("agent stopped apps=%s", "down" if operations.tear_down else "go on")
    return 0


def tear_down(profile: Path, paths: Paths) -> None:
    """What `fieldgate down` does when no agent is there: containers, mounts and cgroups go, outputs become safe."""
    paths.prepare()
    with _OnlyAgent(paths):
        asyncio.run(_tear_down(profile, paths))


async def _tear_down(profile: Path, paths: Paths) -> None:
    site = await read_site(profile, None, paths)
    network = build_network(site)
    engine = build_engines(site, ImageStore(paths.images), network)
    await engine.prepare()
    await engine.teardown()
    await network.teardown()
    lines = Lines(site.profile.gpio, paths.run)
    lines.open()
    lines.close(tear_down=True)


async def read_site(profile: Path, config: Path | None, paths: Paths) -> Site:
    """Everything from outside goes through the border worker; known documents cost nothing."""
    border = Border(paths.trust)
    checked_profile = await border.profile(profile, _read(profile, "firmware profile"))
    checked_config = await border.config(config, _read(config, "configuration")) if config else Config()
    enrolment_file = paths.identity / "enrolment.json"
    enrolment = await border.enrolment(_read(enrolment_file, "enrolment"))
    return Site(paths, checked_profile, checked_config, enrolment, border)


async def build_control_line(site: Site) -> ControlLine:
    """Trust -> desired store -> reconciler -> images, endpoints, engine."""
    paths, profile = site.paths, site.profile
    forms = Forms(unpacked=set(profile.engines) != {"docker"}, packed="docker" in profile.engines)
    store = ImageStore(paths.images, forms)
    await asyncio.to_thread(store.open)
    puller = Puller(store, profile.architecture, profile.plain_http_registries, profile.reserved_disk_bytes)
    network = build_network(site)
    engine = build_engines(site, store, network)
    desired, records = DesiredStore(paths.desired), AppRecords(paths.apps)
    desired.load()
    records.load()
    endpoints = Endpoints(paths.endpoints)
    endpoints.recover()  # before the first step: what runs already may call at once
    await engine.prepare()
    news: NewsQueue[News] = NewsQueue(NEWS_LIMIT)
    executor = Executor(engine, puller, endpoints, records, paths.volumes, news.put)
    memory = (ram_bytes(), profile.reserved_memory_bytes)
    keys = KeyRing(paths, site.enrolment, profile)

    def permitted(accepted: Desired) -> None:  # once at acceptance, again here: the profile may be a newer one
        check_caps(accepted, keys.expected(accepted.authority))

    reconciler = Reconciler(
        engine,
        store,
        executor,
        desired,
        records,
        paths.volumes,
        memory,
        news,
        permitted,
        engine.away,
        network.keep_only,
    )
    acceptance = Acceptance(site.border, keys, desired, reconciler.wake)
    images = Images(store, puller, reconciler.clean_images)
    return ControlLine(engine, network, images, endpoints, keys, acceptance, reconciler)


def build_network(site: Site) -> Network:
    network = Network(site.paths.network, site.paths.addresses, site.profile.network)
    network.recover()
    return network


def build_engines(site: Site, store: ImageStore, network: NetworkPort) -> EngineRouter:
    return EngineRouter({name: build_engine(name, site, store, network) for name in site.profile.engines})


def build_engine(name: str, site: Site, store: ImageStore, network: NetworkPort) -> Engine:
    """One of the profile's engines; what a board does not use is not imported."""
    paths, profile, log_bytes = site.paths, site.profile, site.config.container_log_bytes
    match name:
        case "oci":
            from gateway.engines.oci.engine import OciEngine
            from gateway.engines.oci.options import OciOptions

            options = OciOptions(
                cache=paths.engine_cache,
                favordynmods=profile.favordynmods,
                memory_bytes=max(MIN_APPS_BYTES, ram_bytes() - profile.reserved_memory_bytes),
                processes=max_processes() * 3 // 4,
            )
            return OciEngine(paths.engine, store, profile.runtimes, log_bytes, options, network)
        case "lxc":
            from gateway.engines.lxc.engine import LxcEngine

            return LxcEngine(paths.engine_lxc, store, log_bytes, network)
        case "simulated":
            from gateway.engines.simulated.engine import SimulatedEngine

            return SimulatedEngine()
        case "docker":
            from gateway.engines.docker.engine import DockerEngine

            return DockerEngine(paths.engine, Path(profile.docker_socket), store, log_bytes)
    raise NotSupported(f"cannot use engine {name}: this version does not have it", hint="the profile's engines")


async def build_data_line(site: Site, control: ControlLine) -> DataLine:
    """Serial buses and lines -> eSDK -> pipeline -> tag table, outbox and lines."""
    paths, profile, config = site.paths, site.profile, site.config
    lines = Lines(profile.gpio, paths.run)
    lines.open()  # before anything else can fail: an output must not stay without an owner
    commands = LineCommands(lines)
    buses = SerialBuses(profile.serial, paths.run)
    table = TagTable()
    outbox = Outbox(paths.outbox, site.enrolment.incarnation, config.outbox_max_bytes, config.outbox_commit_interval_s)
    await outbox.open()
    pipeline = Pipeline(table, outbox, commands, control.reconciler.grants)
    limits = Limits(
        connections=config.esdk_max_connections,
        header_bytes=config.esdk_max_header_bytes,
        body_bytes=config.esdk_max_body_bytes,
        request_timeout_s=config.esdk_first_byte_timeout_s,
    )
    ports = Ports(buses, commands, table, pipeline, Facts(paths.state))
    server = EsdkServer(control.endpoints.changes(), ports, limits, config.esdk_max_unread_events)
    return DataLine(lines, buses, table, outbox, pipeline, server)


def build_cloud_link(site: Site, control: ControlLine, data: DataLine, remote: Remote) -> CloudLink:
    """The session that both lines share: desired states, keys, operations down; reports, batches, answers up."""
    ports = LinkPorts(
        acceptance=control.acceptance,
        succeed=lambda chain: control.keys.succeed(chain, site.border),
        outbox=data.outbox,
        news=control.reconciler.news,
        reports=control.reconciler.reports,
        remote=remote,
        agent_version=__version__,
        boot_id=boot_id(),
    )
    return CloudLink(site.enrolment, site.paths.identity, site.config, ports)


def _read(path: Path, what: str) -> bytes:
    try:
        return read_limited(path, MAX_DOCUMENT_BYTES)
    except OSError as failure:
        raise NotFound(f"cannot read the {what} {path}: {failure.strerror}") from failure


class _OnlyAgent:
    """Holds the lock that lets one agent use these directories. Conflict when another has it."""

    def __init__(self, paths: Paths) -> None:
        self._path = paths.lock
        self._file: IO[str] | None = None

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise Conflict(f"cannot start: another agent runs on {self._path.parent}") from None

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
