"""The venv with what a user would pick instead, and the files those programs want."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measure import HERE

VENV = HERE / ".venv-peers"
WANTED = HERE / "peers.txt"
_FIELDS = (
    "Id", "Email", "FirstName", "LastName", "Phone", "Title", "AccountId", "LeadSource", "LastModifiedDate",
    "SystemModstamp",
)  # fmt: skip


def install() -> Path:
    """The folder of the venv's programs; it is made, or brought up to date, where that is needed."""
    done = VENV / "installed.txt"
    if not done.exists() or done.read_text() != WANTED.read_text():
        print(f"installing {WANTED.name} into {VENV.name} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
        pip = [str(VENV / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(WANTED)], check=True, capture_output=True)
        done.write_text(WANTED.read_text())
    return VENV / "bin"


def prepare_tap(folder: Path, env: Mapping[str, str]) -> list[str]:
    """Its configuration, and its catalog with the guide's fields selected. Gives the command."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "client_id": "benchmark",
        "client_secret": "benchmark",
        "refresh_token": "benchmark",
        "start_date": "2000-01-01T00:00:00Z",
        "api_type": "REST",
        "select_fields_by_default": "false",
    }
    (folder / "config.json").write_text(json.dumps(config))
    tap = [str(VENV / "bin" / "tap-salesforce"), "--config", str(folder / "config.json")]
    with (folder / "discover.txt").open("w") as log:
        found = subprocess.run(
            [*tap, "--discover"], env={**os.environ, **env}, check=True, stdout=subprocess.PIPE, stderr=log
        )
    (folder / "catalog.json").write_text(json.dumps(_selected(json.loads(found.stdout))))
    return [*tap, "--properties", str(folder / "catalog.json")]


def _selected(catalog: dict[str, Any]) -> dict[str, Any]:
    contacts = next(stream for stream in catalog["streams"] if stream["stream"] == "Contact")
    for entry in contacts["metadata"]:
        name = entry["breadcrumb"][-1] if entry["breadcrumb"] else None
        entry["metadata"]["selected"] = name is None or name in _FIELDS
    return {"streams": [contacts]}
