"""What lxc is told: ContainerSpec + image configuration -> lxc.container.conf(5). Pure.

The defaults are those of the OCI engine: ten capabilities, no new privileges, masked /proc and /sys, seccomp, no
network. A *system container* is one whose command is an init (as podman decides it): it gets a console; everything else
it must ask for in the manifest like any other.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.engines.base import DEFAULT_PIDS, OOM_SCORE, ContainerSpec, Mount
from gateway.engines.devices import DeviceNode
from gateway.engines.oci.bundle import (
    CPU_PERIOD_US,
    READONLY_PATHS,
    environment,
)
from gateway.engines.process import capabilities_of
from gateway.engines.users import User
from gateway.errors import InvalidInput
from gateway.model.image import ImageConfig

INITS: Final = (
    "/init", "/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init", "/bin/systemd", "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd",
)  # fmt: skip
STANDARD_DEVICES: Final = ("c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:1", "c 5:2", "c 136:*")
"""null, zero, full, random, urandom, tty, console, ptmx, pts."""
WAIT_HOOK: Final = 'test ! -e "$0/started" && echo "$LXC_PID" >"$0/init.pid" && read word <"$0/go" && test "$word" = go'
"""Runs when everything but the first instruction is done. A reboot from inside does not come past it."""
STOP_HOOK: Final = 'cat "$0" >"$1"'
"""Keeps what the kernel counted: lxc removes the cgroup before it ends itself."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A mount whose target was looked up in the root file system: relative to it and free of links."""

    target: str
    mount: Mount
    directory: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container is made, and what depends on the machine. Targets are as those of `Bound`."""

    directory: Path
    """Of the container: `rootfs`, `seccomp`, `go` and what lxc writes."""
    group: str
    monitor_group: str
    cgroup_v2: bool
    mounts: tuple[Bound, ...] = ()
    tmpfs: tuple[tuple[str, int], ...] = ()
    """Targets and sizes in bytes."""
    devices: tuple[tuple[str, DeviceNode], ...] = ()
    """Targets and what is given there."""
    masked: tuple[tuple[str, bool], ...] = ()
    """Paths of /proc and /sys that nobody is to read, and whether they are directories."""
    namespace: Path | None = None
    """A network namespace that was made for it."""


def is_system(arguments: tuple[str, ...]) -> bool:
    """Whether this is an init, which wants a console."""
    return arguments[0] in INITS


def config(spec: ContainerSpec, image: ImageConfig, user: User, system: bool, place: Place) -> str:
    """What `lxc-attach` needs to know, too. InvalidInput for a value that lxc's format cannot hold."""
    pairs = [
        ("lxc.rootfs.path", f"dir:{place.directory / 'rootfs'}"),
        ("lxc.uts.name", spec.service),
        ("lxc.apparmor.profile", "unconfined"),
        ("lxc.mount.auto", "proc:mixed sys:ro"),
        ("lxc.autodev", "1"),
        ("lxc.pty.max", "16"),
        ("lxc.tty.max", "0"),
        ("lxc.no_new_privs", "1"),
        ("lxc.seccomp.profile", str(place.directory / "seccomp")),
        ("lxc.cap.keep", _capabilities(spec)),
        ("lxc.init.uid", str(user.uid)),
        ("lxc.init.gid", str(user.gid)),
        ("lxc.init.cwd", spec.working_dir or image.working_dir or "/"),
        *_network(spec, place),
        *_limits(spec, place),
        *(("lxc.mount.entry", entry) for entry in _mounts(place)),
        *(("lxc.environment", f'"{entry}"') for entry in environment(spec, image, user)),
    ]
    if user.groups:
        pairs.append(("lxc.init.groups", ",".join(str(group) for group in user.groups)))
    if spec.read_only:
        pairs.append(("lxc.rootfs.options", "ro"))
    # A console of its own, whose output joins that of lxc-start: an init opens /dev/console.
    pairs.append(("lxc.console.logfile", "/proc/self/fd/1") if system else ("lxc.console.path", "none"))
    return "".join(_line(spec, key, value) for key, value in pairs)


def start_only(place: Place) -> str:
    """What only `lxc-start` is to read: the hooks that let the engine in."""
    directory = str(place.directory)
    counted = (
        f"/sys/fs/cgroup/{place.group}/memory.events"
        if place.cgroup_v2
        else f"/sys/fs/cgroup/memory/{place.group}/memory.oom_control"
    )
    return (
        f"lxc.hook.start-host = {shlex.join(('/bin/sh', '-c', WAIT_HOOK, directory))}\n"
        f"lxc.hook.stop = {shlex.join(('/bin/sh', '-c', STOP_HOOK, counted, f'{directory}/memory'))}\n"
    )


