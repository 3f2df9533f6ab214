"""Names of certificates that are written in more ways than one: of EV certificates, in odd encodings, with odd characters."""

from __future__ import annotations

import re

from cryptography.x509 import Name, NameAttribute, ObjectIdentifier, RelativeDistinguishedName
from cryptography.x509.name import _ASN1Type as Kind  # it has no other way to say how a value is encoded
from cryptography.x509.oid import NameOID

TEXTS = ("", "#", " ", "##", " # ", "a b", ',+"\\<>;=', "a\nb\0\x7f\x1b", "ä€😀", "ä ", "\\", "\n", "x" * 200)
KINDS = (Kind.UTF8String, Kind.BMPString, Kind.UniversalString, Kind.T61String, Kind.PrintableString, Kind.IA5String)
EV = Name(
    [
        NameAttribute(NameOID.JURISDICTION_COUNTRY_NAME, "DE"),
        NameAttribute(NameOID.JURISDICTION_STATE_OR_PROVINCE_NAME, "Berlin"),
        NameAttribute(NameOID.JURISDICTION_LOCALITY_NAME, "Mitte"),
        NameAttribute(NameOID.BUSINESS_CATEGORY, "Private Organization"),
        NameAttribute(NameOID.SERIAL_NUMBER, "HRB 1"),
        NameAttribute(NameOID.COUNTRY_NAME, "DE"),
        NameAttribute(NameOID.POSTAL_CODE, "10115"),
        NameAttribute(NameOID.STREET_ADDRESS, "Straße 1"),
        NameAttribute(NameOID.ORGANIZATION_NAME, "Example, Inc."),
        NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, "NTRDE-1"),
        NameAttribute(NameOID.EMAIL_ADDRESS, "a@example.com"),
        NameAttribute(NameOID.COMMON_NAME, "zabbix.example.com"),
    ]
)
UNNAMED = Name(
    [
        NameAttribute(ObjectIdentifier("1.3.6.1.4.1.99999.1"), "ä"),
        NameAttribute(ObjectIdentifier("2.999.1234567"), "x" * 200),
        NameAttribute(NameOID.COMMON_NAME, "a"),
    ]
)
SEVERAL = Name(
    [
        RelativeDistinguishedName([NameAttribute(NameOID.COMMON_NAME, "b"), NameAttribute(NameOID.USER_ID, "a")]),
        RelativeDistinguishedName([NameAttribute(NameOID.ORGANIZATION_NAME, "z")]),
    ]
)


def odd_names() -> list[Name]:
    """Return all of them: each text in each encoding that can have it."""
    texts = [(text, kind) for text in TEXTS for kind in KINDS if _can_have(kind, text)]
    return [EV, UNNAMED, SEVERAL, *(Name([NameAttribute(NameOID.ORGANIZATION_NAME, *each)]) for each in texts)]


def _can_have(kind: Kind, text: str) -> bool:
    if kind is Kind.BMPString:
        return all(ord(char) < 2**16 for char in text)
    return bool(text) and (kind is not Kind.PrintableString or bool(re.fullmatch("[a-z ]+", text)))
