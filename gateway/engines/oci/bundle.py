"""What the runtime is told: ContainerSpec + image configuration -> config.json (OCI runtime-spec 1.0.2). Pure.

Defaults are stricter than Docker's: ten capabilities, no new privileges, masked /proc and /sys, seccomp, no network.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from gateway.engines.base import DEFAULT_PIDS, OOM_SCORE, ContainerSpec
from gateway.engines.devices import DeviceNode
from gateway.engines.oci.joining import Joined
from gateway.engines.process import capabilities_of, process_arguments
from gateway.engines.users import User
from gateway.model.image import ImageConfig

MASKED_PATHS: Final = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
    "/proc/timer_list", "/proc/timer_stats", "/sys/firmware", "/sys/dev/block",
)  # fmt: skip
READONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
DEFAULT_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CPU_PERIOD_US: Final = 100_000


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What depends on the machine and not on the container."""

    cgroup_parent: str
    cgroup_v2: bool
    devices: tuple[DeviceNode, ...] = ()
    joined: Joined | None = None
    """The container that this one lives in."""
    network: str = ""
    """Path of the network namespace to enter; empty: a new one."""


def in_package(arguments: tuple[str, ...], package: str) -> tuple[str, ...]:
    """The arguments of a service that lives in another container: a program `./x` is one of its package."""
    program, *rest = arguments
    return (posixpath.join(package, program[2:]) if program.startswith("./") else program, *rest)


def config(
    spec: ContainerSpec,
    image: ImageConfig,
    user: User,
    seccomp: dict[str, Any] | None,
    host: HostFacts,
    annotations: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """The complete config.json; the root file system is `rootfs` beside it. `annotations` are for the runtime."""
    capabilities = list(capabilities_of(spec))
    joined = host.joined
    arguments = process_arguments(spec, image)
    if joined is not None:
        arguments = in_package(arguments, joined.package)
    linux: dict[str, Any] = {
        "namespaces": _namespaces(spec, host),
        "resources": _resources(spec, host),
        "cgroupsPath": f"/{host.cgroup_parent}/{spec.id}",
        "maskedPaths": list(MASKED_PATHS),
        "readonlyPaths": list(READONLY_PATHS),
        "devices": [_device(node) for node in host.devices],
    }
    if seccomp is not None:
        linux["seccomp"] = seccomp
    # The host's name is shared, like the namespace that it belongs to.
    names = {} if joined is not None else {"hostname": spec.service}
    return {
        "ociVersion": "1.0.2",
        **names,
        "process": {
            "terminal": False,
            "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
            "args": list(arguments),
            "env": environment(spec, image, user, joined),
            "cwd": spec.working_dir or image.working_dir or (joined.package if joined is not None else "/"),
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": True,
            "oomScoreAdj": OOM_SCORE,
        },
        "root": {"path": "rootfs", "readonly": spec.read_only or (joined is not None and joined.read_only)},
        "mounts": [*_system_mounts(spec, joined), *_own_mounts(spec)],
        "linux": linux,
        "annotations": dict(annotations),
    }


def environment(spec: ContainerSpec, image: ImageConfig, user: User, joined: Joined | None = None) -> list[str]:
    """`KEY=value`: what every process gets, then the image's, then the manifest's."""
    merged = {"HOME": user.home, "HOSTNAME": spec.service}
    path = DEFAULT_PATH
    if joined is not None:
        merged = {"HOME": user.home, "PACKAGE": joined.package}
        path = DEFAULT_PATH.replace("=", f"={joined.package}/bin:", 1)
    for entry in (path, *image.environment):
        key, _, value = entry.partition("=")
        merged[key] = value
    merged.update(spec.environment)
    return [f"{key}={value}" for key, value in merged.items()]


def _namespaces(spec: ContainerSpec, host: HostFacts) -> list[dict[str, str]]:
    kinds = ["pid", "ipc", "uts", "mount"]
    if not spec.host_network:
        kinds.append("network")
    if host.cgroup_v2:
        kinds.append("cgroup")
    joined = dict(host.joined.namespaces) if host.joined is not None else {}
    if host.network:
        joined["network"] = host.network
    shared = [{"type": kind, "path": path} for kind, path in joined.items()]
    return [*shared, *({"type": kind} for kind in kinds if kind not in joined)]


def _resources(spec: ContainerSpec, host: HostFacts) -> dict[str, Any]:
    limits = spec.limits
    resources: dict[str, Any] = {
        "devices": [
            {"allow": False, "access": "rwm"},
            *(
                {"allow": True, "type": n.kind, "major": n.major, "minor": n.minor, "access": "rw"}
                for n in host.devices
            ),
        ]
    }
    if limits.memory_bytes is not None:
        resources["memory"] = {"limit": limits.memory_bytes}
        if host.cgroup_v2:
            resources["unified"] = {"memory.oom.group": "1"}
    resources["pids"] = {"limit": limits.pids or DEFAULT_PIDS}
    if limits.cpus is not None:
        resources["cpu"] = {"quota": int(limits.cpus * CPU_PERIOD_US), "period": CPU_PERIOD_US}
    return resources


def _device(node: DeviceNode) -> dict[str, Any]:
    return {
        "path": node.path, "type": node.kind, "major": node.major, "minor": node.minor,
        "fileMode": node.mode, "uid": node.uid, "gid": node.gid,
    }  # fmt: skip


def _system_mounts(spec: ContainerSpec, joined: Joined | None) -> list[dict[str, Any]]:
    sysfs = (
        _mount("/sys", "bind", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro")
        if spec.host_network
        else _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro")
    )
    shared = {mount.target for mount in joined.mounts} if joined is not None else ()
    system = [
        _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=64k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
        _mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=16m"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        sysfs,
    ]
    return [mount for mount in system if mount["destination"] not in shared]


def _own_mounts(spec: ContainerSpec) -> Sequence[dict[str, Any]]:
    mounts = [
        _mount(tmpfs.target, "tmpfs", "tmpfs", "nosuid", "nodev", "mode=1777", f"size={tmpfs.size_bytes}")
        for tmpfs in spec.tmpfs
    ]
    mounts += [
        _mount(bind.target, "bind", str(bind.source), "rbind", "nosuid", "nodev", "ro" if bind.read_only else "rw")
        for bind in spec.mounts
    ]
    return mounts


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}
