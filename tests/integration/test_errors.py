"""What is wrong is said in one go, with the exit code that tells what to do about it, and no traceback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from .world import Crmsync, Install, Sandbox

LOGIN_SETTINGS = ("SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET")
CDP_SETTINGS = ("EXPERITURE_CLIENT_ID", "EXPERITURE_CLIENT_SECRET", "EXPERITURE_TOKEN_URL")
BILLING = """
[[sync]]
name = "contacts"
object = "Contact"
match_key = "salesforce_id"
[sync.fields]
salesforce_id = "Id"
subscription_status = "Title"
"""
EVERYTHING_WRONG = """
overlapp = "10m"
[[sync]]
name = "contacts"
object = "Contact"
match_key = "salesforce_idd"
require = ["emial"]
[sync.fields]
email = { from = "Email", normalize = "email" }
salesforce_id = "Id"
[[sync]]
name = "leads"
object = "Lead"
match_key = "email"
[sync.fields]
email = { from = "Email", normalise = "email" }
"""


@pytest.fixture
def nowhere(tmp_path: Path) -> Crmsync:
    """A crmsync for which nothing is configured."""
    return Crmsync(tmp_path / "home")


@pytest.mark.parametrize("command", ["pull", "check"])
def test_missing_settings_are_all_named(nowhere: Crmsync, command: str) -> None:
    run = nowhere.run(command)
    assert run.code == 78
    for name in (*LOGIN_SETTINGS, *CDP_SETTINGS, "EXPERITURE_API_KEY"):
        assert name in run.err, name


@pytest.mark.parametrize("missing", [*LOGIN_SETTINGS, *CDP_SETTINGS])
def test_a_single_missing_setting_is_named(settings: dict[str, str], tmp_path: Path, missing: str) -> None:
    left = {name: value for name, value in settings.items() if name != missing}
    run = Crmsync(tmp_path / "home", left).run("pull")
    assert (run.code, missing in run.err) == (78, True), run.err


@pytest.fixture
def settings() -> dict[str, str]:
    """Complete settings, for servers that are not there."""
    return {
        "SALESFORCE_LOGIN_URL": "http://127.0.0.1:9",
        "SALESFORCE_CLIENT_ID": "client",
        "SALESFORCE_CLIENT_SECRET": "a-salesforce-secret",
        "EXPERITURE_BASE_URL": "http://127.0.0.1:9/public/v1",
        "EXPERITURE_TOKEN_URL": "http://127.0.0.1:9/oauth/token",
        "EXPERITURE_CLIENT_ID": "client",
        "EXPERITURE_CLIENT_SECRET": "an-experiture-secret",
    }


def test_everything_wrong_in_the_file_is_said_in_one_go(settings: dict[str, str], tmp_path: Path) -> None:
    crmsync = Crmsync(tmp_path / "home", settings)
    crmsync.configure(EVERYTHING_WRONG)
    run = crmsync.run("pull")
    assert run.code == 78
    nearest = {
        "overlapp": "overlap",
        "salesforce_idd": "salesforce_id",
        "emial": "email",
        "normalise": "normalize",
    }
    for wrong, right in nearest.items():
        assert re.search(rf"{wrong}\b.*\b{right}\b", run.err), run.err


@pytest.mark.parametrize("side", ["SALESFORCE", "EXPERITURE"])
@pytest.mark.parametrize("command", [("pull", "--full"), ("check",)], ids=" ".join)
def test_a_wrong_secret_is_77(crmsync: Crmsync, side: str, command: tuple[str, ...]) -> None:
    run = crmsync.run(*command, env={f"{side}_CLIENT_SECRET": "not-the-secret"})
    assert run.code == 77
    assert side.capitalize() in run.said
    assert re.search('→|"hint":', run.said), "nothing says what to do"


def test_a_wrong_static_key_is_77(sandbox: Sandbox, crmsync: Crmsync) -> None:
    for name in CDP_SETTINGS:
        del crmsync.settings[name]
    run = crmsync.run("pull", "--full", env={"EXPERITURE_API_KEY": "not-the-key"})
    assert (run.code, "EXPERITURE_API_KEY" in run.err) == (77, True)


def test_a_missing_scope_is_77(sandbox: Sandbox, crmsync: Crmsync) -> None:
    sandbox.cdp("switches", granted_scopes="cdp:records:read cdp:metadata:read")
    run = crmsync.run("pull", "--full")
    assert (run.code, "scope" in run.err) == (77, True), run.err


def test_a_user_without_api_access_is_77(sandbox: Sandbox, crmsync: Crmsync) -> None:
    sandbox.crm("revoke")
    assert crmsync.run("pull", "--full").code == 77


@pytest.mark.parametrize("command", [("pull", "--full"), ("check",)], ids=" ".join)
def test_a_hidden_field_is_78_with_the_nearest_names(
    sandbox: Sandbox, crmsync: Crmsync, command: tuple[str, ...]
) -> None:
    sandbox.crm("hide_field", object="Contact", field="Phone")
    run = crmsync.run(*command)
    assert run.code == 78
    assert re.search(r"has no field Phone\b.*MobilePhone", run.said), run.said


def test_a_field_hidden_between_two_runs_is_named_and_costs_only_itself(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    crmsync.pull("--full")
    sandbox.crm("hide_field", object="Contact", field="Phone")
    sandbox.retitle(sandbox.delivered()[:1], "Changed")
    run = crmsync.run("pull", "--json")
    assert (run.code, run.sync["written"], "Contact.Phone" in run.err) == (3, 1, True), run.err


def test_a_field_that_the_cdp_does_not_have_is_78_with_the_nearest_names(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    sandbox.cdp("remove_field", object="profiles", name="job_title")
    run = crmsync.run("pull", "--full")
    assert run.code == 78
    assert "has no field job_title" in run.err


def test_a_field_owned_by_billing_is_78(crmsync: Crmsync) -> None:
    crmsync.configure(BILLING)
    run = crmsync.run("pull", "--full")
    assert run.code == 78
    assert "subscription_status" in run.err
    assert "billing" in run.err


def test_an_unknown_sync_is_78_with_the_nearest_name(crmsync: Crmsync) -> None:
    run = crmsync.run("pull", "contcats")
    assert run.code == 78
    assert re.search(r"contcats.*contacts", run.err)


def test_a_first_pull_without_a_beginning_is_78_and_says_how_to_begin(crmsync: Crmsync) -> None:
    run = crmsync.run("pull")
    assert run.code == 78
    assert "--full" in run.err
    assert "300 rows" in run.err


def test_no_network_is_75(sandbox: Sandbox, install: Install) -> None:
    """Neither side, by neither command; all at the same time, because each keeps trying for a while."""
    sides = (("SALESFORCE_LOGIN_URL",), ("EXPERITURE_BASE_URL", "EXPERITURE_TOKEN_URL"))
    with closed_port() as port:
        started = []
        for names, command in product(sides, (("pull", "--full"), ("check",))):
            crmsync = install(sandbox)
            for name in names:
                crmsync.settings[name] = re.sub(r":\d+", f":{port}", crmsync.settings[name])
            started.append((crmsync, crmsync.start(*command)))
        for crmsync, process in started:
            run = crmsync.finish(process)
            assert (run.code, f"127.0.0.1:{port}" in run.said) == (75, True), run.said


@pytest.mark.parametrize("command", [("pull", "--full"), ("check",)], ids=" ".join)
def test_a_state_directory_that_cannot_be_made_is_78(crmsync: Crmsync, command: tuple[str, ...]) -> None:
    """A file stands in the way: that stops root as well."""
    crmsync.state.parent.joinpath("in-the-way").write_text("")
    run = crmsync.run(*command, env={"CRMSYNC_STATE": str(crmsync.state.parent / "in-the-way" / "state")})
    assert run.code == 78
    assert "in-the-way" in run.said
    assert "CRMSYNC_STATE" in run.said


@pytest.mark.parametrize("command", [("pull", "--full"), ("check",)], ids=" ".join)
def test_an_unwritable_state_directory_is_78(
    read_only: Path, crmsync: Crmsync, command: tuple[str, ...]
) -> None:
    run = crmsync.run(*command, env={"CRMSYNC_STATE": str(read_only)})
    assert run.code == 78, run.said
    assert str(read_only) in run.said


@pytest.mark.parametrize("room", ["64k", "256k", "512k"])
def test_a_full_disk_is_75_and_nothing_is_lost(
    sandbox: Sandbox, crmsync: Crmsync, tiny_disk: Path, room: str
) -> None:
    """Wherever the room runs out; with room again the next run completes."""
    resize(tiny_disk, room)
    filler = tiny_disk / "filler"
    filler.write_bytes(bytes(os.statvfs(tiny_disk).f_bavail * os.statvfs(tiny_disk).f_bsize - 16_384))
    state = {"CRMSYNC_STATE": str(tiny_disk / "state")}
    run = crmsync.run("pull", "--full", env=state)
    assert run.code == 75, run.said
    assert "room" in run.err
    filler.unlink()
    resize(tiny_disk, "16m")
    assert crmsync.run("pull", "--full", env=state).code == 0
    sandbox.assert_in_step()


def test_a_page_that_a_full_disk_cuts_short_leaves_nothing_beside_the_old_one(
    install: Install, sandbox: Sandbox, tiny_disk: Path
) -> None:
    page = tiny_disk / "runs.html"
    page.write_bytes(b"old")
    room = os.statvfs(tiny_disk)
    (tiny_disk / "filler").write_bytes(bytes(room.f_bavail * room.f_bsize))
    run = install(sandbox).run("runs", "--html", str(page))
    assert (run.code, f"{page} cannot be written" in run.err) == (78, True), run.said
    assert {path.name for path in tiny_disk.iterdir()} == {"filler", "runs.html"}
    assert page.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "cannot be read"), (b"{}", "cannot be read"), (b'{"format": 99}', "format 99")],
    ids=["empty", "no format", "from the future"],
)
def test_a_damaged_state_is_refused_never_reset(crmsync: Crmsync, content: bytes, says: str) -> None:
    crmsync.pull("--full")
    (crmsync.state / "contacts" / "state.json").write_bytes(content)
    run = crmsync.run("pull", "--full")
    assert run.code == 78
    assert says in run.err
    assert (crmsync.state / "contacts" / "state.json").read_bytes() == content


def test_state_and_credentials_are_private(crmsync: Crmsync) -> None:
    crmsync.pull("--full")
    for path in (crmsync.state, *crmsync.state.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


class closed_port:
    """A port of this machine that nothing listens at, kept bound so that nothing will."""

    def __enter__(self) -> int:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        return int(self._socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, whose size can be changed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a full disk needs a file system of its own, which only root may mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that not even root can write to, as far as this machine allows."""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    if os.geteuid() == 0 and not mounted:
        pytest.skip("root writes anywhere, and a read-only file system cannot be mounted here")
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
