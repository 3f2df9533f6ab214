"""The issuer and the subject of a certificate as text, to the letter as Zabbix with OpenSSL compares them. Pure.

Zabbix prints them with X509_NAME_print_ex() and XN_FLAG_RFC2253 without ASN1_STRFLGS_ESC_MSB (zbx_x509_dn_gets(), tls.c;
do_print_ex(), crypto/asn1/a_strex.c). What getpeercert() has of a name is not enough for that: it has long names, and not the
type of a value.
"""

from __future__ import annotations

import re
from _ssl import txt2obj
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Tags of ASN.1, X.680, 8.4, and the bit of a length that is longer than one byte, X.690, 8.1.3.
_VERSION, _LONG = 0xA0, 0x80
_ENCODINGS = {
    12: None,  # UTF8String, whose bytes are taken as they are
    18: "latin-1",  # NumericString
    19: "latin-1",  # PrintableString
    20: "latin-1",  # T61String, which OpenSSL takes for that, as all the world does
    22: "latin-1",  # IA5String
    28: "utf-32-be",  # UniversalString
    30: "utf-16-be",  # BMPString
}
_SPECIAL = re.compile(rb'(?P<special>[,+"\\<>;]|^[ #](?!\Z)|^ | \Z)|[\x00-\x1f\x7f]')


def issuer_and_subject(certificate: bytes) -> tuple[str, str]:
    """Return both names in a certificate in DER form. Raises ValueError where it is none."""
    try:
        ((_, whole),) = _parts(certificate)
        (_, body), *_ = _parts(whole)
        fields = [content for tag, content in _parts(body) if tag != _VERSION]
        _, _, issuer, _, subject, *_ = fields  # serial number, algorithm, issuer, validity, subject
        return distinguished(issuer), distinguished(subject)
    except (ValueError, IndexError) as error:
        raise ValueError(f"no certificate in DER form: {error}") from error


def distinguished(name: bytes) -> str:
    """Return the text of a name, given what is in its sequence: the last part first. Raises ValueError where it is none."""
    parts = [[_attribute(content) for _, content in _parts(part)] for _, part in _parts(name)]
    return ",".join("+".join(reversed(part)) for part in reversed(parts))


def _attribute(content: bytes) -> str:
    (_, kind), (tag, value) = _parts(content)
    dotted = _dotted(kind)
    try:
        _, name, _, _ = txt2obj(dotted)
    except ValueError:  # OpenSSL has no name for it, and shows such a value as it is encoded
        return f"{dotted}=#{_encoded(tag, value)}"
    if tag not in _ENCODINGS:
        return f"{name}=#{_encoded(tag, value)}"
    encoding = _ENCODINGS[tag]
    text = value.decode(encoding, "surrogatepass").encode("utf-8", "ignore") if encoding else value
    return f"{name}={_SPECIAL.sub(_escape, text).decode(errors='surrogateescape')}"


def _escape(found: re.Match[bytes]) -> bytes:
    return b"\\" + found[0] if found["special"] else b"\\%02X" % found[0][0]


def _dotted(kind: bytes) -> str:
    """Return an object identifier in figures: X.690, 8.19."""
    numbers, number = [], 0
    for byte in kind:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _encoded(tag: int, value: bytes) -> str:
    """Return tag, length and value in hexadecimal digits."""
    size = len(value)
    length = bytes([size]) if size < _LONG else size.to_bytes((size.bit_length() + 7) // 8, "big")
    head = bytes([tag]) if size < _LONG else bytes([tag, _LONG | len(length)])
    return (head + length + value).hex().upper()


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each value in `data`, one after the other: X.690, 8.1. Raises ValueError."""
    at = 0
    while at < len(data):
        tag, size, begin = data[at], *_size(data, at + 1)
        if begin + size > len(data):
            raise ValueError("a value ends too early")
        yield tag, data[begin : begin + size]
        at = begin + size


def _size(data: bytes, at: int) -> tuple[int, int]:
    """Return the length that stands there, and where the content begins."""
    first = data[at] if at < len(data) else _LONG
    if first == _LONG:
        raise ValueError("a value has no length")
    if first < _LONG:
        return first, at + 1
    end = at + 1 + (first & 0x7F)
    return int.from_bytes(data[at + 1 : end], "big"), end
