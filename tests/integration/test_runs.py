"""`runs`: what became of each run, as a table, as JSON, as a page."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from unit.histories import Line, eventful, line, lines

from .world import MARKER, Crmsync, Sandbox

QUARTER = timedelta(minutes=15)
NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)


@pytest.fixture
def anyone(tmp_path: Path) -> Crmsync:
    """Somebody with no service in reach, and no login."""
    return Crmsync(tmp_path / "home", {"CRMSYNC_INTERVAL": "15m", "PYTHONUTF8": "1"})


def remember(crmsync: Crmsync, history: list[Line], sync: str = "contacts") -> None:
    folder = crmsync.state / sync
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "runs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in history))


def rows(out: str) -> list[str]:
    return [row for row in out.splitlines() if row.startswith("2026-")]


def test_every_run_is_a_row_and_what_is_odd_about_it_shows(anyone: Crmsync) -> None:
    remember(anyone, eventful(NOON))
    out = anyone.run("runs").out
    assert len(rows(out)) == 30
    (spike,) = (row for row in rows(out) if "4,870▲" in row)
    (drop,) = (row for row in rows(out) if " 4▼" in row)
    (failure,) = (row for row in rows(out) if " 77! " in row)
    assert "140▲" in out
    assert spike < failure < drop
    said = out.splitlines()
    assert "Salesforce refused the login" in said[said.index(failure) + 1]
    assert "    -- no run for 3h 14m --" in said


def test_where_the_terminal_has_no_triangles_letters_do(anyone: Crmsync) -> None:
    remember(anyone, eventful(NOON))
    run = anyone.run("runs", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert run.code == 0
    assert "4,870^" in run.out
    assert " 4v" in run.out
    assert run.out.isascii()


def test_only_the_newest_and_only_those_that_failed(anyone: Crmsync) -> None:
    history = eventful(NOON)
    remember(anyone, history)
    assert len(rows(anyone.run("runs", "--last", "4").out)) == 4
    (failure,) = rows(anyone.run("runs", "--failed").out)
    assert " 77! " in failure
    assert anyone.run("runs", "--json").json["runs"] == history
    assert anyone.run("runs", "--json", "--last", "2").json["runs"] == history[-2:]
    assert anyone.run("runs", "--json", "--failed").json["runs"] == [history[24]]


def test_of_two_thousand_runs_the_table_shows_thirty_and_json_all(anyone: Crmsync) -> None:
    remember(anyone, lines(NOON, 2_000))
    assert len(rows(anyone.run("runs").out)) == 30
    assert len(anyone.run("runs", "--json").json["runs"]) == 2_000


def test_without_a_run_there_is_nothing_to_show(anyone: Crmsync) -> None:
    assert anyone.run("runs").out == "contacts: no run yet\n"
    assert anyone.run("runs", "--failed").code == 0
    assert anyone.run("runs", "--json").json["runs"] == []
    assert anyone.run("runs", "--html", "runs.html").code == 0
    assert "No run has ended yet." in (anyone.home / "runs.html").read_text()
    assert not anyone.state.exists()


def test_a_line_that_a_crash_or_a_person_spoilt_costs_only_itself(anyone: Crmsync) -> None:
    remember(anyone, lines(NOON, 3))
    with (anyone.state / "contacts" / "runs.jsonl").open("a") as log:
        log.write('[1, 2]\n{"run_id": 4}\nnot json\n' + json.dumps(line(NOON + 3 * QUARTER)) + "\n{torn")
    assert len(rows(anyone.run("runs").out)) == 4
    assert anyone.run("runs", "--html", "runs.html").code == 0
    assert anyone.run("runs", "--json", "--failed").code == 0


def test_each_sync_has_its_own_history(anyone: Crmsync) -> None:
    sync = (
        '[[sync]]\nname = "{0}"\nsource = "salesforce"\nobject = "{1}"\ninto = "{2}"\n'
        'match_key = "salesforce_id"\nowner = "crm"\n[sync.fields]\nemail = "Email"\nsalesforce_id = "Id"\n'
    )
    anyone.configure(sync.format("contacts", "Contact", "profiles") + sync.format("leads", "Lead", "leads"))
    remember(anyone, lines(NOON, 3))
    remember(anyone, lines(NOON, 5, sync="leads"), "leads")
    assert len(rows(anyone.run("runs").out)) == 8
    assert len(rows(anyone.run("runs", "--sync", "leads").out)) == 5
    assert anyone.run("runs", "--sync", "lead").code == 78


def test_the_page_is_for_its_owner_and_takes_the_place_of_the_old_one(anyone: Crmsync) -> None:
    remember(anyone, eventful(NOON))
    page = anyone.home / "runs.html"
    assert anyone.run("runs", "--html", str(page)).said == ""
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    page.chmod(0o644)
    before = page.read_bytes()
    remember(anyone, lines(NOON, 3))
    anyone.run("runs", "--html", str(page))
    assert (stat.S_IMODE(page.stat().st_mode), page.read_bytes() != before) == (0o644, True)
    assert [path.name for path in anyone.home.glob(".new-*")] == []
    nowhere = anyone.run("runs", "--html", "nowhere/runs.html")
    assert (nowhere.code, "nowhere/runs.html cannot be written" in nowhere.err) == (78, True)


@pytest.mark.parametrize("other", ["--json", "--failed"])
def test_a_page_of_part_of_the_runs_is_refused(anyone: Crmsync, other: str) -> None:
    assert anyone.run("runs", "--html", "runs.html", other).code == 2


def test_the_run_itself_warns_of_what_is_odd_about_it(sandbox: Sandbox, crmsync: Crmsync) -> None:
    """The history says that eighty records are usual; this run writes one."""
    crmsync.pull("--full")
    start = datetime.now(UTC) - 21 * QUARTER
    remember(crmsync, lines(start, 20, written=80))
    sandbox.retitle(sandbox.delivered()[:1], "Changed")
    run = crmsync.run("pull", "--json")
    assert run.code == 0
    assert run.err.count("only 1 record written, usually about 80") == 1
    assert list(run.sync["deviations"]) == ["written_drop"]
    assert "1▼" in crmsync.run("runs", env={"PYTHONUTF8": "1"}).out


def test_the_page_of_real_runs_shows_nobodys_data(sandbox: Sandbox, crmsync: Crmsync) -> None:
    crmsync.pull("--full")
    ids = sandbox.delivered()[:3]
    for row_id in ids:
        sandbox.cdp("poison", field="salesforce_id", value=row_id, code="CDP_ETL.RECORD.POISONED")
    sandbox.retitle(ids, "Poisoned")
    assert crmsync.pull()["refused"] == {"CDP_ETL.RECORD.POISONED": 3}
    crmsync.run("runs", "--html", "runs.html")
    page = (crmsync.home / "runs.html").read_text()
    assert "CDP_ETL.RECORD.POISONED" in page
    assert "invalid_email" in page
    assert ids[2] in page
    assert MARKER.lower() not in page.lower()
    assert "@" not in page.replace("@media", "")
    for name in ("SALESFORCE_CLIENT_SECRET", "EXPERITURE_CLIENT_SECRET"):
        assert crmsync.settings[name] not in page
        assert f"{name.split('_')[0]}_<wbr>CLIENT_<wbr>SECRET" in page
