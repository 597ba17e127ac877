"""What a worker of a cluster does for a step: it has it executed in a process beside itself.

A worker serves many runs, and maybe many projects, for a long time. In a process of its own a step
has the project's code as it is now, a main thread for signals, and memory that is given back. These
processes are forked, at next to no cost, from one for each run that has imported all they need.

What stands here is sent to the worker as it is: it imports nothing of ours there, and needs nothing
but the standard library and the cluster's own package.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOST = "dsml.orchestrate.remote.step_host"
_HOSTS = "_dsml_hosts"
_TICK = 0.2  # seconds between two looks whether a step is to stop
_IDLE = 600.0  # seconds after which the process of a run that has not ended properly is ended
_TOLD = 2000  # characters of what a process printed before it broke

# What a step is sent with: `root` of the project, `args` for Dagster, `env`, and the `run_id`.
Request = dict[str, Any]
# Either `events` as Dagster writes them down, or the `error` for which there are none.
Result = dict[str, Any]


class Host:
    """The process of a run on this worker, from which those of its steps are forked."""

    def __init__(self, root: Path, env: dict[str, str]) -> None:
        path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
        self._console = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", HOST],
            cwd=root,
            env={**os.environ, **env, "PYTHONPATH": path},
            stdin=subprocess.PIPE,  # when it is closed, this worker is gone
            stdout=subprocess.PIPE,
            stderr=self._console,
            start_new_session=True,
        )
        self._told = threading.Condition()
        self._under_way: dict[str, int | None] = {}  # by folder, the exit code of its process
        self._used = time.monotonic()
        self.is_gone = False
        threading.Thread(target=self._listen, name="step-host", daemon=True).start()

    @property
    def is_idle(self) -> bool:
        """Whether it has had nothing to do for a long time."""
        return not self._under_way and time.monotonic() - self._used > _IDLE

    def run(self, folder: str, is_stopped: Callable[[], bool]) -> int | None:
        """Execute the step that is described in a folder; its exit code, None: nobody knows."""
        with self._told:
            self._under_way[folder] = None
            self._say(folder)
        try:
            while not self._is_over(folder):
                if is_stopped():
                    self.stop()
        except BaseException:
            self._see_it_end(folder)
            raise
        with self._told:
            self._used = time.monotonic()
            return self._under_way.pop(folder)

    def _see_it_end(self, folder: str) -> None:
        """Stop a step, and wait until it has kept what it has."""
        while True:
            try:
                self.stop()
                while not self._is_over(folder):
                    pass
            except KeyboardInterrupt:  # Ray interrupts every two seconds, until the task is over
                continue
            return

    def stop(self) -> None:
        """Have the steps that are under way end."""
        self._say("")

    def end(self) -> None:
        """End it, and what it still executes."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def printed(self) -> str:
        """The last of what it has printed."""
        size = self._console.seek(0, os.SEEK_END)
        self._console.seek(max(0, size - _TOLD))
        return self._console.read().decode("utf-8", errors="replace")

    def _is_over(self, folder: str) -> bool:
        with self._told:
            return self._told.wait_for(
                lambda: self.is_gone or self._under_way[folder] is not None, _TICK
            )

    def _say(self, line: str) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(f"{line}\n".encode())
                self._process.stdin.flush()
        except OSError:
            self.is_gone = True

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            code, _, folder = line.decode().rstrip("\n").partition(" ")
            with self._told:
                self._under_way[folder] = int(code)
                self._told.notify_all()
        with self._told:
            self.is_gone = True
            self._told.notify_all()


def on_dask(request: Request) -> Result:
    """Execute a step in a worker of Dask."""
    from distributed import get_worker

    return run_step(request, vars(get_worker()))


def stop_on_dask(run_id: str, dask_worker: Any = None) -> None:
    """Stop the steps of a run in a worker of Dask, which hands itself over."""
    vars(dask_worker).setdefault("_dsml_stopped", set()).add(run_id)


def end_on_dask(run_id: str, dask_worker: Any = None) -> None:
    """Forget a run in a worker of Dask, which hands itself over."""
    host = vars(dask_worker).get(_HOSTS, {}).pop(run_id, None)
    if host is not None:
        host.end()


def on_ray(request: Request) -> Result:
    """Execute a step in a worker of Ray, which raises KeyboardInterrupt to stop it."""
    return run_step(request, vars(sys))


def run_step(request: Request, kept: dict[str, Any]) -> Result:
    """Execute a step; the events that it tells, or why there are none.

    ``kept`` holds what is there between two steps, the same for all of this worker.
    """
    run_id, root = request["run_id"], Path(request["root"])
    stopped = kept.setdefault("_dsml_stopped", set())
    here = platform.node()
    if run_id in stopped:
        return {"error": "the run was cancelled"}
    if not (root / "dsml").is_dir():
        return {"error": f"on {here} there is no project in {root}"}
    with tempfile.TemporaryDirectory(prefix="dsml-step-") as name:
        folder = Path(name)
        (folder / "args.json").write_text(request["args"], encoding="utf-8")
        host = _host(request, kept)
        code = host.run(name, lambda: run_id in stopped)
        events = folder / "events.json"
        if events.is_file():
            return {"events": json.loads(events.read_text(encoding="utf-8"))}
        console = folder / "console.txt"
        printed = console.read_bytes()[-_TOLD:].decode() if console.is_file() else host.printed()
        how = "is gone" if code is None else f"ended with exit code {code}"
        return {"error": f"the process of the step on {here} {how}\n{printed}".rstrip()}


def _host(request: Request, kept: dict[str, Any]) -> Host:
    """The process of this run; those of runs that are long over are ended."""
    lock = kept.setdefault("_dsml_lock", threading.Lock())
    hosts: dict[str, Host] = kept.setdefault(_HOSTS, {})
    with lock:
        for run_id in [name for name, host in hosts.items() if host.is_gone or host.is_idle]:
            hosts.pop(run_id).end()
        if request["run_id"] not in hosts:
            hosts[request["run_id"]] = Host(Path(request["root"]), request["env"])
        return hosts[request["run_id"]]
