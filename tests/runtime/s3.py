"""Storage behind S3's real API, on this machine."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest
from conftest import free_port

from dsml.contract.problem import Where
from dsml.store.remote import open_root

from .projects import wait_until

_used: list[str] = []  # the addresses that were made S3's, the last one now
_SECONDS = 60  # for the server to be there


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start moto; it keeps what it is given in memory."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"MOTO_S3_CUSTOM_ENDPOINTS": ""},
    )
    try:
        wait_for_port(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a server takes connections."""

    def is_there() -> bool:
        assert process.poll() is None, "the server has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    wait_until(is_there, _SECONDS, 0.05, "the server has not started")


def use(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Make an address the one of S3, as a user does: in the environment."""
    import s3fs

    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in environment(address).items():
        monkeypatch.setenv(name, value)
    if _used[-1:] != [address]:  # filesystems that are there have read the environment already
        s3fs.S3FileSystem.clear_instance_cache()
        _used.append(address)


def environment(address: str) -> dict[str, str]:
    """The variables that tell of a storage and who may use it."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
    }


def new_bucket() -> str:
    """Make a bucket; its name."""
    name = f"b-{uuid.uuid4().hex}"
    open_root(f"s3://{name}", Where("catalog.yml"), "storage").fs.system.mkdir(name)
    return name
