"""The first question to an address: which version of Zabbix answers there, and where else the address leads.

No secret goes with it. zabbix_utils asks it too, but it takes no version with letters, and does not say where it was redirected
to.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

from sender.commands.provision.failures import API, FOREIGN, IS_IT, MAX_ANSWER, REDIRECTS, error_in, quoted, shown, why
from sender.errors import ApiError

if TYPE_CHECKING:
    import ssl

_QUESTION = json.dumps({"jsonrpc": "2.0", "method": "apiinfo.version", "params": {}, "id": 1}).encode()
_VERSION = re.compile(r"\d+\.\d+\.\d+(?!\d)[!-~]{0,40}")  # 7.0.22, 7.4.0rc1
_MOST_HOPS = 5
_ITS_WORDS = "These are its own words: it has to be well before `provision` can work. Open it in a browser."


def version_at(url: str, trusted: ssl.SSLContext, timeout_s: float) -> str:
    """Return the version of the Zabbix whose web interface has this address. Raises ApiError."""
    at = asked = f"{url.rstrip('/')}/{API}"
    opener = build_opener(_Stay, HTTPSHandler(context=trusted))
    for _ in range(_MOST_HOPS):
        try:
            version = _ask(opener, at, timeout_s)
        except HTTPError as error:
            location = error.headers.get("Location") if error.code in REDIRECTS else None
            if not location:
                raise _failure(url, asked, at, *why(error, at)) from error
            at = urljoin(at, location)
            if urlsplit(at).scheme not in ("http", "https"):
                raise ApiError(f"{url}: leads to {shown(at)}", advice=IS_IT) from error
        except FOREIGN as error:
            raise _failure(url, asked, at, *why(error, at)) from error
        except ApiError as error:
            raise _failure(url, asked, at, error.found, error.advice) from error
        else:
            if at != asked:
                raise ApiError(f"{url}: leads to {shown(at)}", advice="Give that address.")
            return version
    raise ApiError(f"{url}: leads from one address to another without end, in the end to {shown(at)}", advice=IS_IT)


class _Stay(HTTPRedirectHandler):
    """Follows no redirect: urllib would go on with a GET, or not at all, and would not say where it failed."""

    def redirect_request(self, *_: object) -> None:
        """Return nothing, by which the redirect becomes an HTTPError."""


def _ask(opener: OpenerDirector, at: str, timeout_s: float) -> str:
    """Return the version. Raises ApiError about the answer, and what urllib and json raise."""
    headers = {"Content-Type": "application/json-rpc", "Accept": "application/json"}
    with opener.open(Request(at, _QUESTION, headers), timeout=timeout_s) as answer:  # noqa: S310  http or https: checked
        body, until = b"", time.monotonic() + timeout_s  # the library's limit is of each part that comes
        while part := answer.read1(MAX_ANSWER - len(body)):
            body += part
            if time.monotonic() > until:
                raise TimeoutError("timed out")
    if error := error_in(body):
        raise ApiError(f"says: {quoted(error)}", advice=_ITS_WORDS)
    version = json.loads(body)["result"]
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ValueError("no version")
    return version


def _failure(url: str, asked: str, at: str, found: str, advice: str) -> ApiError:
    """Return the error about who failed: the address itself, or the one to which it leads."""
    return ApiError(f"{url}: {found}" if at == asked else f"{url}: leads to {shown(at)}, which {found}", advice=advice)
