"""What several workers gain: ten notebooks that wait or compute, and a map of six."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import contenders
from benchmarks.contenders import Contender, Job, dsml
from benchmarks.projects import APART, Step, steps, write_project
from benchmarks.report import Limit, Result
from benchmarks.timing import ROUNDS, Command, in_turn

NOTEBOOKS = 10
WORK = {  # so long that what a run costs once weighs little; the loop is a fixed amount of work
    "wait for 4 s": "import time\n\ntime.sleep(4)",
    "compute for about 4 s": "total = 0\nfor i in range(72_000_000):\n    total += i * i",
}
TIMES_FASTER = 1.8  # at least, with two workers
INSTANCES, AT_ONCE, SECONDS = 6, 4, 3.0
MAP_SECONDS = 12.0  # at most
MAPPED = "import time\n\ntime.sleep({seconds})"


def workers(
    rounds: int = ROUNDS, number: int = NOTEBOOKS, work: dict[str, str] | None = None
) -> Result:
    """Independent notebooks with one worker and with two; whole runs, from start to exit."""
    chosen = work or WORK
    with tempfile.TemporaryDirectory() as folder:
        tasks = {}
        for position, (does, source) in enumerate(chosen.items()):
            for count in (1, 2):
                root = Path(folder, f"{position}-{count}")
                write_project(root, steps(number, APART, source), workers=count)
                tasks[does, count] = dsml(root, "run", "--force").spend
        spent = in_turn(tasks, rounds, [])
    walls = {key: statistics.median(s.wall for s in found) for key, found in spent.items()}
    faster = {
        does: statistics.median(
            one.wall / two.wall for one, two in zip(spent[does, 1], spent[does, 2], strict=True)
        )
        for does in chosen
    }
    rows = [
        {
            "notebooks": number,
            "that": does,
            "1 worker, s": round(walls[does, 1], 2),
            "2 workers, s": round(walls[does, 2], 2),
            "times faster": round(faster[does], 2),
        }
        for does in chosen
    ]
    limits = [
        Limit(f"times faster with 2 workers, {does}", round(times, 2), at_least=TIMES_FASTER)
        for does, times in faster.items()
    ]
    return Result("workers", "Independent notebooks, whole run", rows, limits)


def mapped(
    rounds: int = ROUNDS,
    number: int = INSTANCES,
    seconds: float = SECONDS,
    chosen: Sequence[Contender] = (contenders.STOCK,),
) -> Result:
    """A notebook mapped over six values; dagstermill cannot map, and gets six ops."""
    work = MAPPED.format(seconds=seconds)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        commands = {
            "ours, a map": _map(root / "threads", number, work, "threads"),
            "ours, a map, executor multiprocess": _map(
                root / "multiprocess", number, work, "multiprocess"
            ),
        }
        for contender in chosen:
            job = Job(number, APART, AT_ONCE, work)
            commands[f"{contender.name}, {number} ops"] = contender.command(
                root / contender.name.replace(" ", "-"), job
            )
        spent = in_turn({name: command.spend for name, command in commands.items()}, rounds, [])
    rows = [
        {
            "run by": name,
            "s": round(statistics.median(s.wall for s in found), 2),
            "CPU s": round(statistics.median(s.cpu for s in found), 2),
            "fastest s": round(min(s.wall for s in found), 2),
            "slowest s": round(max(s.wall for s in found), 2),
        }
        for name, found in spent.items()
    ]
    title = f"A map of {number} notebooks that wait for {seconds:g} s, {AT_ONCE} at once, whole run"
    ours = statistics.median(s.wall for s in next(iter(spent.values())))
    limit = Limit("seconds for the map, executor threads", round(ours, 2), MAP_SECONDS)
    return Result("map", title, rows, [limit])


def _map(root: Path, number: int, work: str, executor: str) -> Command:
    step = Step(work, {"map": {"n": list(range(number))}}, "n: int = 0  # which of them")
    write_project(root, {"a.mapped": step}, executor=executor, workers=AT_ONCE)
    return dsml(root, "run", "--force")
