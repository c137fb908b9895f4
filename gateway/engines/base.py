"""What an engine is: create, start, stop, watch containers. Knows neither images' sources nor APPs' rollouts.

`reconcile/` drives the engines of the profile through this protocol, as if they were one (`router.py`); `agent.py`
makes them and hands them their `RootfsSource`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from gateway.model.app import Limits, TmpfsMount
from gateway.model.image import ImageConfig, Rootfs
from gateway.model.network import Attachment, Network
from gateway.model.stats import ContainerStats

DEFAULT_PIDS: Final = 512
"""For a service without `deploy.resources.limits.pids`: a fork bomb must end somewhere."""


OOM_SCORE: Final = 300
"""Of every container: where the machine is out of memory, an APP goes before the agent and what the system needs."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A host directory or file at `target` in the container."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class HostContainer:
    """A running container, of whichever engine, that another one is to live in."""

    container: str
    pid: int
    """Of its main process, as the agent sees it."""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """Everything that an engine needs to create one container."""

    app: str
    service: str
    generation: int
    """Grows with every container that is created for this service; never used twice."""
    digest: str
    """Identity of what runs here; an observed container with another digest is to be replaced."""
    image: str
    """Pinned reference, in the store already."""
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    user: str = ""
    """`uid[:gid]` or a name of the image's /etc/passwd; empty: the image's own."""
    host: HostContainer | None = None
    """It lives in this container: `image` is a package that is put there. docs/hosted-apps.md."""
    working_dir: str = ""
    read_only: bool = False
    stop_signal: str = "SIGTERM"
    limits: Limits = Limits()
    mounts: tuple[Mount, ...] = ()
    tmpfs: tuple[TmpfsMount, ...] = ()
    devices: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    host_network: bool = False
    engine: str = ""
    """Which engine is to run it; empty: the default one. An engine itself does not look at it."""
    network: Network | None = None
    """A routed network of its own (`NetworkPort`). None: loopback only, or the host's with `host_network`."""
    siblings: tuple[str, ...] = ()
    """The other services of the APP that have a network, too: it knows them by name."""

    @property
    def id(self) -> str:
        return container_id(self.app, self.service, self.generation)


def container_id(app: str, service: str, generation: int) -> str:
    """`{app}.{service}.{generation}`: names have no dots, so it can be taken apart again."""
    return f"{app}.{service}.{generation}"


class ContainerState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"
    """Its engine does not answer. No engine says so of itself: `router.py` does."""


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """One container as it is now, whoever created it: also after the agent was killed and started again."""

    app: str
    service: str
    generation: int
    digest: str
    state: ContainerState
    pid: int = 0
    exit_code: int | None = None
    """128 + n for signal n; 255 when it is unknown because the monitor died, too."""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    host: str = ""
    """The container that it lives in."""
    host_ended: bool = False
    """That one has ended, or is about to, which ended this one: no fault of its own."""

    @property
    def id(self) -> str:
        return container_id(self.app, self.service, self.generation)


