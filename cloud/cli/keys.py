"""`fieldgate-cloud keys`: makes the keys and certificates that a cloud begins with, and replaces its signer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cloud.cli.client import CloudClient
from cloud.state import State, read
from gateway.errors import InvalidInput
from gateway.terminal import print_json


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("action", choices=("init", "rotate"))
    command.add_argument(
        "--signer", action="append", default=[], metavar="AUTHORITY=FILE", help="public key (PEM) that signs for others"
    )
    command.add_argument("--root-key", type=Path, help="rotate: the root key, PEM (STATE/root.key)")
    command.add_argument("--ca", type=Path, help="init: a CA certificate to issue from, instead of a new one")
    command.add_argument("--ca-key", type=Path, help="init: its key")


def run(options: argparse.Namespace, state: State) -> int:
    others = dict(_signer(text) for text in options.signer)
    done = _init(options, state, others) if options.action == "init" else _rotate(options, state, others)
    if options.json:
        print_json(done)
    elif options.action == "init":
        print(f"keys version 1, signer {done['signer'][:16]}, certificates of {state.ca_certificate}")
        print(f"keep {state.root_key} offline: whoever has it decides who may sign")
    else:
        print(f"keys version {done['version']}, signer {done['signer'][:16]}")
    return 0


def _init(options: argparse.Namespace, state: State, others: dict[str, bytes]) -> dict[str, Any]:
    from cloud.authority import CLOUD, init
    from gateway.documents.certificates import Credentials

    if (options.ca is None) != (options.ca_key is None):
        raise InvalidInput("cannot use that CA: --ca and --ca-key go together")
    existing = Credentials(read(options.ca), read(options.ca_key)) if options.ca else None
    keys = init(state, others, existing)
    signer = next(identity for identity, key in keys.signers.items() if key.authority == CLOUD)
    return {"version": keys.version, "signer": signer, "state": str(state.directory)}


def _rotate(options: argparse.Namespace, state: State, others: dict[str, bytes]) -> dict[str, Any]:
    """The root key is read here and never leaves this process."""
    from cloud.authority import make_successor
    from gateway.documents.envelope import PrivateKey

    client = CloudClient(state)
    root = PrivateKey.from_pem(read(options.root_key or state.root_key))
    newest = client.call("GET", "/v1/keys")["envelope"].encode()
    envelope, signer = make_successor(newest, root, others)
    body = {"envelope": envelope.decode(), "signer": signer.to_pem().decode()}
    done: dict[str, Any] = client.call("POST", "/v1/keys", body)
    return done


def _signer(text: str) -> tuple[str, bytes]:
    authority, equals, file = text.partition("=")
    if not authority or not equals or not file:
        raise InvalidInput(f"cannot use --signer {text[:80]!a}: it must be AUTHORITY=FILE")
    return authority, read(Path(file))
