"""One kernel and one notebook: executed in a thread, watched and stopped from outside.

nbclient runs the cells; this module adds what a runner needs: output as it comes, the notebook
saved while it runs, and a stop that also ends the processes which the kernel has started.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from dsml.orchestrate.client import Client, kernel_manager
from dsml.orchestrate.outputs import short
from dsml.orchestrate.provisioner import UNHEARD
from dsml.orchestrate.saved import Saved
from dsml.orchestrate.usage import Usage
from dsml.step import finish
from dsml.step.facts import now
from dsml.step.redact import RedactedStream, Redactor

INJECTED_TAG = "injected-parameters"
LINES_ABOVE = "lines_above"  # in a cell's metadata: those above it in the text notebook
SCRIPT = "script"  # in a cell's metadata: the file that it runs, and a line of it
_SAVE_EVERY = 3.0  # seconds
_DRAIN = 10.0  # seconds at most to take what a kernel has sent before it died, ...
_STOP_DRAIN = 0.5  # ... or before it was stopped
_EXIT_TIMEOUT = 30.0  # seconds for a kernel to run its exit hooks
_FILES = 65_536  # of one process, open at once
_STOPPED = "Stopped"  # the name of what a cell seems to have raised when it was stopped
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_TRACEBACK_LIMIT = 100_000  # characters
_CELL_LINE = re.compile(r"In\[(\d+)\], line (\d+)")


@dataclass(frozen=True)
class Failure:
    """Why a notebook stopped early: the cell (as numbered in the source), the line, the error.

    The line is that of the cell, in a text notebook and in a Python step that of the file; a Python
    step has no cells. ``exception`` is the type of what was raised, ``traceback`` is Python's.
    """

    cell: int | None
    line: int | None
    error: str
    exception: str
    traceback: str = ""


class Execution:
    """One execution of a notebook; ``take_output`` gives the text that it prints.

    Nothing here raises for what the notebook does: ``failure`` tells, once ``done`` is set.
    """

    def __init__(
        self,
        notebook: NotebookNode,
        file: Path,
        folder: Path,
        env: Mapping[str, str],
        private: Path,
        redactor: Redactor | None = None,
    ) -> None:
        self.notebook = notebook
        self.failure: Failure | None = None
        self.usage = Usage()
        self.cells: list[dict[str, int | float | str]] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.done = threading.Event()
        self._file = file
        self._folder = folder
        self._env = dict(env)
        self._private = private
        self._redactor = redactor
        self._printed = None if redactor is None else RedactedStream(redactor)
        self._numbers = _source_numbers(notebook)
        self._current = 0
        self._stop_reason: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._manager: AsyncKernelManager | None = None
        self._client: Client | None = None
        self._saved = Saved(notebook)
        self._thread = threading.Thread(target=self._main, name="notebook", daemon=True)

    def start(self) -> None:
        """Start the kernel and execute the notebook, in a thread of its own."""
        _allow_files()
        self._thread.start()

    def stop(self, reason: str) -> None:
        """Kill the kernel with all its children; the notebook is saved as far as it came."""
        self._stop_reason = self._stop_reason or reason
        self._kill()
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just closed
                self._loop.call_soon_threadsafe(self._task.cancel)

    def measure(self, *, at_once: bool = False) -> None:
        """Look at how much of the machine the kernel takes."""
        process = self._process
        if process is not None:
            self.usage.look(process.pid, at_once=at_once)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the execution is over."""
        self._thread.join(timeout)

    def take_output(self) -> str:
        """What the notebook has printed since the last call."""
        parts = []
        is_over = self.done.is_set()
        with contextlib.suppress(queue.Empty):
            while True:
                parts.append(self._lines.get_nowait())
        if self._printed is None:
            return "".join(parts)
        # the two streams are one text here, in which a secret may be put together
        return self._printed.feed("".join(parts)) + (self._printed.rest() if is_over else "")

    def save(self) -> None:
        """Write the executed notebook as it stands now, whole or not at all."""
        if self._client is not None:
            self._client.settle()
        partial = self._file.with_name(f".{self._file.name}")
        partial.write_text(self._saved.text(), encoding="utf-8")
        partial.replace(self._file)

    def _main(self) -> None:
        try:
            asyncio.run(self._execute())
        except Exception as error:  # told to the user as the step's failure
            kind = type(error).__name__
            self.failure = self.failure or Failure(None, None, f"{kind}: {error}", kind)
        finally:
            self._kill()
            self.done.set()

    async def _execute(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        saver = asyncio.create_task(self._save_now_and_then())
        try:
            await self._run_cells()
        except asyncio.CancelledError:
            self._note_stop()
        except DeadKernelError:
            if self._stop_reason:
                self._note_stop()
            else:
                self._fail(None, f"the kernel died{self._exit_reason()}", "DeadKernelError")
        except CellExecutionError as error:
            line = _error_line(error, self.notebook.cells[self._current])
            traceback = short(_ANSI.sub("", error.traceback), _TRACEBACK_LIMIT)
            self._fail(line, _told(error), error.ename, traceback)
        finally:
            saver.cancel()
            self.save()

    async def _run_cells(self) -> None:
        redactor = self._redactor
        self._manager = manager = kernel_manager(self._private / "kernel.json", redactor)
        self._client = client = Client(self.notebook, self._saved, self._lines, manager, redactor)
        await manager.start_kernel(
            cwd=str(self._folder),
            env=self._env,
            extra_arguments=["--HistoryManager.enabled=False"],
            **({} if redactor is None else UNHEARD),
        )
        if self._stop_reason:
            raise asyncio.CancelledError
        kernel = await client.async_start_new_kernel_client()
        try:
            total = max(self._numbers.values(), default=0)
            for index, cell in enumerate(self.notebook.cells):
                if cell.cell_type == "code":
                    await self._run_cell(client, index, cell, total)
            client.set_widgets_metadata()
            await self._shut_down(kernel)
        finally:
            kernel.stop_channels()
            manager.cleanup_connection_file()

    async def _run_cell(self, client: Client, index: int, cell: NotebookNode, total: int) -> None:
        self._current = index
        began, started = now(), time.monotonic()
        try:
            number = client.code_cells_executed + 1
            await client.async_execute_cell(cell, index, execution_count=number)
        finally:
            client.end_cell(_STOP_DRAIN if self._stop_reason else _DRAIN)
            spent = time.monotonic() - started
            is_cell = cell.source.strip() and INJECTED_TAG not in cell.metadata.get("tags", [])
            if is_cell and SCRIPT not in cell.metadata:
                number = self._numbers[index]
                self.cells.append({"cell": number, "started": began, "seconds": round(spent, 6)})
        if is_cell:
            shown = "step_fn" if SCRIPT in cell.metadata else f"cell {self._numbers[index]}/{total}"
            self._lines.put(f"{shown}, {spent:.1f} s\n")

    async def _shut_down(self, kernel: Any) -> None:
        """Let the kernel end by itself, so that exit hooks of the notebook's libraries run."""
        self.measure(at_once=True)
        asked = kernel.execute(finish.CODE, silent=True, allow_stdin=False)
        deadline = time.monotonic() + _EXIT_TIMEOUT
        while self._process is not None and self._process.poll() is None:
            # an answer means that it has not ended: then it is killed, as after the deadline
            if await _is_answered(kernel, asked) or time.monotonic() > deadline:
                return
            await asyncio.sleep(0.005)

    async def _save_now_and_then(self) -> None:
        while True:
            started = time.monotonic()
            if self._saved.is_stale or (self._client is not None and self._client.is_new):
                self.save()
            # a large notebook takes long to write: spend a tenth of the time on it at most
            await asyncio.sleep(max(_SAVE_EVERY, 10 * (time.monotonic() - started)))

    def _fail(self, line: int | None, error: str, exception: str, traceback: str = "") -> None:
        metadata = self.notebook.cells[self._current].metadata
        if line is not None:
            line += metadata.get(LINES_ABOVE, 0)
        cell = None if SCRIPT in metadata else self._numbers.get(self._current)
        self.failure = Failure(cell, line, error, exception, traceback)

    def _note_stop(self) -> None:
        """Leave a trace of the stop in the cell that was running."""
        reason = self._stop_reason or "stopped"
        self._fail(None, reason, _STOPPED)
        cell = self.notebook.cells[self._current]
        if cell.cell_type == "code":
            cell.outputs.append(
                nbformat.v4.new_output("error", ename=_STOPPED, evalue=reason, traceback=[reason])
            )
            self._saved.changed(self._current)

    @property
    def _process(self) -> subprocess.Popen[bytes] | None:
        return getattr(getattr(self._manager, "provisioner", None), "process", None)

    def _exit_reason(self) -> str:
        code = None if self._process is None else self._process.poll()
        if code is None:
            return ""
        if code >= 0:
            return f" with exit code {code}"
        hint = "; was the memory used up?" if -code == signal.SIGKILL else ""
        return f" of signal {signal.Signals(-code).name}{hint}"

    def _kill(self) -> None:
        """Kill the kernel's process group, and children that have left it."""
        process = self._process
        if process is None:
            return
        self.measure(at_once=True)
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)  # the kernel leads a group of its own
            else:
                process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)


