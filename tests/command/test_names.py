"""Names of certificates, against openssl's own text of them with the flags that Zabbix uses."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateBuilder, Name

from lab.odd_names import EV, odd_names
from sender.zabbix.names import issuer_and_subject

COMMAND = ["openssl", "x509", "-inform", "DER", "-noout", "-issuer", "-subject", "-nameopt", "RFC2253,-esc_msb"]


@pytest.mark.parametrize("name", odd_names(), ids=str)
def test_the_text_is_openssl_s(name: Name) -> None:
    """XN_FLAG_RFC2253 without ASN1_STRFLGS_ESC_MSB, whatever the name has in it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
    builder = CertificateBuilder(EV, name, key.public_key(), 1, now, now + timedelta(days=1))
    certificate = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    printed = subprocess.run(COMMAND, input=certificate, capture_output=True, check=True).stdout
    issuer, subject = issuer_and_subject(certificate)
    assert printed.decode(errors="surrogateescape") == f"issuer={issuer}\nsubject={subject}\n"
