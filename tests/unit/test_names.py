"""Names of certificates as Zabbix compares them. Expected is what openssl prints: tests/command/test_names.py asks it itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Name, NameAttribute, load_pem_x509_certificate
from cryptography.x509.name import _ASN1Type as Kind
from cryptography.x509.oid import NameOID

from lab.odd_names import EV, SEVERAL, UNNAMED
from lab.tls_server import cert_server
from lab.trapper import Trapper
from lab.uplinks import ISSUER, ITEMS, SUBJECT, cert, error
from sender.model import Outcome
from sender.zabbix.names import issuer_and_subject

if TYPE_CHECKING:
    from lab.certificates import Authority, Pair

EV_TEXT = (
    "CN=zabbix.example.com,emailAddress=a@example.com,organizationIdentifier=NTRDE-1,O=Example\\, Inc.,street=Straße 1,"
    "postalCode=10115,C=DE,serialNumber=HRB 1,businessCategory=Private Organization,jurisdictionL=Mitte,"
    "jurisdictionST=Berlin,jurisdictionC=DE"
)
UNNAMED_TEXT = f"CN=a,2.999.1234567=#0C81C8{'78' * 200},1.3.6.1.4.1.99999.1=#0C02C3A4"
VALUES = {
    "#": "#",
    "##": "\\##",
    " ": "\\ ",
    " x ": "\\ x\\ ",
    ',+"\\<>;=': '\\,\\+\\"\\\\\\<\\>\\;=',
    "a\nb\0\x7f\x1b": "a\\0Ab\\00\\7F\\1B",
    "ä€😀": "ä€😀",
}


def of(authority: Authority, name: Name) -> tuple[str, str]:
    """Return issuer and subject of a certificate for this name."""
    return issuer_and_subject(der(authority.issue("odd", name)))


def der(pair: Pair) -> bytes:
    """Return the certificate in the form in which a handshake has it."""
    return load_pem_x509_certificate(pair.cert.read_bytes()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("name", "expected"),
    [(EV, EV_TEXT), (UNNAMED, UNNAMED_TEXT), (SEVERAL, "O=z,UID=a+CN=b")],
    ids=["EV", "unnamed", "several"],
)
def test_names_of_many_parts(authority: Authority, name: Name, expected: str) -> None:
    """The last part first, each by OpenSSL's short name, or by its number, and then the value as it is encoded."""
    assert of(authority, name) == (ISSUER, expected)


@pytest.mark.parametrize("text", VALUES)
def test_characters_that_are_escaped(authority: Authority, text: str) -> None:
    """Special ones where they are special, and control characters as two digits; all others stay as they are."""
    assert of(authority, Name([NameAttribute(NameOID.ORGANIZATION_NAME, text)]))[1] == f"O={VALUES[text]}"


@pytest.mark.parametrize(
    "kind", [Kind.UTF8String, Kind.T61String, Kind.PrintableString, Kind.IA5String, Kind.BMPString]
)
def test_the_encoding_is_of_no_matter(authority: Authority, kind: Kind) -> None:
    """The same text in another encoding is the same text."""
    name = Name([NameAttribute(NameOID.ORGANIZATION_NAME, "Example, Inc.", _type=kind)])
    assert of(authority, name)[1] == "O=Example\\, Inc."


def test_what_is_no_certificate(server: Pair) -> None:
    """Whatever bytes come, one kind of error says so."""
    whole = der(server)
    for bad in (
        b"",
        b"\x30",
        b"\x30\x80",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x00",
        b"\x30\x03\x02\x01\x01",
        whole[:-1],
        whole[:90],
    ):
        with pytest.raises(ValueError, match="no certificate in DER form: "):
            issuer_and_subject(bad)


def test_the_name_of_an_ev_certificate_is_accepted(authority: Authority, client: Pair) -> None:
    """Given as Zabbix writes it, it is the right one; another is shown as it would have to be given."""
    pair = authority.issue("ev", EV)
    with Trapper(encrypted=cert_server(pair, authority.ca)) as trapper:
        names = {"server_cert_issuer": ISSUER, "server_cert_subject": EV_TEXT}
        assert cert(client, authority.ca, trapper.port, **names).send(ITEMS) == Outcome(accepted=10)
        said = error(cert(client, authority.ca, trapper.port, server_cert_subject=SUBJECT))
    assert f"the server's certificate has the subject {EV_TEXT}, but server_cert_subject is {SUBJECT}" in said
