"""One org, one workspace and one crmsync in this process, over real sockets; runs that may crash."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

from reliability.steps import Crash, Steps, count_store, counted_io

from crmsync.cli.wiring import settings_of
from crmsync.config import DEFAULT_SYNC, load
from crmsync.delivery import Limits, courier
from crmsync.destinations.experiture import ExperitureDestination
from crmsync.errors import CrmsyncError
from crmsync.http import Retry, Stopper
from crmsync.pull import Pull, Report
from crmsync.sandbox.experiture import ExperitureService
from crmsync.sandbox.salesforce import SalesforceService
from crmsync.sandbox.server import SandboxServer
from crmsync.sources.salesforce import SalesforceSource, bulk
from crmsync.sources.salesforce.client import NEWEST_KNOWN
from crmsync.state import catalog
from crmsync.state.checkpoint import Checkpoint, State
from crmsync.state.credentials import CredentialVault
from crmsync.state.lock import FileLock
from crmsync.state.rejects import Rejects
from crmsync.state.store import FileStore
from crmsync.window import Range

Row = dict[str, Any]
SYNC = "contacts"
BULK_DEADLINE = timedelta(seconds=0.3)
QUICK = Retry(attempts=4, first=0.001, longest=0.004)


@dataclass(frozen=True)
class How:
    """How a run is made: what is asked of it, its limits, and the step before which it crashes, by its
    number or the beginning of its name.

    With `redo`, only these Ids are read and delivered again.
    """

    asked: Range = field(default_factory=Range)
    api: Literal["rest", "bulk"] = "rest"
    in_flight: int = 1
    batch: int = 500
    crash_at: int | str | None = None
    meanwhile: Callable[[int, str], None] = lambda _number, _what: None
    redo: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ran:
    """How a run ended: its report, the error that stopped it, or a crash. `steps` names what it did."""

    report: Report | None
    error: CrmsyncError | None
    crashed: bool
    steps: list[str]

    @property
    def ended_well(self) -> bool:
        return self.error is None and not self.crashed


class Rig:
    """`deletes` is the sync's setting, `version` the API version in use (the newest where it is empty).

    `on_save` is called with every state document that becomes durable.
    """

    def __init__(
        self, folder: Path, contacts: int, seed: int, deletes: Literal["ignore", "flag"], version: str = ""
    ) -> None:
        self.folder = folder
        self.server = SandboxServer()
        self.salesforce = SalesforceService(contacts, seed, base_url=self.server.base_url)
        self.experiture = ExperitureService(base_url=self.server.base_url, seed=seed)
        self.server.add(self.salesforce)
        self.server.add(self.experiture)
        self.server.start()
        self.crm("clock", freeze=True)
        environment = {**self.salesforce.environment(), **self.experiture.environment()}
        environment |= {"CRMSYNC_STATE": str(folder / "state"), "SALESFORCE_API_VERSION": version}
        self.config = load(environ=environment, cwd=folder)
        self.sync = replace(DEFAULT_SYNC, deletes=deletes)
        self.on_save: Callable[[Row], None] = lambda _document: None
        self._runs = 0

    def close(self) -> None:
        self.server.stop()

    def crm(self, action: str, /, **arguments: Any) -> Any:
        return self.salesforce.control(action, arguments)

    def cdp(self, action: str, /, **arguments: Any) -> Any:
        return self.experiture.control(action, arguments)

    @property
    def poll(self) -> str:
        """What a step is called in which a run asks for its bulk job."""
        version = self.config.salesforce.api_version or NEWEST_KNOWN
        return f"send GET {self.server.base_url}/services/data/v{version}/jobs/query/"

    def open_rejects(self) -> set[str]:
        return {entry.id for entry in Rejects(FileStore(self.config.state), SYNC).entries()}

    def has_begun(self) -> bool:
        """Whether the state says from where to go on."""
        state = self._state()
        return state is not None and (state.watermark is not None or state.progress is not None)

    def goes_on_writing_all(self) -> bool:
        """Whether the next run resumes one that was asked to write also what the ledger knows."""
        state = self._state()
        return state is not None and state.progress is not None and state.progress.write_all

    def run(self, how: How) -> Ran:
        """One run as `crmsync pull` makes it, but that its pauses are short."""
        steps = Steps(how.crash_at, meanwhile=how.meanwhile)
        self._runs += 1
        pull: Pull | None = None
        error: CrmsyncError | None = None
        with ExitStack() as block:
            block.enter_context(patch.object(courier, "FIRST_POLL", 0.004))
            block.enter_context(patch.object(bulk, "FIRST_POLL", 0.002))
            block.enter_context(counted_io(steps))
            store = count_store(self._store(), steps)
            try:
                pull = self._pull(how, store, block)
                if how.redo:
                    pull.redo(how.redo)
                else:
                    pull.run()
                catalog.keep(store, SYNC, pull._source.catalog)
            except CrmsyncError as stopped:
                error = stopped
            except Crash:
                pass
            crashed = steps.over
            steps.bury()
        return Ran(pull.report if pull and not crashed else None, error, crashed, steps.taken)

    def _state(self) -> State | None:
        return Checkpoint(FileStore(self.config.state), SYNC).load()

    def _store(self) -> FileStore:
        store = FileStore(self.config.state)
        write = store.write

        def watched(name: str, data: bytes, expected: str | None) -> str:
            version = write(name, data, expected)
            if name == f"{SYNC}/state.json":
                self.on_save(json.loads(data))
            return version

        store.write = watched  # type: ignore[method-assign]  # it takes its place
        return store

    def _pull(self, how: How, store: FileStore, block: ExitStack) -> Pull:
        stopper = Stopper()
        salesforce = replace(self.config.salesforce, api=how.api, bulk_deadline=BULK_DEADLINE)
        source = SalesforceSource(
            replace(self.config, salesforce=salesforce),
            self.sync,
            vault=CredentialVault(store, "sandbox", ""),
            catalog=catalog.load(store, SYNC),
            stopper=stopper,
            retry=QUICK,
        )
        block.callback(source.close)
        destination = ExperitureDestination(self.config, self.sync, stopper=stopper, retry=QUICK)
        block.callback(destination.close)
        settings = replace(
            settings_of(self.config),
            grace=0.3,
            job_deadline=timedelta(seconds=1),
            limits=Limits(batch=how.batch, in_flight=how.in_flight),
        )
        run_id = f"run-{self._runs}"
        lock = FileLock(store.local(f"{SYNC}/lock"), run_id)
        return Pull(
            self.sync, source, destination, store, lock, how.asked, settings, run_id=run_id, stopper=stopper
        )
