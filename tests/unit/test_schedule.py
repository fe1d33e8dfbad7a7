"""The files that start crmsync on time: one state for all, names that fit, and nothing that drifts."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from crmsync.config import load
from crmsync.config.settings import SECRETS
from crmsync.errors import ConfigError
from crmsync.setup.machine import Machine
from crmsync.setup.schedule import by_hand, crontab, files, service, timer
from crmsync.setup.steps import Setup, steps

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd/crmsync@.service"
ONE_STATE = {"CRMSYNC_CONFIG": "/etc/crmsync/config.toml", "CRMSYNC_STATE": "/var/lib/crmsync"}
SETTING = re.compile(r"(CRMSYNC_(?:STATE|CONFIG))=(\S+)")


def lines(text: str, beginning: str) -> list[str]:
    """What follows `beginning` on the lines that have it."""
    return [line.removeprefix(beginning) for line in text.splitlines() if line.startswith(beginning)]


class TestShippedFiles:
    @pytest.mark.parametrize(("name", "text"), files("systemd", Machine()).items())
    def test_systemd_holds_what_init_writes(self, name: str, text: str) -> None:
        assert (ROOT / "systemd" / name).read_text() == text

    def test_cron_example_is_what_init_writes(self) -> None:
        assert (ROOT / "cron.example").read_text() == crontab(Machine())

    def test_unit_cron_and_runs_by_hand_meet_one_state(self) -> None:
        unit = dict(SETTING.findall("\n".join(lines(UNIT.read_text(), "Environment="))))
        told = [line for line in (ROOT / "README.md").read_text().splitlines() if "sudo -u crmsync" in line]
        cron = dict(SETTING.findall((ROOT / "cron.example").read_text()))
        assert unit == cron == ONE_STATE
        assert told
        for line in told:
            assert dict(SETTING.findall(line)) == ONE_STATE

    def test_the_state_of_the_unit_is_what_systemd_makes_for_it(self) -> None:
        (directory,) = lines(UNIT.read_text(), "StateDirectory=")
        assert f"/var/lib/{directory}" == ONE_STATE["CRMSYNC_STATE"]

    def test_every_secret_can_come_as_a_credential(self, tmp_path: Path) -> None:
        """Under the names that the unit gives them, where crmsync looks for them."""
        loaded = [line.partition(":")[0] for line in lines(UNIT.read_text(), "LoadCredential=")]
        for name in loaded:
            (tmp_path / name).write_text("https://held.test/by-systemd")
        config = load(
            environ={"CREDENTIALS_DIRECTORY": str(tmp_path), "HOME": "/home/sync"}, cwd=tmp_path, require=()
        )
        origins = {resolved.setting.variable: resolved.origin for resolved in config.values}
        assert {origins[setting.variable] for setting in SECRETS} == {"$CREDENTIALS_DIRECTORY"}
        assert len(loaded) == len(SECRETS)


class TestOtherMachines:
    def test_a_state_elsewhere_may_be_written_to(self) -> None:
        unit = service(replace(Machine(), state="/srv/crm/state"))
        assert lines(unit, "ReadWritePaths=") == ["/srv/crm/state"]
        assert not lines(unit, "StateDirectory=")
        on_s3 = service(replace(Machine(), state="s3://acme-sync/prod"))
        assert not lines(on_s3, "ReadWritePaths=")
        assert "Environment=CRMSYNC_STATE=s3://acme-sync/prod" in on_s3

    def test_the_place_of_the_metrics_may_be_written_to_where_it_is(self) -> None:
        unit = service(replace(Machine(), metrics="/var/lib/node/crmsync.prom"))
        assert lines(unit, "ReadWritePaths=") == ["-/var/lib/node"]

    @pytest.mark.parametrize(
        ("changed", "shown"),
        [
            ({}, "yes"),
            ({"command": ("/home/ann/venv/bin/crmsync",)}, "read-only"),
            ({"config": "/root/crmsync.toml"}, "read-only"),
            ({"parts": ("/home/ann/.pyenv",)}, "read-only"),
        ],
    )
    def test_homes_are_hidden_unless_a_run_needs_them(self, changed: dict[str, object], shown: str) -> None:
        assert lines(service(replace(Machine(), **changed)), "ProtectHome=") == [shown]

    @pytest.mark.parametrize(
        ("every", "calendar", "cron"),
        [
            (timedelta(minutes=1), "*:0/1", "*/1 * * * *"),
            (timedelta(minutes=20), "*:0/20", "*/20 * * * *"),
            (timedelta(hours=1), "0/1:00", "0 */1 * * *"),
            (timedelta(hours=8), "0/8:00", "0 */8 * * *"),
            (timedelta(days=1), "daily", "0 0 * * *"),
        ],
    )
    def test_the_interval_becomes_a_calendar(self, every: timedelta, calendar: str, cron: str) -> None:
        machine = replace(Machine(), interval=every)
        assert lines(timer(machine), "OnCalendar=") == [calendar]
        assert lines(crontab(machine), f"{cron}  crmsync  ")

    @pytest.mark.parametrize("seconds", [7 * 60, 90, 5 * 3600, 2 * 86400])
    def test_an_interval_that_no_day_is_made_of_is_refused(self, seconds: int) -> None:
        with pytest.raises(ConfigError, match="CRMSYNC_INTERVAL"):
            replace(Machine(), interval=timedelta(seconds=seconds)).check()

    @pytest.mark.parametrize(
        "changed",
        [
            {"config": "/srv/my crm/crmsync.toml"},
            {"state": "/srv/100%/state"},
            {"state": "s3://acme-sync/50%n/x"},
            {"state": 's3://acme-sync/a"b'},
            {"state": "s3://acme-sync/$HOME"},
            {"command": ("/opt/a;b/crmsync",)},
            {"config": "/srv/x\nExecStart=/bin/evil"},
            {"metrics": "/srv/$HOME/x.prom"},
            {"user": "ann smith"},
            {"group": "x\ny"},
        ],
    )
    def test_what_a_unit_or_a_crontab_would_read_otherwise_is_refused(
        self, changed: dict[str, object]
    ) -> None:
        with pytest.raises(ConfigError):
            replace(Machine(), **changed).check()

    def test_a_plain_prefix_on_s3_can_be_scheduled(self) -> None:
        replace(Machine(), state="s3://acme-sync.eu/prod/crm_1").check()

    def test_ones_own_crontab_names_no_user(self) -> None:
        own = crontab(replace(Machine(), user="ann"), own=True)
        assert lines(own, "*/15 * * * *  ") == ["/usr/local/bin/crmsync pull"]

    def test_what_the_service_cannot_reach_is_told(self) -> None:
        machine = replace(Machine(), config="/tmp/x/crmsync.toml", parts=("/root/python", "/usr"))
        own_tmp, no_way = machine.warnings(own_tmp=True)
        assert "/tmp/x/crmsync.toml" in own_tmp
        assert no_way == "the user crmsync has no way to /root/python: install it elsewhere, /opt say"
        assert not list(Machine().warnings(own_tmp=True))


class TestNextSteps:
    def test_by_hand_is_quoted_for_a_shell(self) -> None:
        line = by_hand(replace(Machine(), config="/srv/my crm/config.toml"), "check")
        assert shlex.split(line)[4] == "CRMSYNC_CONFIG=/srv/my crm/config.toml"

    def told(self, **how: bool) -> list[str]:
        flags = {"root": False, "user_exists": False, "own": False, "checked": False, **how}
        folder = Path("/etc/crmsync")
        setup = Setup("systemd", Machine(), folder, [folder / ".env"], ["contacts", "leads"])
        return steps(setup, **flags)

    def test_a_system_wide_installation_makes_the_user_first_and_starts_the_timer_last(self) -> None:
        first, *_, last = told = self.told()
        assert first == "sudo systemd-sysusers /etc/crmsync/crmsync.sysusers.conf"
        assert last == "sudo systemctl enable --now crmsync@contacts.timer crmsync@leads.timer"
        assert [line for line in told if line.endswith("pull --full")]
        assert all(line.startswith("sudo ") for line in told)

    def test_root_needs_no_sudo_but_to_become_the_user(self) -> None:
        told = self.told(root=True, user_exists=True, checked=True)
        assert [line.split(" env ")[0] for line in told if "sudo" in line] == ["sudo -u crmsync"]

    def test_who_runs_it_without_a_schedule_needs_nobody_else(self) -> None:
        setup = Setup("none", Machine(), Path("/x"), [], ["contacts"])
        told = steps(setup, root=False, user_exists=True, own=True, checked=True)
        assert told == [by_hand(Machine(), "pull", "--full", sudo=False)]
