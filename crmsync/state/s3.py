"""State in an S3 bucket: compare-and-swap by ETag, logs in parts, and what a lease fences off.

Below a sync's name the outbox, the jobs and the local copy of the ledger belong to a *generation* of its
lease: their keys carry its number. Who takes a lease over begins the next one, so that a run which wakes after
it lost its lease can neither put a batch into the outbox nor touch the ledger that its successor uses.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from crmsync.errors import StateConflict, StateError
from crmsync.state.bucket import ABSENT, ATTEMPTS, Allowed, Bucket, anyone
from crmsync.state.parted_log import PartedLog
from crmsync.state.store import PREVIOUS, Document, FileStore

LEASE = "lease.json"
FENCED = ("outbox", "jobs", "ledger.sqlite")
"""What lies below a sync's name and belongs to one generation of its lease."""


class Fence:
    """A held lease as the store sees it.

    `check` raises StateConflict once the lease is no longer ours; `busy` says whether something is being
    written under it just now.
    """

    def __init__(self, generation: int, check: Callable[[], None]) -> None:
        self.generation = generation
        self.check = check
        self._writers = 0
        self._lock = threading.Lock()

    @property
    def busy(self) -> bool:
        return self._writers > 0

    def __enter__(self) -> None:
        with self._lock:
            self._writers += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._writers -= 1


