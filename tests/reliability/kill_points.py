"""Kill `crmsync pull` (SIGKILL) before each of many of its I/O steps, run it again, and look for what is wrong.

    python tests/reliability/kill_points.py --points 600 --state file --state s3 --api bulk

Every point is a change of the org, a pull that is killed before its n-th step, another change, and the next
pull, which starts at once, while the CDP still carries out the killed one's jobs. Then every profile must be as
its contact says, no write may have brought back an older version, the killed run's state must not have moved
past anything unproved, no more than the overlap may have been read again, and a further pull, made now and
then, must find nothing to do. The points are spread evenly over the steps of a run; a full and a delta pull
take turns, as do batches answered by a job and by results.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from property.model import Model, begins_again_at, moment

from crmsync.sandbox.compare import control
from crmsync.state.rejects import Rejects
from crmsync.state.store import FileStore, Store
from reliability.killed import DIED, TOOK

KILLED = [sys.executable, str(Path(__file__).with_name("killed.py"))]
SYNC = "contacts"
CONTACTS = 240
"""More than are parsed at once of a page."""
CHANGED = 24
KINDS = 4
PATIENCE = 90.0
SIGKILLED = -9
TRY_AGAIN = 75
LEASE_LOST = re.compile(r"the lease of \S+ (is lost|could not be renewed)")
LEASES_LOST_AT_MOST = 3
"""How often in a row a pull that nobody kills may lose its lease, which is a short one on a machine at work."""


@dataclass(frozen=True)
class Point:
    """Where a run is killed: which kind of pull, how the CDP replies, and how far into its steps (0 to 1)."""

    number: int
    full: bool
    mode: str
    share: float

    @property
    def turn(self) -> int:
        """Counts the points of one kind."""
        return self.number // KINDS

    def __str__(self) -> str:
        kind = "full" if self.full else "delta"
        return f"point {self.number} ({kind} pull, {self.mode} replies, at {self.share:.0%} of its steps)"


@dataclass
class Tally:
    """What was seen: how many runs died, before which kind of step, and everything that was wrong."""

    points: int = 0
    died: int = 0
    before: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    read_again: int = 0
    repeated: int = 0
    leases_lost: int = 0
    wrong: list[str] = field(default_factory=list)

    def __iadd__(self, other: Tally) -> Tally:
        for name in (
            *("points", "died", "before", "replayed", "read_again", "repeated"),
            *("leases_lost", "wrong"),
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def told(self) -> str:
        kinds = ", ".join(f"{number} × {kind}" for kind, number in self.before.most_common())
        return (
            f"{self.points} points; {self.died} runs died, {self.points - self.died} ended before their step; "
            f"died before: {kinds}; {self.replayed} records proved by replaying the outbox, "
            f"{self.read_again} rows read again, {self.repeated} records written again; "
            f"{self.leases_lost} pulls that nobody killed lost their lease and were made again; "
            f"{len(self.wrong)} violations"
        )


class Remote:
    """Both sides of a sandbox in another process, and the state of the crmsync that is killed."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self._log = folder / "sandbox.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "crmsync",
                    "sandbox",
                    "--contacts",
                    str(CONTACTS),
                    "--data",
                    str(folder),
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=plain_environment(folder),
            )
        deadline = time.monotonic() + PATIENCE
        while "serving" not in self._log.read_text():
            if time.monotonic() > deadline:
                raise TimeoutError("the sandbox does not serve")
            time.sleep(0.05)
        lines = (folder / "sandbox.env").read_text().splitlines()
        named = (line.removeprefix("export ").split("=", 1) for line in lines)
        self.environment = plain_environment(folder) | {name: value.strip("'") for name, value in named}
        self.environment |= settings | {"CRMSYNC_BATCH_SIZE": "6", "CRMSYNC_CONFIG": ""}
        self._base_url = "/".join(self.environment["EXPERITURE_BASE_URL"].split("/")[:3])

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    def crm(self, action: str, /, **arguments: Any) -> Any:
        return control(self._base_url, f"salesforce/{action}", arguments)

    def cdp(self, action: str, /, **arguments: Any) -> Any:
        return control(self._base_url, f"experiture/{action}", arguments)

    def store(self) -> Store:
        where = self.environment["CRMSYNC_STATE"]
        if not where.startswith("s3://"):
            return FileStore(where)
        from crmsync.state.s3 import S3Store

        return S3Store(where)

    def forget_local_copies(self) -> None:
        """With the state on S3: the next run is on another machine."""
        if "CRMSYNC_CACHE" in self.environment:
            shutil.rmtree(self.environment["CRMSYNC_CACHE"], ignore_errors=True)

    def open_rejects(self) -> set[str]:
        return {entry.id for entry in Rejects(self.store(), SYNC).entries()}

    def state(self) -> dict[str, Any] | None:
        document = self.store().read(f"{SYNC}/state.json")
        return json.loads(document.data) if document else None

    def pull(self, *arguments: str, step: int = 0) -> Ended:
        """Run a pull to its end, or to the step before which it dies."""
        done = subprocess.run(
            [*KILLED, str(step), "pull", "--json", "--wait", "60s", *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        last = done.stderr.splitlines()[-1] if done.stderr else ""
        return Ended(done.returncode, done.stdout, last, done.stderr)


@dataclass(frozen=True)
class Ended:
    """How a pull ended: its exit code, and the last line that it wrote to stderr."""

    code: int
    out: str
    last: str
    err: str

    @property
    def steps(self) -> int:
        return int(self.last.removeprefix(TOOK).split()[0])

    @property
    def lost_its_lease(self) -> bool:
        return self.code == TRY_AGAIN and LEASE_LOST.search(self.err) is not None

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self.out.splitlines()[-1])["syncs"][0]
        return result


class Killing:
    """Kills at one point after the other, in one world that goes on from point to point."""

    def __init__(self, remote: Remote, *, may_repeat: bool) -> None:
        self._remote = remote
        self._may_repeat = may_repeat
        self._serial = 0
        self._leases_lost = 0
        remote.crm("switches", bulk_polls=2, bulk_page_rows=CONTACTS // 3)
        self._steps = {(full, mode): 0 for full in (True, False) for mode in ("job", "inline")}
        self._model = Model(remote)
        for full, mode in self._steps:
            self._begin(full, mode)
            self._steps[full, mode] = self._must_end(*self._asked(full)).steps

    def at(self, point: Point) -> Tally:
        """Kill once, and tell what was seen."""
        tally = Tally(points=1)
        self._leases_lost = 0
        self._begin(point.full, point.mode)
        writes = len(self._remote.cdp("writes"))
        step = 1 + int(point.share * self._steps[point.full, point.mode])
        killed = self._remote.pull(*self._asked(point.full), step=step)
        if killed.code == SIGKILLED:
            tally.died = 1
            tally.before[kind_of(killed.last.removeprefix(DIED))] += 1
        elif killed.code not in (0, 3):
            tally.wrong.append(f"ended with {killed.code}: {killed.err}")
        left = self._remote.state()
        if left is not None:
            self._model.check_state(left)
        if point.turn % 2:
            self._change(CHANGED // 2)
        if point.turn % 3 == 0:
            self._remote.forget_local_copies()
        self._model.may_repeat = self._may_repeat or point.full
        resumed = self._must_end(*([] if left and (left["watermark"] or left["progress"]) else ["--full"]))
        tally.replayed = resumed.result["replayed"]
        tally.read_again = resumed.result["read"]
        most = self._most_to_read(left)
        if most is not None and tally.read_again > most:
            tally.wrong.append(f"{tally.read_again} rows read by the next pull, {most} were due at most")
        self._model.check_writes()
        self._model.check_end(flags=False)
        versions = Counter(json.dumps(w["record"], sort_keys=True) for w in self._written_since(writes))
        tally.repeated = sum(number - 1 for number in versions.values())
        self._remote.crm("clock", advance=1800)
        if point.turn % 4 == 0:
            self._model.may_repeat = False
            quiet = self._must_end()
            if quiet.result["batches"]:
                tally.wrong.append(f"a pull with nothing to do sent {quiet.result['batches']} batches")
        tally.leases_lost = self._leases_lost
        tally.wrong += self._model.wrong
        self._model.wrong = []
        tally.wrong = [f"{point}, step {step} {killed.last!r}: {what}" for what in tally.wrong]
        return tally

    def _asked(self, full: bool) -> list[str]:
        return ["--full"] if full else []

    def _begin(self, full: bool, mode: str) -> None:
        """Change the org; before a full pull, forget everything that was ever delivered."""
        if full:
            self._remote.cdp("reset")
            store = self._remote.store()
            for name in (f"{SYNC}/state.json", f"{SYNC}/rejects.jsonl", f"{SYNC}/overlap.json"):
                store.delete(name)
            self._model = Model(self._remote)
        self._remote.cdp(
            "switches", batch_mode=mode, job_seconds=0.3 if mode == "job" else 0, job_order="random"
        )
        self._change(CHANGED)

    def _change(self, many: int) -> None:
        """Change contacts, rename an account, add somebody; then let time pass."""
        rows = [row for row in self._remote.crm("dump", object="Contact") if not row["IsDeleted"]]
        chosen = {rows[(self._serial * 7 + number * 3) % len(rows)]["Id"] for number in range(many)}
        fields = {"Title": f"Title {self._next()}"}
        self._remote.crm("update_many", object="Contact", ids=sorted(chosen), fields=fields)
        accounts = sorted(row["Id"] for row in self._remote.crm("dump", object="Account"))
        renamed = {"Name": f"Company {self._next()}"}
        self._remote.crm(
            "update", object="Account", id=accounts[self._serial % len(accounts)], fields=renamed
        )
        if self._serial % 5 == 0:
            row = {"LastName": f"Number {self._serial}", "Email": f"someone{self._next()}@acme.com"}
            self._remote.crm("insert", object="Contact", rows=[row])
        self._model.observe()
        self._remote.crm("clock", advance=60)

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    def _must_end(self, *arguments: str) -> Ended:
        """The same pull, made again where it lost its lease: the next one takes over what is left."""
        ended = self._remote.pull(*arguments)
        for _ in range(LEASES_LOST_AT_MOST):
            if not ended.lost_its_lease:
                break
            self._leases_lost += 1
            ended = self._remote.pull(*arguments)
        if ended.code not in (0, 3):
            raise AssertionError(f"a pull that nobody killed ended with {ended.code}: {ended.err}")
        return ended

    def _written_since(self, number: int) -> list[dict[str, Any]]:
        writes: list[dict[str, Any]] = self._remote.cdp("writes", since=number, records=True)
        return writes

    def _most_to_read(self, left: dict[str, Any] | None) -> int | None:
        """How many rows the next pull may read: what the killed one left, the overlap, and renamed parents'.

        It closes the killed run's window and goes on to one of its own, which begins an overlap earlier.
        """
        if left is None or left["progress"] is None:
            return None
        again = begins_again_at(left)
        end = moment(left["progress"]["end"])
        following = moment(left["progress"].get("covered") or left["progress"]["end"]) - timedelta(minutes=10)
        rows = self._remote.crm("dump", object="Contact")
        stamps = [moment(row["SystemModstamp"]) for row in rows]
        accounts = self._remote.crm("dump", object="Account")
        since = min(again or end, following)
        renamed = {row["Id"] for row in accounts if moment(row["SystemModstamp"]) >= since}
        children = sum(row["AccountId"] in renamed for row in rows)
        first = sum(again is None or at >= again for at in stamps)
        return first + sum(at >= following for at in stamps) + 2 * children


def kind_of(step: str) -> str:
    """A step without what differs from run to run."""
    words = step.split()
    if words[0] in ("send", "answer"):
        return f"{words[0]} {'CDP' if '/public/' in step or '/oauth/token' in step else 'CRM'}"
    return " ".join(words[:2])


def plain_environment(home: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"HOME": str(home)}


def spread(points: int) -> list[Point]:
    """So many points, evenly over the steps of each kind of run."""
    kinds = [(full, mode) for full in (False, True) for mode in ("job", "inline")]
    each = -(-points // KINDS)
    return [Point(number, *kinds[number % KINDS], (number // KINDS + 0.5) / each) for number in range(points)]


@contextmanager
def moto_server(folder: Path) -> Iterator[dict[str, str]]:
    """An S3 server, and the settings that make crmsync use it."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
    }
    os.environ.update(settings)
    boto3.client("s3").create_bucket(Bucket="state")
    try:
        yield settings
    finally:
        server.stop()


def kill_all(
    points: list[Point], back_end: str, workers: int, api: str = "rest", *, tell: bool = False
) -> Tally:
    """Kill at every point, in so many worlds side by side, of pulls that read by `api`."""
    total = Tally()
    guard = threading.Lock()
    failures: list[BaseException] = []

    def work(mine: list[Point], folder: Path, settings: dict[str, str]) -> None:
        remote = Remote(folder, settings)
        try:
            killing = Killing(remote, may_repeat=back_end == "s3")
            for point in mine:
                tally = killing.at(point)
                with guard:
                    nonlocal total
                    total += tally
                    if tell and (tally.wrong or total.points % 50 == 0):
                        print("\n".join(tally.wrong) or f"{back_end}: {total.told()}", flush=True)
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that asked
            failures.append(error)
        finally:
            remote.stop()

    with ExitStack() as open_ones:
        home = Path(open_ones.enter_context(tempfile.TemporaryDirectory(prefix="crmsync-kill-")))
        shared = open_ones.enter_context(moto_server(home)) if back_end == "s3" else {}
        threads = []
        for number in range(workers):
            folder = home / f"world-{number}"
            folder.mkdir()
            where = f"s3://state/world-{number}" if back_end == "s3" else str(folder / "state")
            settings = {**shared, "CRMSYNC_STATE": where, "SALESFORCE_API": api}
            if back_end == "s3":
                settings["CRMSYNC_CACHE"] = str(folder / "cache")
            mine = points[number * len(points) // workers : (number + 1) * len(points) // workers]
            threads.append(threading.Thread(target=work, args=(mine, folder, settings)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=600, help="for each place of the state")
    parser.add_argument("--state", action="append", choices=("file", "s3"), help="file unless given")
    parser.add_argument("--api", choices=("rest", "bulk"), default="rest", help="how pulls read")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    wrong = 0
    for back_end in asked.state or ["file"]:
        began = time.monotonic()
        total = kill_all(spread(asked.points), back_end, asked.workers, asked.api, tell=True)
        wrong += len(total.wrong)
        print(f"{back_end}, by {asked.api}, in {time.monotonic() - began:.0f} s: {total.told()}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
