"""The ways to log in, and TLS."""

from __future__ import annotations

import pytest

from .world import Crmsync, Install, Sandbox, StartSandbox

LOGINS = ("client_credentials", "jwt", "refresh_token", "password", "token")
FEW = 60


def pulls_twice(sandbox: Sandbox, crmsync: Crmsync) -> None:
    crmsync.pull("--full")
    sandbox.retitle(sandbox.delivered()[:3], "Changed")
    assert crmsync.pull()["written"] == 3
    sandbox.assert_in_step()


@pytest.mark.parametrize("login", LOGINS)
def test_every_salesforce_login_carries_two_runs_in_a_row(
    start_sandbox: StartSandbox, install: Install, login: str
) -> None:
    sandbox = start_sandbox(FEW, "--login", login)
    pulls_twice(sandbox, install(sandbox))


@pytest.mark.parametrize("ends_session", [False, True])
def test_a_rotated_refresh_token_carries_the_next_run(
    start_sandbox: StartSandbox, install: Install, ends_session: bool
) -> None:
    sandbox = start_sandbox(FEW, "--login", "refresh_token")
    sandbox.crm("switches", refresh_token_rotation=True, rotation_ends_session=ends_session)
    crmsync = install(sandbox)
    pulls_twice(sandbox, crmsync)
    assert crmsync.run("check").code == 0


def test_a_rotated_refresh_token_survives_a_session_that_ends_amid_the_run(
    start_sandbox: StartSandbox, install: Install
) -> None:
    sandbox = start_sandbox(FEW, "--login", "refresh_token")
    sandbox.crm("switches", refresh_token_rotation=True)
    sandbox.crm("page_sizes", sizes=[20])
    sandbox.crm("expire_sessions", after=4)
    pulls_twice(sandbox, install(sandbox))
    assert len(sandbox.requests("salesforce", "oauth2/token")) >= 3


def test_a_freshly_configured_refresh_token_counts_again(
    start_sandbox: StartSandbox, install: Install
) -> None:
    """After a rotated one was lost the operator puts in another: the kept one is out of date."""
    sandbox = start_sandbox(FEW, "--login", "refresh_token")
    crmsync = install(sandbox)
    right = crmsync.settings["SALESFORCE_REFRESH_TOKEN"]
    crmsync.settings["SALESFORCE_REFRESH_TOKEN"] = "one-that-was-revoked"
    assert crmsync.run("pull", "--full").code == 77
    crmsync.settings["SALESFORCE_REFRESH_TOKEN"] = right
    pulls_twice(sandbox, crmsync)


def test_a_static_cdp_key_serves_as_well(sandbox: Sandbox, crmsync: Crmsync) -> None:
    for name in ("EXPERITURE_CLIENT_ID", "EXPERITURE_CLIENT_SECRET", "EXPERITURE_TOKEN_URL"):
        del crmsync.settings[name]
    crmsync.settings["EXPERITURE_API_KEY"] = STATIC_KEY
    pulls_twice(sandbox, crmsync)
    assert sandbox.requests("experiture", "oauth/token") == []


STATIC_KEY = "sandbox-api-key"


@pytest.mark.parametrize("login", ["client_credentials", "password"])
def test_tls_with_an_authority_of_ones_own(start_sandbox: StartSandbox, install: Install, login: str) -> None:
    """REQUESTS_CA_BUNDLE counts for every connection, that of the SOAP login too."""
    sandbox = start_sandbox(FEW, "--tls", "--login", login)
    crmsync = install(sandbox)
    assert sandbox.base_url.startswith("https://")
    crmsync.pull("--full")
    sandbox.retitle(sandbox.delivered()[:3], "Changed")
    assert crmsync.pull()["written"] == 3


def test_tls_with_an_unknown_authority_is_78_and_says_what_to_do(
    start_sandbox: StartSandbox, install: Install
) -> None:
    sandbox = start_sandbox(FEW, "--tls")
    crmsync = install(sandbox)
    del crmsync.settings["REQUESTS_CA_BUNDLE"]
    run = crmsync.run("pull", "--full")
    assert (run.code, "REQUESTS_CA_BUNDLE" in run.err) == (78, True), run.err
