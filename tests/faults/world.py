"""A sandbox in this process, served over real sockets, and a crmsync that runs in this process against it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from crmsync import cli
from crmsync.sandbox.compare import compare, expected
from crmsync.sandbox.experiture import ExperitureService
from crmsync.sandbox.salesforce import SalesforceService
from crmsync.sandbox.server import SandboxServer
from crmsync.sandbox.web import Request, Response

Row = dict[str, Any]

DEFAULT_FIELDS = """
email = { from = "Email", normalize = "email" }
external_id = "Id"
salesforce_id = "Id"
first_name = "FirstName"
last_name = "LastName"
phone = { from = "Phone", normalize = "phone", region_from = ["MailingCountryCode", "MailingCountry"] }
job_title = "Title"
company_name = "Account.Name"
lead_source = "LeadSource"
crm_last_modified_at = { from = "LastModifiedDate", normalize = "instant" }
"""


TIMELESS_FIELDS = "".join(
    line for line in DEFAULT_FIELDS.splitlines(keepends=True) if "LastModifiedDate" not in line
)
"""Without the stamp: a row whose values go there and back maps to the same record again."""


def sync_toml(fields: str = DEFAULT_FIELDS, **settings: str) -> str:
    """The default sync with other `fields`, or with more settings, each given as TOML writes its value."""
    base = {
        "name": '"contacts"',
        "source": '"salesforce"',
        "object": '"Contact"',
        "into": '"profiles"',
        "match_key": '"salesforce_id"',
        "owner": '"crm"',
        "require": '["email"]',
    }
    lines = [f"{name} = {value}" for name, value in (base | settings).items()]
    return "\n".join(["[[sync]]", *lines, "[sync.fields]", fields])


@dataclass(frozen=True)
class Run:
    """How a command ended: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
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


