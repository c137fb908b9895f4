"""What the daemon is told: ContainerSpec + image configuration -> the body of `POST /containers/create`. Pure.

The same strictness as of the default engine: ten capabilities, no new privileges, no network. The daemon's own seccomp
profile holds. It restarts nothing, probes nothing and keeps a bounded log. Source: Docker Engine API 1.41.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from gateway.engines.base import DEFAULT_PIDS, OOM_SCORE, ContainerSpec
from gateway.engines.docker.inspection import APP, BOOT, DIGEST, GENERATION, INSTANCE, SERVICE
from gateway.engines.process import capabilities_of, process_arguments
from gateway.errors import NotSupported
from gateway.model.image import ImageConfig

UNDERSTOOD: Final = frozenset({
    "app", "service", "generation", "digest", "image", "command", "entrypoint", "environment", "user", "working_dir",
    "read_only", "stop_signal", "limits", "mounts", "tmpfs", "devices", "cap_add", "cap_drop", "host_network", "engine",
    "network", "siblings",
})  # fmt: skip
"""Of ContainerSpec. A field that came later and says something is refused by its name, not passed over."""
SHARED_MEMORY_BYTES: Final = 16 << 20
LOG_FILES: Final = 2
"""The older half goes when the newer one is full: the log is never cut to nothing."""


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image that the daemon has."""

    name: str
    has_probe: bool = False
    """The image brings a health check, which the daemon would run."""


def refuse_unsupported(spec: ContainerSpec, engine: str) -> None:
    """NotSupported names what this engine cannot do for the service."""
    for field in fields(spec):
        if field.name not in UNDERSTOOD and getattr(spec, field.name) != field.default:
            raise NotSupported(f"cannot create {spec.id}: engine {engine} does not support `{field.name}`")
    if spec.limits.root_bytes is not None:
        raise NotSupported(
            f"cannot create {spec.id}: engine {engine} does not support `storage_opt`",
            hint="read_only with a tmpfs bounds what it writes",
        )


def request(
    spec: ContainerSpec,
    image: LoadedImage,
    config: ImageConfig,
    network: Mapping[str, Any],
    group: str,
    boot: str,
    log_bytes: int,
) -> dict[str, Any]:
    """`image` is what the daemon has of it, `network` what `networks.settings` says; `group` and `boot` tell our
    containers from others' and from older ones.
    """
    body: dict[str, Any] = {
        "Image": image.name,
        "Hostname": spec.service,
        "Entrypoint": list(process_arguments(spec, config)),
        "Cmd": [],
        "Env": [f"{key}={value}" for key, value in spec.environment.items()],
        "StopSignal": spec.stop_signal,
        "Labels": {
            APP: spec.app, SERVICE: spec.service, GENERATION: str(spec.generation), DIGEST: spec.digest,
            INSTANCE: group, BOOT: boot,
        },
        **network,
        "HostConfig": {**network["HostConfig"], **_host_config(spec, log_bytes)},
    }  # fmt: skip
    if image.has_probe:
        body["Healthcheck"] = {"Test": ["NONE"]}  # the manifest's is ours to run
    if spec.user:
        body["User"] = spec.user
    if spec.working_dir:
        body["WorkingDir"] = spec.working_dir
    return body


def _host_config(spec: ContainerSpec, log_bytes: int) -> dict[str, Any]:
    limits = spec.limits
    config: dict[str, Any] = {
        "RestartPolicy": {"Name": "no"},
        "CapDrop": ["ALL"],
        "CapAdd": [name.removeprefix("CAP_") for name in capabilities_of(spec)],
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": spec.read_only,
        "IpcMode": "private",
        "ShmSize": SHARED_MEMORY_BYTES,
        "PidsLimit": limits.pids or DEFAULT_PIDS,
        "OomScoreAdj": OOM_SCORE,
        "Mounts": [_bind(str(mount.source), mount.target, mount.read_only) for mount in spec.mounts],
        "Tmpfs": {entry.target: f"rw,nosuid,nodev,mode=1777,size={entry.size_bytes}" for entry in spec.tmpfs},
        "Devices": [{"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rw"} for path in spec.devices],
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": str(max(4096, log_bytes // LOG_FILES)), "max-file": str(LOG_FILES)},
        },
    }
    if limits.memory_bytes is not None:
        config["Memory"] = config["MemorySwap"] = limits.memory_bytes  # no swap beside it
    if limits.cpus is not None:
        config["NanoCpus"] = int(limits.cpus * 1_000_000_000)
    return config


def _bind(source: str, target: str, read_only: bool) -> dict[str, Any]:
    return {
        "Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only,
        "BindOptions": {"Propagation": "rprivate"},
    }  # fmt: skip
