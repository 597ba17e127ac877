"""The local folders that an attempt writes into before anything of it is published."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

_TRIES = 200  # to make a folder that others are removing


@dataclass(frozen=True)
class Staging:
    """The local folders of one attempt.

    ``outs`` takes the declared outs, ``evidence`` what is kept of every attempt (executed
    notebook, log), ``private`` the files that tie the kernel to the runner, ``inputs`` what was
    fetched from a remote storage for this attempt.
    """

    folder: Path

    @property
    def outs(self) -> Path:
        """Where the notebook writes its outs."""
        return self.folder / "outs"

    @property
    def evidence(self) -> Path:
        """Where the executed notebook, the log and logged files are."""
        return self.folder / "evidence"

    @property
    def private(self) -> Path:
        """Where the connection and message files are."""
        return self.folder / "private"

    @property
    def inputs(self) -> Path:
        """Where inputs are that were fetched."""
        return self.folder / "inputs"

    def make(self) -> None:
        """Make the folders anew."""
        self.remove()
        for folder in (self.outs, self.evidence, self.private):
            _make(folder)

    def drop_outs(self) -> None:
        """Delete what was written and will not be published."""
        shutil.rmtree(self.outs, ignore_errors=True)

    def remove(self) -> None:
        """Delete what is left of the attempt."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _make(folder: Path) -> None:
    """Make a folder, though attempts that end meanwhile remove the empty ones above it.

    One that goes while it is made is not found, or was there and is none when it is looked at.
    """
    for tried in range(_TRIES):
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            folder.mkdir(parents=True, exist_ok=True)
            return
        time.sleep(tried / 10_000)  # not in step with whoever removes them
    folder.mkdir(parents=True, exist_ok=True)


def own() -> str:
    """A name for what is being written: the process, and a number that no other call gets.

    Machines that share a disk may have processes of the same number.
    """
    return f"{os.getpid()}-{int.from_bytes(os.urandom(8))}"


def partial_of(target: Path) -> Path:
    """The file beside a target that is written whole before it gets the target's name.

    A clean-up knows by such names what a process that was killed has left.
    """
    return target.with_name(f".{target.name}.{own()}")
