"""`fieldgate deploy`: run an APP from a Compose file or a package on this gateway, signed with its local key.

The desired state of the authority `local` holds all APPs that were deployed here (local_apps.py). The agent checks the
signature as it would the cloud's: the profile must trust `identity/local.pub`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from gateway.cli.client import Agent
from gateway.cli.local_apps import Documents, LocalApps, local_apps
from gateway.cli.local_packages import import_package, is_package, load_package
from gateway.errors import InvalidInput, NotFound, Unavailable
from gateway.host.files import read_limited, write_durable
from gateway.model.names import APP, check
from gateway.operations.operations import LOCAL
from gateway.paths import Paths
from gateway.terminal import print_json

MAX_BYTES = 1 << 20
REMOVAL_S = 60.0
"""For the containers of a removed APP to end, before its volumes can go."""


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, nargs="?", help="Compose file with pinned images, or a package (*.tar)")
    command.add_argument("--host", default="", metavar="APP/SERVICE", help="the container that a package is put into")
    command.add_argument("--remove", metavar="APP", default="", help="remove an APP that was deployed here")
    command.add_argument("--purge", action="store_true", help="with --remove: its volumes, too, once it is gone")


def run(options: argparse.Namespace, paths: Paths) -> int:
    if bool(options.remove) == (options.file is not None):
        raise InvalidInput("cannot deploy: name a Compose file, or --remove APP")
    if options.purge and not options.remove:
        raise InvalidInput("cannot purge: --purge goes with --remove APP")
    agent = Agent(paths.admin_socket)
    if options.remove:
        said = _remove(agent, paths, options.remove, options.purge)
    else:
        said = _deploy(agent, paths, options.file, options.host)
    if options.json:
        print_json(said)
    else:
        done = [word for word in ("deployed", "removed", "purged") if said.get(word)]
        at = f", revision {said['revision']}" if "revision" in said else ""
        print(f"{said['app']}: {' and '.join(done)}{at}")
    return 0


def _deploy(agent: Agent, paths: Paths, file: Path, host: str) -> dict[str, Any]:
    from gateway.documents import manifest

    if is_package(file):
        document = manifest.pin(load_package(file, host), {})
        import_package(agent, file)
    elif host:
        raise InvalidInput(f"cannot put {file} into {host}: --host is for packages; a Compose file has x-esdk.host")
    else:
        document = _load(file)
    name = manifest.parse(document).name
    with local_apps(paths) as kept:
        status = agent.call("GET", "/v1/status")
        before = kept.accepted(_revision(status))
        answer = _send(agent, paths, kept, status, before, {**before, name: document})
    return {"app": name, "deployed": True, **answer}


def _remove(agent: Agent, paths: Paths, app: str, purge: bool) -> dict[str, Any]:
    """Remove it, and its volumes, too, when it is to be purged; only those when it is gone already. NotFound."""
    check(APP, app, "APP")
    said: dict[str, Any] = {"app": app}
    with local_apps(paths) as kept:
        status = agent.call("GET", "/v1/status")
        before = kept.accepted(_revision(status))
        after = {name: document for name, document in before.items() if name != app}
        if app in before:
            said |= {"removed": True, **_send(agent, paths, kept, status, before, after)}
        elif not purge:
            raise NotFound(f"cannot remove {app}: it was not deployed here")
    if purge:
        try:
            _purge(agent, app)
            said["purged"] = True
        except NotFound:
            if app not in before:
                raise
            said["purged"] = False  # it had no volumes
    return said


def _purge(agent: Agent, app: str) -> None:
    """Remove its volumes, as soon as its containers have ended. Conflict while somebody wants it; NotFound."""
    deadline = time.monotonic() + REMOVAL_S
    while True:
        try:
            agent.call("DELETE", f"/v1/volumes/{app}")
            return
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _load(path: Path) -> dict[str, Any]:
    from gateway.documents import manifest

    try:
        text = read_limited(path, MAX_BYTES)
    except OSError as failure:
        raise NotFound(f"cannot read {path}: {failure.strerror}") from failure
    return manifest.pin(manifest.load(text), {})


def _revision(status: dict[str, Any]) -> int:
    return int(status["revisions"].get(LOCAL, 0))


def _send(
    agent: Agent, paths: Paths, kept: LocalApps, status: dict[str, Any], before: Documents, after: Documents
) -> dict[str, Any]:
    """Have the agent accept `after`; its answer. Raises why it is refused: then `before` holds."""
    from gateway.documents.desired import encode_desired, sign_desired

    revision = kept.next_revision(_revision(status))
    payload = encode_desired(status["gateway"], status["incarnation"], LOCAL, revision, after)
    envelope = sign_desired(payload, [_key(paths)])
    kept.propose(revision, after, before)
    answer: dict[str, Any] = agent.call("PUT", f"/v1/desired/{LOCAL}", envelope)
    kept.confirm(revision, after)
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
