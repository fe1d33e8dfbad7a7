"""What is shipped under monitoring/, against Debian's prometheus, node exporter and promtool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from crmsync.health.prometheus import METRICS

from .listeners import unused_port
from .world import PATIENCE, Crmsync, Sandbox, wait_for

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"
NAME = re.compile(r"\bcrmsync_\w+")


def debian(program: str, package: str) -> str:
    """Where a program of a Debian package is."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"the Debian package {package} is not installed")
    return found


@pytest.fixture(scope="session")
def promtool() -> str:
    return debian("promtool", "prometheus")


@dataclass(frozen=True)
class Prometheus:
    """A server that scrapes a node exporter, which reads `textfile`."""

    url: str
    textfile: Path

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The labels and values of an instant query."""
        reply = fetched(f"{self.url}/api/v1/query", query=expression)
        assert reply.status_code == 200, (expression, reply.text)
        found: list[dict[str, Any]] = reply.json()["data"]["result"]
        return found

    def value(self, expression: str) -> float | None:
        found = self.ask(expression)
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> set[str]:
        alerts = fetched(f"{self.url}/api/v1/alerts").json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """With the rules that are shipped, scraping and evaluating each second."""
    server = debian("prometheus", "prometheus")
    exporter = debian("prometheus-node-exporter", "prometheus-node-exporter")
    folder = tmp_path_factory.mktemp("prometheus")
    textfiles = folder / "textfiles"
    textfiles.mkdir()
    at, exporter_at = (f"127.0.0.1:{unused_port()}" for _ in range(2))
    (folder / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(MONITORING / "alerts.yml")],
                "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": [exporter_at]}]}],
            }
        )
    )
    with ExitStack() as running:
        running.enter_context(
            serving(
                folder / "exporter.log",
                exporter,
                f"--web.listen-address={exporter_at}",
                "--collector.disable-defaults",
                "--collector.textfile",
                f"--collector.textfile.directory={textfiles}",
            )
        )
        running.enter_context(
            serving(
                folder / "prometheus.log",
                server,
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={at}",
            )
        )
        there = Prometheus(f"http://{at}", textfiles / "crmsync.prom")
        wait_for(lambda: _is_ready(there.url), "Prometheus to be ready")
        yield there


class serving(subprocess.Popen[bytes]):
    """A server's process, ended on the way out."""

    def __init__(self, log: Path, *command: str) -> None:
        with log.open("wb") as out:
            super().__init__(command, stdout=out, stderr=out)

    def __exit__(self, *error: object) -> None:
        self.terminate()
        self.wait(timeout=PATIENCE)


def fetched(url: str, **query: str) -> requests.Response:
    """What a server on this machine answers, whatever proxy there is."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, params=query, timeout=PATIENCE)


def _is_ready(url: str) -> bool:
    try:
        return fetched(f"{url}/-/ready").status_code == 200
    except requests.ConnectionError:
        return False


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dashboard()["panels"]
    return found


def expressions() -> list[str]:
    """What the dashboard asks, for all syncs."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [expression.replace("$sync", ".*") for expression in asked]


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_a_runs_numbers_arrive_in_prometheus_and_on_the_dashboard(
    sandbox: Sandbox, crmsync: Crmsync, prometheus: Prometheus
) -> None:
    """Every panel shows something once there were a full pull and a delta; a failure raises its alert."""
    crmsync.settings["CRMSYNC_PROMETHEUS_FILE"] = str(prometheus.textfile)
    result = crmsync.pull("--full")
    wait_for(lambda: prometheus.value("crmsync_last_exit_code") == 0, "the first run to be scraped")
    labels = '{sync="contacts", source="salesforce"}'
    assert prometheus.value(f"crmsync_run_duration_seconds{labels}") == result["duration_seconds"]
    assert prometheus.value('crmsync_records{outcome="written"}') == result["written"]
    assert prometheus.value('crmsync_records{outcome="rejected"}') == sum(result["rejected"].values())
    assert prometheus.value("crmsync_last_success_timestamp_seconds") is not None
    empty = {expression for expression in expressions() if not prometheus.ask(expression)}
    sandbox.retitle(sandbox.delivered()[:2], "Scraped")
    crmsync.pull()
    wait_for(lambda: prometheus.value("crmsync_record_lag_seconds") is not None, "the second run")
    assert [expression for expression in empty if not prometheus.ask(expression)] == []
    assert prometheus.firing() == set()
    sandbox.fault("status", status=403, service="salesforce", path="/queryAll", times=None)
    crmsync.run("pull")
    wait_for(lambda: prometheus.firing() == {"CrmsyncFailing"}, "the alert")


def test_promtool_finds_nothing_wrong_with_the_metrics(
    crmsync: Crmsync, promtool: str, tmp_path: Path
) -> None:
    file = tmp_path / "crmsync.prom"
    crmsync.pull("--full", env={"CRMSYNC_PROMETHEUS_FILE": str(file)})
    done = subprocess.run([promtool, "check", "metrics"], input=file.read_bytes(), capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_alerts_are_rules_and_do_as_their_tests_say(promtool: str) -> None:
    """That of a stale sync among them."""
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]):
        done = subprocess.run([promtool, *command], cwd=MONITORING, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    cases = yaml.safe_load((MONITORING / "alerts.test.yml").read_text())["tests"]
    tried = [expected for case in cases for expected in case["alert_rule_test"]]
    names = {alert["alert"] for alert in alerts()}
    assert {expected["alertname"] for expected in tried if expected.get("exp_alerts")} == names
    assert {expected["alertname"] for expected in tried if not expected.get("exp_alerts")} == names


def test_every_metric_that_is_named_is_one_that_crmsync_exports() -> None:
    named = {name for alert in alerts() for name in NAME.findall(alert["expr"])}
    named |= {name for expression in expressions() for name in NAME.findall(expression)}
    named |= set(NAME.findall(dashboard()["templating"]["list"][0]["definition"]))
    assert named <= METRICS.keys()


def test_every_metric_is_told_of_in_the_readme() -> None:
    told = set(NAME.findall((MONITORING / "README.md").read_text()))
    assert told == METRICS.keys()


def test_the_dashboard_can_be_imported() -> None:
    """It asks for its data source, its panels are whole, and none lies upon another."""
    (wanted,) = dashboard()["__inputs"]
    source = {"type": wanted["pluginId"], "uid": f"${{{wanted['name']}}}"}
    assert dashboard()["id"] is None
    assert {panel["type"] for panel in panels()} <= {need["id"] for need in dashboard()["__requires"]}
    numbers = [panel["id"] for panel in panels()]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == source
        assert all(target["datasource"] == source for target in panel["targets"])
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
