"""Storage behind Azure's real API, on this machine: Azurite, Microsoft's own stand-in for it."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import uuid
from collections.abc import Iterator

import pytest
from conftest import free_port, npm_tool

from dsml.contract.problem import Where
from dsml.store.remote import open_root

from .s3 import wait_for_port

_VERSION = "3.35.0"
_ACCOUNT = "account"
_used: list[str] = []  # the addresses that were made Azure's, the last one now


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start Azurite, which keeps what it is given in memory; gives its connection string."""
    port = free_port()
    key = base64.b64encode(os.urandom(64)).decode()
    tool = npm_tool("azurite", _VERSION, "azurite-blob")
    at = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    process = subprocess.Popen(
        ["node", tool, *at, "--silent", "--skipApiVersionCheck", "--disableTelemetry"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{key}"},
    )
    try:
        wait_for_port(process, port)
        endpoint = f"http://127.0.0.1:{port}/{_ACCOUNT}"
        account = f"AccountName={_ACCOUNT};AccountKey={key}"
        yield f"DefaultEndpointsProtocol=http;{account};BlobEndpoint={endpoint};"
    finally:
        process.kill()
        process.wait()


def use(monkeypatch: pytest.MonkeyPatch, connection: str) -> None:
    """Make a storage the one of Azure, as a user does: in the environment."""
    import adlfs

    for name in list(os.environ):
        if name.startswith("AZURE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
    if _used[-1:] != [connection]:  # filesystems that are there have read the environment already
        adlfs.AzureBlobFileSystem.clear_instance_cache()
        _used.append(connection)


def new_container() -> str:
    """Make a container; its name."""
    name = f"c-{uuid.uuid4().hex}"
    open_root(f"abfs://{name}", Where("catalog.yml"), "storage").fs.system.mkdir(name)
    return name
