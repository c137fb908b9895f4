"""Runs nftables scripts: libnftables in this process where it is installed, otherwise nft(8).

Each script is one transaction. Used by the network worker only. Source: libnftables(3).
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from typing import Final, Protocol

from gateway.errors import NotSupported, ToolFailed

LIBRARY: Final = "libnftables.so.1"
TIMEOUT_S: Final = 20.0
_PATH: Final = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin"
_STATELESS: Final = 1 << 2
_ELEMENTS: Final = re.compile(r"elements = \{([^}]*)\}")


class Nftables(Protocol):
    def run(self, script: str) -> str:
        """What it prints. ToolFailed with nft's own words; then nothing has changed."""
        ...

    def close(self) -> None:
        """Let go of the kernel."""


def open_nftables() -> Nftables:
    """NotSupported when neither is installed."""
    try:
        return _Library(ctypes.CDLL(LIBRARY))
    except OSError:
        return _Program()


def is_installed() -> bool:
    """Whether `open_nftables` would give something that works."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return shutil.which("nft", path=_PATH) is not None
    return True


def normalised(listing: str) -> str:
    """A listing in which elements stand in order: the kernel lists a set as its hash table lies."""

    def in_order(match: re.Match[str]) -> str:
        return ", ".join(sorted(" ".join(entry.split()) for entry in match[1].split(",")))

    return _ELEMENTS.sub(in_order, listing)


class _Library:
    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        for function in (library.nft_ctx_new, library.nft_ctx_get_output_buffer, library.nft_ctx_get_error_buffer):
            function.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(library.nft_ctx_new(0))
        library.nft_ctx_output_set_flags(self._context, _STATELESS)
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)

    def close(self) -> None:
        self._library.nft_ctx_free(self._context)

    def run(self, script: str) -> str:
        code = self._library.nft_run_cmd_from_buffer(self._context, script.encode())
        said = ctypes.string_at(self._library.nft_ctx_get_error_buffer(self._context)).decode(errors="replace")
        if code != 0:
            raise ToolFailed(("nft",), 1, _cause(said))
        return ctypes.string_at(self._library.nft_ctx_get_output_buffer(self._context)).decode(errors="replace")


class _Program:
    def close(self) -> None:
        """It holds nothing."""

    def run(self, script: str) -> str:
        try:
            done = subprocess.run(
                [shutil.which("nft", path=_PATH) or "nft", "-s", "-f", "-"],
                input=script,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except OSError as failure:
            raise NotSupported(f"cannot run nft: {failure.strerror}", hint="apt install nftables") from None
        if done.returncode != 0:
            raise ToolFailed(("nft",), done.returncode, _cause(done.stderr))
        return done.stdout


def _cause(said: str) -> str:
    """Its first line names the error; what follows shows the place in the script."""
    return said.strip().partition("\n")[0] or "no reason given"
