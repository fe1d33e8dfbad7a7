"""The commands beside `pull`: what they show, what they change, what they keep to themselves."""

from __future__ import annotations

import json
import re

import pytest

from .world import MARKER, Crmsync, Install, Sandbox, StartSandbox

SECRETS = ("SALESFORCE_CLIENT_SECRET", "EXPERITURE_CLIENT_SECRET")


@pytest.fixture(scope="module")
def with_rejects(
    shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Crmsync, list[str]]:
    """A crmsync with three Ids that the CDP has refused, beside the malformed ones."""
    shared_sandbox.freshen()
    crmsync = Crmsync(tmp_path_factory.mktemp("rejects") / "home", dict(shared_sandbox.environment))
    crmsync.pull("--full")
    ids = shared_sandbox.delivered()[:3]
    for row_id in ids:
        shared_sandbox.cdp("poison", field="salesforce_id", value=row_id, code="CDP_ETL.RECORD.POISONED")
    shared_sandbox.retitle(ids, "Poisoned")
    result = crmsync.pull()
    assert result["refused"] == {"CDP_ETL.RECORD.POISONED": 3}
    return crmsync, ids


@pytest.fixture
def refused(with_rejects: tuple[Crmsync, list[str]]) -> list[str]:
    """Three Ids that the CDP has refused, and now would not."""
    return with_rejects[1]


@pytest.fixture
def crmsync(request: pytest.FixtureRequest, sandbox: Sandbox, install: Install) -> Crmsync:
    """One with rejects where the test is about those, else one that has never run."""
    if "refused" in request.fixturenames:
        return install(request.getfixturevalue("with_rejects")[0])
    return install(sandbox)


def open_rejects(crmsync: Crmsync, *arguments: str) -> list[str]:
    listed = crmsync.run("rejects", "list", "--json", *arguments)
    assert listed.code == 0
    return [reject["id"] for reject in listed.json["rejects"]]


def test_rejects_list_names_each_with_its_code(crmsync: Crmsync, refused: list[str]) -> None:
    lines = crmsync.run("rejects", "list").out.splitlines()
    for row_id in refused:
        (line,) = (line for line in lines if row_id in line)
        assert "CDP_ETL.RECORD.POISONED" in line
    malformed = open_rejects(crmsync, "--code", "invalid_email")
    assert malformed
    assert len(lines) == len(malformed) + len(refused)


def test_rejects_show_shows_values_only_when_asked(crmsync: Crmsync, refused: list[str]) -> None:
    plain = crmsync.run("rejects", "show", refused[0])
    assert json.loads(plain.out)["code"] == "CDP_ETL.RECORD.POISONED"
    personal = crmsync.run("rejects", "show", refused[0], "--values", personal=True)
    assert json.loads(personal.out)["values"]["salesforce_id"] == refused[0]
    assert MARKER.lower() in personal.out.lower()


def test_rejects_show_takes_the_short_form_of_an_id(crmsync: Crmsync, refused: list[str]) -> None:
    assert json.loads(crmsync.run("rejects", "show", refused[0][:15]).out)["id"] == refused[0]


def test_rejects_retry_delivers_what_can_now_be_delivered(
    sandbox: Sandbox, crmsync: Crmsync, refused: list[str]
) -> None:
    one = crmsync.run("rejects", "retry", refused[0])
    assert (one.code, "1 written" in one.out) == (0, True), one.said
    assert not {refused[0]} & set(open_rejects(crmsync))
    rest = crmsync.run("rejects", "retry")
    assert (rest.code, "2 written" in rest.out) == (0, True), rest.said
    assert not set(refused) & set(open_rejects(crmsync))
    assert {
        profile["job_title"] for profile in sandbox.profiles() if profile["salesforce_id"] in refused
    } == {"Poisoned"}


def test_a_reject_closes_when_its_row_is_delivered_after_a_change(
    sandbox: Sandbox, crmsync: Crmsync, refused: list[str]
) -> None:
    sandbox.retitle(refused, "Good again")
    crmsync.pull()
    assert not set(refused) & set(open_rejects(crmsync))


