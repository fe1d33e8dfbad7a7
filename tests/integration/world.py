"""The two sides of an integration test: a sandbox that serves, and a user's crmsync that runs against it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from crmsync.sandbox.compare import compare

MARKER = "Wq7Xk"
"""Woven into every name and address of a sandbox: where it shows, personal data shows."""
SECRET_NAMES = ("SECRET", "TOKEN", "PASSWORD", "API_KEY")
SESSION_MARK = "00DFk0000000001!"
"""What every session token of the sandbox's Salesforce begins with."""
PATIENCE = 60.0

CRMSYNC = [sys.executable, "-m", "crmsync"]
Row = dict[str, Any]


class Sandbox:
    """A `crmsync sandbox` in a process of its own. `environment` is what it told its users to set."""

    def __init__(self, folder: Path, contacts: int = 300, *arguments: str) -> None:
        folder.mkdir(parents=True)
        self._log = folder / "sandbox.log"
        command = [*CRMSYNC, "sandbox", "--contacts", str(contacts), "--data", str(folder)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*command, "--marker", MARKER, *arguments],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=plain_environment(folder),
                cwd=folder,
            )
        wait_for(lambda: "serving" in self._log.read_text(), "the sandbox to serve")
        lines = (folder / "sandbox.env").read_text().splitlines()
        pairs = (line.removeprefix("export ").split("=", 1) for line in lines)
        self.environment = {name: value.strip("'") for name, value in pairs}
        parts = self.environment["EXPERITURE_BASE_URL"].split("/")
        self.base_url = "/".join(parts[:3])
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.verify = self.environment.get("REQUESTS_CA_BUNDLE", True)
        self._switches = self.crm("switches")

    def stop(self) -> None:
        self._http.close()
        self._process.terminate()
        self._process.wait(timeout=PATIENCE)

    def freshen(self) -> None:
        """Make it as it was at its start, but for the contacts and the clocks, which go on.

        The workspace is empty, every switch at its assumed default, every session ended, nothing hidden or
        broken, nothing in the request log; what happened to contacts lies an hour back.
        """
        self.cdp("reset")
        self.crm("switches", **self._switches)
        self.crm("page_sizes", sizes=[])
        self.crm("show_field", object="Contact", field="Phone")
        self.crm("revoke", message=None)
        self.crm("quota", used=0, max=100_000)
        self.crm("expire_sessions")
        self.clear_faults()
        self.advance(3600)
        self._control("DELETE", "requests")

    def crm(self, action: str, /, **arguments: Any) -> Any:
        """A control action of the Salesforce side."""
        return self._control("POST", f"salesforce/{action}", arguments)

    def cdp(self, action: str, /, **arguments: Any) -> Any:
        """A control action of the Experiture side."""
        return self._control("POST", f"experiture/{action}", arguments)

    def advance(self, seconds: float = 60) -> None:
        """Move the source's clock: a window ends 5 seconds before it."""
        self.crm("clock", advance=seconds)

    def contacts(self) -> list[Row]:
        rows: list[Row] = self.crm("dump", object="Contact")
        return rows

    def profiles(self) -> list[Row]:
        rows: list[Row] = self.cdp("dump", object="profiles")
        return rows

    def delivered(self) -> list[str]:
        """The Ids that have a profile, in the order in which those were made."""
        return [profile["salesforce_id"] for profile in self.profiles()]

    def retitle(self, ids: list[str], title: str) -> None:
        """Change these contacts, and let the source's clock go on far enough for the next pull to see it."""
        self.advance()
        self.crm("update_many", object="Contact", ids=ids, fields={"Title": title})
        self.advance()

    def requests(self, service: str = "", path: str = "", since: int = 0) -> list[Row]:
        """What the servers were asked after the request `since`: by one side, with a text in the path."""
        log: list[Row] = self._control("GET", f"requests?since={since}")
        return [entry for entry in log if service in ("", entry["service"]) and path in entry["path"]]

    def last_request(self) -> int:
        """The number of the newest request, for `since`."""
        return int(max((entry["n"] for entry in self.requests()), default=0))

    def batches(self) -> list[Row]:
        """Every batch that was sent, refused ones included."""
        batches: list[Row] = self.cdp("counts")["batches"]
        return batches

    def fault(self, kind: str, *, times: int | None = 1, after: int = 0, **rule: Any) -> str:
        """Break matching requests. What is no pattern of the rule belongs to its action."""
        described: Row = {"after": after, "times": times}
        described |= {name: rule.pop(name) for name in ("service", "method", "path", "query") if name in rule}
        described["action"] = {"kind": kind, **rule}
        return str(self._control("POST", "faults", described)["id"])

    def hits(self, fault: str) -> int:
        return next(int(rule["hits"]) for rule in self._control("GET", "faults") if rule["id"] == fault)

    def clear_faults(self) -> None:
        self._control("DELETE", "faults")

    def assert_in_step(self) -> None:
        """Every profile is what its contact says, by code that shares nothing with crmsync."""
        result = compare(self.base_url)
        assert not result.wrong, f"{len(result.wrong)} wrong, such as {result.wrong[:5]}"
        assert result.alike > 0

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        reply = self._http.request(method, f"{self.base_url}/_sandbox/{path}", json=body, timeout=PATIENCE)
        assert reply.status_code == 200, reply.text
        return reply.json()


