"""Servers with the API of an object storage, on this machine, and how tests are sent to them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dsml.contract.problem import Where
from dsml.store.remote import open_root

from .projects import wait_until

_SECONDS = 60  # for the server to be there
_used: dict[type, Mapping[str, str]] = {}  # what filesystems of a kind have read last


@contextlib.contextmanager
def running(command: Sequence[str | Path], port: int, **environment: str) -> Iterator[None]:
    """Run a server, from when it takes connections."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | environment,
    )

    def is_there() -> bool:
        assert process.poll() is None, "the server has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    try:
        wait_until(is_there, _SECONDS, 0.05, "the server has not started")
        yield
    finally:
        process.kill()
        process.wait()


def use(
    monkeypatch: pytest.MonkeyPatch, prefix: str, variables: Mapping[str, str], filesystem: Any
) -> None:
    """Name a storage as a user does, in the environment: by what begins with a prefix."""
    for name in list(os.environ):
        if name.startswith(prefix):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if _used.get(filesystem) != variables:  # those that are there have read the environment
        filesystem.clear_instance_cache()
        _used[filesystem] = variables


def new_bucket(protocol: str) -> str:
    """Make a bucket; its name."""
    name = f"b-{uuid.uuid4().hex}"
    open_root(f"{protocol}://{name}", Where("catalog.yml"), "storage").fs.system.mkdir(name)
    return name
