"""The APP base image: Debian's own Python and what it needs, nothing else; one layer, bit-identical when built twice.

`packaging/app-base/` says which packages and what is left out. No maintainer script runs, so what they would have
written and Python needs is made here. Used by `main.py`; needs root, mmdebstrap and a Debian mirror.
"""

from __future__ import annotations

import compileall
import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from imagebuild import BuildError, debian
from imagebuild.layers import Member, compress_zstd, epoch, members_of, write_tar
from imagebuild.layout import ZSTD_TYPE, Image, read_layout, write_layout

RECIPE: Final = Path(__file__).resolve().parents[1] / "app-base"
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


def build_base(cache: Path, *, fresh: bool = False) -> tuple[Image, bool]:
    """The base image for the running Debian suite below `cache`, and whether it was there already."""
    layout = cache / f"app-base-{debian.suite()}-{debian.architecture()}-{_key()}"
    if layout.is_dir() and not fresh:
        return read_layout(layout), True
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".building-") as scratch:
        root, tar, layer = Path(scratch, "root"), Path(scratch, "layer.tar"), Path(scratch, "layer.tar.zst")
        debian.extract(root, _words("packages.txt"))
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


def _key() -> str:
    """Changes with the recipe, with this program, with the mirror and with the packages' versions that apt knows of."""
    digest = hashlib.sha256(f"{epoch()} {debian.mirror()}\n".encode())
    for path in (
        *sorted(RECIPE.glob("*.txt")),
        *(Path(__file__).with_name(f"{name}.py") for name in ("base", "debian", "layers")),
    ):
        digest.update(path.read_bytes())
    options = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    closure = debian.output(["apt-cache", "depends", "--recurse", *options, *_words("packages.txt")])
    packages = sorted({line for line in closure.splitlines() if re.fullmatch(r"[a-z0-9][a-z0-9+.:-]*", line)})
    policy = debian.output(["apt-cache", "policy", *packages]) if packages else ""
    candidates = re.findall(r"^(\S+):$|^\s*Candidate: (\S+)$", policy, re.MULTILINE)
    digest.update(repr(candidates).encode())
    return digest.hexdigest()[:16]


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
        "architecture": _ARCHITECTURES.get(debian.architecture(), debian.architecture()),
        "os": "linux",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch())),
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
            "Cmd": ["python3"],
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
