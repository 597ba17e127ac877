"""Servers for the tests that ask or look at them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from conftest import environment_in
from runtime.projects import wait_until

START_TIMEOUT = 180  # seconds for a server to come up on a machine that has other things to do
_STOP_TIMEOUT = 15


@contextmanager
def serving(
    command: Sequence[str | Path],
    look: Callable[[], Any],
    *,
    cwd: Path,
    log: Path,
    end: signal.Signals = signal.SIGINT,
    **environment: str,
) -> Iterator[Any]:
    """Start a server in a process group of its own, and give what `look` sees of it first.

    Args:
        command: what starts it.
        look: looks for it, and returns something once it is there; OSError: it is not.
        cwd: the folder of the project that it serves.
        log: the file for what it prints.
        end: what the group is sent in the end; the default is what Ctrl-C sends.
        environment: variables for it.

    Raises:
        AssertionError: it ended, or never came up; the text is what it printed.
    """
    with log.open("w") as output:
        server = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=environment_in(cwd, environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def is_there() -> Any:
        assert server.poll() is None, log.read_text(encoding="utf-8")
        with suppress(OSError):
            return look()
        return None

    try:
        yield wait_until(is_there, START_TIMEOUT, 0.2, f"{command} does not answer")
    finally:
        _stop(server, end)


def _stop(server: subprocess.Popen[bytes], end: signal.Signals) -> None:
    """End a server and all that it has started."""
    processes = [psutil.Process(server.pid)] if server.poll() is None else []
    for process in list(processes):
        processes += process.children(recursive=True)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, end)
    _, alive = psutil.wait_procs(processes, timeout=_STOP_TIMEOUT)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    server.wait()
