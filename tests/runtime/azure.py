"""Storage behind Azure's real API, on this machine: Azurite, Microsoft's own stand-in for it."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator

import pytest
from conftest import free_port, npm_tool

from . import cloud

_VERSION = "3.35.0"
_ACCOUNT = "account"


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start Azurite, which keeps what it is given in memory; gives its connection string."""
    port = free_port()
    key = base64.b64encode(os.urandom(64)).decode()
    tool = npm_tool("azurite", _VERSION, "azurite-blob")
    at = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    command = ["node", tool, *at, "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    with cloud.running(command, port, AZURITE_ACCOUNTS=f"{_ACCOUNT}:{key}"):
        endpoint = f"http://127.0.0.1:{port}/{_ACCOUNT}"
        account = f"AccountName={_ACCOUNT};AccountKey={key}"
        yield f"DefaultEndpointsProtocol=http;{account};BlobEndpoint={endpoint};"


def use(monkeypatch: pytest.MonkeyPatch, connection: str) -> None:
    """Make a storage the one of Azure."""
    import adlfs

    variables = {"AZURE_STORAGE_CONNECTION_STRING": connection}
    cloud.use(monkeypatch, "AZURE_", variables, adlfs.AzureBlobFileSystem)


def new_container() -> str:
    """Make a container; its name."""
    return cloud.new_bucket("abfs")
