"""Daemons that answer Docker's API, each with data, sockets and helpers of its own below one directory.

`DockerDaemon` is Debian's docker.io, `PodmanService` its podman. What their containers leave is cleared away.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from gateway.errors import NotSupported
from gateway.host import mounts
from tests.site.processes import Daemon, accepts_unix, wait_until

_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
_PODMAN_CONFIGURATION: Final = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
exit_command_delay = 1
"""
"""runc, since crun refuses hybrid cgroups; limits that a process without CAP_SYS_RESOURCE may set; monitors that do not
wait five minutes after each program that was run in a container (docs/engines.md).
"""


class ApiDaemon:
    """A context: inside it a daemon answers at `socket`."""

    def __init__(self, program: str, argv: list[str], environment: dict[str, str], directory: Path) -> None:
        if shutil.which(program, path=_PATH) is None:
            raise NotSupported(f"cannot start {program}: it is not installed")
        self.directory = directory
        self.socket = directory / "d.sock"
        self._daemon = Daemon(argv, directory / "log", {"PATH": _PATH, **environment})

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        self._daemon.start(lambda: accepts_unix(self.socket), timeout_s=60)

    def stop(self) -> None:
        """SIGTERM, as an upgrade of its package does."""
        self._daemon.stop(grace_s=30)

    def kill(self) -> None:
        """SIGKILL, to the daemon alone."""
        self._daemon.kill()

    def tail(self) -> str:
        return self._daemon.tail()

    def __enter__(self) -> ApiDaemon:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        _end_processes(self.directory)
        for mounted in sorted(mounts.mounted_below(self.directory), reverse=True):
            mounts.unmount(mounted)
        shutil.rmtree(self.directory, ignore_errors=True)


class DockerDaemon(ApiDaemon):
    """dockerd with its own containerd. It has no network but `none` and `host`, or, with `network`, a network namespace
    of its own that it may use as it likes.
    """

    def __init__(self, *, live_restore: bool = False, network: bool = False) -> None:
        directory = Path(tempfile.mkdtemp(prefix="fg-docker-", dir="/var/tmp"))
        (directory / "none.json").write_text("{}")
        argv = [
            "/usr/sbin/dockerd", "--data-root", str(directory / "data"), "--exec-root", str(directory / "x"),
            "--host", f"unix://{directory / 'd.sock'}", "--pidfile", str(directory / "pid"), "--ip6tables=false",
            "--bridge=none", "--log-level", "warn", "--config-file", str(directory / "none.json"),
        ]  # fmt: skip
        if live_restore:
            argv += ["--live-restore"]
        if network:
            argv = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "dockerd", *argv]
        else:
            argv += ["--iptables=false", "--ip-forward=false"]
        super().__init__("dockerd", argv, {}, directory)

    def start(self) -> None:
        for left in (
            "pid",
            "x/containerd/containerd.pid",
        ):  # by a killed one; a zombie of that pid would count as alive
            (self.directory / left).unlink(missing_ok=True)
        super().start()


class PodmanService(ApiDaemon):
    """`podman system service`."""

    def __init__(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="fg-podman-", dir="/var/tmp"))
        (directory / "containers.conf").write_text(_PODMAN_CONFIGURATION)
        argv = [
            "/usr/bin/podman", "--root", str(directory / "root"), "--runroot", str(directory / "run"),
            "--tmpdir", str(directory / "tmp"), "system", "service", "--time=0", f"unix://{directory / 'd.sock'}",
        ]  # fmt: skip
        argv = ["sh", "-c", 'cd "$0" && exec "$@"', str(directory), *argv]  # conmon leaves a file `oom` where it stands
        super().__init__("podman", argv, {"CONTAINERS_CONF": str(directory / "containers.conf")}, directory)


def _end_processes(directory: Path) -> None:
    """Shims and monitors that outlived their daemon: whoever names the directory in its command line."""

    def found() -> list[int]:
        pids = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and os.fsencode(directory) in (entry / "cmdline").read_bytes():
                    pids.append(int(entry.name))
        return [pid for pid in pids if pid != os.getpid()]

    for pid in found():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(Exception):
        wait_until(lambda: not found(), f"the helpers of {directory} gone", 10)
    time.sleep(0.05)
