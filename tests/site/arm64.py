"""An arm64 gateway without hardware: QEMU's `virt` board (TCG, no KVM) with Debian's kernel and this tree on it.

It has pure cgroup v2, crun and conmon, and no network. It runs one Python program of this tree, 12 to 15 times slower
than this machine would, and writes its results into `/shared`, a directory of the host. Its GPIO lines can be driven
and seen while it runs (`arm64_wires.py`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.site.arm64_files import GuestFiles, guest_files
from tests.site.arm64_wires import CHANNEL, Wires
from tests.site.guest import ROOT, Machine, by_hand

MEMORY: Final = "512"
RESULT: Final = "/shared/result"

_INIT: Final = """\
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/tree/packaging
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


def run_inside(
    arguments: str, timeout_s: float, console: Path | None = None, prepare: Callable[[Path, Path], None] | None = None
) -> bytes:
    """Boot, run `python3 ARGUMENTS` (shell words), power off; what that wrote into RESULT.

    What the guest says goes to `console`, by default into what is raised. `prepare(shared, root)` may put files into
    `/shared` before; `root` is the guest's system. Errors as of `Machine`, and BuildError when there is nothing to boot
    from.
    """
    files = guest_files()
    _compile_tree()
    directory = Path(tempfile.mkdtemp(prefix="fg-arm64-"))
    try:
        shared, console = directory / "shared", console or directory / "console.log"
        shared.mkdir()
        if prepare is not None:
            prepare(shared, files.root)
        (shared / "init").write_text(_INIT.format(arguments=arguments))
        wires = Wires(directory)
        argv = [*_options(files, shared, console), *wires.options()]
        machine = Machine("arm64", argv, console, shared / "result", {})
        return machine.run(directory / "qemu.log", timeout_s, wires)
    finally:
        shutil.rmtree(directory)


def _compile_tree() -> None:
    """What is not compiled here is compiled there, at each start of a process, twelve times slower."""
    parts = [str(ROOT / part) for part in ("gateway", "esdk", "tests", "packaging")]
    subprocess.run([sys.executable, "-m", "compileall", "-q", *parts], check=True, timeout=120)


def _options(files: GuestFiles, shared: Path, console: Path) -> list[str]:
    return [
        "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57", "-m", MEMORY, "-accel", "tcg",
        "-display", "none", "-nodefaults", "-no-reboot", "-serial", f"file:{console}",
        "-kernel", str(files.kernel), "-initrd", str(files.initramfs),
        "-append", "console=ttyAMA0 quiet panic=-1 rdinit=/init",
        *_share("root", files.root, ",readonly=on"), *_share("tree", ROOT, ",readonly=on"),
        *_share("packages", files.packages, ",readonly=on"), *_share("shared", shared, ""),
        "-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=wires,name={CHANNEL}",
    ]  # fmt: skip


def _share(name: str, directory: Path, more: str) -> list[str]:
    options = f"local,path={directory},mount_tag={name},security_model=none,multidevs=remap{more}"
    return ["-virtfs", options]


if __name__ == "__main__":
    raise SystemExit(by_hand(run_inside, RESULT))
