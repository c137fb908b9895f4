"""An arm64 gateway without hardware: QEMU's `virt` board (TCG, no KVM) with Debian's kernel and this tree on it.

It runs one Python module of this tree, 12 to 15 times slower than this machine would, and writes its results into
`/shared`, a directory of the host. Its GPIO lines can be driven and seen while it runs (`arm64_wires.py`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from gateway.errors import TimedOut, Unavailable
from tests.site.arm64_files import GuestFiles, guest_files
from tests.site.arm64_wires import CHANNEL, Wires

ROOT: Final = Path(__file__).resolve().parents[2]
MEMORY: Final = "512"

_INIT: Final = """\
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/packages:/tree/packaging
mount() {{ /bin/busybox mount "$@"; }}
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t tmpfs run /run; mount -t tmpfs tmp /tmp
mount -t cgroup2 none /sys/fs/cgroup
/bin/busybox ip link set lo up
cd /tree
python3 {arguments}
echo "module ended status=$?"
sync
echo o >/proc/sysrq-trigger
/bin/busybox sleep 10
"""


def run_inside(arguments: str, timeout_s: float) -> bytes:
    """Boot, run `python3 ARGUMENTS` (shell words), power off; what that wrote into `/shared/result`.

    TimedOut when the board does not power off in time; Unavailable when it does so without a result. Both with the end
    of its console. BuildError when there is nothing to boot from.
    """
    files = guest_files()
    directory = Path(tempfile.mkdtemp(prefix="fg-arm64-"))
    try:
        shared, console = directory / "shared", directory / "console.log"
        shared.mkdir()
        (shared / "init").write_text(_INIT.format(arguments=arguments))
        _boot(files, directory, shared, console, timeout_s)
        try:
            return (shared / "result").read_bytes()
        except OSError:
            raise Unavailable(f"cannot run {arguments} on arm64: no result\n{_tail(console)}") from None
    finally:
        shutil.rmtree(directory)


def _boot(files: GuestFiles, directory: Path, shared: Path, console: Path, timeout_s: float) -> None:
    wires = Wires(directory)
    argv = [
        "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57", "-m", MEMORY, "-accel", "tcg",
        "-display", "none", "-nodefaults", "-no-reboot", "-serial", f"file:{console}",
        "-kernel", str(files.kernel), "-initrd", str(files.initramfs),
        "-append", "console=ttyAMA0 quiet panic=-1 rdinit=/init",
        *_share("root", files.root, ",readonly=on"), *_share("tree", ROOT, ",readonly=on"),
        *_share("packages", files.packages, ",readonly=on"), *_share("shared", shared, ""),
        "-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=wires,name={CHANNEL}", *wires.options(),
    ]  # fmt: skip
    log = directory / "qemu.log"
    with log.open("wb") as output:
        machine = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            with wires:
                machine.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimedOut(f"cannot finish on arm64: not after {timeout_s:g} s\n{_tail(console)}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(machine.pid, signal.SIGKILL)
            machine.wait()
    if machine.returncode != 0:
        raise Unavailable(f"cannot run qemu-system-aarch64: {log.read_text(errors='replace').strip()}")


def _share(name: str, directory: Path, more: str) -> list[str]:
    options = f"local,path={directory},mount_tag={name},security_model=none,multidevs=remap{more}"
    return ["-virtfs", options]


def _tail(console: Path, lines: int = 40) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(console.read_text(errors="replace").splitlines()[-lines:])
    return "no console"
