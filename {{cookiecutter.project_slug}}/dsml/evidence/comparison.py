"""Runs side by side: what their steps were given, and what came out.

A value belongs to a column: a parameter, a fact (``log_param``) or a metric of a step. Instances of
a mapped step have columns of their own for what they logged, ``train.fit[100].accuracy``; their
parameters stand once, those that the step is mapped over as the list of their values.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.evidence.manifests import InRun, manifests
from dsml.store import Manifest, Store
from dsml.store.manifest import Json

PARAMETER, FACT, METRIC = "parameter", "fact", "metric"
_KINDS = (PARAMETER, FACT, METRIC)


class Run(InRun, Protocol):
    """A run as it was recorded. Times are seconds since 1970."""

    @property
    def pipeline(self) -> str:
        """The pipeline that was run."""

    @property
    def status(self) -> str:
        """How it ended, in Dagster's words."""

    @property
    def started(self) -> float | None:
        """When it began."""

    @property
    def ended(self) -> float | None:
        """When it ended."""


@dataclass(frozen=True)
class Column:
    """A parameter, a fact or a metric; ``step`` is a catalog path, of an instance with its key."""

    kind: str
    step: str
    name: str

    @property
    def label(self) -> str:
        """Its full name: ``train.fit.n_trees``, ``train.fit[100].accuracy``."""
        return f"{self.step}.{self.name}"

    @property
    def base(self) -> str:
        """The step without the key of an instance."""
        return self.step.partition("[")[0]

    @property
    def names(self) -> set[str]:
        """By what a user may call it: in full, without the key, without the step."""
        return {self.label, f"{self.base}.{self.name}", self.name}


@dataclass(frozen=True)
class Row:
    """A run, and its values."""

    run: Run
    values: Mapping[Column, Json]


@dataclass(frozen=True)
class Comparison:
    """Runs and the columns that any of them has: parameters, facts, metrics, by step.

    ``is_narrowed`` says that only some of the metrics were asked for.
    """

    rows: Sequence[Row]
    columns: Sequence[Column]
    sorted_by: Column | None = None
    is_narrowed: bool = False

    @cached_property
    def same(self) -> list[Column]:
        """The columns that are the same in all runs; of one run alone there are none."""
        return [column for column in self.columns if self._is_same(column)]

    @cached_property
    def different(self) -> list[Column]:
        """The others."""
        return [column for column in self.columns if column not in self.same]

    def _is_same(self, column: Column) -> bool:
        if len(self.rows) == 1 or any(column not in row.values for row in self.rows):
            return False
        return len({_key(row.values[column]) for row in self.rows}) == 1


def is_marked(comparison: Comparison, row: Row, column: Column) -> bool:
    """Whether what a step was given, or a fact, is not as in the first run."""
    if column.kind == METRIC:
        return False
    first = comparison.rows[0].values
    if (column in first) != (column in row.values):
        return True
    return _key(first.get(column)) != _key(row.values.get(column))


def _key(value: Json) -> str:
    return json.dumps(value, sort_keys=True)


def read_row(store: Store, steps: Iterable[str], run: Run) -> Row:
    """Read the manifests of a run, in the order of ``steps``."""
    return Row(run, values_of(manifests(store, steps, run)))


def values_of(found: Iterable[Manifest]) -> dict[Column, Json]:
    """The values of a run by their columns."""
    values: dict[Column, Json] = {}
    for manifest in found:
        given: dict[str, Json] = {}
        if manifest.instance is None:
            given = {name: value.value for name, value in manifest.parameters.items()}
            given |= _mapped(manifest)
        label = manifest.address.label
        values |= step_values(label, given, manifest.logged, manifest.metrics)
    return values


