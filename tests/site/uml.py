"""A machine with pure cgroup v2: User-mode Linux on this machine's own root file system, read-only.

It runs one Python module of this tree as its init's only child and writes what that says as JSON into a directory of
the host. Needs neither KVM nor an image; its console goes to a log file.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gateway.errors import TimedOut, Unavailable

ROOT = Path(__file__).resolve().parents[2]
KERNEL = "/usr/bin/linux.uml"
MEMORY = "512M"

# hostfs gives the tree and the virtual environment; everything written goes to tmpfs, the result to /mnt.
_INIT = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc; mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null || mount -t tmpfs dev /dev
for node in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
    set -- $node; [ -e /dev/$1 ] || mknod -m 666 /dev/$1 c $2 $3
done
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
# The option has a name since Linux 6.12.
mount -t hostfs -o {directory} none /mnt 2>/dev/null || mount -t hostfs -o hostfs={directory} none /mnt
mount -t cgroup2 -o nsdelegate,memory_recursiveprot none /sys/fs/cgroup  # as systemd does
insmod /usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko 2>/dev/null
ip link set lo up
cd {root}
{python} -m {module} /mnt/result.json
echo "module ended status=$?"
sync
echo o >/proc/sysrq-trigger
sleep 5
"""


def run_inside(module: str, timeout_s: float = 60.0) -> Any:
    """Boot, run `python -m MODULE RESULT_FILE`, halt; what the module wrote. Its console is in what is raised.

    TimedOut when the machine does not halt in time; Unavailable when it halts without a result.
    """
    # The kernel keeps its memory in a file that it maps executable: not every /tmp or /dev/shm allows that.
    directory = Path(tempfile.mkdtemp(prefix="fg-uml-", dir="/var/tmp"))
    try:
        result, console = directory / "result.json", directory / "console.log"
        init = directory / "init"
        init.write_text(_INIT.format(root=ROOT, python=sys.executable, module=module, directory=directory))
        init.chmod(0o755)
        _boot(init, console, timeout_s)
        try:
            return json.loads(result.read_bytes())
        except (OSError, ValueError):
            raise Unavailable(f"cannot run {module} in User-mode Linux: no result\n{_tail(console)}") from None
    finally:
        shutil.rmtree(directory)


def _boot(init: Path, console: Path, timeout_s: float) -> None:
    argv = [
        KERNEL, f"mem={MEMORY}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}",
        "con=null", "con0=null,fd:1", "quiet",
    ]  # fmt: skip
    with console.open("wb") as output:
        machine = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(init.parent)},
            start_new_session=True,
        )
        try:
            machine.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimedOut(f"cannot finish in User-mode Linux: not after {timeout_s:g} s\n{_tail(console)}") from None
        finally:
            # Its processes are processes here, in one group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(machine.pid, signal.SIGKILL)
            machine.wait()


def _tail(console: Path, lines: int = 40) -> str:
    return "\n".join(console.read_text(errors="replace").splitlines()[-lines:])
