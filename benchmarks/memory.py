"""How much memory a kernel takes, and the processes around it.

Forked kernels share pages with the process that they were forked from. PSS (proportional set size,
from `/proc/<pid>/smaps_rollup`) counts a page that n processes share as 1/n in each of them, so
that the PSS of all processes together is what they take of the machine.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.contenders import PAPERMILL as PAPERMILL_ALONE
from benchmarks.contenders import Job, dsml
from benchmarks.projects import Step, write_project
from benchmarks.report import Limit, Result
from benchmarks.run_without import FORKS
from benchmarks.timing import ROUNDS, Command, in_turn

MORE = 10.0  # MB of a kernel over a bare one, at most
# Runs in the kernel: the figures of its own process and of those above it, up to the command.
LOOK = """\
import json
import os
from pathlib import Path


def figures(pid):
    found = {}
    for file in ("smaps_rollup", "status"):
        for line in Path("/proc", str(pid), file).read_text().splitlines():
            name, _, value = line.partition(":")
            if value.endswith("kB"):
                found[name] = int(value.split()[0]) / 1000
    return {
        "command": Path("/proc", str(pid), "cmdline").read_text().split("\\0"),
        "pss": found["Pss"],
        "own": found["Private_Clean"] + found["Private_Dirty"],
        "peak": found["VmHWM"],
    }


def parent(pid):
    return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])


pid, above = os.getpid(), []
while pid > 1 and "supervise.py" not in Path("/proc", str(pid), "cmdline").read_text():
    above.append(figures(pid))
    pid = parent(pid)
Path(os.environ["BENCH_LOOK"]).write_text(json.dumps(above))
"""
_NAMES = {  # of the processes from the kernel up to the command, by contender
    "bare ipykernel, under papermill": ("kernel", "papermill's process"),
    "ours": ("kernel", "process that kernels are forked from", "run process"),
    "ours, kernels not forked": ("kernel", "run process"),
    "ours, executor multiprocess": (
        "kernel",
        "worker",
        "process that workers are forked from",
        "run process",
    ),
}
_OURS = {  # the executor, and what is left out
    "ours": ("threads", ""),
    "ours, kernels not forked": ("threads", FORKS),
    "ours, executor multiprocess": ("multiprocess", ""),
}
_BARE = "bare ipykernel, under papermill"
_FIGURES = ("pss", "own", "peak")


def measure(rounds: int = ROUNDS, chosen: Sequence[str] = tuple(_OURS)) -> Result:
    """Let a notebook look at the memory of its own kernel, and of the processes around it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bare = root / "bare"
        commands = {_BARE: PAPERMILL_ALONE.command(bare, Job(1, work=LOOK))}
        for number, name in enumerate(chosen):
            executor, without = _OURS[name]
            project = root / str(number)
            write_project(project, {"a.look": Step(LOOK)}, executor=executor)
            commands[name] = dsml(project, "run", "--force", without=without)
        tasks = {name: _look(command, root / "look.json") for name, command in commands.items()}
        found = in_turn(tasks, rounds)
    medians = {name: _medians(name, looks) for name, looks in found.items()}
    rows = [
        {
            "run by": name,
            "process": process,
            "PSS, MB": round(figures["pss"], 1),
            "its own alone, MB": round(figures["own"], 1),
            "peak of RSS, MB": round(figures["peak"], 1),
        }
        for name, processes in medians.items()
        for process, figures in processes.items()
    ]
    least = medians[_BARE]["kernel"]["pss"]
    limits = [
        Limit(
            f"MB of PSS more than a bare ipykernel, {name}",
            round(processes["kernel"]["pss"] - least, 1),
            MORE,
        )
        for name, processes in medians.items()
        if name != _BARE
    ]
    return Result("memory", "Memory while a notebook runs", rows, limits)


def _look(command: Command, file: Path) -> Callable[[], list[dict[str, float]]]:
    env = {**command.env, "BENCH_LOOK": str(file)}
    looking = Command(command.arguments, command.folder, env)

    def look() -> list[dict[str, float]]:
        looking.spend()
        found: list[dict[str, float]] = json.loads(file.read_bytes())
        file.unlink()
        return found

    return look


def _medians(name: str, looks: list[list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        process: {
            figure: statistics.median(look[position][figure] for look in looks)
            for figure in _FIGURES
        }
        for position, process in enumerate(_NAMES[name])
    }


def can_measure() -> bool:
    """Whether the system tells the memory of processes in this way; Linux alone does."""
    return os.path.exists("/proc/self/smaps_rollup")  # noqa: PTH110 - shorter than with Path
