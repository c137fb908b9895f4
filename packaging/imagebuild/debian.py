"""Debian as a source of files: the running release, its mirror, and packages unpacked from there.

No maintainer script runs, so packages of any architecture can be unpacked. Needs root, mmdebstrap and a Debian mirror.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from imagebuild import BuildError
from imagebuild.layers import epoch

DEFAULT_MIRROR: Final = "http://deb.debian.org/debian"
EXTRACT_TIMEOUT_S: Final = 900.0
_USR_MERGED: Final = ("bin", "sbin", "lib", "lib32", "lib64")


def suite() -> str:
    """The code name of the running release; BuildError when this is not Debian."""
    release = platform.freedesktop_os_release()
    if release.get("ID") != "debian" or not release.get("VERSION_CODENAME"):
        raise BuildError("cannot unpack Debian packages: this is not a Debian release")
    return release["VERSION_CODENAME"]


def architecture() -> str:
    """Debian's name of the running architecture, such as `arm64`."""
    return output(["dpkg", "--print-architecture"]).strip()


def mirror() -> str:
    """The mirror that this machine's own apt uses for Debian."""
    targets = output(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"])
    for line in targets.splitlines():
        site, _, release = line.partition(" ")
        if release == suite() and "security" not in site:
            return site.rstrip("/")
    return DEFAULT_MIRROR


def extract(root: Path, packages: Sequence[str], options: Sequence[str] = ()) -> None:
    """Unpack `packages` with their dependencies into `root`, /bin and its like merged into /usr.

    `options` go to mmdebstrap. BuildError with the end of what that said.
    """
    argv = ["mmdebstrap", "--quiet", "--variant=extract", "--format=directory", f"--include={','.join(packages)}"]
    proxy = output(["apt-config", "shell", "PROXY", "Acquire::http::Proxy"]).strip()
    if proxy:
        argv.append(f"--aptopt=Acquire::http::Proxy {proxy.partition('=')[2].replace(chr(39), chr(34))}")
    # Without a mirror mmdebstrap adds the suite's security updates by itself.
    argv += [*options, suite(), str(root), *([mirror()] if mirror() != DEFAULT_MIRROR else [])]
    try:
        subprocess.run(
            argv, check=True, capture_output=True, text=True, timeout=EXTRACT_TIMEOUT_S,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch())},
        )  # fmt: skip
    except FileNotFoundError as failure:
        raise BuildError("cannot unpack Debian packages: mmdebstrap is not installed (Debian package)") from failure
    except subprocess.TimeoutExpired as failure:
        raise BuildError(f"cannot unpack Debian packages: no end after {EXTRACT_TIMEOUT_S:g} s") from failure
    except subprocess.CalledProcessError as failure:
        raise BuildError(f"cannot unpack Debian packages: {failure.stderr.strip()[-1500:]}") from failure
    _merge_usr(root)


def output(argv: list[str], timeout_s: float = 60.0) -> str:
    """What a command printed; BuildError."""
    try:
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=timeout_s).stdout
    except (OSError, subprocess.SubprocessError) as failure:
        raise BuildError(f"cannot run {argv[0]}: {failure}") from failure


def _merge_usr(root: Path) -> None:
    """`/bin` and its like become links into `/usr`: Debian 12's packages have files in both, base-files is not here."""
    for name in _USR_MERGED:
        old, new = root / name, root / "usr" / name
        if old.is_dir() and not old.is_symlink():
            shutil.copytree(old, new, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(old)
        if new.is_dir() and not old.exists():
            old.symlink_to(f"usr/{name}")
