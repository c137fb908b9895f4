"""X.509 certificates of the MQTT link: a certificate authority of one's own, and what it issues. PEM in, PEM out.

EC P-256, since every TLS stack that a broker may be built on takes it. The common name of a client's certificate is its
MQTT user name: a gateway's id, or the cloud's name. Does not revoke or renew. Used by `fieldgate-cloud` and test sites.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.documents.syntax import refused
from gateway.errors import InvalidInput

DAYS: Final = 3650
"""Of validity, unless told otherwise: there is no renewal yet, and a gateway outlives most plans."""
BACKDATED: Final = timedelta(days=1)
"""Valid from before its issue on: a clock that is a little slow must not keep a gateway away."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate and its private key (PKCS#8, not encrypted: the file's mode 0600 is its protection), both PEM."""

    certificate: bytes
    key: bytes


def make_authority(name: str, days: int = DAYS) -> Credentials:
    """A self-signed certificate authority that may issue certificates, but no further authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = _builder(subject, subject, key, days).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    usage = _usage(certificates=True)
    return _issued(builder.add_extension(usage, critical=True), key, key)


def issue_client(authority: Credentials, common_name: str, days: int = DAYS) -> Credentials:
    """A certificate by which `common_name` logs in. InvalidInput if the authority is none or the name cannot be one."""
    return _issue(authority, common_name, days, ExtendedKeyUsageOID.CLIENT_AUTH, ())


def issue_server(authority: Credentials, hosts: Sequence[str], days: int = DAYS) -> Credentials:
    """A certificate for a server that is reached by each of `hosts`: DNS names or IP addresses."""
    if not hosts:
        raise InvalidInput("cannot issue a server certificate: it needs at least one host name or address")
    return _issue(authority, hosts[0], days, ExtendedKeyUsageOID.SERVER_AUTH, [_host(host) for host in hosts])


def common_name(certificate: bytes) -> str:
    """Whom a certificate names; InvalidInput if it is none or names nobody."""
    found = _load(certificate).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(found) != 1:
        raise refused("certificate", "it has no single common name")
    return str(found[0].value)


def _issue(
    authority: Credentials,
    name: str,
    days: int,
    purpose: x509.ObjectIdentifier,
    hosts: Sequence[x509.GeneralName],
) -> Credentials:
    issuer, issuer_key = _load(authority.certificate), _load_key(authority.key)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(name), issuer.subject, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    return _issued(builder, key, issuer_key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _issued(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> Credentials:
    certificate = builder.sign(signer, hashes.SHA256())
    return Credentials(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
    except ValueError as failure:
        raise InvalidInput(f"cannot issue a certificate for {text[:80]!a}: {failure}") from None


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return x509.DNSName(text)
    except ValueError as failure:
        raise InvalidInput(f"cannot issue a certificate for {text[:80]!a}: {failure}") from None


def _load(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError as failure:
        raise refused("certificate", f"not PEM: {str(failure)[:120]}") from None


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as failure:
        raise refused("private key", f"not an unencrypted PEM private key: {str(failure)[:120]}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise refused("private key", "it is not an EC key")
    return key
