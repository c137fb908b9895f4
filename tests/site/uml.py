"""A machine with pure cgroup v2: User-mode Linux on this machine's own root file system, read-only.

It runs one Python program of this tree as its init's only child, which writes its result into `/mnt`, a directory of
the host. Needs neither KVM nor an image; its console goes to a log file. It has one CPU, no network but the loopback,
and forks slowly.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.site.guest import ROOT, Machine, by_hand

KERNEL: Final = "/usr/bin/linux.uml"
MEMORY: Final = "512M"
RESULT: Final = "/mnt/result"

# hostfs gives the tree and the virtual environment; everything written goes to tmpfs, the result to /mnt.
_INIT: Final = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={root}/packaging
mount -t proc proc /proc; mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null || mount -t tmpfs dev /dev
for node in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
    set -- $node; [ -e /dev/$1 ] || mknod -m 666 /dev/$1 c $2 $3
done
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
case {root}/ in
    /tmp/*) mkdir /run/tmp; export TMPDIR=/run/tmp ;;  # a tmpfs there would hide the tree
    *) mount -t tmpfs tmp /tmp ;;
esac
# The option has a name since Linux 6.12.
mount -t hostfs -o {directory} none /mnt 2>/dev/null || mount -t hostfs -o hostfs={directory} none /mnt
mount -t cgroup2 -o nsdelegate,memory_recursiveprot none /sys/fs/cgroup  # as systemd does
for module in fs/overlayfs/overlay drivers/block/loop; do
    insmod /usr/lib/uml/modules/$(uname -r)/kernel/$module.ko 2>/dev/null
done
[ -e /dev/loop-control ] || mknod -m 600 /dev/loop-control c 10 237
ip link set lo up
cd {root}
{python} {arguments}
echo "module ended status=$?"
sync
echo o >/proc/sysrq-trigger
sleep 5
"""


def run_inside(arguments: str, timeout_s: float, console: Path | None = None) -> bytes:
    """Boot, run `python ARGUMENTS` (shell words), halt; what that wrote into RESULT. Errors as of `Machine`.

    What the guest says goes to `console`, by default into what is raised.
    """
    # The kernel keeps its memory in a file that it maps executable: not every /tmp or /dev/shm allows that.
    directory = Path(tempfile.mkdtemp(prefix="fg-uml-", dir="/var/tmp"))
    try:
        console, init = console or directory / "console.log", directory / "init"
        init.write_text(_INIT.format(root=ROOT, python=sys.executable, arguments=arguments, directory=directory))
        init.chmod(0o755)
        argv = [
            KERNEL, f"mem={MEMORY}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}",
            "con=null", "con0=null,fd:1", "quiet",
        ]  # fmt: skip
        machine = Machine("User-mode Linux", argv, console, directory / "result", {"TMPDIR": str(directory)})
        return machine.run(console, timeout_s)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    raise SystemExit(by_hand(run_inside, RESULT))