def test_rejects_drop_closes_without_delivering(
    sandbox: Sandbox, crmsync: Crmsync, refused: list[str]
) -> None:
    before = sandbox.cdp("counts")["writes"]
    assert crmsync.run("rejects", "drop").code == 2
    assert crmsync.run("rejects", "drop", refused[0]).code == 0
    assert refused[0] not in open_rejects(crmsync)
    assert crmsync.run("rejects", "drop", refused[0]).code == 78
    assert crmsync.run("rejects", "drop", "--all").code == 0
    assert open_rejects(crmsync) == []
    assert sandbox.cdp("counts")["writes"] == before


def test_more_new_rejects_than_allowed_is_3(crmsync: Crmsync) -> None:
    """Everything else is delivered, and the window is closed."""
    result = crmsync.pull("--full", code=3, env={"CRMSYNC_MAX_REJECTS": "2"})
    assert result["watermark_moved"]
    assert any("CRMSYNC_MAX_REJECTS" in note for note in result["notes"])


def test_explain_shows_the_row_its_record_and_what_was_delivered(sandbox: Sandbox, crmsync: Crmsync) -> None:
    crmsync.pull("--full")
    row_id = sandbox.delivered()[0]
    told = crmsync.run("explain", row_id, "--json", personal=True).json
    (profile,) = (profile for profile in sandbox.profiles() if profile["salesforce_id"] == row_id)
    assert told["row"]["Id"] == row_id
    assert told["becomes"] == "record"
    assert told["record"] == {name: value for name, value in profile.items() if name in told["record"]}
    assert told["ledger"]["proved"]
    assert told["reject"] is None


def test_explain_says_why_a_row_is_left_out(sandbox: Sandbox, crmsync: Crmsync) -> None:
    crmsync.pull("--full")
    rows = sandbox.contacts()
    deleted = next(row["Id"] for row in rows if row["IsDeleted"] and row["Email"])
    malformed = open_rejects(crmsync)[0]
    nameless = next(row["Id"] for row in rows if not row["Email"] and not row["IsDeleted"])
    told = {
        row_id: crmsync.run("explain", row_id, "--json", personal=True).json
        for row_id in (deleted, malformed, nameless)
    }
    assert (told[deleted]["becomes"], told[deleted]["why"]) == ("skipped", "deleted")
    assert (told[malformed]["becomes"], told[malformed]["reject"]) == ("rejected", "invalid_email")
    assert (told[nameless]["becomes"], told[nameless]["why"]) == ("skipped", "no_email")


def test_explain_of_an_unknown_id_says_so(crmsync: Crmsync) -> None:
    run = crmsync.run("explain", "003000000000000AAA")
    assert (run.code, "003000000000000" in run.err) == (78, True)


def test_state_show_and_set(sandbox: Sandbox, crmsync: Crmsync) -> None:
    """The next pull reads from where it was set to."""
    watermark = crmsync.pull("--full")["watermark"]
    assert watermark in crmsync.run("state", "show").out
    moved = crmsync.run("state", "set", "contacts", "--watermark", "2020-01-01")
    assert (moved.code, crmsync.watermark()) == (0, "2020-01-01T00:00:00Z")
    result = crmsync.pull()
    assert result["window"]["start"] == "2019-12-31T23:50:00Z"
    assert result["unchanged"] > 200
    assert crmsync.watermark() >= watermark


def test_state_set_is_a_beginning_too(crmsync: Crmsync) -> None:
    assert crmsync.run("state", "show").code == 0
    assert crmsync.run("state", "set", "--watermark", "2020-01-01").code == 0
    assert crmsync.pull()["read"] > 0


def test_state_set_is_the_way_out_of_a_damaged_state(crmsync: Crmsync) -> None:
    crmsync.pull("--full")
    (crmsync.state / "contacts" / "state.json").write_text("{")
    assert crmsync.run("pull").code == 78
    assert crmsync.run("state", "set", "--watermark", "2020-01-01").code == 0
    assert crmsync.pull()["read"] > 0


