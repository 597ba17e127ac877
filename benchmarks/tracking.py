"""What it costs that a run is tracked in MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import OURS, TRACKED, Job
from benchmarks.report import Result
from benchmarks.timing import ROUNDS, in_turn, median_of

NOTEBOOKS = (1, 10)


def measure(rounds: int = ROUNDS, sizes: Sequence[int] = NOTEBOOKS) -> Result:
    """Run trivial notebooks with MLflow and without; the run with MLflow waits until it has all."""
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            (size, contender.name): contender.command(
                Path(folder, f"{contender.name} {size}"), Job(size)
            )
            for size in sizes
            for contender in (OURS, TRACKED)
        }
        spent = in_turn({key: command.spend for key, command in commands.items()}, rounds)
    medians = {key: median_of(found) for key, found in spent.items()}
    rows = []
    for size in sizes:
        plain, tracked = medians[size, OURS.name], medians[size, TRACKED.name]
        rows.append(
            {
                "notebooks": size,
                "s": round(plain.wall, 2),
                "CPU s": round(plain.cpu, 2),
                "tracked, s": round(tracked.wall, 2),
                "tracked, CPU s": round(tracked.cpu, 2),
                "s more": round(tracked.wall - plain.wall, 2),
                "CPU s more": round(tracked.cpu - plain.cpu, 2),
            }
        )
    note = "MLflow is imported once a run, in a process of its own; most of what is more is that."
    return Result("tracking", "A run that is tracked in MLflow, whole process", rows, [], [note])
