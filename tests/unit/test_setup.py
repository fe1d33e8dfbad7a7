"""The settings files that `crmsync init` writes: whatever is answered is read back, and placed or left whole."""

from __future__ import annotations

import os
import stat
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmsync.config import DEFAULT_SYNC, FieldRule, Sync, load
from crmsync.config.files import read_env
from crmsync.config.settings import SECRETS, SETTINGS
from crmsync.config.written import table
from crmsync.errors import ConfigError, CrmsyncError
from crmsync.setup import answers as given_answers
from crmsync.setup import placing
from crmsync.setup.placing import NewFile
from crmsync.setup.texts import env_text, quoted, toml_text

AWKWARD = st.text(
    st.one_of(st.sampled_from("'\"\\#$ {}=`!%\t\n\r;&"), st.characters(exclude_categories=("Cs",))),
    min_size=1,
)
PRINTABLE = (
    st.text(
        st.one_of(st.sampled_from("'\"\\#$ {}=`!%;&"), st.characters(exclude_categories=("C", "Z"))),
        min_size=1,
    )
    .map(str.strip)
    .filter(bool)
)


UNHURRIED = settings(deadline=None, max_examples=60)


class TestTexts:
    @UNHURRIED
    @given(st.dictionaries(st.sampled_from([setting.variable for setting in SECRETS]), PRINTABLE, min_size=1))
    def test_secrets_survive_the_env_file(self, secrets: dict[str, str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, ".env")
            path.write_text(env_text(secrets), "utf-8")
            assert read_env(path) == secrets

    @UNHURRIED
    @given(st.lists(AWKWARD, min_size=1, max_size=4))
    def test_any_text_survives_quoting_beside_others(self, values: list[str]) -> None:
        values = [value for value in values if "\0" not in value]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, ".env")
            with path.open("w", encoding="utf-8", newline="") as opened:
                opened.writelines(f"V{number}={quoted(value)}\n" for number, value in enumerate(values))
            assert list(read_env(path).values()) == values

    @UNHURRIED
    @given(PRINTABLE, PRINTABLE)
    def test_the_loader_has_what_was_answered(self, secret: str, client: str) -> None:
        answers = {
            "SALESFORCE_CLIENT_ID": client,
            "SALESFORCE_CLIENT_SECRET": secret,
            "SALESFORCE_LOGIN_URL": "https://acme.my.salesforce.com",
            "SALESFORCE_PRIVATE_KEY": "-----BEGIN KEY-----\nab'c\n-----END KEY-----\n",
            "SALESFORCE_AUTH": "client_credentials",
            "EXPERITURE_API_KEY": secret,
            "CRMSYNC_STATE": "/srv/state",
            "CRMSYNC_MAX_REJECTS": "7",
            "CRMSYNC_BATCH_SIZE": "50",
        }
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, ".env").write_text(env_text(answers), "utf-8")
            toml = Path(folder, "crmsync.toml")
            toml.write_text(toml_text(answers), "utf-8")
            config = load(config_path=str(toml), environ={}, cwd=Path("/"))
        assert config.salesforce.client_secret == config.experiture.api_key == secret
        assert config.salesforce.client_id == client.strip()
        assert config.salesforce.private_key == answers["SALESFORCE_PRIVATE_KEY"]
        assert (config.state, config.batch_size) == ("/srv/state", 50)
        assert config.syncs == (DEFAULT_SYNC,)
        assert not config.warnings

    def test_no_secret_is_in_the_toml_file(self) -> None:
        text = toml_text({setting.variable: "Wq7Xk" for setting in SECRETS})
        assert "Wq7Xk" not in text

    def test_every_setting_that_a_file_may_hold_has_its_place(self) -> None:
        plain = {s.variable: s.example or s.default or "1" for s in SETTINGS if not s.secret and s.in_files}
        named = {s.file_variable: "/run/secret" for s in SECRETS}
        tables = tomllib.loads(toml_text(plain | named))
        for setting in SETTINGS:
            table = tables[setting.section] if setting.section else tables
            assert (setting.key in table) == (setting.variable in plain)
            assert (f"{setting.key}_file" in table) == setting.secret

    def test_a_sync_is_written_as_it_is_read(self, tmp_path: Path) -> None:
        sync = Sync(
            name="invoices",
            source="salesforce",
            object="Invoice__c",
            into="invoices",
            match_key="salesforce_id",
            owner="any one",
            fields=(
                FieldRule("salesforce_id", "Id"),
                FieldRule("phone-2", "Phone", "phone", region_from=("Country",), on_blank="clear"),
                FieldRule("origin", const=True),
                FieldRule("rank", const=1.5),
            ),
            where="Name = 'a \"b\" \\\\ c'",
            deletes="flag",
        )
        path = tmp_path / "crmsync.toml"
        path.write_text(table(sync) + "\n\n[ownership]\nphone = 'any one'\n")
        assert load(config_path=str(path), environ={"HOME": "/"}, cwd=tmp_path, require=()).syncs == (sync,)