@functools.cache
def _allow_files() -> None:
    """Let this process have as many files open as it may; each kernel takes some thirty of them."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _is_answered(kernel: Any, question: str) -> bool:
    """Whether the answer to a question has come; those to others before it are passed over."""
    while await kernel.shell_channel.msg_ready():
        answer = await kernel.get_shell_msg(timeout=1)
        if answer["parent_header"].get("msg_id") == question:
            return True
    return False


def _source_numbers(notebook: NotebookNode) -> dict[int, int]:
    """Index in the executed notebook → number in the source, where nothing was injected."""
    numbers: dict[int, int] = {}
    number = 0
    for index, cell in enumerate(notebook.cells):
        if INJECTED_TAG not in cell.metadata.get("tags", []):
            number += 1
        numbers[index] = number
    return numbers


def _told(error: CellExecutionError) -> str:
    """Name and text of an exception, the second and later lines indented as messages are."""
    text = short(_ANSI.sub("", error.evalue).strip()).replace("\n", "\n  ")
    return f"{error.ename}: {text}" if text else error.ename


def _error_line(error: CellExecutionError, cell: NotebookNode) -> int | None:
    """The line of the failing cell itself, which IPython's traceback names first.

    Of a Python step it is the line of its file that is named last, or that of its function.
    """
    traceback, source = _ANSI.sub("", error.traceback), cell.source
    if SCRIPT in cell.metadata:
        script = cell.metadata[SCRIPT]
        name = r"[\\/]".join(map(re.escape, script["path"].split("/")[-2:]))
        told = _ANSI.sub("", error.evalue)  # which may name files too
        frames = traceback.rpartition(told)[0] if told else ""
        lines = re.findall(rf"^File .*[\\/]{name}:(\d+)", frames or traceback, re.MULTILINE)
        return int(lines[-1] if lines else script["line"])
    match = _CELL_LINE.search(traceback)
    blank = source[: len(source) - len(source.lstrip())].count("\n")  # IPython counts without
    return int(match[2]) + blank if match else None
