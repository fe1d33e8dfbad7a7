"""A log on S3, where nothing can be appended to: one object for each append, joined when read.

The parts lie below the log's own name; their names sort in the order of the appends. A part whose name ends
with `+base` stands for itself and everything before it, so that one put replaces a whole log at once.
"""

from __future__ import annotations

import secrets
import time

from crmsync.errors import TryAgain
from crmsync.state.bucket import Allowed, Blob, Bucket

BASE = "+base"
MOST_PARTS = 64
"""A log found in more parts than this is joined into one before it is appended to."""
_TRIES = 5


class PartedLog:
    """One log below `folder` (a key without a slash at its end). One thread at a time appends."""

    def __init__(self, bucket: Bucket, folder: str) -> None:
        self._bucket = bucket
        self._folder = folder
        self._last: str | None = None

    def read(self) -> bytes:
        """All of it. Raises TryAgain where others keep rewriting it meanwhile."""
        for _ in range(_TRIES):
            blobs = self._bucket.get_all(self._parts())
            whole = [blob for blob in blobs if isinstance(blob, Blob)]
            if len(whole) == len(blobs):
                return b"".join(blob.data for blob in whole)
        raise TryAgain(f"{self._bucket.where(self._folder)} keeps changing while it is read")

    def append(self, data: bytes, allowed: Allowed) -> None:
        if self._last is None and len(self._parts()) > MOST_PARTS:
            self.replace(self.read(), allowed)
        name = self._next()
        self._bucket.put(f"{self._folder}/{name}", data, allowed=allowed)
        self._last = name

    def replace(self, data: bytes, allowed: Allowed) -> None:
        """Put `data` in the place of everything that this object has read or appended."""
        if self._last is None:
            self._parts()
        base = (self._last or self._next()).removesuffix(BASE) + BASE
        self._bucket.put(f"{self._folder}/{base}", data, allowed=allowed)
        self._last = base
        keys = self._bucket.keys(f"{self._folder}/")
        self._bucket.delete_all([key for key in keys if key < f"{self._folder}/{base}"], allowed=allowed)

    def delete(self, allowed: Allowed) -> None:
        self._bucket.delete_all(self._bucket.keys(f"{self._folder}/"), allowed=allowed)
        self._last = None

    def _parts(self) -> list[str]:
        """The keys that count, in order: from the newest base on."""
        keys = self._bucket.keys(f"{self._folder}/")
        bases = [at for at, key in enumerate(keys) if key.endswith(BASE)]
        self._last = keys[-1].rpartition("/")[2] if keys else ""
        return keys[bases[-1] :] if bases else keys

    def _next(self) -> str:
        """A name that sorts after every name seen here, whatever this machine's clock says."""
        last = int((self._last or "0").partition("-")[0])
        return f"{max(time.time_ns(), last + 1):020d}-{secrets.token_hex(4)}"
