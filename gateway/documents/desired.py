"""The desired state: built and signed by the cloud or a local deployer, verified and checked for the gateway.

Payload: `{"gateway", "incarnation", "authority", "revision", "apps": [{"name", "compose": {...}}]}` in canonical JSON,
inside a DSSE envelope. Order of the checks: signatures, addressee, then the APPs, with all their faults at once. What
an authority may grant is not judged here but in `trust/caps.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from gateway.documents import manifest
from gateway.documents.checks import AppName, AuthorityName, GatewayName, Incarnation, Model, check, reject
from gateway.documents.envelope import MAX_ENVELOPE_BYTES, PrivateKey, sign, verify
from gateway.documents.syntax import parse_json
from gateway.errors import InvalidInput, Problem
from gateway.model.app import App
from gateway.model.desired import AcceptedDesired, Desired
from gateway.model.trust import Expected
from gateway.model.wire import canonical

PAYLOAD_TYPE: Final = "application/vnd.fieldgate.desired+json"
MAX_APPS: Final = 64
_WHAT: Final = "the desired state"


class _App(Model):
    name: AppName
    compose: dict[str, Any]


class _Desired(Model):
    gateway: GatewayName
    incarnation: Incarnation
    authority: AuthorityName
    revision: Annotated[int, Field(ge=1, le=1 << 53)]
    apps: Annotated[list[_App], Field(max_length=MAX_APPS)]


def encode_desired(
    gateway: str, incarnation: str, authority: str, revision: int, apps: Mapping[str, Mapping[str, Any]]
) -> bytes:
    """The payload. `apps`: name -> Compose document as `manifest.pin` made it. InvalidInput if it has faults."""
    document = {
        "gateway": gateway,
        "incarnation": incarnation,
        "authority": authority,
        "revision": revision,
        "apps": [{"name": name, "compose": dict(apps[name])} for name in sorted(apps)],
    }
    payload = canonical(document)
    decode_desired(payload)
    return payload


def sign_desired(payload: bytes, keys: Sequence[PrivateKey]) -> bytes:
    """The envelope to publish at `desired/{authority}`. InvalidInput if it is too long for a gateway."""
    envelope = sign(PAYLOAD_TYPE, payload, keys)
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise InvalidInput(f"cannot sign {_WHAT}: {len(envelope)} bytes are more than {MAX_ENVELOPE_BYTES}")
    return envelope


def accept_desired(envelope: bytes, expected: Expected) -> AcceptedDesired:
    """The verdict on an envelope.

    Corrupted: a signature is wrong. NotPermitted: too few trusted signatures. InvalidInput: not a desired state,
    addressed to somebody else, or with faults, all of them named.
    """
    verified = verify(envelope, PAYLOAD_TYPE, expected.signers, expected.threshold, _WHAT)
    document = _document(verified.payload)
    _check_addressee(document, expected)
    return AcceptedDesired(_build(document), verified.digest, verified.signers)


def decode_desired(payload: bytes) -> Desired:
    """A payload without its envelope: for tools that look at what they are about to sign or have received."""
    return _build(_document(payload))


def _document(payload: bytes) -> _Desired:
    return check(_Desired, parse_json(payload, _WHAT, MAX_ENVELOPE_BYTES), _WHAT)


def _check_addressee(document: _Desired, expected: Expected) -> None:
    for what, named, own in (
        ("gateway", document.gateway, expected.gateway),
        ("incarnation", document.incarnation, expected.incarnation),
        ("authority", document.authority, expected.authority),
    ):
        if named != own:
            raise InvalidInput(f"cannot accept {_WHAT}: it is for {what} {named}, this is {own}")


def _clashing_ports(app: App, others: Sequence[App]) -> Iterator[Problem]:
    for service in app.services:
        for port in service.network.ports if service.network else ():
            for other in others:
                if any(port.clashes(theirs) for s in other.services if s.network for theirs in s.network.ports):
                    path = f"apps.{app.name}.services.{service.name}.ports"
                    yield Problem(path, f"{port} is published by {other.name} already")


def _build(document: _Desired) -> Desired:
    apps: list[App] = []
    problems: list[Problem] = []
    names = [entry.name for entry in document.apps]
    for index, entry in enumerate(document.apps):
        if entry.name in names[:index]:
            problems.append(Problem(f"apps.{entry.name}", "there are two APPs of this name"))
        try:
            app = manifest.parse(entry.compose, name=entry.name, at=("apps", entry.name))
        except InvalidInput as failure:
            problems.extend(failure.problems or (Problem(f"apps.{entry.name}", failure.message),))
            continue
        if app.name != entry.name:
            problems.append(Problem(f"apps.{entry.name}.name", f"must be {entry.name}, is {app.name}"))
        problems.extend(_clashing_ports(app, apps))
        apps.append(app)
    if problems:
        raise reject(_WHAT, problems)
    return Desired(document.gateway, document.incarnation, document.authority, document.revision, tuple(apps))