@dataclass
class World:
    """Both sides. `settings` is the environment that crmsync gets, `home` the directory it runs in."""

    server: SandboxServer
    salesforce: SalesforceService
    experiture: ExperitureService
    home: Path
    settings: dict[str, str] = field(default_factory=dict)

    # --- the services

    def crm(self, action: str, /, **arguments: Any) -> Any:
        """A control action of the Salesforce side."""
        return self.salesforce.control(action, arguments)

    def cdp(self, action: str, /, **arguments: Any) -> Any:
        """A control action of the Experiture side."""
        return self.experiture.control(action, arguments)

    def advance(self, seconds: float = 60) -> None:
        """Move the source's clock: a window ends 5 seconds before it."""
        self.crm("clock", advance=seconds)

    def change(self, ids: list[str] | str, object_: str = "Contact", /, **fields: Any) -> None:
        """Change rows now, and let the clock go on far enough for the next pull to see it."""
        chosen = [ids] if isinstance(ids, str) else ids
        self.crm("update_many", object=object_, ids=chosen, fields=fields)
        self.advance()

    def contacts(self) -> list[Row]:
        rows: list[Row] = self.crm("dump", object="Contact")
        return rows

    def contact(self, row_id: str) -> Row:
        return next(row for row in self.contacts() if row["Id"] == row_id)

    def profiles(self) -> list[Row]:
        rows: list[Row] = self.cdp("dump", object="profiles")
        return rows

    def profile(self, row_id: str) -> Row:
        (found,) = (row for row in self.profiles() if row["salesforce_id"] == row_id)
        return found

    def delivered(self) -> list[str]:
        """The Ids that have a profile, in the order in which those were made."""
        return [profile["salesforce_id"] for profile in self.profiles()]

    def fault(self, kind: str, /, *, times: int | None = 1, after: int = 0, **rule: Any) -> str:
        """Break matching requests. What is no pattern of the rule belongs to its action."""
        patterns = {name: rule.pop(name) for name in ("service", "method", "path", "query") if name in rule}
        described = {**patterns, "after": after, "times": times, "action": {"kind": kind, **rule}}
        return self.server.faults.add(described)

    def hits(self, fault: str) -> int:
        return next(int(rule["hits"]) for rule in self.server.faults.summaries() if rule["id"] == fault)

    def requests(self, service: str = "", path: str = "", query: str = "") -> list[Row]:
        """What the services were asked, in order."""
        return [
            entry
            for entry in self.server.requests.since(0)
            if service in ("", entry["service"]) and path in entry["path"] and query in entry["query"]
        ]

    def forget_requests(self) -> None:
        self.server.requests.clear()

    def writes(self, since: int = 0) -> list[Row]:
        """The records that reached a table after the `since`-th, with their values."""
        rows: list[Row] = self.cdp("writes", since=since, records=True)
        return rows

    def due(self) -> set[str]:
        """The Ids that should have a profile by the default sync, by code that shares nothing with crmsync."""
        accounts = {row["Id"]: row for row in self.crm("dump", object="Account")}
        return {row["Id"] for row in self.contacts() if expected(row, accounts) is not None}

    def assert_in_step(self) -> None:
        """Every profile is what its contact says, by code that shares nothing with crmsync."""
        result = compare(self.server.base_url)
        assert not result.wrong, f"{len(result.wrong)} wrong, such as {result.wrong[:5]}"
        assert result.alike > 0

    @contextlib.contextmanager
    def after_each_answer(self, hear: Callable[[Request, Response], None]) -> Iterator[None]:
        """Call `hear` with every request to the CDP and its answer, before the answer is sent."""
        handle = self.experiture.handle

        def handled(request: Request) -> Response:
            response = handle(request)
            hear(request, response)
            return response

        with mock.patch.object(self.experiture, "handle", handled):
            yield

    # --- crmsync

    def configure(self, toml: str) -> None:
        (self.home / "crmsync.toml").write_text(toml)

    def run(self, *arguments: str, bug: bool = False, **settings: str) -> Run:
        """Run a command to its end. It shows no traceback, unless it is meant to meet a `bug`."""
        out, err = io.StringIO(), io.StringIO()
        environment = {"HOME": str(self.home), "CRMSYNC_STATE": str(self.state), **self.settings, **settings}
        with (
            mock.patch.dict(os.environ, environment),
            mock.patch.object(cli, "_leave", sys.exit),
            contextlib.chdir(self.home),
            _logging_restored(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                cli.main(list(arguments))
            except SystemExit as ended:
                code = ended.code
        assert isinstance(code, int)
        run = Run(code, out.getvalue(), err.getvalue())
        assert bug or "Traceback" not in run.said, run.said
        return run

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        """Start a command in a process of its own, which can be killed."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
        environment = {"HOME": str(self.home), "CRMSYNC_STATE": str(self.state), **self.settings, **settings}
        return subprocess.Popen(
            [sys.executable, "-m", "crmsync", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=kept | environment,
            cwd=self.home,
        )

    def pull_killed_at_batch(
        self, number: int, *arguments: str, at: Callable[[int], None] = lambda _number: None, **settings: str
    ) -> None:
        """Pull in a process of its own, killed when the CDP has taken so many batches and not answered the last.

        `at` is called with the number of each batch up to then. One is sent at a time, lest more arrive meanwhile.
        """
        batches = 0
        running: list[subprocess.Popen[bytes]] = []
        started = threading.Event()

        def hear(request: Request, _response: Response) -> None:
            nonlocal batches
            if "upsert-batch" in request.path:
                started.wait()
                batches += 1
                at(batches)
                if batches == number:
                    running[0].kill()
                    running[0].wait()

        with self.after_each_answer(hear):
            running.append(self.start("pull", *arguments, **{"CRMSYNC_IN_FLIGHT": "1", **settings}))
            started.set()
            assert running[0].wait(timeout=60) == -signal.SIGKILL
        assert batches == number

    def pull(self, *arguments: str, code: int = 0, **settings: str) -> Row:
        """Pull the only sync and give its result, in which every row that was read has one end."""
        run = self.run("pull", "--json", *arguments, **settings)
        assert run.code == code, run.said
        result = run.sync
        ends = [result[name].values() for name in ("skipped", "rejected", "refused")]
        if code in (0, 3) and not result["abandoned"]:
            assert result["read"] == result["written"] + result["unchanged"] + sum(map(sum, ends))
        return result

    @property
    def state(self) -> Path:
        return self.home / "state"

    def saved(self) -> Row:
        """The state document."""
        document: Row = json.loads((self.state / "contacts" / "state.json").read_text())
        return document

    def rejects(self) -> list[Row]:
        run = self.run("rejects", "list", "--json")
        assert run.code == 0, run.said
        listed: list[Row] = run.json["rejects"]
        return listed


@contextlib.contextmanager
def _logging_restored() -> Iterator[None]:
    """What a run does to the loggers is undone: its stream ends with it."""
    loggers = [logging.getLogger(), logging.getLogger("crmsync")]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    try:
        yield
    finally:
        for logger, handlers, level, propagate in before:
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)


@contextlib.contextmanager
def serving(
    home: Path, contacts: int, marker: str = "", login: str = "client_credentials"
) -> Iterator[World]:
    """A world of its own, ended with the block."""
    home.mkdir(parents=True, exist_ok=True)
    with SandboxServer() as server:
        salesforce = SalesforceService(contacts, 1, base_url=server.base_url, marker=marker)
        experiture = ExperitureService(base_url=server.base_url, seed=1)
        server.add(salesforce)
        server.add(experiture)
        settings = salesforce.environment(login) | experiture.environment()
        yield World(server, salesforce, experiture, home, settings)