class TestAnswers:
    def test_what_is_given_wins_over_the_environment_and_that_over_files(self, tmp_path: Path) -> None:
        toml = tmp_path / "crmsync.toml"
        toml.write_text('jobs = 3\nallow_http_hosts = ["a", "b"]\n[salesforce]\nclient_secret_file = "s"\n')
        toml.with_name(".env").write_text("CRMSYNC_JOBS=4\nEXPERITURE_API_KEY=from-before\n")
        environ = {"CRMSYNC_JOBS": "5", "SALESFORCE_CLIENT_SECRET": "by value", "HOME": "/"}
        assert given_answers.known(toml, environ, ["CRMSYNC_JOBS=6"]) == {
            "CRMSYNC_JOBS": "6",
            "CRMSYNC_ALLOW_HTTP_HOSTS": "a,b",
            "SALESFORCE_CLIENT_SECRET": "by value",
            "EXPERITURE_API_KEY": "from-before",
        }

    @pytest.mark.parametrize(
        ("pair", "reason"),
        [
            ("SALESFORCE_CLIENT_SECRET=x", "cannot carry the secret"),
            ("CRMSYNC_JOB=1", "did you mean CRMSYNC_JOBS"),
            ("CRMSYNC_CONFIG=/x", "is not a setting"),
        ],
    )
    def test_what_cannot_be_given_on_a_command_line(self, tmp_path: Path, pair: str, reason: str) -> None:
        with pytest.raises(ConfigError, match=reason):
            given_answers.known(tmp_path / "crmsync.toml", {}, [pair])

    def test_the_settings_of_other_logins_are_left_out(self) -> None:
        salesforce, experiture = given_answers.SERVICES
        answers = {
            "SALESFORCE_ACCESS_TOKEN": "left over",
            "SALESFORCE_CLIENT_ID": "c",
            "SALESFORCE_CLIENT_SECRET_FILE": "s",
            "EXPERITURE_API_KEY": "k",
            "EXPERITURE_SCOPE": "profiles",
        }
        ways = {service: given_answers.way_of(service, answers) for service in (salesforce, experiture)}
        assert ways[salesforce].name == "client_credentials"
        assert given_answers.kept(answers, ways) == {
            "SALESFORCE_CLIENT_ID": "c",
            "SALESFORCE_CLIENT_SECRET_FILE": "s",
            "SALESFORCE_AUTH": "client_credentials",
            "EXPERITURE_API_KEY": "k",
            "EXPERITURE_SCOPE": "profiles",
        }

    def test_a_bad_answer_has_its_reason_and_a_good_one_none(self, tmp_path: Path) -> None:
        way = given_answers.SERVICES[0].way("client_credentials")
        answers = {"SALESFORCE_AUTH": "client_credentials"}

        def said(variable: str, value: str) -> str | None:
            return given_answers.objection(variable, answers | {variable: value}, [way], tmp_path)

        assert "My Domain" in (said("SALESFORCE_LOGIN_URL", "https://login.salesforce.com") or "")
        assert "plain http" in (said("SALESFORCE_LOGIN_URL", "http://acme.test") or "")
        assert "cannot be read" in (said("SALESFORCE_PRIVATE_KEY_FILE", "none.pem") or "")
        assert "two letters" in (said("CRMSYNC_DEFAULT_REGION", "Germany") or "")
        assert said("SALESFORCE_LOGIN_URL", "https://acme.my.salesforce.com") is None


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestPlacing:
    FILES = (NewFile(".env", "A=1\n", secret=True), NewFile("b.toml", "b = 1\n"), NewFile("c", "c\n"))

    def test_secret_files_are_for_nobody_else(self, tmp_path: Path) -> None:
        placing.place(tmp_path / "new", list(self.FILES))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
        assert modes.keys() == {file.name for file in self.FILES}
        assert modes[".env"] == 0o600

    def test_what_is_replaced_is_kept_and_what_is_the_same_stays(self, tmp_path: Path) -> None:
        (tmp_path / "b.toml").write_text("b = 0\n")
        (tmp_path / "c").write_text("c\n")
        before = (tmp_path / "c").stat().st_ino
        assert [file.name for file in placing.differing(tmp_path, list(self.FILES))] == ["b.toml"]
        placing.place(tmp_path, list(self.FILES))
        assert held(tmp_path) == {
            ".env": b"A=1\n",
            "b.toml": b"b = 1\n",
            "b.toml.old": b"b = 0\n",
            "c": b"c\n",
        }
        assert (tmp_path / "c").stat().st_ino == before

    @pytest.mark.parametrize("done_first", [False, True], ids=["instead", "after"])
    @pytest.mark.parametrize(("failure", "seen"), [(KeyboardInterrupt,) * 2, (OSError, CrmsyncError)])
    @pytest.mark.parametrize("calls", range(1, 6))
    def test_all_or_nothing(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        calls: int,
        failure: type[BaseException],
        seen: type[BaseException],
        done_first: bool,
    ) -> None:
        """Whichever of the renamings fails, or is the last before an interruption."""
        (tmp_path / ".env").write_text("A=0\n")
        (tmp_path / ".env.old").write_text("A=-1\n")
        before = held(tmp_path)
        replace, done = os.replace, []

        def failing(*places: Path) -> None:
            done.append(places)
            if len(done) != calls or done_first:
                replace(*places)
            if len(done) == calls:
                raise failure

        monkeypatch.setattr(os, "replace", failing)
        with pytest.raises(seen):
            placing.place(tmp_path, list(self.FILES))
        assert held(tmp_path) == before

    def test_where_a_file_cannot_be_kept_nothing_is_replaced(self, tmp_path: Path) -> None:
        for name in (".env", ".env.old", "b.toml"):
            (tmp_path / name).write_text(f"{name} as it was")
        before = held(tmp_path)
        (tmp_path / "b.toml.old").mkdir()
        with pytest.raises(ConfigError, match=r"b\.toml\.old is a directory.*nothing was changed"):
            placing.place(tmp_path, list(self.FILES))
        (tmp_path / "b.toml.old").rmdir()
        assert held(tmp_path) == before

    def test_what_cannot_be_put_back_is_named_and_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The disk goes once .env.old and .env are written."""
        (tmp_path / ".env").write_text("A=0\n")
        replace, left = os.replace, [1, 2]

        def failing(*places: Path) -> None:
            if not left:
                raise OSError("gone")
            left.pop()
            replace(*places)

        monkeypatch.setattr(os, "replace", failing)
        with pytest.raises(CrmsyncError, match=r"\.env could not be put back") as caught:
            placing.place(tmp_path, list(self.FILES))
        assert "nothing was changed" not in str(caught.value)
        assert held(tmp_path) == {".env": b"A=1\n", ".env.old": b"A=0\n"}

    def test_a_link_is_kept_as_the_link_it_was(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").write_text("theirs")
        (tmp_path / "b.toml").symlink_to("elsewhere")
        placing.place(tmp_path, list(self.FILES))
        assert (tmp_path / "b.toml.old").readlink() == Path("elsewhere")
        assert (tmp_path / "elsewhere").read_text() == "theirs"

    def test_without_hard_links_what_is_replaced_is_kept_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_link(*_: object, **__: object) -> None:
            raise PermissionError

        (tmp_path / ".env").write_text("A=0\n")
        (tmp_path / ".env").chmod(0o600)
        monkeypatch.setattr(os, "link", no_link)
        placing.place(tmp_path, list(self.FILES))
        assert (tmp_path / ".env.old").read_text() == "A=0\n"
        assert stat.S_IMODE((tmp_path / ".env.old").stat().st_mode) == 0o600

    def test_nothing_is_written_where_the_trial_fails(self, tmp_path: Path) -> None:
        def refuse(folder: Path) -> None:
            assert held(folder)["b.toml"] == b"b = 1\n"
            raise ConfigError("no")

        with pytest.raises(ConfigError):
            placing.place(tmp_path, list(self.FILES), try_out=refuse)
        assert held(tmp_path) == {}

    def test_a_folder_that_is_none_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match=str(tmp_path / "file")):
            placing.place(tmp_path / "file", list(self.FILES))

    def test_of_secrets_only_names_are_told(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("A=hush-1\nGONE=hush-2\n")
        told = placing.difference(tmp_path, NewFile(".env", "A=hush-3\nNEW=hush-4\n", secret=True))
        assert told == f"{tmp_path / '.env'}: new: NEW; different: A; gone: GONE"

    def test_of_other_files_the_lines(self, tmp_path: Path) -> None:
        (tmp_path / "b.toml").write_text("b = 0\n")
        told = placing.difference(tmp_path, self.FILES[1])
        assert told.splitlines()[-2:] == ["-b = 0", "+b = 1"]
