"""The registry of a test site: Debian's docker-registry on a free port of the loopback, with its own storage.

It speaks plain HTTP, so a gateway needs `host` in its profile's `plain_http_registries`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from gateway.errors import ToolFailed
from tests.site.processes import Daemon, accepts_tcp, free_port

ROOT = Path(__file__).resolve().parents[2]

_CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {storage}}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:{port}
"""


class Registry:
    """`docker-registry serve`; what was pushed lies below `directory` and survives `stop()` and `start()`."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.storage = directory / "registry"
        self.storage.mkdir(parents=True, exist_ok=True)
        config = directory / "registry.yml"
        config.write_text(_CONFIG.format(storage=self.storage, port=self.port))
        self._daemon = Daemon(["docker-registry", "serve", str(config)], directory / "registry.log")

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, as references to its images begin."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def start(self) -> None:
        """Returns when it accepts connections."""
        self._daemon.start(lambda: accepts_tcp(self.port))

    def stop(self) -> None:
        self._daemon.stop()

    def push(self, layout: Path, name: str) -> str:
        """Push an OCI layout as `name` (`repository[:tag]`); the pinned reference. ToolFailed."""
        made = image_tool("push", str(layout), f"{self.host}/{name}", "--plain-http")
        return str(made["image"])

    def blob_path(self, digest: str) -> Path:
        """The file in which it keeps a blob, for tests that damage it."""
        hexadecimal = digest.removeprefix("sha256:")
        return self.storage / "docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"

    def __enter__(self) -> Registry:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def image_tool(*arguments: str, timeout_s: float = 900.0) -> dict[str, object]:
    """Run `packaging/image ARGUMENTS --json`; what it printed. ToolFailed when it exits non-zero."""
    argv = [sys.executable, str(ROOT / "packaging" / "image"), *arguments, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise ToolFailed(argv[1:], done.returncode, done.stderr)
    made: dict[str, object] = json.loads(done.stdout)
    return made
