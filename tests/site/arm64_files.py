"""What the arm64 guest boots from: Debian's kernel, Python and container tools for arm64, our locked Python packages.

Made once and cached by what it is made from; `python -m tests.site.arm64_files` makes it now. Nothing foreign runs
here: packages are unpacked, not installed. The guest has the suite of this machine, so byte code that is compiled here
is good there.
"""

from __future__ import annotations

import lzma
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imagebuild import debian

from tests.site.cache import cached

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = ROOT / "packaging" / "requirements.txt"
PACKAGES: Final = (
    "linux-image-arm64", "kmod", "busybox-static", "dash", "procps", "iproute2", "nftables", "python3", "crun",
    "conmon",
)  # fmt: skip
MODULES: Final = ("virtio_pci", "9p", "9pnet_virtio", "virtio_console")
"""What Debian's kernel needs before it has a root; from then on it loads by itself what it is asked for."""
MOUNT_POINTS: Final = ("proc", "sys", "dev", "run", "tmp", "tree", "packages", "shared")
_UNUSED: Final = (
    "/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*",
    *(f"/lib/modules/*/kernel/{part}/*" for part in (
        "sound", "drivers/gpu", "drivers/media", "drivers/infiniband", "drivers/net/wireless", "drivers/net/ethernet",
        "drivers/iio", "drivers/scsi", "drivers/staging",
    )),
)  # fmt: skip
_OPTIONS: Final = (
    "--architectures=arm64", "--mode=root", '--aptopt=Acquire::Languages "none"', "--aptopt=APT::Install-Recommends no",
    *(f"--dpkgopt=path-exclude={pattern}" for pattern in _UNUSED),
)  # fmt: skip
_GLIBC: Final = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 28, 31, 34)))
"""Of what wheels may ask; Debian 12 has 2.36."""

_INIT: Final = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module || echo "no $module"; done
share() {
    /bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,$1 $2 $3 || echo "no share $2"
}
share ro root /root
share ro tree /root/tree
share ro packages /root/packages
share rw shared /root/shared
exec /bin/busybox switch_root /root /bin/busybox sh /shared/init
"""


@dataclass(frozen=True, slots=True)
class GuestFiles:
    """`root` holds the guest's system, `packages` its Python packages; both are read only to it."""

    kernel: Path
    initramfs: Path
    root: Path
    packages: Path


def guest_files() -> GuestFiles:
    """From the cache, or made now (about a minute); BuildError."""
    system = cached("arm64-guest", f"{Path(__file__).read_text()} {debian.suite()} {_versions()}", _make_system)
    packages = cached("arm64-packages", f"{LOCK.read_text()} {sys.version_info[:2]} {_GLIBC}", _make_packages)
    return GuestFiles(system / "kernel", system / "initramfs", system / "root", packages)


def _versions() -> str:
    """Debian's versions of the packages, as this machine's package lists have them; those of arm64 are the same."""
    names = [name.replace("arm64", debian.architecture()) for name in PACKAGES]
    shown = debian.output(["apt-cache", "policy", *names]).splitlines()
    return " ".join(line.split()[-1] for line in shown if "Candidate:" in line)


def _make_system(directory: Path) -> None:
    root = directory / "root"
    debian.extract(root, PACKAGES, _OPTIONS)
    for name in MOUNT_POINTS:
        (root / name).mkdir(exist_ok=True)
    version = next((root / "usr/lib/modules").iterdir()).name
    shutil.copyfile(root / "boot" / f"vmlinuz-{version}", directory / "kernel")
    shutil.rmtree(root / "boot")
    _run("depmod", "-b", root, version)
    _write_initramfs(root, version, directory / "initramfs")
    if not (root / "bin/sh").exists():
        (root / "bin/sh").symlink_to("dash")
    # What the packages' scripts would have done: without byte code each start would compile, twelve times slower there.
    library = next((root / "usr/lib").glob("python3.*"))
    # Our packages are installed for everybody: isolated processes of the agent see no PYTHONPATH.
    local = root / "usr/local/lib" / library.name
    local.mkdir(parents=True)
    (local / "dist-packages").symlink_to("/packages")
    mode = "-q", "-j2", "--invalidation-mode", "unchecked-hash"
    _run("/usr/bin/python3", "-m", "compileall", *mode, "-s", root, library)


def _write_initramfs(root: Path, version: str, archive: Path) -> None:
    """busybox, the modules in the order of their dependencies, and the script that mounts the root."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        for name in ("bin", "modules", "proc", "dev", "root"):
            (tree / name).mkdir()
        shutil.copy(root / "bin/busybox", tree / "bin/busybox")
        order: list[str] = []
        needed = [_run("modprobe", "-d", root, "-S", version, "--show-depends", module) for module in MODULES]
        for line in "".join(needed).splitlines():
            kind, path = line.split()[:2]
            module = Path(path)
            name = module.name.removesuffix(".xz")
            if kind == "insmod" and name not in order:
                content = module.read_bytes()
                (tree / "modules" / name).write_bytes(lzma.decompress(content) if module.suffix == ".xz" else content)
                order.append(name)
        (tree / "modules/order").write_text("\n".join(order))
        (tree / "init").write_text(_INIT)
        (tree / "init").chmod(0o755)
        members = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
        with archive.open("wb") as output:
            subprocess.run(
                ["busybox", "cpio", "-o", "-H", "newc", "-R", "0:0"],
                input=members.encode(), stdout=output, stderr=subprocess.PIPE, cwd=tree, check=True, timeout=60,
            )  # fmt: skip


def _make_packages(directory: Path) -> None:
    platforms = [word for glibc in _GLIBC for word in ("--platform", f"{glibc}_aarch64")]
    options = "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:"
    _run(sys.executable, "-m", "pip", "install", *options, *platforms, "--target", directory, "-r", LOCK)


def _run(*argv: str | Path) -> str:
    return debian.output([str(word) for word in argv], timeout_s=300.0)


if __name__ == "__main__":
    guest_files()
