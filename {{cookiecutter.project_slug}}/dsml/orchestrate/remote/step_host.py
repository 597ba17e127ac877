"""The process of a run on a worker, from which a process is forked for each of its steps.

It is told the folders of steps on its standard input, line by line, and tells on its standard
output how each has ended: exit code and folder. An empty line asks all steps to stop. The end of
the input tells that the worker is gone: then somebody else executes its steps, so this process ends
at once, with all that it has started.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NoReturn

import psutil

import dsml.orchestrate.preload  # noqa: F401 - what every step imports
from dsml.orchestrate.remote.step_process import execute_step

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_TICK = 0.05  # seconds between two looks which processes have ended
_PATIENCE = 6.0  # seconds that a step has to keep what there is, when it is to stop


class _Steps:
    """The processes of the steps that are under way."""

    def __init__(self) -> None:
        self._folders: dict[int, str] = {}
        self._deadline: float | None = None
        # an end of it is held by this process alone: it is closed when this process has ended
        self._alive = os.pipe()

    def start(self, folder: str) -> None:
        """Fork a process for a step."""
        pid = os.fork()
        if not pid:
            _become(Path(folder), self._alive)
        self._folders[pid] = folder

    def stop(self) -> None:
        """Ask all of them to stop."""
        if self._deadline is None:
            self._deadline = time.monotonic() + _PATIENCE
            for pid in self._folders:
                os.kill(pid, signal.SIGINT)

    def look(self) -> None:
        """Tell of those that have ended; end those that should have."""
        for pid, folder in list(self._folders.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._folders[pid]
                told = f"{os.waitstatus_to_exitcode(status)} {folder}\n"
                os.write(_STDOUT, told.encode())
        if self._deadline is not None and time.monotonic() > self._deadline:
            _kill_children()
        if not self._folders:
            self._deadline = None


def main() -> None:
    """Execute steps until the worker is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # a worker may hold back what steps are told
    with contextlib.suppress(Exception):  # the step tells what is wrong with it
        importlib.import_module("dag")
    gc.freeze()
    steps, rest = _Steps(), b""
    while True:
        if select.select([_STDIN], [], [], _TICK)[0]:
            found = os.read(_STDIN, 1 << 16)
            if not found:
                _kill_children()
                os._exit(0)
            *lines, rest = (rest + found).split(b"\n")
            for line in lines:
                if line:
                    steps.start(line.decode())
                else:
                    steps.stop()
        steps.look()


def _become(folder: Path, alive: tuple[int, int]) -> NoReturn:
    """Execute a step in this process, which has just been forked, and end it."""
    code = 1
    try:
        os.close(alive[1])
        threading.Thread(target=_end_with_host, args=(alive[0],), daemon=True).start()
        console = os.open(folder / "console.txt", os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), _STDIN)
        os.dup2(console, _STDOUT)
        os.dup2(console, _STDERR)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        execute_step(folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_with_host(alive: int) -> None:
    os.read(alive, 1)
    _kill_children()
    os._exit(1)


def _kill_children() -> None:
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


if __name__ == "__main__":
    main()
