"""How long it takes until the Dagster UI of a project answers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

from benchmarks.generation import clean_template, generate
from benchmarks.projects import TEMPLATE
from benchmarks.report import Result
from benchmarks.timing import ROUNDS, Command, in_turn

_PATIENCE = 120.0  # seconds
_POLL = 0.02  # seconds
_BARE = "from dagster import Definitions\n\ndefs = Definitions()\n"


def measure(rounds: int = ROUNDS) -> Result:
    """Start `dagster dev` as `make dagit` does, until the first page comes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(clean_template(root / "template"), root / "ours", "yes")()
        (project,) = (root / "ours" / "0").iterdir()
        bare = root / "bare"
        (bare / ".dagster").mkdir(parents=True)
        shutil.copy(TEMPLATE / ".dagster" / "dagster.yaml", bare / ".dagster")
        (bare / "dag.py").write_text(_BARE, encoding="utf-8")
        tasks = {
            "make dagit, default project": _until_it_answers(project, []),
            "dagster dev, no definitions": _until_it_answers(bare, ["-f", "dag.py"]),
        }
        # `make dagit` lets the first command of all make the databases
        env = {"PYTHONPATH": str(project), "DAGSTER_HOME": str(project / ".dagster")}
        Command([sys.executable, "-m", "dsml", "runs"], project, env).spend()
        found = in_turn(tasks, rounds)
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    least = medians["dagster dev, no definitions"]
    rows = [
        {
            "started": name,
            "s to the first page": round(seconds, 2),
            "fastest s": round(min(found[name]), 2),
            "slowest s": round(max(found[name]), 2),
            "times bare": round(seconds / least, 2),
        }
        for name, seconds in medians.items()
    ]
    return Result("ui", "From make dagit to the first page", rows)


def _until_it_answers(root: Path, arguments: list[str]) -> Callable[[], float]:
    def start() -> float:
        started = time.perf_counter()
        with serving(root, arguments):
            return time.perf_counter() - started

    return start


@contextlib.contextmanager
def serving(root: Path, arguments: Sequence[str] = ()) -> Iterator[str]:
    """The UI of a project, once its first page is answered; gives its address.

    Raises:
        RuntimeError: it doesn't answer.
    """
    path = os.pathsep.join([str(root), str(TEMPLATE)])
    env = {"PYTHONPATH": path, "DAGSTER_HOME": str(root / ".dagster")}
    port = _free_port()
    listen = ["--host", "127.0.0.1", "--port", str(port)]
    address, deadline = f"http://127.0.0.1:{port}/", time.monotonic() + _PATIENCE
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster", "dev", *arguments, *listen],
        cwd=root,
        env=Command([], root, env).environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dagster dev doesn't answer in {root.name}")
            time.sleep(_POLL)
        yield address
    finally:
        _end(process)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - ours
        return bool(answer.status == HTTPStatus.OK and b"<html" in answer.read())
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the servers as Ctrl-C does, and at once what is left of them."""
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
