"""One Zabbix's API: logging in, one call after the other, and every way in which it fails, in words for an admin.

The only user of zabbix_utils' ZabbixAPI. Of what the calls are for it knows only the permissions that they need.
"""

from __future__ import annotations

import os
import re
import ssl
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from zabbix_utils import APIRequestError, ModuleBaseException, ZabbixAPI

from sender.errors import ApiError, ApiRejectedError, ConfigError
from sender.settings.files import why_unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from sender.commands.provision.credentials import Login

_OLDEST = (6, 0)
_ANSWER_S = 15
_WORK_S = 600  # to change a template is to change every host that has it
_APPLICATION_ERROR = -32500  # ZBX_API_ERROR_PERMISSIONS, include/classes/core/CJsonRpc.php
_READ_BY_THE_LIBRARY = ("ZABBIX_URL", "ZABBIX_TOKEN", "ZABBIX_USER", "ZABBIX_PASSWORD")
_FOREIGN = (
    ModuleBaseException,
    HTTPException,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    RecursionError,
)

_IS_IT = "Is this the address of Zabbix's web interface, such as https://zabbix.example.com/zabbix?"
_HOST_NEEDS = (
    "The user needs a role of type Admin that allows this method, with read-write permission to the host's groups and read "
    "permission to the template's; or a role of type Super admin."
)
_TEMPLATE_NEEDS = (
    "The user needs a role of type Admin with read-write permission to the template's group, or one of type Super admin. Or "
    "let such a user import the template, and give --keep-template."
)
_NEEDS = {
    "configuration.import": _TEMPLATE_NEEDS,
    "configuration.importcompare": _TEMPLATE_NEEDS,
    "host.create": _HOST_NEEDS,
    "host.massadd": _HOST_NEEDS,
    "host.update": _HOST_NEEDS,
    "hostgroup.create": "Only a role of type Super admin may create groups. Let such a user create it, or give another "
    "with --group.",
}
_CERTIFICATES = "expected certificates of CAs in PEM form"
_CREATING = ("configuration.import", "host.create", "hostgroup.create")
_NEEDS_ANY = "The user's role must allow this API method."


def checked_url(text: str) -> str:
    """Return the address of the web interface, from what somebody copied from a browser, say. Raises ConfigError."""
    url = re.sub(r"[^/]*\.php(\?.*)?$", "", text)
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not re.fullmatch(r"[!-~]+", url) or "@" in url or "#" in url or "?" in url:
        quoted = "" if set(text) & set("@%?#") else f"is {text!r}; "  # a password may stand there
        raise ConfigError(
            [
                f"--url: {quoted}expected the address of Zabbix's web interface, such as https://zabbix.example.com/zabbix"
            ]
        )
    return url


def is_in_clear(url: str) -> bool:
    """Return whether secrets sent there can be read on the way."""
    return urlsplit(url).scheme == "http" and urlsplit(url).hostname not in ("127.0.0.1", "::1", "localhost")


