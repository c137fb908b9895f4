"""`fieldgate deploy`: run an APP from a Compose file on this gateway, signed with its local key.

The desired state of the authority `local` holds all APPs that were deployed here; their Compose documents are kept in
`<state>/local/`. The agent checks the signature as it would the cloud's: the profile must trust `identity/local.pub`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gateway.cli.client import Agent
from gateway.cli.output import print_json
from gateway.errors import InvalidInput, NotFound
from gateway.host.files import read_limited, remove_durable, write_durable
from gateway.model.wire import canonical
from gateway.operations.operations import LOCAL
from gateway.paths import Paths

MAX_BYTES = 1 << 20


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, nargs="?", help="Compose file; its images must be pinned by digest")
    command.add_argument("--remove", metavar="APP", default="", help="remove an APP that was deployed here")
    command.add_argument("--purge", action="store_true", help="with --remove: its volumes, too, once it is gone")


def run(options: argparse.Namespace, paths: Paths) -> int:
    agent = Agent(paths.admin_socket)
    if options.purge and options.remove and not _is_deployed(paths, options.remove):
        agent.call("DELETE", f"/v1/volumes/{options.remove}")
        return 0
    documents = _deployed(paths)
    if options.remove:
        if documents.pop(options.remove, None) is None:
            raise NotFound(f"cannot remove {options.remove}: it was not deployed here")
        name = options.remove
    elif options.file is not None:
        name, document = _load(options.file)
        documents[name] = document
    else:
        raise InvalidInput("cannot deploy: name a Compose file, or --remove APP")
    answer = _send(agent, paths, documents)
    kept = _directory(paths) / f"{name}.json"
    if options.remove:
        remove_durable(kept)
    else:
        write_durable(kept, canonical(documents[name]))
    if options.json:
        print_json({"app": name, **answer})
    else:
        print(f"{name}: {'removed' if options.remove else 'deployed'}, revision {answer['revision']}")
    return 0


def _load(path: Path) -> tuple[str, dict[str, Any]]:
    from gateway.documents import manifest

    try:
        text = read_limited(path, MAX_BYTES)
    except OSError as failure:
        raise NotFound(f"cannot read {path}: {failure.strerror}") from failure
    document = manifest.pin(manifest.load(text), {})
    return manifest.parse(document).name, document


def _send(agent: Agent, paths: Paths, documents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    from gateway.documents.desired import encode_desired, sign_desired

    status = agent.call("GET", "/v1/status")
    revision = int(status["revisions"].get(LOCAL, 0)) + 1
    payload = encode_desired(status["gateway"], status["incarnation"], LOCAL, revision, documents)
    answer: dict[str, Any] = agent.call("PUT", f"/v1/desired/{LOCAL}", sign_desired(payload, [_key(paths)]))
    return answer


def _key(paths: Paths) -> Any:
    """The local key; made at the first use."""
    from gateway.documents.envelope import PrivateKey

    private = paths.identity / "local.key"
    if private.exists():
        return PrivateKey.from_pem(read_limited(private, MAX_BYTES))
    key = PrivateKey.generate()
    write_durable(paths.identity / "local.pub", key.public_pem(), 0o644)
    write_durable(private, key.to_pem())
    return key


def _directory(paths: Paths) -> Path:
    directory = paths.state / "local"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def _is_deployed(paths: Paths, app: str) -> bool:
    return app in _deployed(paths)


def _deployed(paths: Paths) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(read_limited(path, MAX_BYTES)) for path in sorted(_directory(paths).glob("*.json"))}
