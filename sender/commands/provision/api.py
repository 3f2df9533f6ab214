"""One Zabbix's API: logging in, one call after the other, and every way in which it fails, in words for an admin.

The only user of zabbix_utils' ZabbixAPI; knows nothing of what the calls are for, except what they need to be allowed.
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

from sender.errors import ApiError, ApiRefusedError, ConfigError

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

_IS_IT = "is this the address of Zabbix's web interface, such as https://zabbix.example.com/zabbix?"
_HOST_NEEDS = (
    "the user needs a role of type Admin that allows this method, with read-write permission to the host's groups and read "
    "permission to the template's; or of type Super admin"
)
_TEMPLATE_NEEDS = (
    "the user needs a role of type Admin with read-write permission to the template's group, or of type Super admin; or "
    "let such a user import the template, and give --keep-template"
)
_NEEDS = {
    "configuration.import": _TEMPLATE_NEEDS,
    "configuration.importcompare": _TEMPLATE_NEEDS,
    "host.create": _HOST_NEEDS,
    "host.massadd": _HOST_NEEDS,
    "host.update": _HOST_NEEDS,
    "hostgroup.create": "only a role of type Super admin may create groups; let such a user create it, or give another "
    "with --group",
}
_CREATING = ("configuration.import", "host.create", "hostgroup.create")
_NEEDS_ANY = "the user's role must allow this API method"


def checked_url(text: str) -> str:
    """The address of the web interface, from what somebody copied from a browser, say. Raises ConfigError."""
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
    """Whether secrets sent there can be read on the way."""
    return urlsplit(url).scheme == "http" and urlsplit(url).hostname not in ("127.0.0.1", "::1", "localhost")


class Api:
    """A context manager: logged in, until a session that a password began is ended."""

    def __init__(self, url: str, login: Login, ca_file: Path | None = None) -> None:
        self.url = url
        for name in _READ_BY_THE_LIBRARY:  # and mixed with what it is given
            os.environ.pop(name, None)
        context = _trusting(ca_file)
        try:
            self._api = ZabbixAPI(url=url, skip_version_check=True, timeout=_ANSWER_S, ssl_context=context)
            self.version = tuple(int(number) for number in re.findall(r"\d+", str(self._api.version))[:2])
        except _FOREIGN as error:
            raise ApiError(f"{url}: {_why(error, self._asked)}") from error
        if self.version < _OLDEST:
            raise ApiError(
                f"{url}: is Zabbix {self._api.version}; this needs 6.0 or later. Import the template by hand there: "
                "`tcp-status-sender template --format 3.4` prints it"
            )
        self._log_in(login)
        self._api.timeout = _WORK_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(*_FOREIGN):  # an idle session ends by itself
            self._api.logout()

    def call(self, method: str, params: Any) -> Any:
        """What the API answers. Raises ApiRefusedError where it says no, ApiError where it does not answer."""
        try:
            return self._api.send_api_request(method, params)["result"]
        except APIRequestError as error:
            raise ApiRefusedError(_refusal(method, error)) from error
        except _FOREIGN as error:
            raise ApiError(f"{self.url}: {method}: {_why(error, self._asked)}") from error

    @property
    def _asked(self) -> str:
        """What the library makes of the address."""
        return f"{self.url.rstrip('/')}/api_jsonrpc.php"

    def _log_in(self, login: Login) -> None:
        what = "the API token" if login.token else "the user or the password"
        try:
            self._api.login(
                **({"token": login.token} if login.token else {"user": login.user, "password": login.password})
            )
            self._api.check_auth()
        except APIRequestError as error:
            hint = "; was it copied whole, has it expired, is it or its user disabled?" if login.token else ""
            raise ApiError(f"{self.url}: refuses {what}: {_reason(error)}{hint}") from error
        except _FOREIGN as error:
            raise ApiError(f"{self.url}: {_why(error, self._asked)}") from error


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Trusts the CAs in `ca_file` instead of the system's. Raises ConfigError."""
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ValueError) as error:
        is_found = isinstance(error, ssl.SSLError)
        reason = (
            "holds no certificates in PEM form" if is_found else f"cannot be read: {getattr(error, 'strerror', error)}"
        )
        raise ConfigError([f"--ca-file {ca_file}: {reason}"]) from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # on from Python 3.13; refuses what many a company's own CA signs
    return context


def _reason(error: Any) -> str:
    """What the server said; it may quote a statement of its database, with a key or a token in it."""
    said = getattr(error, "data", "") or getattr(error, "message", "") or error
    return re.sub(r"[0-9A-Fa-f]{32,}", "(hidden)", str(said))[:1000].rstrip(".!")


def _refusal(method: str, error: Any) -> str:
    reason = _reason(error)
    said = f"{method} is refused: {reason}"
    if "authori" in reason.lower():  # good for checkAuthentication, which takes it in the body
        return f"{said}; does the web server pass the header Authorization on to PHP?"
    if method in _CREATING and "already exists" in reason:
        return f"{said}, where this user may not read or change it; {_NEEDS[method]}"
    if getattr(error, "code", None) == _APPLICATION_ERROR or "permission" in reason.lower():
        return f"{said}; {_NEEDS.get(method, _NEEDS_ANY)}"
    return said


def _why(error: BaseException, asked: str) -> str:
    """What is wrong, and what may help; the library puts the cause into the context of its own errors."""
    cause = error.__context__ if isinstance(error, ModuleBaseException) and error.__context__ else error
    match cause:
        case HTTPError(url=url) if url != asked:
            said = f"leads to {str(url).removesuffix('api_jsonrpc.php')}; give that address"
        case HTTPError(code=code, reason=reason) if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            said = f"answers HTTP {code} {reason}; its web server's log says why"
        case HTTPError(code=code, reason=reason):
            said = f"answers HTTP {code} {reason}; {_IS_IT}"
        case URLError(reason=BaseException() as reason):
            said = _why(reason, asked)
        case ssl.SSLCertVerificationError():
            said = (
                f"its certificate cannot be trusted: {cause.verify_message}; if a CA of your own signed it, give that "
                "CA's certificate with --ca-file"
            )
        case ssl.SSLError():
            said = f"does not speak TLS with us: {cause.reason or cause.strerror}; is it https there?"
        case TimeoutError():
            said = "does not answer in time; is a firewall in between?"
        case ConnectionResetError():
            said = f"closes the connection without an answer, as Zabbix's trapper does; {_IS_IT}"
        case OSError():
            said = f"cannot be reached: {cause.strerror or cause}"
        case _:
            said = f"does not answer as Zabbix's API does; {_IS_IT}"
    return said
