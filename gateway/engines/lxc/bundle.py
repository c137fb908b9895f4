"""Writes everything that lxc needs for one container into its directory, and mounts its root file system.

config      for lxc-start           attach.conf  the same without hooks, for lxc-attach
launch      what conmon runs        go           where the hook waits for the word to start
seccomp     the policy              config.json  how the main process is run, for exec
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway.engines.base import ContainerSpec, Mount
from gateway.engines.devices import device_node
from gateway.engines.imagefiles import user_of
from gateway.engines.lxc import config, mountpoints, seccomp
from gateway.engines.oci import seccomp as profile
from gateway.engines.oci.bundle import MASKED_PATHS
from gateway.engines.process import capabilities_of, process_arguments
from gateway.engines.rootfs import mount_root
from gateway.model.image import Rootfs
from gateway.model.network import Attachment

DIRECTORIES: Final = ("/proc", "/sys", "/dev")
"""What lxc mounts by itself; it does not make them in an image that lacks them."""


def write(
    spec: ContainerSpec, image: Rootfs, directory: Path, groups: tuple[str, str], v2: bool, network: Attachment | None
) -> None:
    """Blocks. InvalidInput, Unavailable: something in `spec` cannot be had. OSError."""
    root = directory / "rootfs"
    mount_root(directory, image.layers, spec.limits.root_bytes)
    for name in DIRECTORIES:
        mountpoints.make(root, name, directory=True)
    directory_inside = spec.working_dir or image.config.working_dir or "/"
    mountpoints.make(root, directory_inside, directory=True)
    user = user_of(spec.user or image.config.user, image.layers)
    arguments = process_arguments(spec, image.config)
    spec = replace(spec, mounts=(*_files(spec, directory, network), *spec.mounts))
    place = _place(spec, directory, groups, v2, network)
    text = config.config(spec, image.config, user, config.is_system(arguments), place)
    (directory / "attach.conf").write_text(text)
    (directory / "config").write_text(text + config.start_only(place))
    (directory / "launch").write_text(config.launcher(spec.id, directory.parent, arguments))
    (directory / "seccomp").write_text(_policy(spec))
    os.mkfifo(directory / "go", 0o600)
    process = {
        "user": {"uid": user.uid, "gid": user.gid},
        "cwd": directory_inside,
        "shell": mountpoints.find(root, "/bin/sh") is not None,
    }
    (directory / "config.json").write_text(json.dumps({"process": process}))


def _files(spec: ContainerSpec, directory: Path, network: Attachment | None) -> list[Mount]:
    """Names of hosts, as the network wants them."""
    if network is not None:
        hosts, resolver = network.hosts, network.resolv_conf
        return [Mount(hosts, "/etc/hosts", read_only=True), Mount(resolver, "/etc/resolv.conf", read_only=True)]
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {spec.service}\n::1 localhost {spec.service}\n")
    files = [Mount(hosts, "/etc/hosts", read_only=True)]
    if spec.host_network:
        files.append(Mount(Path("/etc/resolv.conf").resolve(), "/etc/resolv.conf", read_only=True))
    return files


def _place(
    spec: ContainerSpec, directory: Path, groups: tuple[str, str], v2: bool, network: Attachment | None
) -> config.Place:
    root = directory / "rootfs"

    def bound(mount: Mount) -> config.Bound:
        is_directory = mount.source.is_dir()
        return config.Bound(mountpoints.make(root, mount.target, directory=is_directory), mount, is_directory)

    def device(path: str) -> str:
        """In lxc's own /dev nothing is there yet, nor does a link of the image lead there."""
        return path[1:] if path.startswith("/dev/") else mountpoints.make(root, path, directory=False)

    return config.Place(
        directory=directory,
        group=f"{groups[0]}/{spec.id}",
        monitor_group=groups[1],
        cgroup_v2=v2,
        mounts=tuple(bound(mount) for mount in spec.mounts),
        tmpfs=tuple((mountpoints.make(root, t.target, directory=True), t.size_bytes) for t in spec.tmpfs),
        devices=tuple((device(path), device_node(path)) for path in spec.devices),
        masked=tuple((path, Path(path).is_dir()) for path in MASKED_PATHS),
        namespace=network.namespace if network is not None else None,
    )


def _policy(spec: ContainerSpec) -> str:
    system = os.uname()
    major, minor = system.release.split(".")[:2]
    kernel = (int(major), int(minor.split("-")[0]))
    return seccomp.policy(profile.resolve(profile.load_default(), capabilities_of(spec), system.machine, kernel))
