"""SOAP login through simple-salesforce, over a session of ours: a timeout, and the configured login host.

simple-salesforce writes its own `https://….salesforce.com` address, sends no timeout and overlooks an expired
password (contract 5.3 no. 1, 8 and 11); the session given to it here makes up for all three.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests

from crmsync.errors import AuthError, ConfigError, CrmsyncError, Outage
from crmsync.http import CONNECT_TIMEOUT, PASSING_STATUSES, USER_AGENT, failure, is_loopback, origin_of

LOGIN_TIMEOUT = 60.0
PASSING_FAULTS = frozenset({"SERVER_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"})


class _LoginSession(requests.Session):
    """Sends every request to one host, within a timeout, and remembers the last reply."""

    def __init__(self, login_url: str) -> None:
        super().__init__()
        self._target = urlsplit(login_url)
        self.headers["User-Agent"] = USER_AGENT
        self.last: requests.Response | None = None

    def request(self, method: Any, url: Any, **options: Any) -> requests.Response:  # type: ignore[override]  # same call, spelled shorter
        parts = urlsplit(str(url))
        redirected = urlunsplit((self._target.scheme, self._target.netloc, parts.path, parts.query, ""))
        options["timeout"] = (CONNECT_TIMEOUT, LOGIN_TIMEOUT)
        options["allow_redirects"] = False
        options["auth"] = _no_netrc
        self.last = super().request(method, redirected, **options)
        return self.last


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def soap_login(login_url: str, username: str, password: str, security_token: str) -> tuple[str, str]:
    """Log in and return the session id and the instance's URL.

    Raises AuthError when the login is refused or the password has expired, Outage where it may be accepted
    later, ConfigError where no Salesforce login answers.
    """
    from xml.parsers.expat import ExpatError

    from simple_salesforce.exceptions import SalesforceAuthenticationFailed
    from simple_salesforce.login import SalesforceLogin

    session = _LoginSession(login_url)
    try:
        token, host = SalesforceLogin(
            username=username, password=password, security_token=security_token, session=session
        )
    except SalesforceAuthenticationFailed as refused:
        raise _refusal(refused.code, session.last) from None
    except OSError as error:
        raise failure(error, "Salesforce's SOAP login", origin_of(login_url)) from None
    except (ExpatError, ValueError):
        raise _refusal(None, session.last) from None
    finally:
        session.close()
    if session.last is not None and "<passwordExpired>true" in session.last.text:
        raise AuthError(
            "the password of SALESFORCE_USERNAME has expired",
            hint="Set a new one in Salesforce; a new security token comes with it.",
        )
    bare_host = urlsplit(f"//{host}").hostname or ""
    scheme = urlsplit(login_url).scheme if is_loopback(bare_host) else "https"
    return str(token), f"{scheme}://{host}"


def _refusal(code: str | int | None, reply: requests.Response | None) -> CrmsyncError:
    """The error for a login that failed: by its fault's code, else by its HTTP status."""
    status = reply.status_code if reply is not None else 0
    if code in PASSING_FAULTS or (not isinstance(code, str) and status in PASSING_STATUSES):
        return Outage(f"Salesforce's SOAP login is not available now ({code or f'HTTP {status}'})")
    if isinstance(code, str):
        return AuthError(
            f"Salesforce refused the SOAP login ({code})",
            hint="Check SALESFORCE_USERNAME, SALESFORCE_PASSWORD and SALESFORCE_SECURITY_TOKEN.",
        )
    return ConfigError(
        f"the login host did not answer as Salesforce's SOAP login does (HTTP {status})",
        hint="Check SALESFORCE_LOGIN_URL.",
    )
