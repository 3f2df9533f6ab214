"""Every way in which a web server does not answer as Zabbix's API does, in words for an admin. Knows no call of the API."""

from __future__ import annotations

import json
import re
import ssl
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError

FOREIGN = (HTTPException, OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError)
"""What the standard library raises about an answer."""

API = "api_jsonrpc.php"
IS_IT = "Is this the address of Zabbix's web interface, such as https://zabbix.example.com/zabbix?"
REDIRECTS = (301, 302, 303, 307, 308)
MAX_ANSWER = 100_000  # bytes of an error
_MAX_QUOTE = 1000
_MAX_ADDRESS = 200
_ITS_LOGIN = (
    "`provision` has no login but Zabbix's own: let the web server pass requests to api_jsonrpc.php without asking. Zabbix asks "
    "for the token or the password itself."
)
# verify_code: X509_V_ERR_*, openssl/x509_vfy.h
_UNTRUSTED = {2, 18, 19, 20, 21, 27}
_OTHER_NAME = {62, 64}
_TIMES = {
    9: "Is this machine's clock right?",
    10: "Renew it on the web server.",
}


def why(error: BaseException, asked: str) -> tuple[str, str]:
    """Return what is wrong with the answer from the address `asked`, and what may help."""
    match error:
        case HTTPError(url=url) if url != asked:
            return f"leads to {shown(str(url))}", "Give that address."
        case HTTPError(code=code) if code in REDIRECTS and (location := error.headers.get("Location")):
            return f"leads to {shown(location)}", "Give that address."
        case HTTPError():
            return _why_status(error)
        case URLError(reason=BaseException() as reason):
            return why(reason, asked)
        case _:
            return _why_no_answer(error)


def shown(address: str) -> str:
    """Return an address of the API as the one of the web interface, and not without end."""
    return address.removesuffix(API)[:_MAX_ADDRESS]


def quoted(error: Any, secret: str = "") -> str:
    """Return what the server said, without any key or token, and without `secret`: it may quote what it was told."""
    said = error
    if isinstance(error, (dict, Exception)):
        parts = error if isinstance(error, dict) else vars(error)
        said = parts.get("data") or parts.get("message") or error
    words = str(said).replace(secret, "(hidden)") if secret else str(said)
    return re.sub(r"[0-9A-Fa-f]{32,}", "(hidden)", words)[:_MAX_QUOTE].rstrip(".!")


def error_in(body: bytes) -> Any:
    """Return the API's error object in an answer, None where it has none. Raises ValueError, RecursionError."""
    answer = json.loads(body.decode())
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else None


def _why_status(error: HTTPError) -> tuple[str, str]:
    try:
        if said := error_in(error.read(MAX_ANSWER)):
            return f"answers HTTP {error.code}: {quoted(said)}", ""
    except FOREIGN:  # it says nothing, or not in JSON
        pass
    found = f"answers HTTP {error.code} {error.reason}"
    if error.code == HTTPStatus.UNAUTHORIZED:
        scheme = (error.headers.get("WWW-Authenticate") or "").partition(" ")[0]
        return f"{found}: its web server asks for a login of its own{f' ({scheme})' if scheme else ''}", _ITS_LOGIN
    if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return found, "See the log of its web server."
    return found, IS_IT


def _why_no_answer(cause: BaseException) -> tuple[str, str]:
    match cause:
        case ssl.SSLCertVerificationError():
            return _why_no_trust(cause)
        case ssl.SSLError():
            return f"does not speak TLS with us: {cause.reason or cause.strerror}", "Is it https there?"
        case TimeoutError():
            return "does not answer in time", "Is a firewall in between?"
        case ConnectionResetError():
            return "closes the connection without an answer, as Zabbix's trapper does", IS_IT
        case OSError():
            return f"cannot be reached: {cause.strerror or cause}", ""
        case _:
            return "does not answer as Zabbix's API does", IS_IT


def _why_no_trust(error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    if error.verify_code in _OTHER_NAME:
        advice = "Give the address with a name that the certificate has, or have one made for this name."
        return f"its certificate is of another name: {error.verify_message}", advice
    advice = _TIMES.get(error.verify_code, "")
    if error.verify_code in _UNTRUSTED:
        advice = "If a CA of your own signed it, give that CA's certificate with --ca-file."
    return f"its certificate cannot be trusted: {error.verify_message}", advice
