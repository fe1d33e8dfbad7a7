"""Loading: layers and their precedence, secrets, logins, syncs, and everything wrong told at once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmsync.config import DEFAULT_SYNC, Config, FieldRule, load
from crmsync.config.settings import BY_VARIABLE, SECRETS, SETTINGS, VARIABLES
from crmsync.config.show import MASK, rows
from crmsync.errors import ConfigError
from crmsync.health.redaction import Redactor

ROOT = Path(__file__).parents[2]
COMPLETE = {
    "HOME": "/home/sync",
    "SALESFORCE_INSTANCE_URL": "https://acme.my.salesforce.com",
    "SALESFORCE_ACCESS_TOKEN": "sf-token",
    "EXPERITURE_API_KEY": "cdp-key",
}
SYNC = """
[[sync]]
name = "contacts"
object = "Contact"
match_key = "salesforce_id"
[sync.fields]
salesforce_id = "Id"
email = { from = "Email", normalize = "email" }
"""

Load = Callable[..., Config]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """Load with files written first, on a complete environment: `loaded(toml, env, CRMSYNC_JOBS="3")`."""

    def load_with(toml: str | None = None, env: str | None = None, **given: str | None) -> Config:
        for name, content in (("crmsync.toml", toml), (".env", env)):
            if content is not None:
                (tmp_path / name).write_text(content)
        environ = {name: value for name, value in {**COMPLETE, **given}.items() if value is not None}
        return load(environ=environ, cwd=tmp_path)

    return load_with


@pytest.fixture
def refused(loaded: Load) -> Callable[..., tuple[str, ...]]:
    """The problems of a configuration that must not load."""

    def problems_of(*files: str, **given: str | None) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as error:
            loaded(*files, **given)
        return error.value.problems

    return problems_of


class TestDefaults:
    def test_environment_alone_is_enough(self, loaded: Load) -> None:
        config = loaded()
        assert config.syncs == (DEFAULT_SYNC,)
        assert (config.path, config.warnings) == (None, ())
        assert (config.salesforce.login, config.experiture.login, config.hubspot.login) == (
            "token",
            "api_key",
            None,
        )
        assert (config.batch_size, config.in_flight, config.jobs) == (500, 8, 32)
        assert (config.overlap, config.settle) == (timedelta(minutes=10), timedelta(seconds=5))
        assert (config.interval, config.job_deadline) == (timedelta(minutes=15), timedelta(minutes=30))
        assert (config.max_rejects.allowed(10_000), config.max_quota) == (500, 0.8)
        assert config.experiture.base_url == "https://api.experiture.ai/public/v1"
        assert config.ownership["phone"] == ("crm", "sms")
        assert config.allow_http_hosts == ()

    @pytest.mark.parametrize(
        ("given", "state"),
        [
            ({}, "/home/sync/.local/state/crmsync"),
            ({"XDG_STATE_HOME": "/xdg"}, "/xdg/crmsync"),
            ({"XDG_STATE_HOME": "not/absolute"}, "/home/sync/.local/state/crmsync"),
            ({"XDG_STATE_HOME": "/xdg", "STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
            (
                {"STATE_DIRECTORY": "/var/lib/a", "CRMSYNC_STATE": "s3://acme-sync/prod"},
                "s3://acme-sync/prod",
            ),
        ],
    )
    def test_state(self, loaded: Load, given: dict[str, str], state: str) -> None:
        assert loaded(**given).state == state

    def test_state_needs_a_place(self, refused: Callable[..., tuple[str, ...]]) -> None:
        (problem,) = refused(HOME=None)
        assert problem.startswith("CRMSYNC_STATE: is not set")

    def test_frozen(self, loaded: Load) -> None:
        config = loaded()
        with pytest.raises(AttributeError):
            config.batch_size = 1  # type: ignore[misc]  # that it is refused is the test
        with pytest.raises(TypeError):
            config.ownership["email"] = ("crm",)  # type: ignore[index]  # likewise

    def test_default_paths_that_may_not_be_looked_at_are_passed_over(self, tmp_path: Path) -> None:
        beyond = tmp_path / ("x" * 300)
        assert load(environ={**COMPLETE, "XDG_CONFIG_HOME": str(beyond)}, cwd=tmp_path).path is None


class TestLayers:
    @given(st.sets(st.sampled_from(["crmsync.toml", ".env", "environment", "command line"])))
    def test_the_last_layer_that_gives_a_setting_wins(self, layers: set[str]) -> None:
        sizes = {"default": 500, "crmsync.toml": 2, ".env": 3, "environment": 4, "command line": 5}
        with tempfile.TemporaryDirectory() as folder:
            cwd = Path(folder)
            if "crmsync.toml" in layers:
                (cwd / "crmsync.toml").write_text("batch_size = 2")
            (cwd / ".env").write_text(f"CRMSYNC_BATCH_SIZE={3 if '.env' in layers else ''}")
            environ = {**COMPLETE, "CRMSYNC_BATCH_SIZE": "4" if "environment" in layers else " "}
            flags = {"CRMSYNC_BATCH_SIZE": 5 if "command line" in layers else None}
            config = load(environ=environ, cwd=cwd, flags=flags)
        winner = [layer for layer in sizes if layer in {*layers, "default"}][-1]
        assert config.batch_size == sizes[winner]
        origins = {resolved.setting.variable: resolved.origin for resolved in config.values}
        assert origins["CRMSYNC_BATCH_SIZE"] == winner

    def test_toml_tables_are_sections_of_variables(self, loaded: Load) -> None:
        toml = 'max_rejects = 200\nallow_http_hosts = ["cdp.test"]\n[experiture]\nbase_url = "http://cdp.test/v1"\n'
        config = loaded(toml + '[salesforce]\nlogin_url = "test.salesforce.com"\n[hubspot]\nportal_id = 7')
        assert config.max_rejects.allowed(0) == 200
        assert config.experiture.base_url == "http://cdp.test/v1"
        assert config.salesforce.login_url == "https://test.salesforce.com"
        assert config.hubspot.portal_id == 7

    def test_dotenv_is_read_beside_the_toml_and_not_interpolated(self, tmp_path: Path) -> None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc" / "crmsync.toml").write_text('state = "state"')
        (tmp_path / "etc" / ".env").write_text("EXPERITURE_API_KEY=a$HOME${HOME}b\n")
        (tmp_path / ".env").write_text("CRMSYNC_JOBS=1\n")
        environ = COMPLETE | {"EXPERITURE_API_KEY": ""}
        config = load(config_path="etc/crmsync.toml", environ=environ, cwd=tmp_path)
        assert config.experiture.api_key == "a$HOME${HOME}b"
        assert config.jobs == 32
        assert config.state == str(tmp_path / "etc" / "state")

    def test_relative_paths_start_where_they_were_given(self, loaded: Load, tmp_path: Path) -> None:
        assert loaded(CRMSYNC_STATE="here").state == str(tmp_path / "here")

    def test_config_file_is_found_in_order(self, tmp_path: Path) -> None:
        def found(**given: str) -> Path | None:
            return load(environ=COMPLETE | given, cwd=tmp_path).path

        user = tmp_path / "xdg" / "crmsync" / "config.toml"
        user.parent.mkdir(parents=True)
        user.write_text("")
        assert found(XDG_CONFIG_HOME=str(tmp_path / "xdg")) == user
        (tmp_path / "crmsync.toml").write_text("")
        assert found(XDG_CONFIG_HOME=str(tmp_path / "xdg")) == tmp_path / "crmsync.toml"
        assert found(CRMSYNC_CONFIG=str(user)) == user

    def test_named_config_file_must_exist(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"CRMSYNC_CONFIG \(environment\): there is no file"):
            load(environ=COMPLETE | {"CRMSYNC_CONFIG": "gone.toml"}, cwd=tmp_path)
        with pytest.raises(ConfigError, match="--config: there is no file"):
            load(config_path="gone.toml", environ=COMPLETE, cwd=tmp_path)

    @pytest.mark.parametrize("content", [b"batch_size =", b"\xff\xfe"])
    def test_toml_that_is_none_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "crmsync.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=r"crmsync\.toml: is not"):
            load(environ=COMPLETE, cwd=tmp_path)

    def test_unknown_variables_warn_with_the_nearest_name(self, loaded: Load) -> None:
        config = loaded(
            env="CRMSYNC_JOB=5\nCRMSYNC_CONFIG=x",
            CRMSYNC_BATCHSIZE="5",
            CRMSYNC_SERVICE_HOST="10.0.0.1",
            CRMSYNC_PORT="tcp://10.0.0.1:80",
            CRMSYNC_WEB_PORT_80_TCP_ADDR="10.0.0.1",
        )
        assert [warning.split(":")[0] for warning in config.warnings] == [
            "CRMSYNC_BATCHSIZE (environment)",
            "CRMSYNC_JOB (.env)",
            "CRMSYNC_CONFIG (.env)",
        ]
        assert "did you mean CRMSYNC_BATCH_SIZE" in config.warnings[0]

    def test_unknown_toml_keys_are_refused_with_the_nearest_name(
        self, refused: Callable[..., tuple[str, ...]]
    ) -> None:
        problems = refused('batch_sise = 5\nsalesforce = 5\n[experiture]\nbase = "x"\n[nonsense]\na = 1')
        assert problems[0].startswith("crmsync.toml: batch_sise: is not a setting (did you mean batch_size")
        assert problems[1] == "crmsync.toml: salesforce: must be a table, [salesforce]"
        assert problems[2].startswith("crmsync.toml: experiture.base: is not a setting")
        assert problems[3].startswith("crmsync.toml: nonsense: is not a setting")

    def test_all_problems_are_told_at_once_with_where_they_are(
        self, refused: Callable[..., tuple[str, ...]]
    ) -> None:
        problems = refused(
            SYNC.replace('normalize = "email"', 'normalize = "e-mail"'),
            "CRMSYNC_JOBS=none",
            CRMSYNC_OVERLAP="soon",
            EXPERITURE_BASE_URL="http://cdp.test",
            CRMSYNC_DEFAULT_REGION="UK",
            SALESFORCE_ACCESS_TOKEN=None,
            EXPERITURE_API_KEY=None,
        )
        starts = [
            "CRMSYNC_JOBS (.env): must be a whole number, not 'none'",
            "CRMSYNC_OVERLAP (environment): must be a duration",
            "CRMSYNC_DEFAULT_REGION (environment): must be the two letters of a country",
            "crmsync.toml: sync[0].fields.email.normalize: must be 'email', 'phone', 'instant', 'text' or",
            "Salesforce: the login is incomplete; missing: SALESFORCE_ACCESS_TOKEN (for token)",
            "Experiture: no login is configured; set EXPERITURE_API_KEY (api_key), or EXPERITURE_CLIENT_ID",
            "EXPERITURE_BASE_URL (environment): plain http",
        ]
        assert len(problems) == len(starts)
        for problem, start in zip(problems, starts, strict=True):
            assert problem.startswith(start)


class TestSecrets:
    def test_secret_from_a_file_loses_one_line_break(self, loaded: Load, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("from-file\r\n")
        config = loaded(EXPERITURE_API_KEY=None, EXPERITURE_API_KEY_FILE="key")
        assert config.experiture.api_key == "from-file"

    def test_file_named_in_toml_is_found_beside_it(self, loaded: Load, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("from-file")
        config = loaded('[experiture]\napi_key_file = "key"', EXPERITURE_API_KEY=None)
        assert config.experiture.api_key == "from-file"

    @pytest.mark.parametrize("name", ["EXPERITURE_API_KEY", "experiture_api_key"])
    def test_credentials_directory_wins_over_the_environment(
        self, loaded: Load, tmp_path: Path, name: str
    ) -> None:
        (tmp_path / name).write_text("from-systemd\n")
        assert loaded(CREDENTIALS_DIRECTORY=str(tmp_path)).experiture.api_key == "from-systemd"

    def test_secret_in_toml_is_refused_and_not_repeated(
        self, refused: Callable[..., tuple[str, ...]]
    ) -> None:
        (problem,) = refused('[salesforce]\npassword = "hunter2"')
        assert problem.startswith(
            "crmsync.toml: salesforce.password is a secret, and does not belong in this file"
        )
        assert "SALESFORCE_PASSWORD" in problem
        assert "salesforce.password_file" in problem
        assert "hunter2" not in problem
        assert Redactor()(problem) == problem

    def test_both_forms_in_one_layer_are_refused_and_a_later_layer_wins(
        self, loaded: Load, refused: Callable[..., tuple[str, ...]], tmp_path: Path
    ) -> None:
        (tmp_path / "key").write_text("from-file")
        (problem,) = refused(EXPERITURE_API_KEY_FILE="key")
        assert problem.startswith("EXPERITURE_API_KEY (environment): is given beside EXPERITURE_API_KEY_FILE")
        assert loaded(env="EXPERITURE_API_KEY_FILE=key").experiture.api_key == "cdp-key"

    @pytest.mark.parametrize(("content", "sentence"), [(None, "cannot be read"), ("\n", "is empty")])
    def test_secret_file_without_a_secret_is_one_problem(
        self, refused: Callable[..., tuple[str, ...]], tmp_path: Path, content: str | None, sentence: str
    ) -> None:
        if content is not None:
            (tmp_path / "key").write_text(content)
        (problem,) = refused(EXPERITURE_API_KEY=None, EXPERITURE_API_KEY_FILE="key")
        assert problem.startswith("EXPERITURE_API_KEY_FILE (environment): names ")
        assert sentence in problem

    def test_no_secret_is_shown_printed_or_told(
        self, loaded: Load, refused: Callable[..., tuple[str, ...]]
    ) -> None:
        secrets = {s.variable: f"https://s3cret{i}.test" for i, s in enumerate(SECRETS)}
        logins = {"SALESFORCE_AUTH": "token", "EXPERITURE_API_KEY": "https://s3cret.test"}
        config = loaded(**{**secrets, **logins})
        shown = {name: value for name, value, _ in rows(config)}
        assert all(shown[setting.variable] == MASK for setting in SECRETS)
        assert "s3cret" not in f"{config!r}{config.values!r}{shown}"
        broken = {variable: f"{secret}\n" for variable, secret in secrets.items()}
        problems = refused(**broken, CRMSYNC_HEARTBEAT_URL_FILE="s3cret")
        assert len(problems) >= len(SECRETS) - 1
        assert "s3cret" not in "".join(problems).replace("CRMSYNC_HEARTBEAT_URL_FILE", "")


SALESFORCE_LOGINS = {
    "token": {"SALESFORCE_INSTANCE_URL": "https://acme.my.salesforce.com", "SALESFORCE_ACCESS_TOKEN": "t"},
    "client_credentials": {"SALESFORCE_CLIENT_ID": "id", "SALESFORCE_CLIENT_SECRET": "s"},
    "jwt": {
        "SALESFORCE_CLIENT_ID": "id",
        "SALESFORCE_USERNAME": "u",
        "SALESFORCE_PRIVATE_KEY": "-----BEGIN\nEND",
    },
    "refresh_token": {"SALESFORCE_CLIENT_ID": "id", "SALESFORCE_REFRESH_TOKEN": "r"},
    "password": {"SALESFORCE_USERNAME": "u", "SALESFORCE_PASSWORD": "p"},
}
MY_DOMAIN = {"SALESFORCE_LOGIN_URL": "acme.my.salesforce.com"}


class TestLogins:
    def salesforce(self, tmp_path: Path, **given: str) -> str | None:
        environ = {"HOME": "/home/sync", "EXPERITURE_API_KEY": "k", **given}
        return load(environ=environ, cwd=tmp_path).salesforce.login

    @pytest.mark.parametrize("login", SALESFORCE_LOGINS)
    def test_each_complete_login_is_chosen(self, tmp_path: Path, login: str) -> None:
        assert self.salesforce(tmp_path, **SALESFORCE_LOGINS[login], **MY_DOMAIN) == login

    def test_secret_beside_a_refresh_token_belongs_to_it(self, tmp_path: Path) -> None:
        given = {**SALESFORCE_LOGINS["client_credentials"], **SALESFORCE_LOGINS["refresh_token"]}
        assert self.salesforce(tmp_path, **given) == "refresh_token"

    def test_two_complete_logins_need_a_choice(self, tmp_path: Path) -> None:
        given = {**SALESFORCE_LOGINS["jwt"], **SALESFORCE_LOGINS["client_credentials"], **MY_DOMAIN}
        with pytest.raises(ConfigError) as error:
            self.salesforce(tmp_path, **given)
        assert "complete for client_credentials" in str(error.value)
        assert "for jwt" in str(error.value)
        assert "set SALESFORCE_AUTH" in str(error.value)
        assert self.salesforce(tmp_path, **given, SALESFORCE_AUTH="jwt") == "jwt"

    def test_chosen_login_must_be_complete(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as error:
            self.salesforce(tmp_path, **SALESFORCE_LOGINS["token"], SALESFORCE_AUTH="jwt")
        assert error.value.problems == (
            "SALESFORCE_AUTH (environment): jwt also needs SALESFORCE_CLIENT_ID and SALESFORCE_USERNAME "
            "and SALESFORCE_PRIVATE_KEY",
        )

    def test_no_login_names_every_way(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as error:
            self.salesforce(tmp_path)
        (problem,) = error.value.problems
        needed = {variable for login in SALESFORCE_LOGINS.values() for variable in login}
        assert all(variable in problem for variable in needed)

    def test_begun_login_names_what_the_nearest_lack(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as error:
            self.salesforce(tmp_path, SALESFORCE_CLIENT_ID="id")
        (problem,) = error.value.problems
        assert problem.startswith(
            "Salesforce: the login is incomplete; missing: SALESFORCE_CLIENT_SECRET (for "
        )
        assert problem.endswith(", or SALESFORCE_REFRESH_TOKEN (for refresh_token)")

    @pytest.mark.parametrize("host", ["", "https://login.salesforce.com", "test.salesforce.com"])
    def test_client_credentials_need_my_domain(self, tmp_path: Path, host: str) -> None:
        with pytest.raises(ConfigError, match="My Domain"):
            self.salesforce(tmp_path, **SALESFORCE_LOGINS["client_credentials"], SALESFORCE_LOGIN_URL=host)

    def test_experiture_takes_one_login(self, loaded: Load, refused: Callable[..., tuple[str, ...]]) -> None:
        oauth = {"EXPERITURE_CLIENT_ID": "id", "EXPERITURE_CLIENT_SECRET": "s"}
        token_url = {"EXPERITURE_TOKEN_URL": "https://login.test/token"}
        (both,) = refused(**oauth, **token_url)
        assert "EXPERITURE_API_KEY" in both
        assert "EXPERITURE_CLIENT_ID" in both
        (missing,) = refused(**oauth, EXPERITURE_API_KEY=None)
        assert (
            missing
            == "Experiture: the login is incomplete; missing: EXPERITURE_TOKEN_URL (for client_credentials)"
        )
        assert loaded(**oauth, **token_url, EXPERITURE_API_KEY=None).experiture.login == "client_credentials"

    def test_only_what_is_required_must_be_there(self, tmp_path: Path) -> None:
        bare = {"HOME": "/home/sync"}
        config = load(environ=bare, cwd=tmp_path, require=set())
        assert (config.salesforce.login, config.experiture.login) == (None, None)
        with pytest.raises(ConfigError, match=r"^Salesforce"):
            load(environ=bare, cwd=tmp_path, require={"source"})
        with pytest.raises(ConfigError, match=r"^Experiture"):
            load(environ=bare, cwd=tmp_path, require={"destination"})

    def test_the_source_of_the_syncs_decides_whose_login_is_required(
        self, loaded: Load, refused: Callable[..., tuple[str, ...]]
    ) -> None:
        toml = SYNC.replace('object = "Contact"', 'object = "contacts"\nsource = "hubspot"')
        (problem,) = refused(toml, SALESFORCE_ACCESS_TOKEN=None)
        assert problem.startswith("HubSpot: no login is configured")
        config = loaded(toml, HUBSPOT_TOKEN="t", HUBSPOT_CLIENT_SECRET="s", SALESFORCE_ACCESS_TOKEN=None)
        assert config.hubspot.login == "token"

    def test_plain_http_is_for_loopback_and_listed_hosts(
        self, loaded: Load, refused: Callable[..., tuple[str, ...]]
    ) -> None:
        assert (
            loaded(EXPERITURE_BASE_URL="http://127.0.0.1:8080").experiture.base_url == "http://127.0.0.1:8080"
        )
        loaded(EXPERITURE_BASE_URL="http://cdp.test:80/v1", CRMSYNC_ALLOW_HTTP_HOSTS="cdp.test")
        (problem,) = refused(
            CRMSYNC_HEARTBEAT_URL="http://ping.test/0c9-a-key", CRMSYNC_ALLOW_HTTP_HOSTS="cdp.test"
        )
        assert problem.startswith("CRMSYNC_HEARTBEAT_URL (environment): plain http")
        assert "0c9-a-key" not in problem


class TestSyncs:
    def test_shorthand_and_table(self, loaded: Load) -> None:
        (sync,) = loaded(SYNC + 'origin = { const = 5 }\nname = { from = "Name", on_blank = "clear" }').syncs
        assert sync.fields == (
            FieldRule("salesforce_id", "Id"),
            FieldRule("email", "Email", "email"),
            FieldRule("origin", const=5),
            FieldRule("name", "Name", on_blank="clear"),
        )
        assert (sync.source, sync.into, sync.owner, sync.destination) == (
            "salesforce",
            "profiles",
            "crm",
            "experiture",
        )
        assert (sync.require, sync.where, sync.deletes) == ((), None, "ignore")

    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            ('name = "contacts"\n', "", "sync[0].name: is missing"),
            ('"contacts"', '"My Contacts"', "sync[0].name: must be of a-z"),
            ('"Contact"', '"Contact; x"', "sync[0].object: must be the API name"),
            ('match_key = "salesforce_id"', 'match_key = "salesforce"', "sync[0].match_key: must be a field"),
            (
                'salesforce_id = "Id"',
                "salesforce_id = { const = 1 }",
                "sync[0].match_key: must come from the source",
            ),
            (
                'salesforce_id = "Id"',
                'salesforce_id = { from = "Id", on_blank = "clear" }',
                "sync[0].match_key: must not be cleared",
            ),
            ("match_key", 'require = ["emial"]\nmatch_key', "sync[0].require: names emial"),
            ("match_key", "into = 5\nmatch_key", "sync[0].into: must be a text"),
            ("match_key", 'into = "../x"\nmatch_key', "sync[0].into: must be of letters"),
            ("match_key", 'deletes = "drop"\nmatch_key', "sync[0].deletes: must be 'ignore' or 'flag'"),
            ("match_key", 'wehre = "x"\nmatch_key', "sync[0].wehre: is not a key here (did you mean where"),
            (
                "match_key",
                'where = "A = 1) OR (B = 2"\nmatch_key',
                "sync[0].where: must have balanced parentheses",
            ),
            ('"Id"', '"Id FROM User"', "sync[0].fields.salesforce_id.from: must be the API name of a field"),
            ('"Id"', '"A.B.C.D.E.F.G"', "sync[0].fields.salesforce_id.from: must climb at most 5 parents"),
            ('from = "Email", ', "", "sync[0].fields.email: must have either from or const"),
            (
                'from = "Email"',
                'from = "Email", const = 1',
                "sync[0].fields.email: must have either from or const",
            ),
            ('from = "Email"', "const = [1]", "sync[0].fields.email.const: must be a text, a number"),
            (
                ', normalize = "email"',
                ', region_from = "Country"',
                "sync[0].fields.email.region_from: is of use only",
            ),
            (
                "normalize",
                "normalise",
                "sync[0].fields.email.normalise: is not a key here (did you mean normalize",
            ),
            ('{ from = "Email", normalize = "email" }', "5", "sync[0].fields.email: must be a table"),
            ("[[sync]]", "[sync]", "sync: must be written [[sync]]"),
        ],
    )
    def test_problems_name_their_place(
        self, refused: Callable[..., tuple[str, ...]], old: str, new: str, problem: str
    ) -> None:
        assert old in SYNC
        problems = refused(SYNC.replace(old, new, 1))
        assert any(found.startswith(f"crmsync.toml: {problem}") for found in problems), problems

    def test_names_are_unique(self, refused: Callable[..., tuple[str, ...]]) -> None:
        assert "crmsync.toml: sync[1].name: is already the name of sync[0]" in refused(SYNC + SYNC)

    def test_ownership_is_laid_over_the_built_in_matrix(
        self, loaded: Load, refused: Callable[..., tuple[str, ...]]
    ) -> None:
        toml = SYNC + 'ltv = "Ltv__c"\n'
        (problem,) = refused(toml)
        assert problem.startswith("crmsync.toml: sync contacts, field ltv: belongs to commerce")
        config = loaded(toml + '[ownership]\nltv = ["commerce", "crm"]')
        assert config.ownership["ltv"] == ("commerce", "crm")
        assert config.ownership["order_count"] == ("commerce",)
        assert refused(toml + "[ownership]\nltv = 5")[0].startswith(
            "crmsync.toml: ownership.ltv[0]: must be a text"
        )


class TestExamples:
    def test_example_toml_loads_and_begins_with_the_default_sync(self, tmp_path: Path) -> None:
        config = load(config_path=str(ROOT / "crmsync.example.toml"), environ=COMPLETE, cwd=tmp_path)
        assert config.syncs[0] == DEFAULT_SYNC
        assert [sync.name for sync in config.syncs] == ["contacts", "leads"]

    def test_env_example_names_every_variable_with_its_default(self) -> None:
        lines = (ROOT / ".env.example").read_text().splitlines()
        written = dict(
            line.lstrip("#").split("=", 1) for line in lines if "=" in line and " " not in line.split("=")[0]
        )
        assert set(written) <= set(VARIABLES)
        for setting in SETTINGS:
            assert any(setting.variable in line for line in lines), setting.variable
            if setting.default is not None:
                assert written[setting.variable] == setting.default

    def test_env_example_as_it_is_changes_nothing(self, loaded: Load) -> None:
        plain = loaded()
        assert loaded(env=(ROOT / ".env.example").read_text()) == plain


def test_rows_show_every_setting_with_its_origin(loaded: Load) -> None:
    shown = {
        name: (value, origin) for name, value, origin in rows(loaded("batch_size = 7", env="CRMSYNC_JOBS=3"))
    }
    assert set(BY_VARIABLE) <= set(shown)
    assert shown["CRMSYNC_BATCH_SIZE"] == ("7", "crmsync.toml")
    assert shown["CRMSYNC_JOBS"] == ("3", ".env")
    assert shown["CRMSYNC_OVERLAP"] == ("10m", "default")
    assert shown["CRMSYNC_STATSD"] == ("", "not set")
    assert shown["EXPERITURE_API_KEY"] == (MASK, "environment")
    assert shown["CRMSYNC_CONFIG"][0].endswith("crmsync.toml")
    assert shown["sync contacts"] == ("salesforce Contact → experiture profiles", "default")


def test_importing_the_configuration_is_cheap() -> None:
    heavy = ["pydantic", "phonenumbers", "dotenv", "requests"]
    code = f"import sys, crmsync.config; print(*set({heavy}) & set(sys.modules))"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ
    )
    assert done.stdout.strip() == ""
