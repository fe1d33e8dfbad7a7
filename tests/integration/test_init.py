"""`crmsync init`: by flags and at a terminal, on a machine that has nothing and on one that has something."""

from __future__ import annotations

import getpass
import stat
from pathlib import Path

import pytest

from .terminal import Terminal
from .world import CRMSYNC, Crmsync, Sandbox, StartSandbox

ME = getpass.getuser()


@pytest.fixture
def newcomer(tmp_path: Path) -> Crmsync:
    """A user who has nothing set, and wants to run crmsync."""
    return Crmsync(tmp_path / "home")


def held(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def init(crmsync: Crmsync, *arguments: str, env: dict[str, str] | None = None, code: int = 0) -> str:
    run = crmsync.run("init", "--yes", "--user", ME, "--dir", str(crmsync.home), *arguments, env=env)
    assert run.code == code, run.said
    return run.said


def test_from_nothing_to_a_pull(newcomer: Crmsync, sandbox: Sandbox) -> None:
    """What init has written is enough: nothing else is set from then on."""
    said = init(newcomer, "--schedule", "systemd", env=sandbox.environment)
    assert f"written: {newcomer.home / '.env'}" in said
    assert "logged in; salesforce_id is an identity key" in said, "check has run"
    assert "systemctl enable --now crmsync@contacts.timer" in said
    assert stat.S_IMODE((newcomer.home / ".env").stat().st_mode) == 0o600
    files = held(newcomer.home)
    assert {".env", "crmsync.toml", "crmsync@.service", "crmsync@.timer"} <= files.keys()
    for name in ("SALESFORCE_CLIENT_SECRET", "EXPERITURE_CLIENT_SECRET"):
        assert [file for file, text in files.items() if sandbox.environment[name] in text] == [".env"]
    assert newcomer.pull("--full")["written"] > 0
    assert f"Environment=CRMSYNC_STATE={newcomer.state}" in files["crmsync@.service"]
    assert f"User={ME}" in files["crmsync@.service"]


def test_what_is_set_by_flags_is_written_in_full(newcomer: Crmsync, sandbox: Sandbox) -> None:
    (newcomer.home / "secret").write_text(sandbox.environment["SALESFORCE_CLIENT_SECRET"])
    settings = {**sandbox.environment}
    del settings["SALESFORCE_CLIENT_SECRET"]
    init(
        newcomer,
        *("--set", "SALESFORCE_CLIENT_SECRET_FILE=secret", "--set", "CRMSYNC_JOBS=5"),
        *("--set", "CRMSYNC_OVERLAP=900s", "--set", "CRMSYNC_STATE=here", "--schedule", "cron"),
        env=settings,
    )
    toml = held(newcomer.home)["crmsync.toml"]
    assert f'client_secret_file = "{newcomer.home / "secret"}"' in toml
    assert "jobs = 5\n" in toml
    assert 'overlap = "15m"' in toml
    assert f'state = "{newcomer.home / "here"}"' in toml
    assert f"CRMSYNC_STATE={newcomer.home / 'here'}" in held(newcomer.home)["crmsync.cron"]


def test_a_private_key_in_the_environment_goes_into_the_env_file(
    newcomer: Crmsync, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(60, "--login", "jwt")
    settings = {**sandbox.environment}
    settings["SALESFORCE_PRIVATE_KEY"] = Path(settings.pop("SALESFORCE_PRIVATE_KEY_FILE")).read_text()
    init(newcomer, env=settings)
    assert newcomer.pull("--full")["written"] > 0


def test_nothing_is_replaced_without_force(newcomer: Crmsync, sandbox: Sandbox) -> None:
    init(newcomer, "--no-check", env=sandbox.environment)
    before = held(newcomer.home)
    assert f"unchanged: {newcomer.home / '.env'}" in init(newcomer, "--no-check")
    another = {"EXPERITURE_CLIENT_SECRET": "another-secret"}
    said = init(newcomer, "--set", "CRMSYNC_JOBS=5", "--schedule", "cron", env=another, code=78)
    assert ".env: different: EXPERITURE_CLIENT_SECRET" in said
    assert "+jobs = 5" in said
    assert held(newcomer.home) == before, "not even the file that was not there"
    init(newcomer, "--set", "CRMSYNC_JOBS=5", "--force", "--no-check", env=another)
    after = held(newcomer.home)
    assert (after[".env.old"], after["crmsync.toml.old"]) == (before[".env"], before["crmsync.toml"])
    assert "jobs = 5\n" in after["crmsync.toml"]
    assert "another-secret" in after[".env"]


def test_syncs_of_ones_own_stay_as_they_are(newcomer: Crmsync, sandbox: Sandbox) -> None:
    """A schedule is added later, and a setting changed; the mapping was edited in between."""
    init(newcomer, "--no-check", env=sandbox.environment)
    toml = newcomer.home / "crmsync.toml"
    toml.write_text(
        toml.read_text().replace('job_title = "Title"', 'job_title = "Title"  # theirs') + "\n# end\n"
    )
    before = held(newcomer.home)
    said = init(newcomer, "--no-check", "--schedule", "systemd")
    assert "unchanged: " in said
    assert held(newcomer.home).items() >= before.items()
    init(newcomer, "--no-check", "--set", "CRMSYNC_JOBS=5", "--force")
    after = held(newcomer.home)["crmsync.toml"]
    assert "jobs = 5" in after
    assert after.endswith(before["crmsync.toml"].partition("[[sync]]")[2])


@pytest.mark.parametrize(
    ("arguments", "env", "code", "reason"),
    [
        ((), {}, 78, "Salesforce: no login is configured"),
        ((), {"SALESFORCE_LOGIN_URL": "http://acme.test"}, 78, "plain http"),
        (("--set", "CRMSYNC_INTERVAL=7m", "--schedule", "cron"), None, 78, "cannot be scheduled evenly"),
        (("--set", "CRMSYNC_JOB=7"), None, 78, "did you mean CRMSYNC_JOBS"),
        (
            ("--set", "EXPERITURE_CLIENT_SECRET=hush"),
            None,
            78,
            "cannot carry the secret EXPERITURE_CLIENT_SECRET",
        ),
        (
            ("--set", "CRMSYNC_STATE=/srv/my crm", "--schedule", "systemd"),
            None,
            78,
            "absolute path of letters",
        ),
        (("--schedule", "at"), None, 2, "'at' is not one of"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    newcomer: Crmsync,
    sandbox: Sandbox,
    arguments: tuple[str, ...],
    env: dict[str, str] | None,
    code: int,
    reason: str,
) -> None:
    settings = sandbox.environment | (env or {}) if env != {} else {}
    assert reason in init(newcomer, *arguments, env=settings, code=code)
    assert held(newcomer.home) == {}


def test_without_a_terminal_it_does_not_ask(newcomer: Crmsync) -> None:
    run = newcomer.run("init")
    assert (run.code, "--yes" in run.err) == (2, True)


def test_a_failed_check_is_the_exit_code(newcomer: Crmsync, sandbox: Sandbox) -> None:
    said = init(newcomer, env=sandbox.environment | {"EXPERITURE_CLIENT_SECRET": "wrong-one"}, code=77)
    assert "EXPERITURE_CLIENT_SECRET" in said
    assert "crmsync.toml" in held(newcomer.home), "the files are there to be mended"


def at_terminal(crmsync: Crmsync, *arguments: str) -> Terminal:
    command = [*CRMSYNC, "init", "--user", ME, "--dir", str(crmsync.home), *arguments]
    return Terminal(command, crmsync.environment({"TERM": "dumb"}), crmsync.home)


def test_a_person_is_asked_and_asked_again(newcomer: Crmsync, sandbox: Sandbox) -> None:
    settings = sandbox.environment
    person = at_terminal(newcomer)
    person.answer("Login [client_credentials]:", "\n")
    person.answer("SALESFORCE_LOGIN_URL:", "https://login.salesforce.com\n")
    person.answer("client credentials are not accepted at login.salesforce.com", "")
    person.answer("SALESFORCE_LOGIN_URL:", f"{settings['SALESFORCE_LOGIN_URL']}\n")
    person.answer("SALESFORCE_CLIENT_ID:", f"{settings['SALESFORCE_CLIENT_ID']}\n")
    person.answer("SALESFORCE_CLIENT_SECRET (not shown):", f"{settings['SALESFORCE_CLIENT_SECRET']}\n")
    person.answer("Login [api_key]:", "none\n")
    person.answer("Login [api_key]:", "client_credentials\n")
    person.answer("EXPERITURE_BASE_URL [https://api.experiture.ai/public/v1]:", "http://acme.test/v1\n")
    person.answer("plain http", "")
    person.answer("EXPERITURE_BASE_URL", f"{settings['EXPERITURE_BASE_URL']}\n")
    person.answer("EXPERITURE_CLIENT_ID:", f"{settings['EXPERITURE_CLIENT_ID']}\n")
    person.answer("EXPERITURE_CLIENT_SECRET (not shown):", f"{settings['EXPERITURE_CLIENT_SECRET']}\n")
    person.answer("EXPERITURE_TOKEN_URL:", f"{settings['EXPERITURE_TOKEN_URL']}\n")
    person.answer(f"CRMSYNC_STATE [{newcomer.state}]:", "\n")
    person.answer("CRMSYNC_DEFAULT_REGION (Enter for none):", "Germany\n")
    person.answer("two letters of a country", "")
    person.answer("CRMSYNC_DEFAULT_REGION (Enter for none):", "DE\n")
    person.answer("Schedule (systemd, cron, none)", "none\n")
    assert person.end() == 0, person.said
    assert "every field is known" in person.said
    for name in ("SALESFORCE_CLIENT_SECRET", "EXPERITURE_CLIENT_SECRET"):
        assert settings[name] not in person.said.replace(settings["EXPERITURE_CLIENT_ID"], "")
    assert 'default_region = "DE"' in held(newcomer.home)["crmsync.toml"]
    assert newcomer.pull("--full")["written"] > 0


def test_the_login_that_is_chosen_wins_over_one_that_is_set(newcomer: Crmsync, sandbox: Sandbox) -> None:
    """An API key in the environment does not stand in the way of client credentials."""
    settings = sandbox.environment | {"EXPERITURE_API_KEY": "left-over-key"}
    newcomer.settings.update(settings)
    person = at_terminal(newcomer, "--schedule", "none", "--no-check")
    for prompt in ("Login", "LOGIN_URL [", "CLIENT_ID [", "Enter keeps what is set"):
        person.answer(prompt, "\n")
    person.answer("Login [api_key]:", "client_credentials\n")
    for prompt in ("BASE_URL [", "CLIENT_ID [", "Enter keeps what is set", "TOKEN_URL [", "STATE [", "none"):
        person.answer(prompt, "\n")
    assert person.end() == 0, person.said
    assert "EXPERITURE_API_KEY" not in held(newcomer.home)[".env"]
    assert "EXPERITURE_CLIENT_SECRET" in held(newcomer.home)[".env"]


def test_what_is_known_is_kept_by_enter(newcomer: Crmsync, sandbox: Sandbox) -> None:
    init(newcomer, "--no-check", env=sandbox.environment)
    before = held(newcomer.home)
    person = at_terminal(newcomer, "--schedule", "none", "--no-check")
    person.answer("nothing is replaced without --force", "")
    for prompt in ("Login", "LOGIN_URL [", "CLIENT_ID [", "Enter keeps what is set", "Login", "BASE_URL ["):
        person.answer(prompt, "\n")
    for prompt in ("CLIENT_ID [", "Enter keeps what is set", "TOKEN_URL [", "STATE [", "Enter for none"):
        person.answer(prompt, "\n")
    assert person.end() == 0, person.said
    assert "unchanged: " in person.said
    assert held(newcomer.home) == before


@pytest.mark.parametrize("prompt", ["SALESFORCE_LOGIN_URL:", "SALESFORCE_CLIENT_SECRET (not shown):"])
def test_an_interrupted_conversation_leaves_nothing(newcomer: Crmsync, sandbox: Sandbox, prompt: str) -> None:
    person = at_terminal(newcomer)
    person.answer("Login [client_credentials]:", "\n")
    if "SECRET" in prompt:
        person.answer("SALESFORCE_LOGIN_URL:", "https://acme.my.salesforce.com\n")
        person.answer("SALESFORCE_CLIENT_ID:", "an-id\n")
    person.answer(prompt, "")
    assert person.interrupt() == 130
    assert list(newcomer.home.iterdir()) == []