class S3Store:
    """A Store in `s3://bucket/prefix`. Safe to use from several threads.

    `cache` is a folder for local copies; without it they live in a folder that ends with the process.
    `endpoint` names another server than AWS_ENDPOINT_URL_S3 and boto3's own settings do.
    """

    def __init__(
        self,
        uri: str,
        cache: Path | None = None,
        endpoint: str | None = None,
        *,
        allow_http_hosts: Sequence[str] = (),
    ) -> None:
        parts = urlsplit(uri)
        prefix = parts.path.strip("/")
        self.location = f"s3://{parts.netloc}/{prefix}".rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._bucket = Bucket(parts.netloc, endpoint, allow_http_hosts)
        self._logs: dict[str, PartedLog] = {}
        self._fences: dict[str, Fence] = {}
        self._ended: set[str] = set()
        self._kept_previous: set[str] = set()
        self._private = None if cache else tempfile.TemporaryDirectory(prefix="crmsync-")
        here = self._private.name if self._private else f"{cache}/s3-{_short(self.location)}"
        self._local = FileStore(here)

    def read(self, name: str) -> Document | None:
        found = self.read_aged(name)
        return found[0] if found else None

    def read_aged(self, name: str) -> tuple[Document, float] | None:
        """A document, and the seconds since it was written by the server's clock."""
        blob = self._bucket.get(self._key(name))
        return (Document(blob.data, blob.etag), blob.age) if blob else None

    def write(self, name: str, data: bytes, expected: str | None, *, attempts: int = ATTEMPTS) -> str:
        with self._writing(name) as allowed:
            if expected and name.endswith("/state.json"):
                self._keep_previous(name, expected, allowed)
            return self._bucket.put(
                self._key(name), data, expected or ABSENT, allowed=allowed, attempts=attempts
            )

    def put(self, name: str, data: bytes) -> None:
        with self._writing(name) as allowed:
            self._bucket.put(self._key(name), data, allowed=allowed)

    def append(self, name: str, data: bytes) -> None:
        with self._writing(name) as allowed:
            self._log(name).append(data, allowed)

    def read_log(self, name: str) -> bytes:
        return self._log(name).read()

    def replace_log(self, name: str, data: bytes) -> None:
        with self._writing(name) as allowed:
            self._log(name).replace(data, allowed)

    def names(self, prefix: str) -> list[str]:
        folder = f"{self._key(prefix)}/"
        keys = self._bucket.keys(folder, deep=False)
        return [f"{prefix}/{key.removeprefix(folder)}" for key in keys if not key.endswith(PREVIOUS)]

    def delete(self, name: str) -> None:
        with self._writing(name) as allowed:
            key = self._key(name)
            self._bucket.delete(key, allowed=allowed)
            if not _is_fenced(name):
                self._bucket.delete(key + PREVIOUS, allowed=allowed)
                self._log(name).delete(allowed)

    def local(self, name: str) -> Path:
        return self._local.local(self._placed(name))

    def find(self, name: str) -> Path | None:
        return self._local.find(self._placed(name))

    def upload(self, name: str, path: Path) -> None:
        """Store a local file of any size under a name of its own."""
        with self._writing(name) as allowed:
            self._bucket.upload(self._key(name), path, allowed=allowed)

    def download(self, name: str, path: Path) -> bool:
        """Fetch such a file; False where there is none."""
        return self._bucket.download(self._key(name), path)

    def stand_under(self, sync: str, fence: Fence) -> None:
        """From now on everything below the sync's name is written under this lease, or not at all."""
        self._ended.discard(sync)
        self._fences[sync] = fence

    def stand_free(self, sync: str) -> None:
        """The lease has been given back: what it fenced off is closed to stragglers of this process."""
        self._ended.add(sync)
        self._fences.pop(sync, None)

    def generations(self, sync: str) -> list[int]:
        """The generations that have left something in the outbox, oldest first."""
        return sorted({generation for _, generation, _ in self._parcels(sync)})

    def inherit(self, sync: str, floor: int, generation: int) -> None:
        """Bring what generations from `floor` on have left into the outbox of this one; drop what is older.

        Whatever an earlier run still writes there afterwards is never looked at.
        """
        while strays := [entry for entry in self._parcels(sync) if entry[1] != generation]:
            with self._writing(f"{sync}/outbox") as allowed:
                for key, left_by, heir in strays:
                    blob = self._bucket.get(key) if left_by >= floor else None
                    if blob:
                        self._bucket.put(heir.format(generation=generation), blob.data, allowed=allowed)
                    self._bucket.delete(key, allowed=allowed)

    def _parcels(self, sync: str) -> list[tuple[str, int, str]]:
        """What is in the outbox in anybody's name: its key, the generation, the key under another one."""
        found = []
        for kind in ("outbox", "jobs"):
            folder = f"{self._prefix}{sync}/{kind}/"
            for key in self._bucket.keys(folder):
                number, _, rest = key.removeprefix(folder).partition("/")
                if number.isdigit():
                    found.append((key, int(number), f"{folder}{{generation:010d}}/{rest}"))
        return found

    def _key(self, name: str) -> str:
        return self._prefix + self._placed(name)

    def _placed(self, name: str) -> str:
        """The name with the generation of the lease put in where it belongs to one."""
        if not _is_fenced(name):
            return name
        sync, kind, *rest = name.split("/")
        return "/".join([sync, kind, f"{self._generation(sync):010d}", *rest])

    def _generation(self, sync: str) -> int:
        fence = self._fences.get(sync)
        if fence:
            return fence.generation
        found = self.read(f"{sync}/{LEASE}")
        return generation_of(found.data, f"{self.location}/{sync}/{LEASE}") if found else 0

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[Allowed]:
        """What a write has to ask before every try. The lease itself stands under none."""
        sync = name.partition("/")[0]
        fence = self._fences.get(sync)
        if fence is None or name == f"{sync}/{LEASE}":
            yield anyone if not (sync in self._ended and _is_fenced(name)) else _too_late
            return
        with fence:
            yield fence.check

    def _keep_previous(self, name: str, expected: str, allowed: Allowed) -> None:
        """Once in this store's life: put aside what the last run left."""
        if name not in self._kept_previous:
            present = self._bucket.get(self._key(name))
            if present and present.etag == expected:
                self._bucket.put(self._key(name) + PREVIOUS, present.data, allowed=allowed)
            self._kept_previous.add(name)

    def _log(self, name: str) -> PartedLog:
        return self._logs.setdefault(name, PartedLog(self._bucket, self._key(name)))


def generation_of(lease: bytes, where: str) -> int:
    """The generation that a lease document names. Raises StateError."""
    try:
        return int(orjson.loads(lease)["generation"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise StateError(
            f"{where} cannot be read", hint="Make sure that no run is at work, then remove that object."
        ) from None


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _is_fenced(name: str) -> bool:
    return name.partition("/")[2].partition("/")[0] in FENCED


def _too_late() -> None:
    raise StateConflict("the lease has been given back; nothing more is written under it")
