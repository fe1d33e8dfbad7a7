"""Metrics for a DogStatsD agent, over UDP or its socket. Names and tags are in monitoring/README.md."""

from __future__ import annotations

import logging

from crmsync.errors import ConfigError
from crmsync.health.ending import Ending
from crmsync.health.observer import Observer

log = logging.getLogger(__name__)

NEVER = 10**9


class DogStatsd(Observer):
    """Sends a sync's numbers when it has ended."""

    name = "CRMSYNC_STATSD"

    def __init__(self, address: str) -> None:
        """`address` is `host`, `host:port` or `unix:///path`. Raises ConfigError without the library."""
        try:
            from datadog.dogstatsd.base import DogStatsd as Client
        except ModuleNotFoundError:
            raise ConfigError(
                f"CRMSYNC_STATSD: {address} needs datadog", hint="Run `pip install 'crmsync[metrics]'`."
            ) from None
        logging.getLogger("datadog.dogstatsd").setLevel(logging.CRITICAL)
        host, port = _parts(address)
        # The client counts what it could not send, as long as it believes that it will report that some day.
        self._client = Client(
            host=host,
            port=port,
            socket_path=address if host is None else None,
            telemetry_min_flush_interval=NEVER,
        )
        self._address = address

    def synced(self, ending: Ending) -> None:
        tags = [f"sync:{ending.sync}", f"source:{ending.source}"]
        failed = int(ending.failed)
        outcome = [*tags, f"exit_code:{ending.exit_code}"]
        self._client.increment("crm_sync.failures", failed, tags=outcome if failed else tags)
        self._client.increment("crm_sync.successes", int(ending.in_step), tags=tags)
        self._client.histogram("crm_sync.duration_seconds", ending.duration_seconds, tags=tags)
        for name, value in _gauges(ending).items():
            if value is not None:
                self._client.gauge(f"crm_sync.{name}", value, tags=tags)
        for reason, number in ending.skipped.items():
            self._client.gauge("crm_sync.records_skipped", number, tags=[*tags, f"reason:{reason}"])
        for side, number in ending.requests.items():
            self._client.gauge("crm_sync.requests", number, tags=[*tags, f"side:{side}"])
        if self._client.packets_dropped:
            log.warning("CRMSYNC_STATSD: nobody takes metrics at %s", self._address)
            self._client.packets_dropped_writer = 0


def _gauges(ending: Ending) -> dict[str, float | None]:
    return {
        "records_read": ending.records.get("read"),
        "records_written": ending.records.get("written", 0),
        "records_rejected": ending.records.get("rejected", 0),
        "lag_seconds": ending.lag_seconds,
        "record_lag_seconds": ending.record_lag_seconds,
        "rejects_open": ending.rejects_open,
        "api_used": ending.api_used,
        "api_limit": ending.api_limit,
    }


def _parts(address: str) -> tuple[str | None, int | None]:
    """Host and port; no host where the address is that of a socket."""
    if address.startswith("unix://"):
        return None, None
    host, _, port = address.rpartition(":") if _has_port(address) else (address, "", "")
    return host.strip("[]"), int(port or 8125)


def _has_port(address: str) -> bool:
    return ":" in address and not address.endswith("]")