@dataclass(frozen=True)
class Run:
    """How one crmsync process ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON object that is the last line of stdout."""
        return json.loads(self.out.splitlines()[-1])

    @property
    def sync(self) -> Row:
        """What became of the only sync of a pull."""
        (result,) = self.json["syncs"]
        assert isinstance(result, dict)
        return result

    @property
    def said(self) -> str:
        return self.out + self.err


class Running(subprocess.Popen[bytes]):
    """A crmsync process under way. What it says can be read at any time."""

    def __init__(
        self, home: Path, number: int, arguments: tuple[str, ...], environment: dict[str, str]
    ) -> None:
        self._out, self._err = (home.with_name(f"{home.name}.{number}.{name}") for name in ("out", "err"))
        with self._out.open("wb") as out, self._err.open("wb") as err:
            super().__init__([*CRMSYNC, *arguments], stdout=out, stderr=err, env=environment, cwd=home)

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()


class Crmsync:
    """One user's crmsync: a home of its own, with the state in it, and the settings to use."""

    def __init__(self, home: Path, settings: dict[str, str] | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.settings = settings or {}
        self.state = home / "state"
        self._started: list[Running] = []

    def configure(self, toml: str) -> None:
        (self.home / "crmsync.toml").write_text(toml)

    def environment(self, env: dict[str, str] | None = None) -> dict[str, str]:
        state = {"CRMSYNC_STATE": str(self.state)}
        return plain_environment(self.home) | state | self.settings | (env or {})

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> Running:
        """Start a command and leave it running; `finish` tells how it ended."""
        self._started.append(Running(self.home, len(self._started), arguments, self.environment(env)))
        return self._started[-1]

    def run(self, *arguments: str, env: dict[str, str] | None = None, personal: bool = False) -> Run:
        """Run a command to its end."""
        return self.finish(self.start(*arguments, env=env), env=env, personal=personal)

    def finish(self, running: Running, *, env: dict[str, str] | None = None, personal: bool = False) -> Run:
        """Wait for a command's end. Whatever it was, it shows no traceback, no secret, no personal data.

        `personal` says that this command is meant to show rows.
        """
        run = Run(running.wait(timeout=PATIENCE), running.out, running.err)
        assert "Traceback" not in run.said, run.said
        for name, value in self.environment(env).items():
            if value and name.endswith(SECRET_NAMES):
                assert value not in run.said, f"{name} shows"
        assert SESSION_MARK not in run.said
        assert "PRIVATE KEY" not in run.said
        assert personal or MARKER.lower() not in run.said.lower(), "personal data shows"
        return run

    def twin(self, home: Path) -> Crmsync:
        """Another home with the same settings and a copy of the state."""
        other = Crmsync(home, dict(self.settings))
        shutil.copytree(self.state, other.state)
        return other

    def kill_all(self) -> None:
        """End what still runs."""
        for running in self._started:
            running.kill()
            running.wait()

    def pull(self, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> Row:
        """Pull the only sync and give its result, in which every row that was read has one end."""
        run = self.run("pull", "--json", *arguments, env=env)
        assert run.code == code, run.said
        result = run.sync
        ends = [result[name].values() for name in ("skipped", "rejected", "refused")]
        if code in (0, 3):
            assert result["read"] == result["written"] + result["unchanged"] + sum(map(sum, ends))
        return result

    def saved(self, sync: str = "contacts") -> Row:
        """The state document of a sync."""
        document: Row = json.loads((self.state / sync / "state.json").read_text())
        return document

    def watermark(self) -> str | None:
        """As the state has it; None where there is no state yet."""
        told = self.saved()["watermark"] if (self.state / "contacts" / "state.json").exists() else None
        assert told is None or isinstance(told, str)
        return told

    def files(self) -> dict[str, bytes]:
        """Everything in the state directory by name, folders with nothing in them."""
        paths = self.state.rglob("*")
        return {
            str(path.relative_to(self.state)): path.read_bytes() if path.is_file() else b"" for path in paths
        }


StartSandbox = Callable[..., Sandbox]
"""Starts a sandbox that ends with the test: `start_sandbox(contacts, *arguments)`."""
Install = Callable[[Sandbox | Crmsync], Crmsync]
"""Makes a crmsync that has never run, set up for a sandbox; or one that goes on where another is."""


def plain_environment(home: Path) -> dict[str, str]:
    """What a process needs of this machine, and nothing that was configured on it."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "SYSTEMROOT") if name in os.environ}
    return kept | {"HOME": str(home)}


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so. Raises AssertionError when it never comes to be."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


@contextmanager
def serving(folder: Path, contacts: int = 300, *arguments: str) -> Iterator[Sandbox]:
    sandbox = Sandbox(folder, contacts, *arguments)
    try:
        yield sandbox
    finally:
        sandbox.stop()


def per_id(rows: list[Row], name: str = "salesforce_id") -> Counter[str]:
    return Counter(row[name] for row in rows)
