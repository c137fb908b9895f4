"""Certificates: a real TLS handshake says whether they are good."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from gateway.documents.certificates import Credentials, common_name, issue_client, issue_server, make_authority
from gateway.errors import InvalidInput


def _context(directory: Path, purpose: int, own: Credentials, authority: Credentials) -> ssl.SSLContext:
    """A side of the handshake that insists on the other side's certificate."""
    name = f"{common_name(own.certificate)}-{purpose}"
    (directory / f"{name}.crt").write_bytes(own.certificate)
    (directory / f"{name}.key").write_bytes(own.key)
    context = ssl.SSLContext(purpose)
    context.load_cert_chain(directory / f"{name}.crt", directory / f"{name}.key")
    context.load_verify_locations(cadata=authority.certificate.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> str:
    """The common name that the server sees; ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = ends[1].getpeercert()
    assert found is not None
    subject = found["subject"]
    assert isinstance(subject, tuple)
    return str(dict(entry[0] for entry in subject)["commonName"])


@pytest.mark.parametrize("host", ["127.0.0.1", "broker.example", "::1"])
def test_both_sides_know_each_other(tmp_path: Path, host: str) -> None:
    authority = make_authority("Test CA")
    client = _context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, issue_client(authority, "gw-1"), authority)
    hosts = ["127.0.0.1", "broker.example", "::1"]
    server = _context(tmp_path, ssl.PROTOCOL_TLS_SERVER, issue_server(authority, hosts), authority)
    assert _handshake(client, server, host) == "gw-1"


def test_another_host_another_authority_and_the_wrong_purpose_are_refused(tmp_path: Path) -> None:
    authority, other = make_authority("Test CA"), make_authority("Test CA")
    good = _context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, issue_client(authority, "gw-1"), authority)
    server = _context(tmp_path, ssl.PROTOCOL_TLS_SERVER, issue_server(authority, ["localhost"]), authority)
    stranger = _context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, issue_client(other, "gw-2"), authority)
    as_server = _context(tmp_path, ssl.PROTOCOL_TLS_SERVER, issue_client(authority, "gw-3"), authority)
    with pytest.raises(ssl.SSLError):
        _handshake(good, server, "elsewhere.example")
    with pytest.raises(ssl.SSLError):
        _handshake(stranger, server, "localhost")
    with pytest.raises(ssl.SSLError):
        _handshake(good, as_server, "gw-3")


def test_bad_input_is_refused_in_words() -> None:
    authority = make_authority("Test CA")
    with pytest.raises(InvalidInput, match="cannot issue a certificate for"):
        issue_client(authority, "x" * 65)
    with pytest.raises(InvalidInput, match="at least one host"):
        issue_server(authority, [])
    with pytest.raises(InvalidInput, match="cannot issue a certificate for"):
        issue_server(authority, ["hôte"])
    with pytest.raises(InvalidInput, match="cannot read certificate"):
        issue_client(Credentials(b"nonsense", authority.key), "gw-1")
    with pytest.raises(InvalidInput, match="cannot read private key"):
        issue_client(Credentials(authority.certificate, b"nonsense"), "gw-1")
