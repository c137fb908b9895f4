"""The process that unpacks one layer: blob in, directory out, chrooted into that directory, killed with its parent.

A process of its own, so that the agent neither holds the memory nor shares its interpreter lock with an hour of zlib.
Its verdict is one line of JSON on stdout: `{"ok": {"entries", "bytes"}}` or `{"error": FieldgateError.to_json()}`.
Started by `unpacker.py`; no other module imports this one.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

from gateway.errors import Corrupted, FieldgateError, Unavailable
from gateway.images.decompress import open_decompressed
from gateway.images.layer import LayerWriter
from gateway.images.tarstream import TarStream

MEMORY_BYTES: Final = 256 << 20
"""Far above the 15 MB that it takes: a belt for what bounded buffers should make impossible."""
NICE: Final = 10
_PR_SET_PDEATHSIG: Final = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 with a verdict; anything else is a crash."""
    arguments = _arguments(argv)
    try:
        _confine(arguments.parent)
        verdict: dict[str, Any] = {"ok": unpack(arguments)}
    except FieldgateError as error:
        verdict = {"error": error.to_json()}
    except OSError as failure:
        verdict = {"error": Unavailable(f"cannot unpack: {failure.strerror}").to_json()}
    sys.stdout.write(json.dumps(verdict) + "\n")
    return 0


def unpack(arguments: argparse.Namespace) -> dict[str, int]:
    """Unpack `arguments.blob` below `arguments.target` and make it durable. Corrupted: it is not `diff_id`."""
    entries = 0
    with open(arguments.blob, "rb", buffering=0) as blob, open_decompressed(blob, arguments.compression) as stream:
        root = _enter(arguments.target)
        writer = LayerWriter(root, arguments.max_bytes, arguments.max_entries)
        try:
            tar = TarStream(stream.read)
            for entry in tar.entries():
                writer.add(entry, tar.read)
                entries += 1
            _drain(tar, arguments.max_bytes)
        finally:
            writer.close()
        if stream.digest != arguments.diff_id:
            raise Corrupted(f"cannot unpack: its bytes have digest {stream.digest}, not {arguments.diff_id}")
        _syncfs(root)
        os.close(root)
    return {"entries": entries, "bytes": writer.written_bytes}


def _drain(tar: TarStream, limit: int) -> None:
    """What follows the end of the tar counts for the digest, too; as little as a bomb as the entries are."""
    rest = 0
    while size := tar.after_end(1 << 17):
        rest += size
        if rest > limit:
            raise Unavailable(f"cannot unpack: more than {limit} bytes follow the end of the tar")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="unpack")
    parser.add_argument("--blob", required=True)
    parser.add_argument("--compression", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--diff-id", required=True)
    parser.add_argument("--max-bytes", type=int, required=True)
    parser.add_argument("--max-entries", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    return parser.parse_args(argv)


def _confine(parent: int) -> None:
    """Die with the parent (an agent that was killed starts over and sweeps), be polite, be bounded."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise Unavailable("cannot unpack: the agent has gone")
    os.umask(0o022)
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _enter(target: str) -> int:
    """Make `target` the root of this process; its descriptor."""
    os.chdir(target)
    os.chroot(".")
    return os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _syncfs(descriptor: int) -> None:
    """All of the layer to the disk at once: far cheaper than an fsync per file."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(descriptor) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


if __name__ == "__main__":
    sys.exit(main())
