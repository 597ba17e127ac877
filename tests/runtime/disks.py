"""Disks of a size, or that nothing may be written to: real ones, in memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from conftest import without


@contextlib.contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount a disk in a new folder; it takes root, or sudo without a password as in CI."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    folder.mkdir()
    mounted = subprocess.run(
        [*sudo, "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        told = f"no disk can be mounted here, which needs root: {mounted.stderr}"
        without(told)
    try:
        yield folder
    finally:
        subprocess.run([*sudo, "umount", "--lazy", folder], check=True)
