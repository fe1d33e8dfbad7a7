"""Metrics in a file for the textfile collector of Prometheus' node exporter.

The file holds the last run of every configured sync. A run rewrites the samples of its own sync and keeps those
of the others; what a run that failed does not know, such as the time of the last success, stays as it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from crmsync import __version__
from crmsync.errors import ConfigError
from crmsync.health.ending import Ending
from crmsync.health.observer import Observer
from crmsync.state.store import replace_file

log = logging.getLogger(__name__)

LOCK_PATIENCE = 5.0
"""Seconds to wait for another run that writes the same file."""
SYNC = ("sync", "source")


@dataclass(frozen=True, slots=True)
class Metric:
    """A gauge. `stays` says that a run which does not know its value leaves it as it was."""

    about: str
    labels: tuple[str, ...] = SYNC
    stays: bool = False


METRICS: dict[str, Metric] = {
    "crmsync_build_info": Metric("The version of crmsync, with the value 1.", ("version",)),
    "crmsync_interval_seconds": Metric("How often a pull is meant to run (CRMSYNC_INTERVAL)."),
    "crmsync_last_run_timestamp_seconds": Metric("When the last run ended."),
    "crmsync_last_success_timestamp_seconds": Metric("When the last run ended that moved on.", stays=True),
    "crmsync_last_exit_code": Metric("The exit code of the last run."),
    "crmsync_run_duration_seconds": Metric("How long the last run took."),
    "crmsync_records": Metric("Records of the last run, by outcome.", (*SYNC, "outcome")),
    "crmsync_records_skipped": Metric("Records that the last run skipped, by reason.", (*SYNC, "reason")),
    "crmsync_requests": Metric("Requests that the last run sent, by side.", (*SYNC, "side")),
    "crmsync_watermark_timestamp_seconds": Metric("Up to when the source has been read.", stays=True),
    "crmsync_lag_seconds": Metric("The source's clock less the watermark when the last run ended."),
    "crmsync_record_lag_seconds": Metric("Longest time from a change to its delivery in the last run."),
    "crmsync_rejects_pending": Metric("Records that could not be delivered and are still open.", stays=True),
    "crmsync_source_api_used": Metric("Requests of the source's day that are used, by anyone.", stays=True),
    "crmsync_source_api_limit": Metric("Requests that the source allows a day.", stays=True),
}

Samples = dict[tuple[str, tuple[str, ...]], float]
"""Values by metric and by the values of its labels, in the order of METRICS."""


class PrometheusFile(Observer):
    """Rewrites the file when a sync has ended."""

    name = "CRMSYNC_PROMETHEUS_FILE"

    def __init__(self, path: Path, syncs: Collection[str], interval: timedelta) -> None:
        """`syncs` are those configured: of others nothing is kept. Raises ConfigError without the library."""
        try:
            import prometheus_client  # noqa: F401 - better missed now than after the run
        except ModuleNotFoundError:
            raise ConfigError(
                f"CRMSYNC_PROMETHEUS_FILE: {path} needs prometheus-client",
                hint="Run `pip install 'crmsync[metrics]'`.",
            ) from None
        self._path = path
        self._syncs = syncs
        self._interval = interval

    def synced(self, ending: Ending) -> None:
        with _alone_in(self._path.parent):
            samples = {
                key: value for key, value in self._present().items() if _stays(key, ending, self._syncs)
            }
            samples[("crmsync_build_info", (__version__,))] = 1
            samples[("crmsync_interval_seconds", (ending.sync, ending.source))] = (
                self._interval.total_seconds()
            )
            samples.update(_told(ending))
            replace_file(self._path, _rendered(samples), mode=0o644)

    def _present(self) -> Samples:
        """What the file says. One that cannot be read is begun anew: it must not keep the news from coming."""
        try:
            return _parsed(self._path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            log.warning("CRMSYNC_PROMETHEUS_FILE: %s cannot be read and is begun anew", self._path)
            return {}


def _told(ending: Ending) -> Samples:
    """What a run says of its sync."""
    plain = {
        "crmsync_last_run_timestamp_seconds": ending.at,
        "crmsync_last_success_timestamp_seconds": ending.at if ending.in_step else None,
        "crmsync_last_exit_code": ending.exit_code,
        "crmsync_run_duration_seconds": ending.duration_seconds,
        "crmsync_watermark_timestamp_seconds": ending.watermark,
        "crmsync_lag_seconds": ending.lag_seconds,
        "crmsync_record_lag_seconds": ending.record_lag_seconds,
        "crmsync_rejects_pending": ending.rejects_open,
        "crmsync_source_api_used": ending.api_used,
        "crmsync_source_api_limit": ending.api_limit,
    }
    split = {
        "crmsync_records": ending.records,
        "crmsync_records_skipped": ending.skipped,
        "crmsync_requests": ending.requests,
    }
    base = (ending.sync, ending.source)
    samples: Samples = {(name, base): value for name, value in plain.items() if value is not None}
    for name, numbers in split.items():
        samples.update({(name, (*base, label)): number for label, number in numbers.items()})
    return samples


def _stays(key: tuple[str, tuple[str, ...]], ending: Ending, syncs: Collection[str]) -> bool:
    """Whether a sample outlives this run."""
    name, labels = key
    if METRICS[name].labels[:2] != SYNC or labels[0] not in syncs:
        return False
    if labels[0] != ending.sync:
        return True
    return METRICS[name].stays and labels[1] == ending.source


def _parsed(text: str) -> Samples:
    """The samples of our own metrics in an exposition. Raises ValueError where it is none."""
    from prometheus_client.parser import text_string_to_metric_families

    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            metric = METRICS.get(sample.name)
            if metric and set(sample.labels) == set(metric.labels) and math.isfinite(sample.value):
                samples[(sample.name, tuple(sample.labels[label] for label in metric.labels))] = sample.value
    return samples


def _rendered(samples: Mapping[tuple[str, tuple[str, ...]], float]) -> bytes:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import GaugeMetricFamily

    class Collector:
        def collect(self) -> Iterator[GaugeMetricFamily]:
            for name, metric in METRICS.items():
                family = GaugeMetricFamily(name, metric.about, labels=metric.labels)
                for (of, labels), value in sorted(samples.items()):
                    if of == name:
                        family.add_metric(labels, value)
                if family.samples:
                    yield family

    registry = CollectorRegistry()
    registry.register(Collector())
    return generate_latest(registry)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs from rewriting a file of this folder meanwhile. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
