"""How the servers behave, and what they have counted. Both can be set from outside between two runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

TOKEN = "00DBm0000000001!benchmark"
API_KEY = "benchmark-api-key"


@dataclass
class Settings:
    """Seconds: a page's, an acceptance's, a job's from its acceptance on, and an inline reply's."""

    page_seconds: float = 0.0
    accept_seconds: float = 0.0
    job_seconds: float = 0.0
    inline_seconds: float = 0.0
    mode: Literal["job", "inline"] = "job"


@dataclass
class Counts:
    """What happened since the last reset."""

    requests: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    records: int = 0
    delivered: bytearray = field(default_factory=bytearray)
    strangers: int = 0
