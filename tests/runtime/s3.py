"""Storage behind S3's real API, on this machine."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import pytest
from conftest import free_port

from . import cloud


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start moto; it keeps what it is given in memory."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with cloud.running(command, port, MOTO_S3_CUSTOM_ENDPOINTS=""):
        yield f"http://127.0.0.1:{port}"


def use(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Make an address the one of S3."""
    import s3fs

    cloud.use(monkeypatch, "AWS_", environment(address), s3fs.S3FileSystem)


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
    return cloud.new_bucket("s3")
