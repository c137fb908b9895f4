"""The APP base image: Debian's own Python and what it needs, nothing else; one layer, bit-identical when built twice.

`packaging/app-base/` says which packages and what is left out. No maintainer script runs, so what they would have
written and Python needs is made here. Used by `main.py`; needs root, mmdebstrap and a Debian mirror.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from imagebuild import BuildError
from imagebuild.layers import Member, compress_zstd, epoch, members_of, write_tar
from imagebuild.layout import ZSTD_TYPE, Image, read_layout, write_layout

RECIPE: Final = Path(__file__).resolve().parents[1] / "app-base"
DEFAULT_MIRROR: Final = "http://deb.debian.org/debian"
BUILD_TIMEOUT_S: Final = 900.0
_ARCHITECTURES: Final = {"amd64": "amd64", "arm64": "arm64", "armhf": "arm"}
"""Debian's names to OCI's."""
_FILES: Final = {
    "etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/hostname": "localhost\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/resolv.conf": "",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_DIRECTORIES: Final = {"dev": 0o755, "proc": 0o555, "sys": 0o555, "run": 0o755, "tmp": 0o1777, "root": 0o700}
_USR_MERGED: Final = ("bin", "sbin", "lib", "lib32", "lib64")


def build_base(cache: Path, *, fresh: bool = False) -> tuple[Image, bool]:
    """The base image for the running Debian suite below `cache`, and whether it was there already."""
    layout = cache / f"app-base-{_suite()}-{_debian_architecture()}-{_key()}"
    if layout.is_dir() and not fresh:
        return read_layout(layout), True
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".building-") as scratch:
        root, tar, layer = Path(scratch, "root"), Path(scratch, "layer.tar"), Path(scratch, "layer.tar.zst")
        _extract(root)
        _merge_usr(root)
        _remove(root)
        _complete(root)
        _compile(root)
        diff_id = write_tar(tar, _members(root))
        compress_zstd(tar, layer)
        return write_layout(layout, _config(diff_id), [(layer, ZSTD_TYPE)]), False


def _words(name: str) -> list[str]:
    """The lines of a recipe file, without comments."""
    lines = (line.partition("#")[0].strip() for line in (RECIPE / name).read_text().splitlines())
    return [line for line in lines if line]


def _suite() -> str:
    release = platform.freedesktop_os_release()
    if release.get("ID") != "debian" or not release.get("VERSION_CODENAME"):
        raise BuildError("cannot build the APP base image: this is not a Debian release")
    return release["VERSION_CODENAME"]


def _debian_architecture() -> str:
    return _output(["dpkg", "--print-architecture"]).strip()


def _output(argv: list[str]) -> str:
    try:
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as failure:
        raise BuildError(f"cannot run {argv[0]}: {failure}") from failure


def _key() -> str:
    """Changes with the recipe, with this program, with the mirror and with the packages' versions that apt knows of."""
    digest = hashlib.sha256(f"{epoch()} {_mirror()}\n".encode())
    for path in (*sorted(RECIPE.glob("*.txt")), Path(__file__), Path(__file__).with_name("layers.py")):
        digest.update(path.read_bytes())
    options = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    closure = _output(["apt-cache", "depends", "--recurse", *options, *_words("packages.txt")])
    packages = sorted({line for line in closure.splitlines() if re.fullmatch(r"[a-z0-9][a-z0-9+.:-]*", line)})
    policy = _output(["apt-cache", "policy", *packages]) if packages else ""
    candidates = re.findall(r"^(\S+):$|^\s*Candidate: (\S+)$", policy, re.MULTILINE)
    digest.update(repr(candidates).encode())
    return digest.hexdigest()[:16]


def _mirror() -> str:
    """The mirror that this machine's own apt uses for Debian."""
    targets = _output(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"])
    for line in targets.splitlines():
        site, _, release = line.partition(" ")
        if release == _suite() and "security" not in site:
            return site.rstrip("/")
    return DEFAULT_MIRROR


def _extract(root: Path) -> None:
    argv = [
        "mmdebstrap",
        "--quiet",
        "--variant=extract",
        "--format=directory",
        f"--include={','.join(_words('packages.txt'))}",
    ]
    proxy = _output(["apt-config", "shell", "PROXY", "Acquire::http::Proxy"]).strip()
    if proxy:
        argv.append(f"--aptopt=Acquire::http::Proxy {proxy.partition('=')[2].replace(chr(39), chr(34))}")
    # Without a mirror mmdebstrap adds the suite's security updates by itself.
    argv += [_suite(), str(root), *([_mirror()] if _mirror() != DEFAULT_MIRROR else [])]
    try:
        subprocess.run(
            argv, check=True, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch())},
        )  # fmt: skip
    except FileNotFoundError as failure:
        raise BuildError("cannot build the APP base image: mmdebstrap is not installed (Debian package)") from failure
    except subprocess.TimeoutExpired as failure:
        raise BuildError(f"cannot build the APP base image: no end after {BUILD_TIMEOUT_S:g} s") from failure
    except subprocess.CalledProcessError as failure:
        raise BuildError(f"cannot build the APP base image: {failure.stderr.strip()[-1500:]}") from failure


def _merge_usr(root: Path) -> None:
    """`/bin` and its like become links into `/usr`: Debian 12's packages have files in both, base-files is not here."""
    for name in _USR_MERGED:
        old, new = root / name, root / "usr" / name
        if old.is_dir() and not old.is_symlink():
            shutil.copytree(old, new, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(old)
        if new.is_dir() and not old.exists():
            old.symlink_to(f"usr/{name}")


def _remove(root: Path) -> None:
    for pattern in _words("remove.txt"):
        for path in root.glob(pattern):
            _delete(path)
    for path in list(root.glob("usr/share/doc/*")):
        if path.is_symlink() or not path.is_dir():
            continue
        for other in path.iterdir():
            if other.name != "copyright":
                _delete(other)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _complete(root: Path) -> None:
    for name, mode in _DIRECTORIES.items():
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(mode)
    for name, text in _FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
        (root / name).chmod(0o644)


def _compile(root: Path) -> None:
    """Byte code that needs no times: postinst would have made it, and without it each start compiles anew.

    Done by the image's own Python. Imports are compiled as unchecked: the layer is read-only and verified as a whole.
    """
    mode = compileall.__name__, "-q", "--invalidation-mode", "unchecked-hash"
    for library in sorted(root.glob("usr/lib/python3.*")):
        argv = ["chroot", str(root), "/usr/bin/python3", "-I", "-m", *mode, f"/{library.relative_to(root)}"]
        try:
            subprocess.run(
                argv, check=True, capture_output=True, text=True, timeout=300,
                env={"PYTHONHASHSEED": "0", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )  # fmt: skip
        except subprocess.CalledProcessError as failure:
            raise BuildError(f"cannot compile {library.name}: {(failure.stdout + failure.stderr)[-800:]}") from failure


def _members(root: Path) -> dict[str, Member]:
    return dict(members_of(root))


def _config(diff_id: str) -> dict[str, object]:
    return {
        "architecture": _ARCHITECTURES.get(_debian_architecture(), _debian_architecture()),
        "os": "linux",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch())),
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
            "Cmd": ["python3"],
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
