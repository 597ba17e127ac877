"""How long it takes to load the definitions of large projects, beside hand-written assets."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.projects import Step, write_project
from benchmarks.report import Limit, Result
from benchmarks.timing import ROUNDS, Command, in_turn

SIZES = (10, 100, 1000, 4000)
STAGES = 20
TIMES_HAND_WRITTEN = 1.5  # at most
TIMES_AS_LONG_EACH = 1.2  # at most: a notebook of the largest project, beside one of the next
_LOAD = "import dag; dag.defs.get_repository_def().load_all_definitions()"
_HEAD = "from dagster import Definitions, asset, define_asset_job\n\n"
_ASSET = '''
@asset(key=["{stage}", "{name}"], group_name="{stage}"{deps})
def {name}() -> None:
    """Step {number}."""

'''
_TAIL = '\n\ndefs = Definitions(assets=[{names}], jobs=[define_asset_job("all")])\n'


def measure(rounds: int = ROUNDS, sizes: Sequence[int] = SIZES) -> Result:
    """Load `dag.py` as Dagster does, in a process of its own; the rest of its life is empty."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = {}
        for size in sizes:
            ours = Path(folder, f"ours-{size}")
            write_project(ours, notebooks(size))
            tasks["ours", size] = _load(ours)
            hand = write_assets(Path(folder, f"hand-{size}"), size)
            tasks["hand-written", size] = _load(hand)
        spent = in_turn({key: command.spend for key, command in tasks.items()}, rounds, [])
    walls = {key: statistics.median(s.wall for s in found) for key, found in spent.items()}
    ratios = {
        size: statistics.median(
            ours.wall / hand.wall
            for ours, hand in zip(spent["ours", size], spent["hand-written", size], strict=True)
        )
        for size in sizes
    }
    rows = [
        {
            "notebooks or assets": size,
            "ours, s": round(walls["ours", size], 2),
            "hand-written, s": round(walls["hand-written", size], 2),
            "times hand-written": round(ratios[size], 2),
        }
        for size in sizes
    ]
    limits = [
        Limit(f"times the hand-written assets, {size}", round(ratios[size], 2), TIMES_HAND_WRITTEN)
        for size in sizes
    ]
    if len(sizes) > 2:  # noqa: PLR2004 - two slopes
        each = [
            (walls["ours", b] - walls["ours", a]) / (b - a)
            for a, b in zip(sizes[-3:-1], sizes[-2:], strict=True)
        ]
        what = f"time a notebook from {sizes[-2]} to {sizes[-1]}, times that below"
        limits.append(Limit(what, round(each[1] / each[0], 2), TIMES_AS_LONG_EACH))
    return Result("load", "Loading the definitions, whole process", rows, limits)


def _load(root: Path) -> Command:
    env = {"PYTHONPATH": str(root), "DAGSTER_HOME": str(root / ".dagster")}
    return Command([sys.executable, "-c", _LOAD], root, env)


def notebooks(number: int) -> dict[str, Step]:
    """Steps with one out, each of which reads that of the one before it; stages of equal size."""
    found: dict[str, Step] = {}
    for i in range(number):
        before = f"{_stage(i - 1)}.{_name(i - 1)}.table"
        ins = {"table": before} if i % STAGES else {}
        declared = {"ins": ins, "outs": {"table": "table.json"}, "description": f"Step {i}."}
        work = 'context.save("table", list(range(n_rows)))'
        found[f"{_stage(i)}.{_name(i)}"] = Step(work, declared, "n_rows: int = 10  # rows")
    return found


def write_assets(root: Path, number: int) -> Path:
    """The same as assets in a `dag.py` that somebody has written by hand."""
    (root / ".dagster").mkdir(parents=True)
    (root / ".dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    parts = [_HEAD]
    for i in range(number):
        deps = f', deps=[["{_stage(i - 1)}", "{_name(i - 1)}"]]' if i % STAGES else ""
        parts.append(_ASSET.format(stage=_stage(i), name=_name(i), number=i, deps=deps))
    parts.append(_TAIL.format(names=", ".join(map(_name, range(number)))))
    (root / "dag.py").write_text("".join(parts), encoding="utf-8")
    return root


def _stage(number: int) -> str:
    return f"stage_{number % STAGES:02}"


def _name(number: int) -> str:
    return f"notebook_{number:04}"
