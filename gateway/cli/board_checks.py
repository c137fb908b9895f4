"""Can this board run us? One function per question; each says what it saw and, if that is not enough, the cure.

Looks from outside and changes nothing but a file of 4 KiB that it removes again. Used by `fieldgate doctor`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from gateway.host import cgroup
from gateway.host.gpiochip import SIMULATED
from gateway.host.nftgeneration import generation
from gateway.model.enrolment import Enrolment
from gateway.model.profile import NetworkRange, Profile
from gateway.network.layout import Layout
from gateway.network.nftables import is_installed
from gateway.network.present import clash, read_routes
from gateway.paths import Paths

MIN_KERNEL: Final = (5, 4)
MIN_MEMORY_BYTES: Final = 192 << 20
"""What the kernel leaves of a 256 MB board."""
NEVER_BEFORE: Final = 1_700_000_000
"""November 2023: a clock that says less has never been set."""
SLOW_SYNC_S: Final = 0.5
CONNECT_TIMEOUT_S: Final = 3.0
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """The answer to one question."""

    name: str
    verdict: Verdict
    seen: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Board:
    """What is to be looked at; documents that could not be read are None."""

    paths: Paths
    profile: Profile | None
    enrolment: Enrolment | None


def _judge(name: str, good: bool, seen: str, cure: str, otherwise: Verdict = Verdict.FAILED) -> Check:
    return Check(name, Verdict.OK, seen) if good else Check(name, otherwise, seen, cure)


def user(_: Board) -> Check:
    return _judge(
        "user", os.geteuid() == 0, f"uid {os.geteuid()}", "run it as root: containers need mounts and cgroups"
    )


def kernel(_: Board) -> Check:
    release = os.uname().release
    version = tuple(int(part) for part in release.replace("-", ".").split(".")[:2] if part.isdigit())
    wanted = ".".join(map(str, MIN_KERNEL))
    return _judge("kernel", version >= MIN_KERNEL, release, f"a kernel {wanted} or newer (pidfd, cgroup v2)")


def architecture(board: Board) -> Check:
    machine = os.uname().machine
    ours = ARCHITECTURES.get(machine, machine)
    if board.profile is None:
        return Check("architecture", Verdict.OK, ours)
    seen = f"{ours}, profile {board.profile.architecture}"
    return _judge("architecture", ours == board.profile.architecture, seen, "the firmware profile of this board")


def overlay(_: Board) -> Check:
    there = "overlay" in Path("/proc/filesystems").read_text().split()
    there = there or any(Path("/lib/modules", os.uname().release).rglob("overlay.ko*"))
    return _judge("overlayfs", there, "there" if there else "missing", "a kernel with CONFIG_OVERLAY_FS")


def namespaces(_: Board) -> Check:
    missing = [kind for kind in ("mnt", "pid", "net", "ipc", "uts") if not Path("/proc/self/ns", kind).exists()]
    seen = f"missing: {', '.join(missing)}" if missing else "all there"
    return _judge("namespaces", not missing, seen, "a kernel with CONFIG_NAMESPACES and its five kinds")


def seccomp(_: Board) -> Check:
    there = Path("/proc/sys/kernel/seccomp").is_dir()
    cure = "a kernel with CONFIG_SECCOMP_FILTER: without it APPs reach every system call"
    return _judge("seccomp", there, "there" if there else "missing", cure)


def control_groups(_: Board) -> Check:
    mode = cgroup.mode()
    root = cgroup.ROOT
    if mode is cgroup.Mode.V2:
        have = set((root / "cgroup.controllers").read_text().split())
    else:
        have = {name for entry in root.iterdir() if entry.is_dir() for name in entry.name.split(",")}
    missing = sorted({"cpu", "memory", "pids"} - have)
    seen = f"{mode}" + (f", without {', '.join(missing)}" if missing else "")
    return _judge("cgroups", not missing, seen, "boot with cgroup_enable=memory cgroup_memory=1")


def _engines(board: Board) -> tuple[str, ...]:
    return (board.profile or Profile("", "")).engines


def runtime(board: Board) -> Check:
    if "oci" not in _engines(board):
        return Check("OCI runtime", Verdict.OK, "not needed by the profile's engines")
    wanted = board.profile.runtimes if board.profile else Profile("", "").runtimes
    found = [name for name in wanted if _which(name)]
    seen = _version(found[0]) if found else f"none of {', '.join(wanted)}"
    return _judge("OCI runtime", bool(found), seen, "apt install crun")


def monitor(board: Board) -> Check:
    if not {"oci", "lxc"} & set(_engines(board)):
        return Check("conmon", Verdict.OK, "not needed by the profile's engines")
    there = _which("conmon")
    return _judge("conmon", there is not None, _version("conmon") if there else "missing", "apt install conmon")


def lxc(board: Board) -> Check:
    if "lxc" not in _engines(board):
        return Check("lxc", Verdict.OK, "not among the profile's engines")
    there = _which("lxc-start") is not None and _which("lxc-attach") is not None
    return _judge("lxc", there, _version("lxc-start") if there else "missing", "apt install lxc")


def docker(board: Board) -> Check:
    if board.profile is None or "docker" not in board.profile.engines:
        return Check("Docker", Verdict.OK, "not among the profile's engines")
    path = board.profile.docker_socket
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONNECT_TIMEOUT_S)
            connection.connect(path)
            connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
            status = connection.recv(4096).split(b"\r\n")[0].decode(errors="replace")
    except OSError as failure:
        status = failure.strerror or str(failure)
    cure = "start the daemon, or correct `docker_socket` in the profile"
    return _judge("Docker", status.startswith("HTTP/1.1 200"), f"{path}: {status}", cure)


def networks(board: Board) -> Check:
    """Of APPs that have one: ports, egress, other services. An agent that runs has its own routes in its range."""
    ranges = board.profile.network if board.profile else NetworkRange()
    if generation() is None:
        return Check(
            "networks", Verdict.WARNING, "no nftables in this kernel", "a kernel with nf_tables, nft_nat, veth"
        )
    if not is_installed():
        return Check("networks", Verdict.WARNING, "neither libnftables nor nft", "apt install libnftables1")
    taken = clash(Layout(ranges), read_routes())
    return _judge("networks", not taken, taken or ranges.ipv4, "another [network] in the profile", Verdict.WARNING)


def memory(board: Board) -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    reserved = board.profile.reserved_memory_bytes if board.profile else 0
    seen = f"{total >> 20} MB, {reserved >> 20} MB of it kept for the system"
    return _judge("memory", total - reserved >= MIN_MEMORY_BYTES // 2, seen, "a board with at least 256 MB")


def disk(board: Board) -> Check:
    where = _existing(board.paths.state)
    free = shutil.disk_usage(where).free
    reserved = board.profile.reserved_disk_bytes if board.profile else 0
    seen = f"{free >> 20} MB free below {where}, {reserved >> 20} MB of it kept"
    return _judge("disk", free > 2 * reserved, seen, "make room, or put the state directory on a larger disk")


def flash(board: Board) -> Check:
    """How long a write takes to be durable: every acknowledged sample waits for it."""
    probe = _existing(board.paths.state) / f".doctor-{os.getpid()}"
    try:
        with probe.open("wb") as file:
            file.write(bytes(4096))
            file.flush()
            began = time.monotonic()
            os.fsync(file.fileno())
            took = time.monotonic() - began
    except OSError as failure:
        return Check("durable writes", Verdict.FAILED, str(failure), "a state directory that root can write")
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    cure = "a better card, or a state directory on eMMC: durable samples wait this long"
    return _judge("durable writes", took < SLOW_SYNC_S, f"fsync in {took * 1000:.1f} ms", cure, Verdict.WARNING)


def run_directory(board: Board) -> Check:
    where = _existing(board.paths.run)
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    best = max((m for m in mounts if where.is_relative_to(m[1])), key=lambda m: len(m[1]), default=["", "", "unknown"])
    good = best[2] in ("tmpfs", "ramfs")
    cure = f"mount a tmpfs at {board.paths.run}: what lies there must not survive a reboot"
    return _judge("run directory", good, f"{where} on {best[2]}", cure, Verdict.WARNING)


def clock(_: Board) -> Check:
    now = time.time()
    seen = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    cure = "let systemd-timesyncd or chrony set it: TLS fails and samples carry wrong times"
    return _judge("clock", now > NEVER_BEFORE, seen, cure)


def serial_ports(board: Board) -> Check:
    ports = board.profile.serial if board.profile else ()
    away = [f"{port.name} ({port.device})" for port in ports if not board.paths.below_run(port.device).exists()]
    seen = f"away: {', '.join(away)}" if away else ", ".join(port.name for port in ports) or "none in the profile"
    return _judge("serial ports", not away, seen, "plug the adapter in, or correct `device` in the profile")


def gpio_chips(board: Board) -> Check:
    chips = sorted({line.chip for line in board.profile.gpio}) if board.profile else []
    away = [chip for chip in chips if not board.paths.below_run(chip.removeprefix(SIMULATED)).exists()]
    seen = f"away: {', '.join(away)}" if away else ", ".join(chips) or "none in the profile"
    return _judge("gpio chips", not away, seen, "a kernel with CONFIG_GPIO_CDEV, or correct `chip` in the profile")


def identity(board: Board) -> Check:
    names = ("enrolment.json", "gateway.key", "gateway.crt", "ca.crt")
    missing = [name for name in names if not (board.paths.identity / name).exists()]
    who = board.enrolment.gateway if board.enrolment else "not readable"
    seen = f"missing: {', '.join(missing)}" if missing else who
    cure = f"fieldgate-cloud enroll GATEWAY, then copy what it wrote to {board.paths.identity}"
    return _judge("identity", not missing and board.enrolment is not None, seen, cure)


def broker(board: Board) -> Check:
    if board.enrolment is None:
        return Check("broker", Verdict.WARNING, "unknown without an enrolment", "see identity")
    address = (board.enrolment.broker_host, board.enrolment.broker_port)
    began = time.monotonic()
    try:
        with socket.create_connection(address, timeout=CONNECT_TIMEOUT_S):
            seen = f"{address[0]}:{address[1]} reached in {(time.monotonic() - began) * 1000:.0f} ms"
            return Check("broker", Verdict.OK, seen)
    except OSError as failure:
        seen = f"{address[0]}:{address[1]}: {failure.strerror or failure}"
        return Check("broker", Verdict.WARNING, seen, "network and firewall; the gateway works without it meanwhile")


CHECKS: Final[tuple[Callable[[Board], Check], ...]] = (
    user, kernel, architecture, overlay, namespaces, seccomp, control_groups, runtime, monitor, lxc, docker, networks,
    memory, disk, flash, run_directory, clock, serial_ports, gpio_chips, identity, broker,
)  # fmt: skip


def _which(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin")


def _version(program: str) -> str:
    path = _which(program)
    assert path is not None
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=False)
        return next(iter(done.stdout.splitlines()), program)
    return program


def _existing(directory: Path) -> Path:
    """The directory, or the nearest one above it that is there."""
    return next(path for path in (directory, *directory.parents) if path.is_dir())