def launcher(container: str, containers: Path, arguments: tuple[str, ...]) -> str:
    """The script that conmon takes for an OCI runtime: `create --bundle DIRECTORY --pid-file FILE CONTAINER`.

    `lxc-start` becomes conmon's child when this shell ends; it must not hand on descriptors (-C).
    """
    # By options: lxc 6.0 does not heed the level that stands in the configuration.
    log = ("-o", str(containers / container / "lxc.log"), "-l", "INFO")
    command = ("lxc-start", "-F", "-C", "-q", *log, "-n", container, "-P", str(containers), "--", *arguments)
    return f'{shlex.join(command)} &\necho $! >"$5"\n'


def _line(spec: ContainerSpec, key: str, value: str) -> str:
    if "\n" in value or "\0" in value:
        raise InvalidInput(f"cannot run {spec.app}/{spec.service} on lxc: a line break in {value.partition('=')[0]}")
    return f"{key} = {value}\n"


def _capabilities(spec: ContainerSpec) -> str:
    names = (name.removeprefix("CAP_").lower() for name in capabilities_of(spec))
    return " ".join(names) or "none"


def _network(spec: ContainerSpec, place: Place) -> Iterator[tuple[str, str]]:
    if place.namespace is not None:
        yield "lxc.namespace.share.net", str(place.namespace)
    else:
        yield "lxc.net.0.type", "none" if spec.host_network else "empty"


def _limits(spec: ContainerSpec, place: Place) -> Iterator[tuple[str, str]]:
    prefix = "lxc.cgroup2" if place.cgroup_v2 else "lxc.cgroup"
    limits = spec.limits
    yield "lxc.cgroup.dir.container", place.group
    yield "lxc.cgroup.dir.monitor", f"{place.monitor_group}/{spec.id}"
    yield "lxc.cgroup.dir.monitor.pivot", place.monitor_group
    yield f"{prefix}.devices.deny", "a"
    for device in STANDARD_DEVICES:
        yield f"{prefix}.devices.allow", f"{device} rw"
    for _, node in place.devices:
        yield f"{prefix}.devices.allow", f"{node.kind} {node.major}:{node.minor} rw"
    yield f"{prefix}.pids.max", str(limits.pids or DEFAULT_PIDS)
    yield "lxc.proc.oom_score_adj", str(OOM_SCORE)
    if limits.memory_bytes is not None:
        yield f"{prefix}.memory.{'max' if place.cgroup_v2 else 'limit_in_bytes'}", str(limits.memory_bytes)
        if place.cgroup_v2:
            yield f"{prefix}.memory.oom.group", "1"
    if limits.cpus is not None:
        quota = int(limits.cpus * CPU_PERIOD_US)
        if place.cgroup_v2:
            yield f"{prefix}.cpu.max", f"{quota} {CPU_PERIOD_US}"
        else:
            yield f"{prefix}.cpu.cfs_period_us", str(CPU_PERIOD_US)
            yield f"{prefix}.cpu.cfs_quota_us", str(quota)


def _mounts(place: Place) -> Iterator[str]:
    for path, directory in place.masked:
        yield (
            _entry("tmpfs", path, "tmpfs", "ro", "size=0", "optional")
            if directory
            else _entry("/dev/null", path, "none", "bind", "optional")
        )
    for path in READONLY_PATHS:
        yield _entry(path[1:], path, "none", "bind", "ro", "relative", "optional")
    yield _entry("shm", "/dev/shm", "tmpfs", "nosuid", "nodev", "noexec", "mode=1777", "size=16m", "create=dir")
    yield _entry("mqueue", "/dev/mqueue", "mqueue", "nosuid", "nodev", "noexec", "create=dir", "optional")
    for target, size in place.tmpfs:
        yield _entry("tmpfs", target, "tmpfs", "nosuid", "nodev", "mode=1777", f"size={size}", *_made(target, place))
    for bound in place.mounts:
        access = ("ro",) if bound.mount.read_only else ()
        made = _made(bound.target, place, "dir" if bound.directory else "file")
        yield _entry(str(bound.mount.source), bound.target, "none", "rbind", "nosuid", "nodev", *access, *made)
    for target, node in place.devices:
        yield _entry(node.path, target, "none", "bind", *_made(target, place, "file"))


def _made(target: str, place: Place, kind: str = "dir") -> tuple[str, ...]:
    """Below a tmpfs of ours nothing is there before lxc mounts it: lxc makes it. Elsewhere it might follow links."""
    ours = ("dev", *(other for other, _ in place.tmpfs))
    below = any(posixpath.commonpath((target, other)) == other and target != other for other in ours)
    return (f"create={kind}",) if below else ()


def _entry(source: str, target: str, kind: str, *options: str) -> str:
    """One line of fstab(5)."""
    fields = (source, target.lstrip("/"), kind, ",".join(options))
    return " ".join((*(_escaped(field) for field in fields), "0", "0"))


def _escaped(field: str) -> str:
    """As getmntent(3) reads it."""
    return "".join(f"\\{ord(char):03o}" if char in " \t\n\\#" else char for char in field)
