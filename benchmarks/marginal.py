"""What one more trivial notebook costs, in a chain and beside others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import contenders
from benchmarks.contenders import Contender, Job
from benchmarks.projects import APART, CHAIN
from benchmarks.report import Limit, Result
from benchmarks.timing import ROUNDS, Spent, in_turn, median_of, slopes

FEW, MANY = 2, 10  # notebooks
FEW_OF_SLOW, MANY_OF_SLOW = 1, 3
TIMES_PAPERMILL = 1.15  # at most
TIMES_LESS_THAN_STOCK = 5.0  # at least
IN_CHAIN = (
    contenders.OURS,
    contenders.PLAIN,
    contenders.MULTIPROCESS,
    contenders.PAPERMILL,
    contenders.PAPERMILL_ON_OURS,
    contenders.STOCK,
    contenders.STOCK_ONE,
    contenders.PLOOMBER_ALONE,
)
SIDE_BY_SIDE = (
    contenders.OURS,
    contenders.MULTIPROCESS,
    contenders.PAPERMILL,
    contenders.STOCK,
    contenders.PLOOMBER_ALONE,
)


def chain(
    rounds: int = ROUNDS,
    few: int = FEW,
    many: int = MANY,
    chosen: Sequence[Contender] = IN_CHAIN,
) -> Result:
    """Notebooks in a chain."""
    what = "Marginal cost of a trivial notebook in a chain"
    return _measure("chain", what, CHAIN, 1, rounds, (few, many), chosen)


def parallel(
    rounds: int = ROUNDS,
    few: int = FEW,
    many: int = MANY,
    chosen: Sequence[Contender] = SIDE_BY_SIDE,
) -> Result:
    """Notebooks that don't wait for each other, two at once."""
    what = "Marginal cost of a trivial notebook, independent ones with 2 workers"
    return _measure("parallel", what, APART, 2, rounds, (few, many), chosen)


def _measure(
    name: str,
    title: str,
    shape: str,
    workers: int,
    rounds: int,
    sizes: tuple[int, int],
    chosen: Sequence[Contender],
) -> Result:
    notes = []
    if contenders.PLOOMBER_ALONE in chosen and not contenders.has_ploomber():
        chosen = [c for c in chosen if c != contenders.PLOOMBER_ALONE]
        notes.append("Ploomber could not be installed, so it is left out.")
    ran = {c.name: _sizes(c, sizes) for c in chosen}
    with tempfile.TemporaryDirectory() as folder:
        tasks: dict[tuple[str, int], Callable[[], Spent]] = {}
        for number, contender in enumerate(chosen):
            for size in ran[contender.name]:
                root = Path(folder, f"{number}-{size}")
                command = contender.command(root, Job(size, shape, workers))
                tasks[contender.name, size] = command.spend
        spent = in_turn(tasks, rounds, [(each, small) for each, (small, _) in ran.items()])
    costs = {}
    for each, (small, large) in ran.items():
        found = slopes(spent[each, small], spent[each, large], large - small)
        costs[each] = median_of(found)
    ours = costs[contenders.OURS.name]
    rows = [
        {
            "run by": each,
            "notebooks": f"{ran[each][0]} and {ran[each][1]}",
            "s a notebook": round(cost.wall, 3),
            "CPU s a notebook": round(cost.cpu, 3),
            "times ours": round(cost.wall / ours.wall, 2),
            "CPU, times ours": round(cost.cpu / ours.cpu, 2),
        }
        for each, cost in costs.items()
    ]
    return Result(name, title, rows, _limits(costs), tuple(notes))


def _sizes(contender: Contender, sizes: tuple[int, int]) -> tuple[int, int]:
    return (FEW_OF_SLOW, MANY_OF_SLOW) if contender.slow else sizes


def _limits(costs: dict[str, Spent]) -> list[Limit]:
    ours, limits = costs[contenders.OURS.name], []
    papermill, stock = (costs.get(c.name) for c in (contenders.PAPERMILL, contenders.STOCK))
    pairs: list[tuple[str, Any]] = [("wall time", "wall"), ("CPU time", "cpu")]
    for what, key in pairs:
        if papermill is not None:
            ratio = round(getattr(ours, key) / getattr(papermill, key), 2)
            limits.append(Limit(f"{what}, times that of papermill alone", ratio, TIMES_PAPERMILL))
    for what, key in pairs:
        if stock is not None:
            ratio = round(getattr(stock, key) / getattr(ours, key), 2)
            told = f"{what}, times less than dagstermill's default"
            limits.append(Limit(told, ratio, at_least=TIMES_LESS_THAN_STOCK))
    return limits
