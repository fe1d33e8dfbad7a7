"""From what an operator wrote to a checked value, one small parser for each kind of setting. Pure.

A parser takes the setting, the value as written (text, or what toml makes of it) and the folder that relative
paths start from. It raises ValueError with the end of a sentence: `must be …`. No parser repeats a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from os.path import normpath
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from crmsync.config.durations import format_duration, parse_duration
from crmsync.config.settings import Kind, Setting
from crmsync.text import did_you_mean

LEAST_REJECTS = 50
"""A share of the records never means fewer rejects than this."""

_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|[0-9a-f:]+")
_S3 = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>/\S*)?")


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """How many new rejects a run may have: `fraction` (0 to 1) of its records, and always `least`."""

    fraction: float
    least: int

    def allowed(self, records: int) -> int:
        return max(self.least, int(round(records * self.fraction, 6)))

    def __str__(self) -> str:
        return _as_percent(self.fraction) if self.fraction else str(self.least)


def parse(setting: Setting, written: object, folder: Path) -> object:
    """The value of `setting`, inside its range. Raises ValueError with the end of a sentence."""
    value = _PARSERS[setting.kind](setting, written, folder)
    for bound, wrong in ((setting.least, _less), (setting.most, _more)):
        if bound is not None and wrong(value, _PARSERS[setting.kind](setting, bound, folder)):
            raise ValueError(_range(setting))
    return value


def show(value: object) -> str:
    """A parsed value as an operator would write it."""
    if value is None:
        return ""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float):
        return _as_percent(value)
    return str(value)


def _as_percent(fraction: float) -> str:
    return f"{fraction * 100:g}%"


def plain_http(url: str) -> bool:
    """Whether `url` would be spoken to without TLS, beyond this machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not _loopback(parts.hostname or "")


def _loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _less(value: object, bound: object) -> bool:
    return bool(value < bound)  # type: ignore[operator]  # both come from the same parser


def _more(value: object, bound: object) -> bool:
    return bool(value > bound)  # type: ignore[operator]  # both come from the same parser


def _range(setting: Setting) -> str:
    if setting.most is None:
        return f"must be at least {setting.least}"
    if setting.least is None:
        return f"must be at most {setting.most}"
    return f"must be from {setting.least} to {setting.most}"


def _text(setting: Setting, written: object, folder: Path) -> str:  # noqa: ARG001 — one signature for all parsers
    if isinstance(written, str):
        text = written.strip()
        if not text.isprintable():
            raise ValueError("must not hold a line break or another control character")
        return text
    if isinstance(written, int | float) and not isinstance(written, bool):
        return str(written)
    raise ValueError("must be a text" if setting.kind != "integer" else "must be a whole number")


def _secret(setting: Setting, written: object, folder: Path) -> str:  # noqa: ARG001 — one signature for all parsers
    if not isinstance(written, str):
        raise ValueError("must be a text")
    if setting.multiline:
        return written
    if written != written.strip() or not written.isprintable():
        raise ValueError(
            "must not begin or end with a blank, nor hold a line break or another control character"
        )
    return written


def _url(setting: Setting, written: object, folder: Path) -> str:
    text = _text(setting, written, folder).rstrip("/")
    parts = _split(text if "://" in text else f"https://{text}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry a user name or a password")
    if parts.fragment:
        raise ValueError("must not have a fragment (#…)")
    if setting.bare_host and (parts.path or parts.query):
        raise ValueError("must be a host only, without a path")
    if setting.bare_host and (parts.hostname or "").endswith(".lightning.force.com"):
        raise ValueError("must be the org's My Domain host, …my.salesforce.com, not the Lightning one")
    return parts.geturl()


def _split(url: str) -> SplitResult:
    wrong = "must be a URL such as https://host or https://host/path"
    try:
        parts = urlsplit(url)
        port_is_readable = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme not in ("http", "https") or not port_is_readable:
        raise ValueError(wrong)
    if not _HOST.fullmatch(parts.hostname or "") or not url.isprintable() or " " in url:
        raise ValueError(wrong)
    return parts


def _address(setting: Setting, written: object, folder: Path) -> str:
    """`host`, `host:port`, or the socket of an agent on this machine, `unix:///path`."""
    text = _text(setting, written, folder)
    if not re.fullmatch(r"unix:///\S+|[A-Za-z0-9_.-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?", text):
        raise ValueError("must be host:port or unix:///path")
    return text


def _duration(setting: Setting, written: object, folder: Path) -> timedelta:
    return written if isinstance(written, timedelta) else parse_duration(_text(setting, written, folder))


def _integer(setting: Setting, written: object, folder: Path) -> int:
    text = _text(setting, written, folder).replace("_", "")
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError("must be a whole number")
    return int(text)


def _percent(setting: Setting, written: object, folder: Path) -> float:
    text = _text(setting, written, folder).removesuffix("%").strip()
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,4})?", text) or float(text) > 100:
        raise ValueError("must be a percentage such as 80%")
    return float(text) / 100


def _share(setting: Setting, written: object, folder: Path) -> RejectLimit:
    text = _text(setting, written, folder)
    if text.endswith("%"):
        fraction = _percent(setting, text, folder)
        return RejectLimit(fraction, LEAST_REJECTS if fraction else 0)
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise ValueError("must be a percentage such as 5% or a count such as 200")
    return RejectLimit(0.0, int(text))


def _path(setting: Setting, written: object, folder: Path) -> Path:
    text = str(written) if isinstance(written, Path) else _text(setting, written, folder)
    if "://" in text or "\0" in text:
        raise ValueError("must be a path on this machine")
    if text.startswith("~"):
        raise ValueError("must be a path without ~: write it in full")
    return Path(normpath(folder / text))


def _location(setting: Setting, written: object, folder: Path) -> str:
    text = str(written).strip()
    if "://" not in text:
        return str(_path(setting, written, folder))
    if not _S3.fullmatch(text):
        raise ValueError("must be a directory or s3://bucket/prefix")
    return text.rstrip("/")


def _choice(setting: Setting, written: object, folder: Path) -> str:
    text = _text(setting, written, folder).lower().replace("-", "_")
    if text not in setting.choices:
        raise ValueError(f"must be one of {', '.join(setting.choices)}{did_you_mean(text, setting.choices)}")
    return text


def _list(setting: Setting, written: object, folder: Path) -> tuple[str, ...]:
    entries = written if isinstance(written, list | tuple) else _text(setting, written, folder).split(",")
    hosts = tuple(entry.strip().lower() if isinstance(entry, str) else "" for entry in entries if entry != "")
    if not all(_HOST.fullmatch(host) for host in hosts):
        raise ValueError("must be host names, without a scheme or a port")
    return hosts


def _version(setting: Setting, written: object, folder: Path) -> str:
    found = re.fullmatch(r"v?([0-9]{2,3})(\.0)?", _text(setting, written, folder))
    if not found:
        raise ValueError("must be an API version such as 62.0")
    return f"{found[1]}.0"


_PARSERS: dict[Kind, Callable[[Setting, object, Path], object]] = {
    "text": _text,
    "secret": _secret,
    "url": _url,
    "address": _address,
    "duration": _duration,
    "integer": _integer,
    "percent": _percent,
    "share": _share,
    "path": _path,
    "location": _location,
    "choice": _choice,
    "list": _list,
    "version": _version,
}