class Api:
    """A session at Zabbix's API, as a context manager, which ends one that a password began. Raises ApiError."""

    def __init__(self, url: str, login: Login, trusted: ssl.SSLContext) -> None:
        self.url = url
        for name in _READ_BY_THE_LIBRARY:  # and mixed with what it is given
            os.environ.pop(name, None)
        try:
            self._api = ZabbixAPI(url=url, skip_version_check=True, timeout=_ANSWER_S, ssl_context=trusted)
            self.version = tuple(int(number) for number in re.findall(r"\d+", str(self._api.version))[:2])
        except _FOREIGN as error:
            raise self._failure(error) from error
        if self.version < _OLDEST:
            raise ApiError(
                f"{url}: is Zabbix {self._api.version}, but `provision` needs 6.0 or later",
                advice="Import the template by hand: `tcp-status-sender template --format 3.4` prints it.",
            )
        self._log_in(login)
        self._api.timeout = _WORK_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(*_FOREIGN):  # an idle session ends by itself
            self._api.logout()

    def call(self, method: str, params: Any) -> Any:
        """Return what the API answers. Raises ApiRejectedError where it says no, ApiError where it does not answer."""
        try:
            return self._api.send_api_request(method, params)["result"]
        except APIRequestError as error:
            raise _rejection(method, error) from error
        except _FOREIGN as error:
            raise self._failure(error, method) from error

    def _failure(self, error: BaseException, *method: str) -> ApiError:
        asked = f"{self.url.rstrip('/')}/api_jsonrpc.php"  # what the library makes of the address
        found, advice = _why(error, asked)
        return ApiError(": ".join((self.url, *method, found)), advice=advice)

    def _log_in(self, login: Login) -> None:
        what = "the API token" if login.token else "the user or the password"
        try:
            self._api.login(
                **({"token": login.token} if login.token else {"user": login.user, "password": login.password})
            )
            self._api.check_auth()
        except APIRequestError as error:
            advice = "Was it copied whole? Has it expired? Is it or its user disabled?" if login.token else ""
            raise ApiError(f"{self.url}: rejects {what}: {_reason(error)}", advice=advice) from error
        except _FOREIGN as error:
            raise self._failure(error) from error


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Return what trusts the CAs in `ca_file`, or the system's without one. Raises ConfigError."""
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError([f"--ca-file {ca_file}: holds no certificates; {_CERTIFICATES}"]) from error
    except OSError as error:
        raise ConfigError([f"--ca-file {ca_file}: {why_unreadable(error)}; {_CERTIFICATES}"]) from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # on from Python 3.13; refuses what many a company's own CA signs
    return context


def _reason(error: Any) -> str:
    """Return what the server said, without any key or token: it may quote a statement of its database."""
    said = getattr(error, "data", "") or getattr(error, "message", "") or error
    return re.sub(r"[0-9A-Fa-f]{32,}", "(hidden)", str(said))[:1000].rstrip(".!")


def _rejection(method: str, error: Any) -> ApiRejectedError:
    reason = _reason(error)
    found, advice = f"{method} was rejected: {reason}", ""
    if "authori" in reason.lower():  # good for checkAuthentication, which takes it in the body
        advice = "Does the web server pass the header Authorization on to PHP?"
    elif method in _CREATING and "already exists" in reason:
        found, advice = f"{found}, where this user may not read or change it", _NEEDS[method]
    elif getattr(error, "code", None) == _APPLICATION_ERROR or "permission" in reason.lower():
        advice = _NEEDS.get(method, _NEEDS_ANY)
    return ApiRejectedError(found, advice=advice)


def _why(error: BaseException, asked: str) -> tuple[str, str]:
    """Return what is wrong, and what may help; the library puts the cause into the context of its own errors."""
    cause = error.__context__ if isinstance(error, ModuleBaseException) and error.__context__ else error
    match cause:
        case HTTPError(url=url) if url != asked:
            return f"leads to {str(url).removesuffix('api_jsonrpc.php')}", "Give that address."
        case HTTPError(code=code, reason=reason) if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return f"answers HTTP {code} {reason}", "See the log of its web server."
        case HTTPError(code=code, reason=reason):
            return f"answers HTTP {code} {reason}", _IS_IT
        case URLError(reason=BaseException() as reason):
            return _why(reason, asked)
        case _:
            return _why_no_answer(cause)


def _why_no_answer(cause: BaseException) -> tuple[str, str]:
    match cause:
        case ssl.SSLCertVerificationError():
            advice = "If a CA of your own signed it, give that CA's certificate with --ca-file."
            return f"its certificate cannot be trusted: {cause.verify_message}", advice
        case ssl.SSLError():
            return f"does not speak TLS with us: {cause.reason or cause.strerror}", "Is it https there?"
        case TimeoutError():
            return "does not answer in time", "Is a firewall in between?"
        case ConnectionResetError():
            return "closes the connection without an answer, as Zabbix's trapper does", _IS_IT
        case OSError():
            return f"cannot be reached: {cause.strerror or cause}", ""
        case _:
            return "does not answer as Zabbix's API does", _IS_IT
