"""The sandbox's socket server: one port for every service, and the control API under `/_sandbox`.

    with SandboxServer() as server:
        server.add(ExperitureService(base_url=server.base_url))

Control API, all JSON; a wrong call is answered 400 `{"error": …}`:

    GET    /_sandbox                      the services
    POST   /_sandbox/<service>/<action>   a call of the service's own
    GET    /_sandbox/requests?since=N     the request log after entry N · DELETE clears it
    GET    /_sandbox/faults               the fault rules with their hits · POST adds one · DELETE clears them
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from typing import Any

from crmsync.sandbox.faults import Faults
from crmsync.sandbox.requestlog import RequestLog
from crmsync.sandbox.tls import TlsIdentity
from crmsync.sandbox.web import Request, Response, Service
from crmsync.sandbox.wire import Exchange, Wire

CONTROL = "/_sandbox"
log = logging.getLogger(__name__)


class SandboxServer:
    """Serves its services until stopped. The port is bound at once, so `base_url` is known before `start`."""

    def __init__(
        self,
        services: Sequence[Service] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: TlsIdentity | None = None,
    ) -> None:
        self.stopping = threading.Event()
        self.requests = RequestLog()
        self.faults = Faults()
        self._services = list(services)
        self._thread: threading.Thread | None = None
        self._listener = _Listener((host, port), self, tls)
        named = f"[{host}]" if ":" in host else host
        self.base_url = f"{'https' if tls else 'http'}://{named}:{self._listener.server_address[1]}"

    def add(self, service: Service) -> None:
        self._services.append(service)

    def service(self, name: str) -> Service:
        """The service of that name. Raises ValueError where there is none."""
        found = next((service for service in self._services if service.name == name), None)
        if found is None:
            raise ValueError(
                f"no service {name!r}; there are {', '.join(s.name for s in self._services) or 'none'}"
            )
        return found

    def start(self) -> None:
        """Serve from a thread of its own."""
        self._thread = threading.Thread(target=self.serve_forever, name="sandbox", daemon=True)
        self._thread.start()

    def serve_forever(self) -> None:
        """Serve in this thread until `stop` is called from another one."""
        self._listener.serve_forever(poll_interval=0.02)

    def stop(self) -> None:
        """Stop listening and drop every connection, also those that a fault holds. May be called again."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        self._listener.shutdown()
        self._listener.server_close()
        self._listener.drop_connections()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> SandboxServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def admit(self, request: Request) -> Exchange:
        """Find the service and the fault of a request, and open its entry in the log."""
        service = self._owner(request)
        exchange = Exchange(request, service.clock.now() if service else datetime.now(UTC))
        if not _is_control(request):
            name = service.name if service else ""
            rule = self.faults.pick(name, request)
            exchange.action = rule.action if rule else None
            exchange.entry = self.requests.begin(name, request, rule.id if rule else None)
        return exchange

    def process(self, exchange: Exchange) -> Response:
        """The answer to a request. A mistake within a service becomes a 500 that says so."""
        request = exchange.request
        service = self._owner(request)
        try:
            if _is_control(request):
                return self._control(request)
            if service is None:
                return Response(404, {"error": f"no service of the sandbox owns {request.path}"})
            response = service.handle(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client must get an answer
            log.error("the sandbox failed on %s %s\n%s", request.method, request.path, traceback.format_exc())
            return Response(500, {"error": f"the sandbox itself failed: {error!r}"})
        exchange.now = service.clock.now()
        if exchange.entry is not None:
            self.requests.finish(exchange.entry, **response.notes)
        return response

    def done(self, exchange: Exchange) -> None:
        if exchange.entry is not None:
            self.requests.finish(exchange.entry, status=exchange.status, response_bytes=exchange.sent)

    def _owner(self, request: Request) -> Service | None:
        return next((service for service in self._services if service.owns(request.path)), None)

    def _control(self, request: Request) -> Response:
        try:
            result = self._control_call(request)
            return Response(200, {} if result is None else result)
        except ValueError as error:
            return Response(400, {"error": str(error)})

    def _control_call(self, request: Request) -> Any:
        match request.method, request.path.removeprefix(CONTROL).strip("/").split("/"):
            case "GET", [""]:
                return {"services": [service.name for service in self._services]}
            case "GET", ["requests"]:
                return self.requests.since(int(request.query.get("since", "0")))
            case "DELETE", ["requests"]:
                return self.requests.clear()
            case "GET", ["faults"]:
                return self.faults.summaries()
            case "POST", ["faults"]:
                return {"id": self.faults.add(_arguments(request))}
            case "DELETE", ["faults"]:
                return self.faults.clear()
            case "POST", [name, action]:
                return self.service(name).control(action, _arguments(request))
        raise ValueError(f"no such call: {request.method} {request.path}")


class _Listener(ThreadingHTTPServer):
    """The listening socket: a thread per connection, none of which can hold up the end."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], router: SandboxServer, tls: TlsIdentity | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._tls = tls
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, type("_Wire", (Wire,), {"router": router}))

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self._tls is not None:
            # The handshake is left to the first read, in the connection's own thread.
            connection = self._tls.context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        with self._guard:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a connection ended in an error", exc_info=True)

    def drop_connections(self) -> None:
        with self._guard:
            connections, self._connections = list(self._connections), set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _is_control(request: Request) -> bool:
    return request.path == CONTROL or request.path.startswith(CONTROL + "/")


def _arguments(request: Request) -> dict[str, Any]:
    arguments = request.json() if request.body else {}
    if not isinstance(arguments, dict):
        raise ValueError("the body must be a JSON object")
    return arguments
