"""vm_start: a minimal QEMU guest beside one of our containers: how long each takes to start, how many fit in 512 MB.

TCG, as on a board without KVM. The guest is Debian's arm64 kernel on QEMU's `virt` board with busybox as its only
process; the container runs busybox, too.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.bench.engine import BenchEngine
from tests.bench.figure import Figure, in_turns
from tests.bench.peers import mb_of
from tests.bench.start_one import start
from tests.site.processes import pss_mb, wait_until

BOARD_MB: Final = 512 * 1.048576
GUEST_MIB: Final = 128
"""Debian's kernel does not start in 64."""
INIT: Final = "#!/bin/busybox sh\necho the guest runs\nexec /bin/busybox sleep 1000\n"


def measure(quick: bool) -> list[Figure]:
    n = 1 if quick else 5
    with BenchEngine() as ours, tempfile.TemporaryDirectory(prefix="fg-vm-", dir="/var/tmp") as name:
        guest = _Guest(Path(name))
        us, vm = in_turns([lambda index: start(ours, index), lambda _: guest.start()], n)
        for number in range(10):
            ours.runner.run(ours.launch(ours.spec(f"fit{number}", 1)))
        ours.pipe.wait_for(10)
        monitors = mb_of(ours.directory)
        processes = sum(pss_mb(status.pid) for status in ours.runner.run(ours.engine.list()))
        container_mb = (monitors + processes) / 10
    return [
        Figure("vm_start", us, "ms", n, vm, "QEMU guest, TCG"),
        Figure("fit_in_512_mb", BOARD_MB / container_mb, "", n, BOARD_MB / guest.mb, "QEMU guests of 128 MiB"),
    ]


class _Guest:
    """Starts the guest again and again. `mb`: PSS of QEMU once the guest runs, the median."""

    def __init__(self, directory: Path) -> None:
        from tests.site.arm64_files import guest_files

        files = guest_files()
        self._console = directory / "console"
        tree, initramfs = directory / "tree", directory / "initramfs"
        for folder in ("bin", "dev"):
            (tree / folder).mkdir(parents=True)
        shutil.copy(files.root / "bin" / "busybox", tree / "bin" / "busybox")
        (tree / "init").write_text(INIT)
        (tree / "init").chmod(0o755)
        with initramfs.open("wb") as archive:
            subprocess.run(
                ["busybox", "cpio", "-o", "-H", "newc", "-R", "0:0"], input=b"bin\nbin/busybox\ndev\ninit\n",
                stdout=archive, stderr=subprocess.PIPE, cwd=tree, check=True, timeout=60,
            )  # fmt: skip
        self._argv = [
            "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57", "-m", str(GUEST_MIB), "-accel", "tcg",
            "-display", "none", "-nodefaults", "-no-reboot", "-serial", f"file:{self._console}",
            "-kernel", str(files.kernel), "-initrd", str(initramfs),
            "-append", "console=ttyAMA0 quiet panic=-1 rdinit=/init",
        ]  # fmt: skip
        self._sizes: list[float] = []

    @property
    def mb(self) -> float:
        return statistics.median(self._sizes)

    def start(self) -> float:
        """Milliseconds until the guest's process runs."""
        self._console.write_bytes(b"")
        began = time.perf_counter()
        machine = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: b"the guest runs" in self._console.read_bytes(), "the guest", 60, pause_s=0.005)
            seconds = time.perf_counter() - began
            self._sizes.append(pss_mb(machine.pid))
        finally:
            machine.kill()
            machine.wait()
        return seconds * 1000
