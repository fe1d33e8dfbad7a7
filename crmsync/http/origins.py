"""Where a token may travel. Pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from crmsync.errors import AuthError, ConfigError


def origin_of(url: str) -> str:
    """`https://host:port`, lower-cased, default ports left out. Raises ConfigError for what is no URL."""
    try:
        parts = urlsplit(url)
        number = parts.port
    except ValueError:
        raise ConfigError("a URL with an unusable host or port") from None
    port = f":{number}" if number and number != {"https": 443, "http": 80}.get(parts.scheme) else ""
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_safe(url: str, allowed_http_hosts: tuple[str, ...] = ()) -> str:
    """Give the URL back if a token may travel to it: https, or http to loopback or an allowed host.

    Raises AuthError otherwise.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" and host:
        return url
    if parts.scheme == "http" and (is_loopback(host) or host in allowed_http_hosts):
        return url
    raise AuthError(
        f"a token may not travel to {origin_of(url)}",
        hint="Use https, or list the host in allow_http_hosts in crmsync.toml.",
    )
