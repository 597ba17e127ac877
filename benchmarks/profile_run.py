"""One `dsml run` whose parts are timed: `python profile_run.py RESULT`, in a project's folder.

What is timed are functions of the runtime, by their names; one that is gone fails this.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import inspect
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The parts of a notebook's share, in their order; each is the time of the named functions, without
# that of others named here.
NOTEBOOK = {
    "inputs, parameters, fingerprint": (
        "orchestrate.materialise:inputs_of",
        "orchestrate.materialise:task_of",
    ),
    "note that the attempt has begun, folders for it": (
        "orchestrate.materialise:begun",
        "orchestrate.runner:setting_of",
        "store.publish:Store.stage",
    ),
    "notebook read, parameters put in": ("orchestrate.runner:prepare",),
    "kernel forked": ("jupyter_client.manager:AsyncKernelManager.start_kernel",),
    "kernel ready": ("nbclient.client:NotebookClient.async_start_new_kernel_client",),
    "cells": ("orchestrate.kernel:Execution._run_cell",),
    "kernel shut down": ("orchestrate.kernel:Execution._shut_down",),
    "executed notebook saved": ("orchestrate.kernel:Execution.save",),
    "HTML of it": ("orchestrate.runner:_write_html",),
    "outs measured and checked": (
        "orchestrate.runner:measure_outs",
        "orchestrate.runner:run_checks",
    ),
    "evidence kept, manifest published": (
        "store.publish:Store.keep_attempt",
        "orchestrate.runner:manifest_of",
        "store.publish:Store.publish",
        "store.publish:Store.unstage",
    ),
    "Dagster's events written": ("dagster:DagsterInstance.handle_new_event",),
}
# The parts of a run's own share.
RUN = {
    "Dagster instance opened": ("orchestrate.launch:open_instance",),
    "definitions loaded": ("orchestrate.definitions:load_definitions",),
    "run planned and recorded": ("orchestrate.launch:create_run",),
    "run executed, without its steps": ("orchestrate.launch:execute",),
}
STEP = "orchestrate.threads:_run_step"
_LATER = ("dsml.cli.run", "dsml.orchestrate.launch", "dsml.orchestrate.definitions")
_IN_STEP = ("dsml.orchestrate.materialise", "dsml.orchestrate.runner")


class Clock:
    """Takes down when functions were called, how long each was at work, and in which thread."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self._thread = threading.local()

    @contextmanager
    def time(self, label: str) -> Iterator[None]:
        """Time what happens inside; the time of what is timed in there is not its own."""
        stack: list[float] = self._thread.__dict__.setdefault("stack", [])
        stack.append(0.0)
        started = time.time()
        try:
            yield
        finally:
            taken = time.time() - started
            own = taken - stack.pop()
            if stack:
                stack[-1] += taken
            name = threading.current_thread().name
            span = {"label": label, "start": started, "taken": taken, "own": own, "thread": name}
            self.spans.append(span)

    def wrap(self, label: str, where: str) -> None:
        """Time each call of the function at `module:name`.

        Raises:
            AttributeError: it isn't there any more.
        """
        module, _, path = where.partition(":")
        owner: Any = importlib.import_module(_module(module))
        *outer, name = path.split(".")
        for part in outer:
            owner = getattr(owner, part)
        setattr(owner, name, self._timed(label, getattr(owner, name)))

    def _timed(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def waiting(*args: Any, **kwargs: Any) -> Any:
                with self.time(label):
                    awaited: Awaitable[Any] = function(*args, **kwargs)
                    return await awaited

            return waiting

        @functools.wraps(function)
        def calling(*args: Any, **kwargs: Any) -> Any:
            with self.time(label):
                return function(*args, **kwargs)

        return calling


def _module(name: str) -> str:
    ours = name.split(".", maxsplit=1)[0] in {"orchestrate", "store"}
    return f"dsml.{name}" if ours else name


def main(result: Path) -> None:
    """Run the project's pipeline, and write down what took how long."""
    clock = Clock()
    begun = float(os.environ["BENCH_STARTED"])
    clock.spans.append({"label": "Python started", "own": time.time() - begun, "start": begun})
    with clock.time("command line imported"):
        from dsml import cli
        from dsml.contract.project import load_project
        from dsml.orchestrate.warm import warm_up
    with clock.time("process started that kernels are forked from"):
        warm_up(load_project(Path.cwd()), "threads")  # as the command does, before it goes on
    with clock.time("Dagster imported"):
        for name in _LATER:
            importlib.import_module(name)
    with clock.time("runner imported (nbclient, nbconvert, papermill)"):
        for name in _IN_STEP:
            importlib.import_module(name)
    for label, places in {**RUN, **NOTEBOOK, "step": (STEP,)}.items():
        for where in places:
            clock.wrap(label, where)
    atexit.register(_write, clock, result)
    from dsml.step import finish

    os_exit = finish.leave

    def leave(code: int) -> None:
        _write(clock, result)
        os_exit(code)

    setattr(importlib.import_module("dsml.cli.run"), "leave", leave)  # noqa: B010 - patched
    sys.argv = ["dsml", "run", "--force"]
    cli.main()


def _write(clock: Clock, result: Path) -> None:
    found = {"ended": time.time(), "spans": clock.spans}
    result.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
