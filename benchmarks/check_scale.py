"""How long `dsml check` takes on very large projects."""

from __future__ import annotations

import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.report import Limit, Result
from benchmarks.timing import Command, Spent, in_turn, median_of

SIZES = (1000, 4000)  # notebooks
CELLS = 30
STAGES = 20
ROUNDS = 7
SECONDS = 2.0  # at most, for the smaller size
TIMES_AS_LONG = 4.4  # at most, for the larger size
RUNTIME = Path(__file__).resolve().parent.parent / "{{cookiecutter.project_slug}}"

PARAMETERS = """\
n_rows: int = 1000  # how many rows are read
rate: float = 0.1  # share of them that is kept back
name: str = "baseline"  # what the figures are labelled with
flags: list[str] = ["a", "b"]  # switches of the model
"""
# What notebooks are made of: a cell of imports, of preparation, of plotting, of text.
WORK = (
    """\
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

rng = np.random.default_rng(0)
""",
    """\
# Rows without a date cannot be placed in a week, so they are left out.
frame = pd.DataFrame({"x": rng.normal(size=n_rows), "y": rng.normal(size=n_rows)})
frame["week"] = np.arange(len(frame)) // 7
kept = frame[frame["x"].abs() < 3].copy()
summary = kept.groupby("week").agg(mean=("x", "mean"), spread=("y", "std"))
if summary.empty:
    raise ValueError(f"no week is left of {len(frame)} rows")
summary.head()
""",
    """\
def score(table: pd.DataFrame, weight: float = 0.5) -> float:
    \"\"\"One number for a table.\"\"\"
    total = 0.0
    for _, row in table.iterrows():
        total += weight * row["mean"] + (1 - weight) * row["spread"]
    return total / max(len(table), 1)


scores = {weight: score(summary, weight) for weight in (0.1, 0.5, 0.9)}
""",
    """\
%matplotlib inline
figure, (left, right) = plt.subplots(ncols=2, figsize=(8, 3))
left.plot(summary.index, summary["mean"], label=name)
right.hist(kept["y"], bins=30, color="tab:blue")
for axis in (left, right):
    axis.set_xlabel("week")
    axis.legend(loc="best")
figure.tight_layout()
""",
)
TEXT = (
    "## What follows\n\nA paragraph on what the next cell does, as long as such paragraphs are.\n"
)
PARTS = (*(("code", source) for source in WORK), ("markdown", TEXT))


def measure() -> Result:
    """Check projects of both sizes in turn, each time in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        projects = {size: make_project(Path(folder, str(size)), size) for size in SIZES}
        tasks = {size: partial(spent_on, project, "check") for size, project in projects.items()}
        spent = in_turn(tasks, ROUNDS, ())
    medians = {size: median_of(found) for size, found in spent.items()}
    rows = [
        {
            "notebooks": size,
            "cells": size * CELLS,
            "s": round(medians[size].wall, 2),
            "CPU s": round(medians[size].cpu, 2),
            "fastest s": round(min(each.wall for each in found), 2),
            "slowest s": round(max(each.wall for each in found), 2),
            "ms a notebook": round(1000 * medians[size].wall / size, 2),
            "rounds": len(found),
        }
        for size, found in spent.items()
    ]
    small, large = SIZES
    limits = (
        Limit(f"seconds for {small} notebooks", round(medians[small].wall, 2), SECONDS),
        Limit(
            f"times as long for {large} as for {small} notebooks",
            round(medians[large].wall / medians[small].wall, 2),
            TIMES_AS_LONG,
        ),
    )
    return Result("check", "dsml check, whole process", rows, limits)


def make_project(root: Path, notebooks: int) -> Path:
    """Write a valid project, all of whose notebooks are registered steps."""
    (root / "stages").mkdir(parents=True)
    (root / "catalog.yml").write_text("version: 1\nproject: bench\n", encoding="utf-8")
    for number in range(notebooks):
        file = root / "stages" / stage(number) / f"{notebook(number)}.ipynb"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(document(number), indent=1), encoding="utf-8")
    spent_on(root, "register")
    return root


def stage(number: int) -> str:
    """The stage of a notebook; neighbours lie in different ones."""
    return f"stage_{number % STAGES:02}"


def notebook(number: int) -> str:
    """The name of a notebook."""
    return f"notebook_{number:04}"


def document(number: int) -> dict[str, Any]:
    """A notebook of 30 cells that reads what the one before it wrote."""
    source = f"{stage(number - 1)}.{notebook(number - 1)}.table"
    ins = {"table": source} if number % 10 else {}
    declaration = {"description": f"Step {number}.", "ins": ins, "outs": {"table": "table.parquet"}}
    load = 'table = context.load("table")\n' if ins else ""
    cells = [
        cell("markdown", f"# Step {number}\n"),
        cell("code", f"op_parameters = {declaration!r}", "op_parameters"),
        cell("code", PARAMETERS, "parameters"),
        cell(
            "code", f"from dsml import get_context\n\ncontext = get_context(op_parameters)\n{load}"
        ),
    ]
    while len(cells) < CELLS - 1:
        position = len(cells)
        kind, source = PARTS[position % len(PARTS)]
        cells.append(cell(kind, source))
    cells.append(
        cell("code", 'context.save("table", summary)\ncontext.log_metric("n", len(summary))')
    )
    language = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return {"cells": cells, "metadata": language, "nbformat": 4, "nbformat_minor": 5}


def cell(kind: str, source: str, tag: str | None = None) -> dict[str, Any]:
    """A cell of nbformat 4.5; its id need not be unique to be read."""
    made: dict[str, Any] = {
        "cell_type": kind,
        "id": "cell",
        "metadata": {"tags": [tag]} if tag else {},
        "source": source.splitlines(keepends=True),
    }
    return {**made, "execution_count": None, "outputs": []} if kind == "code" else made


def spent_on(project: Path, command: str) -> Spent:
    """What a command of a project takes, from start to exit.

    Raises:
        RuntimeError: it failed; then there is nothing to measure.
    """
    env = {"PYTHONPATH": str(RUNTIME)}
    return Command([sys.executable, "-m", "dsml", command], project, env).spend()