@dataclass(frozen=True, slots=True)
class ContainerExit:
    """News: a container's main process has ended."""

    id: str
    """Empty: the engine went away, or is back; what has ended meanwhile is for `list()` to say."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    exit_code: int
    output: bytes
    """stdout and stderr, at most 64 KiB of them."""


@dataclass(frozen=True, slots=True)
class LogLine:
    time: str
    """RFC 3339."""
    stream: str
    """`stdout` or `stderr`."""
    text: str


class RootfsSource(Protocol):
    """Where an engine gets the unpacked image from (`images/`)."""

    def rootfs(self, image: str) -> Rootfs:
        """NotFound when it is not (completely) in the store."""
        ...


class ImageExport(Protocol):
    """A pinned image as it was pulled, for an engine with a store of its own (`images/`)."""

    @property
    def config_digest(self) -> str:
        """Of its configuration: the identity of the image wherever it is unpacked."""
        ...

    @property
    def diff_ids(self) -> tuple[str, ...]: ...

    @property
    def config(self) -> ImageConfig: ...

    def archive(self, name: str) -> Iterator[bytes]:
        """As `docker save` writes it, named `repository:tag`. Blocks. Corrupted, OSError: it is damaged here."""
        ...


class ExportSource(Protocol):
    """Where an engine with a store of its own gets images from."""

    def export(self, image: str) -> ImageExport:
        """NotFound when it is not (completely) in the store."""
        ...

    def exports(self) -> frozenset[str]:
        """The configuration digests of all images that there are: what else the engine has from here is to go."""
        ...

    def forget_damaged(self, image: str) -> None:
        """The image could not be used: look at every byte, so that what is damaged is pulled again. Blocks."""


class NetworkPort(Protocol):
    """Where an engine gets the network of a container with `spec.network` from (`network/`).

    An engine never gives one back: what no container and no wanted service needs is removed behind its back.
    """

    async def attach(self, app: str, service: str, network: Network, siblings: Sequence[str]) -> Attachment:
        """Make it, or find it as it is, or change it to what is wanted now. The last three are `spec`'s.

        Conflict: a published port is taken. NotSupported: this kernel cannot. Unavailable, ToolFailed, TimedOut.
        """
        ...


class Terminal(Protocol):
    """A program inside a container with a terminal of its own. Must be closed. One reader and one writer at a time."""

    async def read(self) -> bytes:
        """What was printed since, at least a byte; empty when the program has let go of its terminal."""
        ...

    async def write(self, data: bytes) -> None:
        """Type it. TimedOut when the program does not take it; fine when it has ended."""

    def resize(self, rows: int, columns: int) -> None: ...

    async def wait(self) -> int:
        """Its exit code; 128 + n for signal n."""
        ...

    async def close(self) -> None:
        """Killed inside, if it still runs."""


@runtime_checkable
class TerminalEngine(Protocol):
    """What an engine may be able to do beyond `Engine`; one that lacks it cannot (NotSupported)."""

    async def open_terminal(
        self, container: str, argv: Sequence[str], rows: int, columns: int, term: str = "xterm"
    ) -> Terminal:
        """Run `argv` inside the running container on a terminal of that size; `term` is its kind (TERM)."""
        ...


class Engine(Protocol):
    """Every method may raise ToolFailed, TimedOut or Unavailable; NotFound for an id that does not exist."""

    @property
    def name(self) -> str: ...

    async def prepare(self) -> None:
        """Once at start: set up what all containers share and find those that already run. Never touches them."""

    async def create(self, spec: ContainerSpec) -> None:
        """Everything but the main process's first instruction. Leaves nothing behind when it fails."""

    async def start(self, container: str) -> None: ...

    async def stop(self, container: str, grace_s: float) -> None:
        """Its stop signal, then SIGKILL after `grace_s`. Returns when it has exited; fine if it already had."""

    async def kill(self, container: str, signal: str = "SIGKILL") -> None: ...

    async def remove(self, container: str) -> None:
        """Whatever is left of it, also when it still runs; fine if it is gone already."""

    async def list(self) -> Sequence[ContainerStatus]:
        """All containers of this engine instance, in no order."""

    async def exec(self, container: str, argv: Sequence[str], timeout_s: float) -> ExecResult:
        """Run `argv` inside the running container to its end; TimedOut kills it."""

    async def stats(self, container: str) -> ContainerStats:
        """What it uses now; all zero when it does not run."""

    def logs(self, container: str, *, tail: int, follow: bool) -> AsyncIterator[LogLine]:
        """The last `tail` lines, then, with `follow`, new ones until the container is removed."""
        ...

    def exits(self) -> AsyncIterator[ContainerExit]:
        """News of containers that end from now on. One consumer; `list()` has the details."""
        ...

    async def close(self) -> None:
        """Let go: containers keep running."""

    async def teardown(self) -> None:
        """Remove all containers and everything that `prepare` made: no mount, cgroup or process of ours is left."""
