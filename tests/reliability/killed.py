"""`crmsync` in a process that kills itself, as `kill -9` would, before one of its I/O steps.

    python tests/reliability/killed.py STEP pull --json

STEP 0 never comes. The last line on stderr tells the step it died before, or how many it took in all. A lease
lasts two seconds here, so that nobody waits long for a dead holder's; bulk jobs are asked for more often.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crmsync.cli import main, wiring
from crmsync.sources.salesforce import bulk
from crmsync.state import lease, store
from reliability.steps import Steps, count_store, counted_io

DIED, TOOK = "died before ", "took "


def die(steps: Steps) -> None:
    os.write(2, f"{DIED}{steps.taken[-1]}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)


def halved(write_all: Any, steps: Steps) -> Any:
    """Writing a file with a step between its halves."""

    def write(descriptor: int, data: bytes) -> None:
        write_all(descriptor, data[: len(data) // 2])
        steps.take("store half of a file")
        write_all(descriptor, data[len(data) // 2 :])

    return write


def run(last: int, arguments: list[str]) -> None:
    steps = Steps(last or None, end=lambda: die(steps))
    atexit.register(lambda: os.write(2, f"{TOOK}{len(steps.taken)} steps\n".encode()))
    open_store = wiring.open_store
    with ExitStack() as patches:
        patches.enter_context(counted_io(steps))
        patches.enter_context(
            patch.object(wiring, "open_store", lambda config: count_store(open_store(config), steps))
        )
        patches.enter_context(patch.object(store, "_write_all", halved(store._write_all, steps)))
        patches.enter_context(patch.object(lease, "Terms", partial(lease.Terms, 2.0, 0.2, 0.5)))
        patches.enter_context(patch.object(bulk, "FIRST_POLL", 0.02))
        sys.argv = ["crmsync", *arguments]
        main()


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2:])