def step_values(
    label: str,
    parameters: Mapping[str, Json],
    facts: Mapping[str, Json],
    metrics: Mapping[str, float | str],
) -> dict[Column, Json]:
    """The values of a step or an instance by their columns."""
    kinds: dict[str, Mapping[str, Json]] = {PARAMETER: parameters, FACT: facts, METRIC: metrics}
    found = ((kind, name, v) for kind, values in kinds.items() for name, v in values.items())
    return {Column(kind, label, name): value for kind, name, value in found}


def _mapped(manifest: Manifest) -> dict[str, Json]:
    """The parameters that a step was mapped over, with the values of all instances."""
    lists: dict[str, list[Json]] = {}
    for instance in (manifest.instances or {}).values():
        for name, value in instance.values.items():
            values = lists.setdefault(name, [])
            if value not in values:
                values.append(value)
    return dict(lists)


def compare(
    rows: Sequence[Row],
    *,
    metrics: Sequence[str] = (),
    sort: str | None = None,
    ascending: bool = False,
) -> Comparison:
    """Put runs side by side, in their order.

    Args:
        rows: the runs.
        metrics: names of the metrics that are wanted; all, where there is none.
        sort: the metric to sort by, the highest first; a run without it comes last.
        ascending: sort the lowest first.

    Raises:
        ProjectError: there is no such metric, or several to sort by.
    """
    columns = _ordered(rows)
    by = None if sort is None else _one(columns, sort)
    if by is not None:
        rows = sorted(rows, key=lambda row: _rank(row.values.get(by), ascending=ascending))
    if metrics:
        wanted = [column for name in metrics for column in _find(columns, name, "--metric")]
        columns = [column for column in columns if column.kind != METRIC or column in wanted]
    return Comparison(rows, columns, by, is_narrowed=bool(metrics))


def _ordered(rows: Sequence[Row]) -> list[Column]:
    """All columns by their kind, those of a step together."""
    columns = list(dict.fromkeys(column for row in rows for column in row.values))
    steps = list(dict.fromkeys(column.base for column in columns))
    return sorted(columns, key=lambda c: (_KINDS.index(c.kind), steps.index(c.base)))


def _find(columns: Iterable[Column], name: str, option: str) -> list[Column]:
    """The metrics that a name means, which was given to ``option``.

    Raises:
        ProjectError: there is none.
    """
    known = [column for column in columns if column.kind == METRIC]
    found = [column for column in known if name in column.names]
    if not found:
        what = f"{option} {name}: none of these runs has such a metric"
        fix = suggest(name, {each for column in known for each in column.names})
        raise ProjectError([Problem(Where("dsml compare"), what, fix, "unknown-metric")])
    return found


def _one(columns: Iterable[Column], name: str) -> Column:
    found = _find(columns, name, "--sort")
    if len(found) > 1:
        listed = ", ".join(column.label for column in found)
        what = f"--sort {name}: that is the name of several metrics"
        problem = Problem(Where("dsml compare"), what, f"write one of {listed}", "unclear-metric")
        raise ProjectError([problem])
    return found[0]


def _rank(value: Json, *, ascending: bool) -> tuple[int, float]:
    if not isinstance(value, int | float):  # it is missing, or NaN
        return 1, 0.0
    return 0, value if ascending else -value


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain data."""
    return {
        "runs": [_run_json(row, comparison.columns) for row in comparison.rows],
        "same": [column.label for column in comparison.same],
        "different": [column.label for column in comparison.different],
    }


def _run_json(row: Row, columns: Sequence[Column]) -> dict[str, Any]:
    run = row.run
    found: dict[str, Any] = {
        "run_id": run.run_id,
        "pipeline": run.pipeline,
        "experiment": run.experiment,
        "partition": run.partition,
        "status": run.status,
        "started": run.started,
        "ended": run.ended,
    }
    for kind, name in zip(_KINDS, ("parameters", "facts", "metrics"), strict=True):
        chosen = [column for column in columns if column.kind == kind and column in row.values]
        found[name] = {column.label: row.values[column] for column in chosen}
    return found