def test_config_show_masks_every_secret_and_names_where_it_was_set(crmsync: Crmsync) -> None:
    """Also those that only other logins need, and one that stands in a file."""
    others = {name: f"hush-{name.lower()}" for name in ("HUBSPOT_TOKEN", "SALESFORCE_PASSWORD")}
    (crmsync.home / "secret").write_text("hush-from-a-file")
    others["EXPERITURE_API_KEY_FILE"] = str(crmsync.home / "secret")
    run = crmsync.run("config", "show", env=others)
    assert run.code == 0
    assert "hush" not in run.said
    for name in (*SECRETS, *others):
        line = next(line for line in run.out.splitlines() if line.startswith(name.removesuffix("_FILE")))
        assert "****" in line, line
    assert re.search(r"SALESFORCE_CLIENT_ID +\S+ +environment", run.out)
    assert re.search(r"CRMSYNC_BATCH_SIZE +500 +default", run.out)


def test_no_secret_and_no_personal_data_shows_however_much_is_said(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    """`run` looks for them in whatever a command says; here much goes wrong, and the most is said."""
    sandbox.crm("page_sizes", sizes=[60])
    sandbox.crm("expire_sessions", after=5)
    sandbox.cdp("switches", outcome="all_or_nothing", error_path="none")
    for profile in (row for row in sandbox.contacts()[::90] if row["Email"]):
        sandbox.cdp("poison", field="email", value=profile["Email"], message=f"{profile['Email']} is bad")
    sandbox.fault("status", service="experiture", path="upsert-batch", status=503, body=MARKER)
    run = crmsync.run("pull", "--full", "-vv", env={"CRMSYNC_LOG_FORMAT": "text", "CRMSYNC_BATCH_SIZE": "60"})
    assert run.code == 0
    assert "narrowing" in run.err
    assert "page link" in run.err
    assert crmsync.run("rejects", "list").code == 0


def test_check_is_all_ok_where_everything_is(crmsync: Crmsync) -> None:
    run = crmsync.run("check")
    assert run.code == 0
    assert {line.split()[0] for line in run.out.splitlines()} == {"ok"}
    assert "300 to read" in run.out
    assert crmsync.run("check", "--json").json["exit_code"] == 0


def test_check_changes_nothing(sandbox: Sandbox, crmsync: Crmsync) -> None:
    crmsync.pull("--full")
    before, asked = crmsync.saved(), sandbox.last_request()
    crmsync.run("check")
    assert crmsync.saved() == before
    assert sandbox.requests("experiture", "/records/", since=asked) == []


def test_check_tells_everything_that_fails_with_what_to_do(sandbox: Sandbox, crmsync: Crmsync) -> None:
    sandbox.crm("hide_field", object="Contact", field="Phone")
    run = crmsync.run("check", env={"EXPERITURE_CLIENT_SECRET": "wrong"})
    failing = [line for line in run.out.splitlines() if line.startswith("fail")]
    assert run.code == 78
    assert len(failing) == 2
    assert run.out.count("→") == 2
    assert "Phone" in failing[0]
    assert "EXPERITURE_CLIENT_SECRET" in run.out


def test_check_warns_of_what_could_not_be_checked(sandbox: Sandbox, crmsync: Crmsync) -> None:
    sandbox.cdp("switches", metadata="forbidden")
    run = crmsync.run("check")
    assert run.code == 0
    assert [line for line in run.out.splitlines() if line.startswith("warn")]
    assert crmsync.pull("--full")["written"] > 0


def test_the_json_of_a_pull_names_state_and_configuration(crmsync: Crmsync) -> None:
    told = crmsync.run("pull", "--full", "--json").json
    assert told["state"] == str(crmsync.state)
    assert told["config"] is None
    first = json.loads(crmsync.run("pull", "-v", env={"CRMSYNC_LOG_FORMAT": "json"}).err.splitlines()[0])
    assert str(crmsync.state) in first["msg"]


def test_settings_may_stand_in_a_dotenv_file_beside(start_sandbox: StartSandbox, install: Install) -> None:
    crmsync = install(start_sandbox(20))
    lines = [f'{name}="{value}"' for name, value in crmsync.settings.items()]
    crmsync.settings.clear()
    (crmsync.home / ".env").write_text("\n".join(lines))
    assert crmsync.pull("--full")["read"] == 20
