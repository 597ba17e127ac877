"""The typed, described, defaulted parameters of a step.

The convention is papermill's (https://papermill.readthedocs.io): a cell tagged ``parameters``
with assignments such as ``n_estimators: int = 100  # trees in the forest``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dsml.contract.cells import PARAMETERS, Cell, Notebook
from dsml.contract.literals import Assignment, Json, NotLiteral, assignments, is_json
from dsml.contract.problem import Problem, Where, suggest
from dsml.contract.types import ParameterType, infer_type, read_type

# What is wrong with a value such as a date of YAML's, and how to mend it.
NO_JSON = (
    "is nothing that JSON can hold",
    "put it in quotes, so that it is text, or write plain numbers, lists and mappings",
)


@dataclass(frozen=True)
class Parameter:
    """One parameter: its type, its default, what it means, and the line that declares it.

    ``in_schema`` tells that it stands in ``config_schema`` and not in a cell that assigns it.
    """

    name: str
    type: ParameterType
    default: Json
    description: str
    line: int
    in_schema: bool = False

    def resolve(self, *layers: tuple[str, Mapping[str, Json]]) -> tuple[Json, str]:
        """The value and its source; ``layers`` name a source and what it sets, the weakest first.

        Keys of a shape that a layer doesn't set keep what the layer below gave them. A layer that
        says the same as the one below is not the source: the Launchpad repeats the experiment.
        """
        value, source = self.default, "default"
        for name, values in layers:
            if self.name in values:
                before, value = value, self.type.overlay(value, values[self.name])
                source = source if value == before and source != "default" else name
        return value, source


def read_parameters(notebook: Notebook, problems: list[Problem]) -> dict[str, Parameter]:
    """The parameters of a notebook; what is wrong with them is appended to ``problems``."""
    found: dict[str, Parameter] = {}
    cells = notebook.tagged(PARAMETERS)
    for extra in cells[1:]:
        what = f"a second cell is tagged 'parameters'; the first is cell {cells[0].number}"
        problems.append(Problem(extra.where(), what, "merge the two cells", "two-parameters"))
    for cell in cells[:1]:
        _read_cell(cell, found, problems)
    return found


def _read_cell(cell: Cell, found: dict[str, Parameter], problems: list[Problem]) -> None:
    try:
        declared = list(assignments(cell.source))
    except SyntaxError as error:
        problems.append(syntax_problem(cell, error))
        return
    for item in declared:
        if isinstance(item, NotLiteral):
            fix = "give a literal default, and compute from it in a later cell"
            for part in (item, *item.others):
                where, what = cell.where(part.line), f"{part.keys[0]}: {part.what}"
                problems.append(Problem(where, what, part.fix or fix, "no-literal"))
            continue
        where = cell.where(item.literal.line)
        if item.name in found:
            what = f"{item.name}: the parameter is assigned twice"
            problems.append(Problem(where, what, "keep one of the two", "duplicate"))
        parameter = read_parameter(item, where, problems)
        if parameter is not None:
            found[item.name] = parameter


def read_parameter(item: Assignment, where: Where, problems: list[Problem]) -> Parameter | None:
    """The parameter that an assignment declares, None where its type is none."""
    value = item.literal.value
    try:
        kind = infer_type(value) if item.annotation is None else read_type(item.annotation)
    except ValueError as error:
        fix = "use int, float, str, bool, list, dict, date, Secret, Optional[...] or Literal[...]"
        problems.append(Problem(where, f"{item.name}: {error}", fix, "unknown-type"))
        return None
    if not kind.accepts(value):
        what, fix = default_refusal(kind, value)
        problems.append(Problem(where, f"{item.name}: {what}", fix, "default-type"))
    return Parameter(item.name, kind, value, item.comment, item.literal.line)


def default_refusal(kind: ParameterType, default: Json) -> tuple[str, str]:
    """Why a type does not take a default, and how to mend it."""
    what, fix = kind.refusal(default)
    if kind.is_secret:
        return what, fix
    return f"the default {what}", f"change the default, or the type to {infer_type(default)}"


def value_problem(
    settings: Mapping[str, ParameterType],
    name: str,
    value: Json,
    otherwise: str = "the notebook has no parameters cell",
) -> tuple[str, str, str] | None:
    """What is wrong with setting a parameter to a value, how to mend it, and its kind.

    ``otherwise`` is said of a step that has no parameters at all.
    """
    if name not in settings:
        fix = suggest(name, settings, "" if settings else otherwise)
        return f"there is no parameter '{name}'", fix, "unknown-parameter"
    if not is_json(value) and not settings[name].is_secret:
        return f"{value!r} {NO_JSON[0]}", NO_JSON[1], "wrong-type"
    kind = settings[name]
    if not kind.accepts(value):
        return (*kind.refusal(value), "wrong-type")
    return None


def syntax_problem(cell: Cell, error: SyntaxError) -> Problem:
    """A tagged cell that is no Python."""
    fix = "mend the line, so that the cell can be read without being run"
    what = f"the cell is no Python: {error.msg}"
    return Problem(cell.where(error.lineno), what, fix, "no-python")
