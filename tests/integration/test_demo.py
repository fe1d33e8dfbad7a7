"""The demonstration, and the example configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from crmsync.cli import cli
from crmsync.errors import ConfigError

from .world import Crmsync, Install, Sandbox, StartSandbox

EXAMPLE = Path(__file__).parents[2] / "crmsync.example.toml"
LEAD_FIELDS = {
    "salesforce_lead_id": "string",
    "lead_status": "string",
    "lead_company": "string",
    "lead_phone": "string",
    "lead_last_modified_at": "timestamp",
    "lead_origin": "string",
}


def test_the_demo_succeeds(tmp_path: Path) -> None:
    run = Crmsync(tmp_path / "home").run("demo", "--quick")
    assert run.code == 0, run.said
    assert "compared row by row" in run.out
    assert "What to do next" in run.out


@pytest.mark.parametrize("command", ["demo", "sandbox"])
def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """A module that is None in sys.modules is one that is not installed."""
    monkeypatch.setitem(sys.modules, "lark", None)
    ended = CliRunner().invoke(cli, [command])
    assert isinstance(ended.exception, ConfigError)
    assert "lark" in str(ended.exception)
    assert ended.exception.hint == "Run `pip install 'crmsync[sandbox]'`."


def test_the_demo_leaves_what_is_configured_alone(sandbox: Sandbox, crmsync: Crmsync) -> None:
    assert crmsync.run("demo", "--contacts", "60").code == 0
    assert not crmsync.state.exists()
    assert sandbox.requests() == []


def test_the_syncs_of_the_example_configuration_run_together(
    start_sandbox: StartSandbox, install: Install
) -> None:
    """Contacts and leads into one object, each under a match key of its own."""
    sandbox = start_sandbox()
    for name, kind in LEAD_FIELDS.items():
        sandbox.cdp("add_field", object="profiles", name=name, type=kind, identity=name.endswith("_id"))
    crmsync = install(sandbox)
    crmsync.configure(EXAMPLE.read_text())
    check = crmsync.run("check")
    assert check.code == 0, check.said
    first = crmsync.run("pull", "--full", "--json")
    assert first.code == 0, first.said
    contacts, leads = first.json["syncs"]
    assert (contacts["sync"], leads["sync"]) == ("contacts", "leads")
    open_leads = [lead for lead in sandbox.crm("dump", object="Lead") if not lead["IsConverted"]]
    assert leads["read"] == len(open_leads) > 20
    by_lead = {p["salesforce_lead_id"]: p for p in sandbox.profiles() if "salesforce_lead_id" in p}
    assert len(by_lead) == leads["written"]
    for lead in open_leads:
        if lead["Id"] in by_lead:
            assert by_lead[lead["Id"]]["lead_status"] == lead["Status"]
            assert by_lead[lead["Id"]]["lead_origin"] == "salesforce"
    second = crmsync.run("pull", "--json").json["syncs"]
    assert [result["written"] for result in second] == [0, 0]
    assert crmsync.run("pull", "leads").code == 0
    assert crmsync.run("explain", open_leads[0]["Id"]).code == 78, "which of the syncs?"
    assert crmsync.run("explain", open_leads[0]["Id"], "--sync", "leads", personal=True).code == 0


def test_one_sync_that_fails_does_not_stop_the_other(start_sandbox: StartSandbox, install: Install) -> None:
    sandbox = start_sandbox(60)
    crmsync = install(sandbox)
    crmsync.configure(EXAMPLE.read_text())
    run = crmsync.run("pull", "--full", "--json")
    contacts, leads = run.json["syncs"]
    assert (run.code, leads["exit_code"], contacts["exit_code"]) == (78, 78, 0)
    assert contacts["written"] > 0
