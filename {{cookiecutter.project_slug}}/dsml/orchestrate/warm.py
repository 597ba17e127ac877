"""Kernels that are forked from a process in which what every kernel imports is loaded already.

A kernel of IPython spends half a second on importing itself, and what a project imports comes on
top. On Linux one process does so once; each kernel is a fork of it. What it is told goes over a
socket: the command line, the environment, the folder, and where to print. The kernel has a session
of its own, as it would have otherwise; its parent is that process, which tells how it ends.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dsml.contract.project import Project
from dsml.step.process import environment_of

IN_PROCESS = ("threads", "in_process")  # the executors that look after steps in the run's process
_FORK_TIMEOUT = 30.0  # seconds; the process may still be importing
_LONGEST = 1 << 20  # bytes of a message


class ForkedKernel:
    """A kernel that was forked, with the methods of ``subprocess.Popen`` that Jupyter calls."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = threading.Event()

    def end(self, status: int) -> None:
        """Take note of how it has ended: its exit code, or minus the signal."""
        self.returncode = status
        self._ended.set()

    def poll(self) -> int | None:
        """How it has ended, None as long as it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not, within so many seconds.
        """
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("kernel", timeout or 0)
        return self.returncode or 0

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


class WarmProcess:
    """The process that kernels are forked from; ``modules`` are loaded in it beside the kernel's.

    It ends with the process that has started it, and then so do its kernels.
    """

    def __init__(self, env: Mapping[str, str], modules: Sequence[str]) -> None:
        self.env = dict(env)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dsml.orchestrate.warm_process", *modules],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self.env,
                start_new_session=True,
            )
        self._ids = itertools.count()
        self._sending = threading.Lock()
        self._told = threading.Condition()
        self._forked: dict[int, ForkedKernel | None] = {}
        self._late: set[int] = set()  # of those nobody waits for any more
        self._running: dict[int, ForkedKernel] = {}
        self._gone = False
        threading.Thread(target=self._listen, name="kernels", daemon=True).start()

    def start(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        folder: str,
        *,
        unheard: bool = False,
    ) -> ForkedKernel | None:
        """Fork a kernel; None where that is not possible, and it is to be started as any other.

        It prints where this process does, or, ``unheard``, nowhere.
        """
        if env.get("PYTHONPATH") != self.env.get("PYTHONPATH") or self._gone:
            return None
        number = next(self._ids)
        request = {"id": number, "arguments": arguments, "env": dict(env), "folder": folder}
        message = json.dumps(request).encode()
        if len(message) > _LONGEST:
            return None
        try:
            with self._sending, _printing(unheard=unheard) as descriptors:
                socket.send_fds(self._socket, [message], descriptors)
        except OSError:
            return None
        with self._told:
            self._told.wait_for(lambda: number in self._forked or self._gone, _FORK_TIMEOUT)
            if number not in self._forked:
                self._late.add(number)
            return self._forked.pop(number, None)

    def _listen(self) -> None:
        """Take in what the process tells, until it has ended."""
        with contextlib.suppress(OSError):
            while message := self._socket.recv(_LONGEST):
                told = json.loads(message)
                with self._told:
                    self._take(told)
                    self._told.notify_all()
        with self._told:
            self._gone = True
            for kernel in self._running.values():
                kernel.end(-signal.SIGKILL)
            self._told.notify_all()

    def _take(self, told: Mapping[str, Any]) -> None:
        pid = told["pid"]
        if "id" in told:
            kernel = ForkedKernel(pid) if pid else None
            if kernel is not None:
                self._running[pid] = kernel
            if told["id"] not in self._late:
                self._forked[told["id"]] = kernel
            else:
                self._late.remove(told["id"])
                if kernel is not None:
                    kernel.kill()
        elif pid in self._running:
            self._running.pop(pid).end(told["status"])


@contextlib.contextmanager
def _printing(*, unheard: bool) -> Iterator[list[int]]:
    """The descriptors that a kernel prints to."""
    if not unheard:
        yield [1, 2]
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        yield [nowhere, nowhere]
    finally:
        os.close(nowhere)


_WARM: list[WarmProcess] = []


def warm_up(project: Project, executor: str) -> None:
    """Start the process that this one's kernels are forked from, where there are such kernels.

    Under the other executors each kernel has a process of its own that starts it.
    """
    if sys.platform == "linux" and executor in IN_PROCESS and not _WARM:
        _WARM.append(WarmProcess(environment_of(project.root), project.catalog.preload))


def warm_process() -> WarmProcess | None:
    """The process that has been started; None: kernels are started as any other process is."""
    return _WARM[0] if _WARM else None
