"""Which process does something, whether it is still there, and what a new one is told."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

# Seconds by which the start of a process may seem to change when the clock is put right.
_TOLERANCE = 5.0


def environment_of(root: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that imports the project's packages, installed or not."""
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **(more or {}), "PYTHONPATH": path}


def mark() -> str:
    """What tells this process from all others: host:pid:start."""
    import psutil

    process = psutil.Process(os.getpid())
    return f"{platform.node()}:{process.pid}:{process.create_time():.2f}"


def is_gone(marked: str) -> bool:
    """Whether the process of a mark was one of this machine and is there no more."""
    import psutil

    host, pid, started = [*marked.rsplit(":", 2), "", ""][:3]
    if host != platform.node() or not pid.isdecimal():
        return False
    try:
        found = psutil.Process(int(pid))
        is_other = abs(found.create_time() - float(started)) > _TOLERANCE
        return is_other or bool(found.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
