"""What a run costs before it has done anything."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.contenders import dagster_job, dsml
from benchmarks.projects import Step, write_project
from benchmarks.report import Limit, Result
from benchmarks.timing import ROUNDS, in_turn, median_of

NOTEBOOKS = 10
TIMES_EMPTY_JOB = 1.3  # at most
_DEFAULT = "dagster job execute on an empty job"
_IN_PROCESS = "dagster job execute on an empty job, in process"
_EMPTY = '''"""A job that does nothing."""

from dagster import in_process_executor, job, multiprocess_executor, op


@op
def nothing() -> None:
    """Do nothing."""


@job(executor_def={executor})
def empty() -> None:
    """Nothing, once."""
    nothing()
'''
_EXECUTORS = {_DEFAULT: "multiprocess_executor", _IN_PROCESS: "in_process_executor"}


def measure(rounds: int = ROUNDS, number: int = NOTEBOOKS) -> Result:
    """`dsml run` where nothing has changed, beside `dagster job execute` on an empty job."""
    with tempfile.TemporaryDirectory() as folder:
        commands = {}
        for size in (1, number):
            root = Path(folder, str(size))
            unchanged = {"cache": True, "outs": {"x": "x.json"}}
            made = {f"a.s{i:02}": Step('context.save("x", 1)', unchanged) for i in range(size)}
            write_project(root, made)
            commands[f"dsml run, {size} unchanged"] = dsml(root, "run")
        for name, executor in _EXECUTORS.items():
            home = Path(folder, executor)
            home.mkdir()
            file = home / "empty.py"
            file.write_text(_EMPTY.format(executor=executor), encoding="utf-8")
            commands[name] = dagster_job(home, file, "empty")
        commands["dsml check"] = dsml(Path(folder, str(number)), "check")
        spent = in_turn({name: command.spend for name, command in commands.items()}, rounds)
    medians = {name: median_of(found) for name, found in spent.items()}
    empty = medians[_IN_PROCESS]
    rows = [
        {
            "command": name,
            "s": round(found.wall, 2),
            "CPU s": round(found.cpu, 2),
            "times the empty job in process": _ratio(found.wall, empty.wall),
        }
        for name, found in medians.items()
    ]
    one = medians["dsml run, 1 unchanged"]
    limits = [
        Limit(f"dsml run, times {name}, {what}", ratio, TIMES_EMPTY_JOB)
        for name in _EXECUTORS
        for what, ratio in (
            ("wall time", _ratio(one.wall, medians[name].wall)),
            ("CPU time", _ratio(one.cpu, medians[name].cpu)),
        )
    ]
    return Result("idle", "Nothing to do, whole process", rows, limits)


def _ratio(ours: float, theirs: float) -> float:
    return round(ours / theirs, 2)
