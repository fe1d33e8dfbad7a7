"""Does an S3 server honour the conditions that the state relies on? Many that speak S3 silently do not."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from crmsync.errors import StateConflict, StateError
from crmsync.state.s3 import S3Store

RACERS = 8
STALE = '"00000000000000000000000000000000"'


def probe(store: S3Store) -> list[str]:
    """Try the conditions out on objects of its own, which are removed again.

    Gives a sentence for each that does not hold, none for a server that is fit. Raises what every call of the
    store may raise.
    """
    folder = f".probe-{secrets.token_hex(8)}"
    first, absent, raced = (f"{folder}/{name}" for name in ("first", "absent", "raced"))
    try:
        return list(_problems(store, folder, first, absent, raced))
    finally:
        for name in store.names(folder):
            store.delete(name)


def refuse_careless(store: S3Store) -> None:
    """Raises StateError for a server on which two runs could both believe that they hold the lease."""
    problems = probe(store)
    if problems:
        raise StateError(
            f"{store.location} cannot keep the state: {'; '.join(problems)}",
            hint="Use a server that honours If-Match and If-None-Match, or keep the state in a directory.",
        )


def _problems(store: S3Store, folder: str, first: str, absent: str, raced: str) -> list[str]:
    found = []
    version = store.write(first, b"1", None)
    if not _refused(lambda: store.write(first, b"2", None)):
        found.append("it ignores If-None-Match: * and replaces an object that is there")
    if not _refused(lambda: store.write(first, b"3", STALE)):
        found.append("it ignores If-Match and replaces an object of another version")
    if not _refused(lambda: store.write(absent, b"4", STALE)):
        found.append("it ignores If-Match and creates an object that is not there")
    if found:
        return found
    newer = store.write(first, b"5", version)
    document = store.read(first)
    if document is None or document.data != b"5" or document.version != newer:
        found.append("it does not give back what has just been written, or with another ETag")
    if store.names(folder) != [first]:
        found.append("it does not list at once what has just been written")
    if _winners(lambda racer: store.write(raced, racer, None)) != 1:
        found.append("of several that create an object at once not exactly one wins")
    version = store.write(f"{raced}-on", b"6", None)
    if _winners(lambda racer: store.write(f"{raced}-on", racer, version)) != 1:
        found.append("of several that replace one version at once not exactly one wins")
    return found


def _refused(write: Callable[[], object]) -> bool:
    try:
        write()
    except StateConflict:
        return True
    return False


def _winners(write: Callable[[bytes], object]) -> int:
    """How many of several writers at once are told that they have written."""

    def won(racer: int) -> bool:
        with contextlib.suppress(StateConflict):
            write(b"racer %d" % racer)
            return True
        return False

    with ThreadPoolExecutor(RACERS) as pool:
        return sum(pool.map(won, range(RACERS)))
