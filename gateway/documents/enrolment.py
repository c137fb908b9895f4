"""The enrolment file that a gateway gets once from `fieldgate-cloud enroll`: who it is, whom it talks to and trusts.

JSON: `{"gateway", "incarnation", "broker_host", "broker_port", "confirmation_key", "keys": ENVELOPE}`, where ENVELOPE
is the signed keys document. Once accepted, `Enrolment.keys` holds the verified document itself (`model.trust.Keys`).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import Field

from gateway.documents.checks import GatewayName, Incarnation, Model, check, named
from gateway.documents.keys import MAX_KEYS_BYTES, first_keys
from gateway.documents.syntax import parse_json
from gateway.model.enrolment import Enrolment
from gateway.model.wire import canonical, to_wire

MAX_ENROLMENT_BYTES: Final = 256 << 10
_WHAT: Final = "the enrolment"
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?|::1")


class _Enrolment(Model):
    gateway: GatewayName
    incarnation: Incarnation
    broker_host: Annotated[str, named(_HOST)]
    broker_port: Annotated[int, Field(ge=1, le=65535)]
    confirmation_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]
    keys: dict[str, Any]


def encode_enrolment(
    gateway: str, incarnation: str, broker_host: str, broker_port: int, confirmation_key: str, keys: bytes
) -> bytes:
    """The file's bytes. `keys` is what `documents.keys.sign_keys` made. InvalidInput if a gateway would refuse it."""
    document = {
        "gateway": gateway,
        "incarnation": incarnation,
        "broker_host": broker_host,
        "broker_port": broker_port,
        "confirmation_key": confirmation_key,
        "keys": _json(keys),
    }
    text = canonical(document)
    parse_enrolment(text)
    return text


def parse_enrolment(text: bytes) -> Enrolment:
    """The enrolment with its keys document verified. InvalidInput, Corrupted or NotPermitted say what is wrong."""
    document = check(_Enrolment, _json(text), _WHAT)
    keys = first_keys(canonical(document.keys))
    return Enrolment(
        gateway=document.gateway,
        incarnation=document.incarnation,
        broker_host=document.broker_host,
        broker_port=document.broker_port,
        confirmation_key=document.confirmation_key,
        keys=to_wire(keys),
    )


def _json(text: bytes) -> Any:
    return parse_json(text, _WHAT, MAX_ENROLMENT_BYTES, max_string_chars=2 * MAX_KEYS_BYTES)
