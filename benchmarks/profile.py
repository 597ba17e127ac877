"""Where the time of a run goes: `python -m benchmarks profile` writes it into the README."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import profile_run
from benchmarks.contenders import dsml
from benchmarks.projects import CHAIN, steps, write_project
from benchmarks.readme import put
from benchmarks.report import machine
from benchmarks.timing import ROUNDS, Command

NOTEBOOKS = 10
_RUN = (
    "Python started",
    "command line imported",
    "process started that kernels are forked from",
    "Dagster imported",
    "runner imported (nbclient, nbconvert, papermill)",
    *profile_run.RUN,
)
_REST_OF_RUN = "the rest: results shown, processes ended"
_REST_OF_STEP = "the rest: Dagster's own checks and loops, waiting for each other"
Parts = dict[str, float]  # label -> milliseconds


def into_readme() -> None:
    """Measure, and put the tables into the README."""
    put("profile", as_text(*measure()))


def measure(rounds: int = ROUNDS, number: int = NOTEBOOKS) -> tuple[Parts, Parts]:
    """The parts of a run's own share, and those of a notebook's in it; medians of the rounds."""
    with tempfile.TemporaryDirectory() as folder:
        root = write_project(Path(folder, "project"), steps(number, CHAIN))
        if rounds > 1:
            dsml(root, "run", "--force").spend()  # fills caches, makes the database
        found = [_parts(*_profile(root, Path(folder, "spans.json"))) for _ in range(rounds)]
    return _medians([run for run, _ in found]), _medians([step for _, step in found])


def _profile(root: Path, file: Path) -> tuple[dict[str, Any], float]:
    script = str(Path(profile_run.__file__))
    env = {"PYTHONPATH": str(root), "BENCH_STARTED": str(time.time())}
    Command([sys.executable, script, str(file)], root, env).spend()
    return json.loads(file.read_bytes()), float(env["BENCH_STARTED"])


def _parts(told: Mapping[str, Any], started: float) -> tuple[Parts, Parts]:
    spans = told["spans"]
    begun = sorted(span["start"] for span in spans if span["label"] == "step")
    # the first notebook waits for the process that kernels are forked from
    first, number = begun[1], len(begun) - 1
    end = max(span["start"] + span["taken"] for span in spans if span["label"] == "step")
    notebook: Parts = {}
    for label in profile_run.NOTEBOOK:
        own = sum(s["own"] for s in spans if s["label"] == label and _is_of_steps(s, first))
        notebook[label] = 1000 * own / number
    notebook[_REST_OF_STEP] = 1000 * (end - first) / number - sum(notebook.values())
    run: Parts = {
        label: 1000 * sum(s["own"] for s in spans if s["label"] == label) for label in _RUN
    }
    executed = "run executed, without its steps"
    run[executed] -= 1000 * (end - begun[0])
    run[_REST_OF_RUN] = 1000 * (told["ended"] - started - (end - begun[0])) - sum(run.values())
    return run, notebook


def _is_of_steps(span: Mapping[str, Any], first: float) -> bool:
    """Whether it is the work of steps; the thread of the run itself works beside them."""
    return bool(span["start"] >= first and span.get("thread") != "MainThread")


def _medians(rounds: Sequence[Parts]) -> Parts:
    return {label: statistics.median(parts[label] for parts in rounds) for label in rounds[0]}


def as_text(run: Parts, notebook: Parts, number: int = NOTEBOOKS) -> str:
    """The two tables."""
    about = ", ".join(f"{key} {value}" for key, value in machine().items())
    return "\n\n".join(
        [
            f"A chain of {number} trivial notebooks; {about}.",
            _table("one notebook", notebook),
            _table("the run itself, once", run),
        ]
    )


def _table(head: str, parts: Parts) -> str:
    rows = [f"| {label} | {milliseconds:.0f} |" for label, milliseconds in parts.items()]
    total = f"| **together** | **{sum(parts.values()):.0f}** |"
    return "\n".join([f"| {head} | ms |", "| --- | ---: |", *rows, total])
