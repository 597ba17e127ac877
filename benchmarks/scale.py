"""How long what users do takes in projects with a long history, many steps, many instances."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.browser import seconds_to_load
from benchmarks.copies import multiply
from benchmarks.projects import Step, write_project
from benchmarks.report import Limit, Result
from benchmarks.timing import Command, in_turn
from benchmarks.ui import serving
from benchmarks.written import EXPERIMENT, publish_all
from dsml.contract.project import load_project
from dsml.step.inputs import find_inputs
from dsml.store import StepRun, Store

ROUNDS = 3
RUNS = (1, 1000, 10_000)
STEPS = (10, 250, 1000)
INSTANCES = (2, 50, 200)
_TIMES = 1.3  # at most, of what is to be expected of the largest project after the smaller ones
_CHAINS = 10
_FOUND = 100  # times that the inputs of a step are looked for in a row


@dataclass(frozen=True)
class Use:
    """Something that is done in a project.

    ``do`` gives the seconds that it takes, ``at_most`` how many it may take in the largest project.
    What ``shows_all`` that there is more of may take longer in proportion, and nothing else.
    ``once`` is what cannot be done a second time.
    """

    what: str
    do: Callable[[Path], float]
    at_most: float
    shows_all: bool = False
    once: bool = False


def history(rounds: int = ROUNDS, sizes: Sequence[int] = RUNS) -> Result:
    """Projects of two steps that have been run once, and ten thousand times."""
    with tempfile.TemporaryDirectory() as folder:
        steps = {"load.rows": _first(), "train.fit": _after("load.rows")}
        once = write_project(Path(folder) / "once", steps)
        _dsml(once, "run")
        projects = {size: _run_often(once, Path(folder) / str(size), size) for size in sizes}
        return compared("history", "Many runs", projects, USES["history"], rounds)


def wide(rounds: int = ROUNDS, sizes: Sequence[int] = STEPS) -> Result:
    """Projects whose only pipeline has ten steps, and a thousand."""
    with tempfile.TemporaryDirectory() as folder:
        projects = {size: _published(Path(folder) / str(size), _chains(size)) for size in sizes}
        return compared("steps", "Many steps", projects, USES["steps"], rounds)


def fanned_out(rounds: int = ROUNDS, sizes: Sequence[int] = INSTANCES) -> Result:
    """A mapped step with two instances, and with two hundred, and one that reads them all."""
    with tempfile.TemporaryDirectory() as folder:
        projects = {
            size: _published(Path(folder) / str(size), _MAPPED, {"make.values": list(range(size))})
            for size in sizes
        }
        return compared("instances", "Many instances", projects, USES["instances"], rounds)


# --- projects


def _after(name: str) -> Step:
    """A step that hands on what another one has written."""
    return Step(
        "context.save('x', context.load('x'))", {"ins": {"x": f"{name}.x"}, "outs": {"x": "x.json"}}
    )


def _chains(number: int) -> dict[str, Step]:
    """So many steps in ten chains, a stage each."""
    names = [f"stage_{i % _CHAINS}.step_{i // _CHAINS:03}" for i in range(number)]
    return {
        name: _after(names[i - _CHAINS]) if i >= _CHAINS else _first(cache=True)
        for i, name in enumerate(names)
    }


def _first(**declared: object) -> Step:
    """A step that reads nothing."""
    return Step("context.save('x', [n])", {"outs": {"x": "x.json"}, **declared}, "n: int = 1")


# The list is no part of the notebook: each instance shows its notebook.
_MAPPED = {
    "make.values": _first(cache=True),
    "make.each": _first(cache=True, map={"n": "make.values.x"}),
    "use.all": _after("make.each"),
}


def _published(
    root: Path, found: Mapping[str, Step], lists: Mapping[str, Sequence[int]] | None = None
) -> Path:
    """A project all of whose steps are published, after a run that finds them unchanged."""
    write_project(root, found)
    publish_all(root, lists)
    _dsml(root, "run")
    _dsml(root, "report")
    return root


def _run_often(once: Path, root: Path, number: int) -> Path:
    """A copy of a project, with so many runs."""
    shutil.copytree(once, root, symlinks=True)
    multiply(root, number - 1)
    return root


# --- what is done in them


def _command(*arguments: str) -> Callable[[Path], float]:
    return lambda root: _dsml(root, *arguments)


def _dsml(root: Path, *arguments: str) -> float:
    """The seconds that a command of a project takes, as a whole process."""
    env = {"PYTHONPATH": str(root), "DAGSTER_HOME": str(root / ".dagster")}
    return Command([sys.executable, "-m", "dsml", *arguments], root, env).spend().wall


def _reported_again(root: Path) -> float:
    """Bring the site up to date that lacks one run, one with the most pages: it has notebooks."""
    runs = (root / "site" / "runs").iterdir()
    shutil.rmtree(max(runs, key=lambda folder: sum(1 for _ in folder.rglob("*.html"))))
    return _dsml(root, "report")


def _found(name: str, root: Path) -> float:
    """Find what a step reads, as a run does that has not published it itself."""
    project = load_project(root)
    store = Store.open(root, project.catalog)
    step, address = project.registered[name], StepRun(name, EXPERIMENT, "another")
    started = time.perf_counter()
    for _ in range(_FOUND):
        find_inputs(root, store, step, address)
    return time.perf_counter() - started


def _first_page(root: Path) -> float:
    """The seconds that a new browser takes for the page, which the server has shown once before."""
    with serving(root, ["-m", "dag"]) as address:
        seconds_to_load(address)
        return seconds_to_load(address)


_RUN = _command("run")
_SHOW = _command("show")
USES: Mapping[str, Sequence[Use]] = {
    "history": (
        Use(f"the input of a step, found {_FOUND} times", partial(_found, "train.fit"), 1),
        Use("`dsml run`, nothing changed", _command("run", "--select", "train.fit"), 5),
        Use("`dsml runs`, the newest 20", _command("runs"), 3),
        Use("`dsml runs`, the newest 20 of one experiment", _command("runs", "-e", EXPERIMENT), 3),
        Use("`dsml show`, the newest run", _SHOW, 4),
        Use("the UI's first page", _first_page, 5),
        Use("`dsml report`, all runs for the first time", _command("report"), 900, True, True),
        Use("`dsml report`, one run is new", _reported_again, 10, True),
    ),
    "steps": (
        Use("`dsml run`, nothing changed", _RUN, 90, True),
        Use("`dsml show`, the newest run", _SHOW, 10, True),
        Use("`dsml report`, one run is new", _reported_again, 30, True),
        Use("the UI's first page", _first_page, 10, True),
    ),
    "instances": (
        Use(f"the input of a step, found {_FOUND} times", partial(_found, "use.all"), 5, True),
        Use("`dsml run`, nothing changed", _RUN, 30, True),
        Use("`dsml show`, the newest run", _SHOW, 6, True),
        Use("`dsml report`, one run is new", _reported_again, 15, True),
        Use("the UI's first page", _first_page, 5, True),
    ),
}


# --- what comes of it


def compared(
    name: str, title: str, projects: Mapping[int, Path], uses: Sequence[Use], rounds: int
) -> Result:
    """What each use takes in each project, and how it grows."""
    rows, limits = [], []
    largest = max(projects)
    for use in uses:
        tasks = {size: partial(use.do, root) for size, root in projects.items()}
        spent = in_turn(tasks, 1 if use.once else rounds)
        medians = {size: statistics.median(found) for size, found in spent.items()}
        times = round(medians[largest] / _expected(medians, shows_all=use.shows_all), 2)
        limits += [
            Limit(f"{use.what}, s at the largest", round(medians[largest], 2), use.at_most),
            Limit(f"{use.what}, times the expected", times, _TIMES),
        ]
        rows.append(
            {
                "what": use.what,
                **{f"{size:,}, s": round(seconds, 2) for size, seconds in medians.items()},
                "at most, s": use.at_most,
                "times the expected": times,
            }
        )
    return Result(name, title, rows, limits)


def _expected(medians: Mapping[int, float], *, shows_all: bool) -> float:
    """What the largest project should take: as long as the smallest, or in proportion longer."""
    small, middle, large = sorted(medians)
    if not shows_all:
        return medians[small]
    slope = max(medians[middle] - medians[small], 0) / (middle - small)
    return medians[small] + slope * (large - small)
