"""`python -m servers CONTACTS`: serves both services on one port, which is the first line of its output.

Between two runs a benchmark speaks to `/_bench/`:

    settings   JSON: those to change
    reset      begin to count anew
    counts     what was counted
    warm       make every page of every query that has begun
    record     keep requests and bodies from now on
    recorded   {"folder": …}: write them there, and stop keeping them
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from dataclasses import asdict
from pathlib import Path

import orjson

from servers.cdp import API, Workspace
from servers.crm import Org
from servers.people import People, has_good_email
from servers.settings import Counts, Settings
from servers.wire import Answer, Connection, Request


class Server:
    """Both services and their control."""

    def __init__(self, contacts: int) -> None:
        self._people = People(contacts)
        self._settings = Settings()
        self._contacts = contacts
        self._good: bytearray | None = None
        self.org: Org
        self.workspace: Workspace

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(self.handle), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        counts = Counts(delivered=bytearray(self._contacts))
        self.org = Org(self._people, self._settings, counts, f"http://127.0.0.1:{port}")
        self.workspace = Workspace(self._settings, counts)
        gc.freeze()
        print(port, flush=True)
        await server.serve_forever()

    def handle(self, request: Request) -> Answer:
        if request.target.startswith("/services/"):
            return self.org.answer(request)
        if request.target.startswith(API):
            return self.workspace.answer(request)
        return Answer(200, orjson.dumps(self._control(request)), {"Content-Type": "application/json"})

    def _control(self, request: Request) -> object:
        match request.path.removeprefix("/_bench/"):
            case "settings":
                for name, value in orjson.loads(request.body).items():
                    setattr(self._settings, name, value)
                return asdict(self._settings)
            case "reset":
                counts = Counts(delivered=bytearray(self._contacts))
                self.org.counts = self.workspace.counts = counts
                return {"cpu": time.process_time()}
            case "counts":
                return self._counted()
            case "warm":
                self.org.warm()
                return {}
            case "record":
                self.org.targets, self.workspace.bodies = [], []
                return {}
            case "recorded":
                folder = Path(orjson.loads(request.body)["folder"])
                self.workspace.record_to(folder, self.org.targets or [])
                self.org.targets = self.workspace.bodies = None
                return {}
        return {"error": f"there is no {request.path}"}

    def _counted(self) -> dict[str, object]:
        counts, good = self.org.counts, self._deliverable()
        lost = sum(1 for wanted, came in zip(good, counts.delivered, strict=True) if wanted and not came)
        return {
            "requests": dict(counts.requests),
            "rows": counts.rows,
            "records": counts.records,
            "deliverable": sum(good),
            "delivered": sum(counts.delivered),
            "lost": lost,
            "strangers": counts.strangers,
            "cpu": time.process_time(),
        }

    def _deliverable(self) -> bytearray:
        """Per contact, whether it has an address that can be delivered."""
        if self._good is None:
            self._good = bytearray()
            for start in range(0, self._contacts, 1000):
                self._good += bytes(map(has_good_email, self._people.rows(start, start + 1000)))
        return self._good


asyncio.run(Server(int(sys.argv[1])).serve())
