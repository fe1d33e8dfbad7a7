"""A machine of its own for a test: systemd as first process, in namespaces, on an overlay of this one's root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE = 120.0
WATCHED = "crmsync@contacts.service"
"""The unit whose outcome the script asks for: systemd forgets one that nothing refers to."""
UNITS = {
    "trial.service": f"""\
[Unit]
DefaultDependencies=no
After={WATCHED}
[Service]
Type=oneshot
ExecStart=/bin/bash /etc/systemd/system/trial.sh
ExecStopPost=/bin/systemctl exit 0
""",
    "trial.target": "[Unit]\nDefaultDependencies=no\nRequires=trial.service\n",
}


@cache
def possible() -> bool:
    """Whether this machine lets the tests have one: it takes root, and a kernel with overlays."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    with TemporaryDirectory() as folder:
        return _run(Path(folder), "true").returncode == 0


def boot(folder: Path, script: Path) -> str:
    """Boot it, run `script` in it, and shut it down. What the script leaves in /out is in `folder`/out."""
    shutil.copy(script, _prepared(folder) / "trial.sh")
    done = _run(folder)
    return done.stdout + done.stderr


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    _prepared(folder)
    places = (folder, ROOT, sys.base_prefix, sysconfig.get_path("purelib"))
    return subprocess.run(
        ["bash", HERE / "first_process.sh", *places, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def _prepared(folder: Path) -> Path:
    units = folder / "units"
    units.mkdir(exist_ok=True)
    (folder / "out").mkdir(exist_ok=True)
    for name, text in UNITS.items():
        (units / name).write_text(text)
    return units
