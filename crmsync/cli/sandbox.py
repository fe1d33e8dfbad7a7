"""`crmsync sandbox`"""

from __future__ import annotations

import signal
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from crmsync.errors import ConfigError

if TYPE_CHECKING:
    from crmsync.sandbox.server import SandboxServer

LOGINS = ("client_credentials", "jwt", "refresh_token", "password", "token")
PARTS = ("lark", "cryptography")
"""The packages of the extra `sandbox`, by the names they are imported under."""

EPILOG = """\b
Examples:
  crmsync sandbox                           a thousand contacts on a free port
  crmsync sandbox --contacts 5137 --listen 8800 --data ./sandbox
  set -a; . ./sandbox/sandbox.env; set +a   in another terminal, then:
  crmsync check && crmsync pull --full
"""


@click.command(epilog=EPILOG)
@click.option(
    "--contacts",
    default=1000,
    show_default=True,
    type=click.IntRange(0, 2_000_000),
    metavar="N",
    help="How many people there are.",
)
@click.option(
    "--seed", default=1, show_default=True, metavar="S", help="The same seed gives the same people."
)
@click.option(
    "--data",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Where its files go (keys, sandbox.env)  [default: a new folder]",
)
@click.option(
    "--listen", default=0, type=click.IntRange(0, 65535), metavar="PORT", help="A port; 0 takes a free one."
)
@click.option("--tls", is_flag=True, help="Speak https, with a certificate authority made for the occasion.")
@click.option(
    "--login", type=click.Choice(LOGINS), default=LOGINS[0], show_default=True, help="Login to print."
)
@click.option(
    "--marker", default="", metavar="TEXT", help="Woven into every e-mail and name, to be searched for."
)
def command(
    contacts: int, seed: int, data: str | None, listen: int, tls: bool, login: str, marker: str
) -> None:
    """Serve a Salesforce org and an Experiture workspace on this machine, until stopped.

    They speak the real HTTP contracts, refuse what those refuse, and hold made-up people. The environment to
    use is printed, and kept in sandbox.env. A control API at /_sandbox changes data and injects faults.
    """
    require_parts()
    from crmsync.sandbox.server import SandboxServer

    folder = Path(data or tempfile.mkdtemp(prefix="crmsync-sandbox-")).resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment: dict[str, str] = {}
    identity = None
    if tls:
        from crmsync.sandbox.tls import make_identity

        identity = make_identity()
        identity.write_ca(folder / "ca.pem")
        environment["REQUESTS_CA_BUNDLE"] = str(folder / "ca.pem")
    try:
        server = SandboxServer(port=listen, tls=identity)
    except OSError as error:
        raise ConfigError(f"port {listen} cannot be used ({error.strerror})") from None
    environment |= _populate(server, contacts, seed, marker, login, folder)
    lines = [f"export {name}='{value}'" for name, value in environment.items()]
    (folder / "sandbox.env").write_text("\n".join(lines) + "\n")
    click.echo("\n".join(lines))
    click.echo(
        f"# serving {contacts:,} contacts at {server.base_url}; files in {folder}; Ctrl-C stops", err=True
    )
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.stop()


def require_parts() -> None:
    """Raises ConfigError where the sandbox is not installed."""
    missing = next((name for name in PARTS if find_spec(name) is None), None)
    if missing:
        raise ConfigError(
            f"the sandbox needs the package {missing}", hint="Run `pip install 'crmsync[sandbox]'`."
        )


def _populate(
    server: SandboxServer, contacts: int, seed: int, marker: str, login: str, folder: Path
) -> dict[str, str]:
    from crmsync.sandbox.experiture import ExperitureService
    from crmsync.sandbox.salesforce import SalesforceService

    salesforce = SalesforceService(contacts, seed, base_url=server.base_url, marker=marker)
    experiture = ExperitureService(base_url=server.base_url, seed=seed)
    server.add(salesforce)
    server.add(experiture)
    environment = salesforce.environment(login) | experiture.environment()
    if login == "jwt":
        key = folder / "jwt.key"
        key.touch(mode=0o600)
        key.write_text(salesforce.credentials.private_key_pem)
        environment["SALESFORCE_PRIVATE_KEY_FILE"] = str(key)
    return environment


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
