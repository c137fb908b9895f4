"""Who may sign and who is who: makes the keys, the certificates and the enrolments.

`init` and `make_successor` need the root key and run in the command line, so that `serve` never holds it. `Authority`
is what the running cloud does: enrol gateways, take a successor of the keys document into force.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from cloud.database import Database
from cloud.state import State, read, write_new
from cloud.store import Store
from gateway.documents.certificates import Credentials, issue_client, make_authority
from gateway.documents.enrolment import encode_enrolment
from gateway.documents.envelope import PrivateKey, key_id, public_from_pem
from gateway.documents.keys import encode_chain, first_keys, sign_keys, successor
from gateway.errors import Conflict, InvalidInput, NotFound
from gateway.model import names
from gateway.model.trust import Keys, PublicKey

CLOUD: Final = "cloud"
"""The authority for which this cloud signs."""
CLIENT: Final = "fieldgate-cloud"
"""Common name of the cloud's certificate: no gateway may be called like that, it would have the cloud's rights."""
MAX_CHAIN: Final = 64


def init(state: State, others: Mapping[str, bytes], existing: Credentials | None = None) -> Keys:
    """Make everything that a cloud begins with. Conflict if it is there already.

    `others`: authority -> PEM public key of a signer that somebody else holds. `existing`: a certificate authority to
    issue from, instead of a new one.
    """
    if {CLOUD, "local"} & set(others):
        raise InvalidInput(f"cannot add a signer: {CLOUD} and local have keys of their own")
    state.prepare()
    if state.database.exists():
        raise Conflict(
            f"cannot initialise {state.directory}: it is in use already", hint="`keys rotate` makes new keys"
        )
    root, signer = PrivateKey.generate(), PrivateKey.generate()
    signers = {signer.id: PublicKey(signer.public, CLOUD), **_signers(others)}
    keys = Keys(1, 1, 1, {root.id: PublicKey(root.public)}, signers)
    envelope = sign_keys(keys, [root])
    ca = existing or make_authority("Fieldgate CA")
    client = issue_client(ca, CLIENT)
    for path, content in (
        (state.ca_certificate, ca.certificate),
        (state.ca_key, ca.key),
        (state.certificate, client.certificate),
        (state.key, client.key),
        (state.root_key, root.to_pem()),
    ):
        write_new(path, content)
    database = Database(state.database)
    database.open()
    try:
        Store(database).put_keys(keys.version, envelope, signer)
    finally:
        database.close()
    return keys


def make_successor(newest: bytes, root: PrivateKey, others: Mapping[str, bytes]) -> tuple[bytes, PrivateKey]:
    """The next keys document with a new signer for the cloud, and that signer. `others` replace theirs, if named."""
    current = first_keys(newest)
    if root.id not in current.root:
        raise InvalidInput(f"cannot rotate: key {root.id[:16]} is not a root key of version {current.version}")
    signer = PrivateKey.generate()
    kept = {i: key for i, key in current.signers.items() if key.authority != CLOUD and key.authority not in others}
    signers = {**kept, **_signers(others), signer.id: PublicKey(signer.public, CLOUD)}
    return sign_keys(replace(current, version=current.version + 1, signers=signers), [root]), signer


def _signers(others: Mapping[str, bytes]) -> dict[str, PublicKey]:
    found = {}
    for authority, pem in others.items():
        names.check(names.AUTHORITY, authority, "authority")
        public = public_from_pem(pem)
        found[key_id(public)] = PublicKey(public, authority)
    return found


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The files of a gateway's `identity/`. All of it is secret but the certificates."""

    enrolment: bytes
    certificate: bytes
    key: bytes
    ca: bytes


class Authority:
    """Blocking: runs in the database's thread."""

    def __init__(self, state: State, store: Store) -> None:
        self._state = state
        self._store = store

    def newest(self) -> bytes:
        """The keys document in force, as an envelope. NotFound before `keys init`."""
        documents = self._store.keys_documents()
        if not documents:
            raise NotFound("cannot find a keys document: there is none", hint="begin with `fieldgate-cloud keys init`")
        return documents[-1]

    def chain(self) -> bytes:
        """What is published at `keys`: all successors, so that a gateway that was away long can follow. Or empty."""
        successors = self._store.keys_documents()[1:]
        return encode_chain(successors[-MAX_CHAIN:]) if successors else b""

    def enrol(self, gateway: str, host: str, port: int, *, again: bool) -> Enrolled:
        """Conflict: it is enrolled (unless `again`), or the name is the cloud's own."""
        names.check(names.GATEWAY, gateway, "gateway id")
        if gateway == CLIENT:
            raise Conflict(f"cannot enrol {gateway}: that name is the cloud's own")
        if not again and self._store.gateways("WHERE gateway = ?", gateway):
            raise Conflict(
                f"cannot enrol {gateway}: it is enrolled already",
                hint="--replace enrols it anew: what it holds now stops being valid",
            )
        ca = Credentials(read(self._state.ca_certificate), read(self._state.ca_key))
        issued = issue_client(ca, gateway)
        incarnation, confirmation_key = secrets.token_hex(8), secrets.token_hex(32)
        text = encode_enrolment(gateway, incarnation, host, port, confirmation_key, self.newest())
        self._store.put_gateway(gateway, incarnation, confirmation_key)
        return Enrolled(text, issued.certificate, issued.key, ca.certificate)

    def succeed(self, envelope: bytes, signer: PrivateKey) -> Keys:
        """Take the next keys document and its signer into force. Raises what is wrong with them."""
        keys = successor(first_keys(self.newest()), envelope)
        named = keys.signers.get(signer.id)
        if named is None or named.authority != CLOUD:
            raise InvalidInput(f"cannot rotate: the keys document does not name {signer.id[:16]} for {CLOUD}")
        self._store.put_keys(keys.version, envelope, signer)
        return keys
