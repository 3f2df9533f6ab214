"""One Zabbix's API: logging in, one call after the other, and every way in which it fails, in words for an admin.

The only user of zabbix_utils' ZabbixAPI. Knows nothing of what the calls are for.
"""

from __future__ import annotations

import os
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from zabbix_utils import APIRequestError, APIVersion, ModuleBaseException, ZabbixAPI

from sender.commands.provision import failures
from sender.commands.provision.failures import API, quoted, why
from sender.commands.provision.first_question import version_at
from sender.errors import ApiError, ApiRejectedError, ConfigError
from sender.settings.files import why_unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from sender.commands.provision.credentials import Login

_OLDEST = (6, 0)
_NO_INTERFACE = (5, 2)  # from this one on a host needs none
_ANSWER_S = 15
_WORK_S = 600  # to change a template is to change every host that has it
_READ_BY_THE_LIBRARY = ("ZABBIX_URL", "ZABBIX_TOKEN", "ZABBIX_USER", "ZABBIX_PASSWORD")
_FOREIGN = (ModuleBaseException, *failures.FOREIGN)
_CERTIFICATES = "expected certificates of CAs in PEM form"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who is logged in: the type of the role, 1 to 3 for User, Admin and Super admin, and its id; 0 and "" if unknown."""

    kind: int = 0
    role_id: str = ""


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


class _Library(ZabbixAPI):  # type: ignore[misc]  # the library has no types
    """zabbix_utils' API at a Zabbix whose version is known already: it takes none with letters, such as 7.4.0rc1."""

    def __init__(self, version: APIVersion, **options: Any) -> None:
        self._known = version
        super().__init__(**options)

    def api_version(self) -> APIVersion:
        """Return it, as the library's own methods ask for it."""
        return self._known


class Api:
    """A session at Zabbix's API, as a context manager, which ends one that a password began. Raises ApiError."""

    def __init__(self, url: str, login: Login, trusted: ssl.SSLContext) -> None:
        self.url = url
        for name in _READ_BY_THE_LIBRARY:  # and mixed with what it is given
            os.environ.pop(name, None)
        version = version_at(url, trusted, _ANSWER_S)
        first, second, third = re.findall(r"\d+", version)[:3]
        self.version = (int(first), int(second))
        if self.version < _OLDEST:
            interface = "" if self.version >= _NO_INTERFACE else " Give the host an interface: before 5.2 it needs one."
            raise ApiError(
                f"{url}: is Zabbix {version}, but `provision` needs 6.0 or later",
                advice=f"Import the template by hand: `tcp-status-sender template --format 3.4` prints it.{interface}",
            )
        known = APIVersion(f"{first}.{second}.{third}")
        try:
            self._api = _Library(known, url=url, skip_version_check=True, timeout=_ANSWER_S, ssl_context=trusted)
        except _FOREIGN as error:
            raise self._failure(error) from error
        self._has_session = not login.token
        self.user = self._log_in(login)
        self._api.timeout = _WORK_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._has_session:
            with suppress(*_FOREIGN):  # an idle session ends by itself
                self._api.send_api_request("user.logout")

    def call(self, method: str, params: Any) -> Any:
        """Return what the API answers. Raises ApiRejectedError where it says no, ApiError where it does not answer."""
        try:
            result = self._api.send_api_request(method, params)["result"]
            if method.endswith(".get") and not _is_list_of_objects(result):
                raise ValueError(f"no list of objects: {result!r:.80}")
        except APIRequestError as error:
            raise ApiRejectedError(f"{method} was rejected: {quoted(error)}") from error
        except _FOREIGN as error:
            raise self._failure(error, method) from error
        return result

    def _failure(self, error: BaseException, *method: str) -> ApiError:
        asked = f"{self.url.rstrip('/')}/{API}"  # what the library makes of the address
        cause = error.__context__ if isinstance(error, ModuleBaseException) else None  # where the library puts it
        found, advice = why(cause or error, asked)
        return ApiError(": ".join((self.url, *method, found)), advice=advice)

    def _log_in(self, login: Login) -> User:
        """Return who it is. What a password begins goes on as with a token, as the library says nothing else about a user."""
        what = "the API token" if login.token else "the user or the password"
        try:
            if login.token:
                method, known = "user.checkAuthentication", dict[str, Any](token=login.token)
            else:
                method, known = "user.login", {"username": login.user, "password": login.password, "userData": True}
            user = self._api.send_api_request(method, known, need_auth=False)["result"]
            self._api.login(token=login.token or user["sessionid"])
            return User(kind=int(user.get("type", 0)), role_id=str(user.get("roleid", "")))
        except APIRequestError as error:
            advice = "Was it copied whole? Has it expired? Is it or its user disabled?" if login.token else ""
            raise ApiError(f"{self.url}: rejects {what}: {quoted(error, login.password)}", advice=advice) from error
        except _FOREIGN as error:
            raise self._failure(error) from error


def _is_list_of_objects(result: Any) -> bool:
    return isinstance(result, list) and all(isinstance(each, dict) for each in result)


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
