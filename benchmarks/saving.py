"""What it costs that a notebook is saved while it runs, where its output is large."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.contenders import HERE, dsml
from benchmarks.projects import Step, bare_notebooks, write_project
from benchmarks.report import Limit, Result
from benchmarks.run_without import SAVES
from benchmarks.timing import ROUNDS, Command, in_turn, median_of

CELLS = 62
MEGABYTES = 20
SECONDS = 0.2  # that a cell takes: the whole is saved every 3 s
TIMES_UNSAVED = 1.1  # at most
_CELL = """import time
for line in range({lines}):
    print("x" * 99)
time.sleep({seconds})"""
_UNSAVED = "ours, saved at the end only"


def measure(
    rounds: int = ROUNDS,
    cells: int = CELLS,
    megabytes: float = MEGABYTES,
    seconds: float = SECONDS,
) -> Result:
    """Run a notebook of many cells, each of which prints, as it is and without saves in between."""
    source = _CELL.format(lines=int(megabytes * 1e6 / cells / 100), seconds=seconds)
    with tempfile.TemporaryDirectory() as folder:
        root = write_project(Path(folder, "ours"), {"a.prints": Step(source)})
        repeat_last_cell(root / "stages" / "a" / "prints.ipynb", cells)
        (bare,) = bare_notebooks(Path(folder, "bare"), 1, source)
        repeat_last_cell(bare, cells)
        papermill = [sys.executable, str(HERE / "papermill_loop.py"), "1", str(bare)]
        commands = {
            "ours": dsml(root, "run", "--force"),
            _UNSAVED: dsml(root, "run", "--force", without=SAVES),
            "papermill alone, saves at each cell": Command(papermill, Path(folder)),
        }
        spent = in_turn({name: command.spend for name, command in commands.items()}, rounds, [])
    rows = [
        {
            "run by": name,
            "s": round(median_of(found).wall, 2),
            "CPU s": round(median_of(found).cpu, 2),
        }
        for name, found in spent.items()
    ]
    limits = []
    for what in ("wall", "cpu"):
        times = [
            getattr(ours, what) / getattr(unsaved, what)
            for ours, unsaved in zip(spent["ours"], spent[_UNSAVED], strict=True)
        ]
        told = f"times the same without saves in between, {what} time"
        limits.append(Limit(told, round(statistics.median(times), 2), TIMES_UNSAVED))
    title = f"A notebook of {cells} cells that prints {megabytes:g} MB, whole run"
    return Result("save", title, rows, limits)


def repeat_last_cell(file: Path, times: int) -> None:
    """Have the last cell of a notebook in it so many times."""
    document = json.loads(file.read_bytes())
    last = document["cells"][-1]
    document["cells"] += [{**last, "id": f"again-{number}"} for number in range(1, times)]
    file.write_text(json.dumps(document), encoding="utf-8")
