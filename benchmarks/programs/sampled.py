"""Runs crmsync, and writes where its CPU went: `python sampled.py SHARES ARGUMENTS…`.

Every few milliseconds each thread's CPU clock is read; what it used since is put down to the innermost function of
crmsync on that thread's stack, with all that it calls outside of crmsync. What threads used that ended in between
is `short-lived threads`. The threads' turns are kept short, for the sampler has its own only where one of theirs ends.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

EVERY = 0.005
TURN = 0.0005
OURS = "crmsync."


class Sampler(threading.Thread):
    """Counts, in `seconds`, until `stop`."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.seconds: Counter[str] = Counter()
        self._clocks: dict[int, float] = {}
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(EVERY):
            self.look()

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def look(self) -> None:
        for thread, frame in sys._current_frames().items():
            try:
                used = time.clock_gettime(time.pthread_getcpuclockid(thread))
            except OSError:
                continue
            owner = "the sampler" if thread == self.ident else owner_of(frame)
            before = self._clocks.get(thread, 0.0)
            # A clock that went back is that of a new thread under an old one's identity.
            self.seconds[owner] += used - before if used >= before else used
            self._clocks[thread] = used


def owner_of(frame: FrameType | None) -> str:
    while frame is not None:
        module, code = frame.f_globals.get("__name__", ""), frame.f_code
        if module == "importlib._bootstrap" and code.co_name == "_find_and_load":
            return "imports"
        if module.startswith(OURS):
            return f"{module.removeprefix(OURS)}: {code.co_qualname.replace('.<locals>.', ' › ')}"
        frame = frame.f_back
    return "Python itself"


def main() -> None:
    shares = Path(sys.argv[1])
    sys.argv = ["crmsync", *sys.argv[2:]]
    sys.setswitchinterval(TURN)
    sys.setswitchinterval = lambda _seconds: None
    sampler = Sampler()
    sampler.start()
    code: str | int | None = 0
    try:
        from crmsync.cli import main as crmsync

        crmsync()
    except SystemExit as ended:
        code = ended.code
    sampler.stop()
    seconds = sampler.seconds
    seconds["short-lived threads"] += max(0.0, time.process_time() - sum(seconds.values()))
    seconds.pop("the sampler", None)
    shares.write_text(json.dumps(dict(seconds.most_common())))
    sys.exit(code)


main()
