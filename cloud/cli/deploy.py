"""`fieldgate-cloud deploy`: runs an APP from a Compose file on a gateway: pinned by digest, checked, signed, followed.

A file that the gateway would refuse is refused here, in the gateway's own words and before anything is signed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cloud.cli.client import CloudClient, path
from cloud.cli.follow import Following, Verdict, follow
from cloud.state import State, read
from gateway.errors import InvalidInput
from gateway.model.image import Reference
from gateway.terminal import print_json, printable

WAIT_S = 300.0


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", help="Compose file, or an APP package in a registry (HOST/REPOSITORY:TAG)")
    command.add_argument("--host", default="", metavar="APP/SERVICE", help="the container that a package is put into")
    command.add_argument("--gateway", required=True)
    command.add_argument("--wait", action="store_true", help="until it is healthy there, or failed")
    command.add_argument("--timeout", type=float, default=WAIT_S, metavar="SECONDS", help="of --wait (%(default)g)")
    command.add_argument("--dry-run", action="store_true", help="pin, check and show; sign and send nothing")
    command.add_argument(
        "--plain-http",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="registry that may be asked without TLS",
    )


def run(options: argparse.Namespace, state: State) -> int:
    name, compose = load(options.file, options.plain_http, options.host)
    client = CloudClient(state)
    target = path("gateways", options.gateway, "apps", name)
    if options.dry_run:
        made = client.call("PUT", f"{target}?dry_run=1", {"compose": compose})
        _print(options, {**made, "dry_run": True, "compose": compose}, "would be deployed")
        return 0
    if not options.wait:
        _print(options, client.call("PUT", target, {"compose": compose}), "deployed")
        return 0
    with client.events(options.gateway) as events:
        made = client.call("PUT", target, {"compose": compose})
        following = Following(name, made["revision"], made["envelope"], made["digest"])
        if not options.json:
            _print(options, made, "deployed")
        verdict = followed(options, events, following)
    report(options, made, verdict)
    return 0 if verdict.good else 1


def load(file: str, plain_http: list[str], host: str) -> tuple[str, dict[str, Any]]:
    """The APP's name and its Compose document as a gateway takes it: checked first, then pinned."""
    from cloud.registry import package, pinned
    from gateway.documents import manifest
    from gateway.documents.package import app_toml, expand

    if _is_package(file):
        image, config = package(file, plain_http)
        document = expand(app_toml(config), image, host)
    elif host:
        raise InvalidInput(f"cannot put {file} into {host}: --host is for packages; a Compose file has x-esdk.host")
    else:
        document = manifest.load(read(Path(file)))
    app = manifest.parse(document, at_gateway=False)
    images = sorted(set(manifest.images(document).values()))
    return app.name, manifest.pin(document, {image: pinned(image, plain_http) for image in images})


def _is_package(file: str) -> bool:
    """What is no file and could be a reference is one."""
    try:
        return not Path(file).exists() and bool(Reference.parse(file))
    except InvalidInput:
        return False


def followed(options: argparse.Namespace, events: Any, following: Following) -> Verdict:
    if options.json:
        return follow(events, following, options.timeout, lambda event: None)
    from cloud.cli.progress_display import ProgressDisplay

    with ProgressDisplay(following.app) as display:
        return follow(events, following, options.timeout, display.show)


def report(options: argparse.Namespace, made: dict[str, Any], verdict: Verdict) -> None:
    if options.json:
        print_json({**made, **verdict.to_json()})
    else:
        reason = f": {printable(verdict.reason)}" if verdict.reason else ""
        print(f"{made['app']} on {made['gateway']}: {verdict.result} after {verdict.seconds:.1f} s{reason}", flush=True)


def _print(options: argparse.Namespace, made: dict[str, Any], done: str) -> None:
    if options.json:
        print_json(made)
        return
    before = f" instead of {made['replaces']}" if made.get("replaces") else ""
    print(f"{made['app']} {made['version']}{before} {done}: {made['gateway']}, revision {made['revision']}", flush=True)
    for name, service in made.get("compose", {}).get("services", {}).items():
        print(f"  {name}: {service['image']}", flush=True)
