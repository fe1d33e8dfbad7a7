"""The recipes of docs/operations.md, word for word, each by a user who has pulled before."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from contract.s3_servers import CREDENTIALS, Server, moto

from .world import Crmsync, Sandbox

__all__ = ["moto"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
FRESH = "Install"
"""The recipe of somebody who has not pulled yet."""


def recipes() -> dict[str, str]:
    """Under each heading the commands of its blocks, one after the other."""
    found = {}
    for heading, text in re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)*)", PAGE.read_text(), re.M):
        commands = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M))
        if commands:
            found[heading] = commands
    return found


@pytest.mark.parametrize("heading", recipes())
def test_a_recipe_works_as_it_is_written(
    heading: str, sandbox: Sandbox, crmsync: Crmsync, moto: Server
) -> None:
    if heading != FRESH:
        crmsync.pull("--full")
        sandbox.retitle(sandbox.delivered()[:3], f"After {heading}")
    if "lost or damaged" in heading:
        (crmsync.state / "contacts" / "state.json").write_text("{")
    commands = recipes()[heading].replace("s3://acme-sync/prod", moto.uri)
    environment = crmsync.environment({**CREDENTIALS, "AWS_ENDPOINT_URL_S3": moto.endpoint})
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env=environment,
        cwd=crmsync.home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, '"level":"error"' in done.stderr) == (0, False), done.stdout + done.stderr
    if "pull" in commands:
        sandbox.assert_in_step()


def test_there_are_recipes_for_what_an_operator_has_to_do() -> None:
    assert {
        "Install",
        "Upgrade",
        "Rotate secrets",
        "Backfill",
        "Replay rejects",
        "Move the state to S3",
    } <= set(recipes())
