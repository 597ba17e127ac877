"""StepSpec: what one notebook declares about itself, and the reading of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from dsml.contract.cells import OP_PARAMETERS, Cell, Notebook
from dsml.contract.config_schema import read_config_schema
from dsml.contract.declared import Keys, Report
from dsml.contract.fanout import lists_of
from dsml.contract.fingerprint import Code
from dsml.contract.interface import Interface, check_map, parts_of, read_interface
from dsml.contract.literals import Assignment, Json, Literal, NotLiteral, assignments
from dsml.contract.modules import Modules
from dsml.contract.names import step_of
from dsml.contract.parameters import Parameter, read_parameters, syntax_problem
from dsml.contract.problem import Problem, Severity, Where, suggest
from dsml.contract.types import ParameterType

CONFIG_SCHEMA = "config_schema"
# The keys of an op_parameters, and what each is for; a reference for readers is made of it.
KEYS: Mapping[str, str] = {
    "description": "What the step does, in one sentence.",
    "ins": "Name in the step → the artefact that it reads: stage.notebook.artefact.",
    "outs": "Name in the step → the file that it writes, or {file, optional}.",
    "after": "Steps that have to be over before, without anything being read of them.",
    "map": "Parameter → the values that the step is run for, or the artefact that lists them.",
    "retries": "How often it is tried again: a number, or {max, delay, backoff, jitter}.",
    "timeout": "Seconds after which an attempt at it is ended.",
    "cache": "Whether it is left out where nothing that it depends on has changed.",
    "checks": "Name of an out → what has to hold of it.",
    "pool": "The name of Dagster's limit for something scarce.",
    "needs": "What it needs of a machine: {cpu: 2, memory: 4 GB, gpu: 1}.",
    "tags": "Tags for Dagster.",
    "report": "Whether the executed notebook is a report for readers, shown without code.",
    CONFIG_SCHEMA: "Parameters in Dagster's words, with Field or a plain dict.",
}

_CONTEXT_CALL = re.compile(r"\bget_context\s*\(")
_ASSIGNS_OP_PARAMETERS = re.compile(r"^op_parameters\b[^=\n]*=", re.MULTILINE)

Place = Callable[..., Where]  # tells the line on which some keys are declared


def place_in(cell: Cell, literal: Literal) -> Place:
    """Where each key of an ``op_parameters`` stands, in a notebook or in a Python file."""
    return lambda *keys: cell.where(literal.line_of(*keys))


@dataclass(frozen=True)
class Function:
    """The ``step_fn`` of a Python step: the line of its ``def``, and the resources that it takes.

    Resources are the names of parameters; each maps to its line.
    """

    line: int
    resources: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StepSpec(Interface):
    """One step: where it is, its interface, its parameters.

    ``body`` is its code. ``function`` is there in a Python step, ``pipeline`` where a pipeline of
    the catalog wires it.
    """

    stage: str
    notebook: str
    path: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    body: Code = field(default_factory=Code)
    op_parameters: Mapping[str, Json] = field(default_factory=dict)
    declared: Place | None = None
    function: Function | None = None
    pipeline: str = ""

    @property
    def name(self) -> str:
        """The catalog path of the step: ``stage.notebook``."""
        return f"{self.stage}.{self.notebook}"

    @property
    def code(self) -> str:
        """The sha256 of its code and of the project's modules that it imports, in hexadecimal."""
        return self.body.fingerprint

    @property
    def artefacts(self) -> dict[str, str]:
        """Catalog path of each out → its name in the notebook."""
        return {f"{self.name}.{out}": out for out in self.outs}

    @property
    def upstream(self) -> set[str]:
        """The steps that this one waits for, by data or by order."""
        return {*map(step_of, self.sources), *self.after}

    @property
    def reads(self) -> list[tuple[Keys, str]]:
        """The artefacts that it reads, or that list what it is run for, each with its keys."""
        ins = ((("ins", name), path) for name, path in self.ins.items())
        return [*ins, *((("map", name), path) for name, path in lists_of(self.map))]

    @property
    def sources(self) -> list[str]:
        """The artefacts that it reads, or that list what it is run for; each once."""
        return list(dict.fromkeys(path for _, path in self.reads))

    @property
    def settings(self) -> dict[str, ParameterType]:
        """What an experiment or a run may set: of a mapped parameter it is the list of values."""
        return {
            name: ParameterType("list", items=parameter.type)
            if name in self.map
            else parameter.type
            for name, parameter in self.parameters.items()
        }

    @property
    def no_parameters(self) -> str:
        """What is said to one who sets a parameter of a step that has none."""
        if self.function is None:
            return "the notebook has no parameters cell"
        return "its step_fn has no keyword-only parameters with a default"

    @property
    def is_cached(self) -> bool:
        """Whether it is left out where nothing that it depends on has changed.

        What a resource reads or writes is not known, so a step that takes one is run by default.
        """
        takes_resources = self.function is not None and bool(self.function.resources)
        return bool(self.sources) and not takes_resources if self.cache is None else self.cache

    def where(self, *keys: str) -> Where:
        """The line on which ``keys`` of its interface is declared."""
        return Where(self.path) if self.declared is None else self.declared(*keys)

    def problem(
        self, keys: Keys, what: str, fix: str, name: str, severity: Severity = "error"
    ) -> Problem:
        """A finding about what ``keys`` of its interface declare."""
        return Problem(self.where(*keys), f"{'.'.join(keys)}: {what}", fix, name, severity)


def files_of(steps: Iterable[StepSpec]) -> dict[str, str]:
    """Catalog path → file name of all that some steps publish."""
    return {path: step.outs[out] for step in steps for path, out in step.artefacts.items()}


def step_name(path: str) -> tuple[str, str]:
    """Stage and notebook of ``stages/<stage>/<notebook>.ipynb``."""
    parts = PurePosixPath(path)
    return parts.parent.name, parts.stem


def read_spec(
    notebook: Notebook, problems: list[Problem], modules: Modules | None = None
) -> StepSpec | None:
    """Read what a notebook declares; what is wrong with it is appended to ``problems``.

    ``modules`` are those of its project, which belong to its code where it imports them. Returns
    None where there is nothing to go on with.
    """
    try:
        return _read_spec(notebook, problems, modules)
    except RecursionError:
        what = "an expression in a tagged cell is nested too deeply to be read"
        problems.append(Problem(Where(notebook.path), what, "write a plain literal", "no-literal"))
        return None


def _read_spec(
    notebook: Notebook, problems: list[Problem], modules: Modules | None
) -> StepSpec | None:
    parameters = read_parameters(notebook, problems)
    cell = _declaring_cell(notebook, problems)
    literal = None if cell is None else read_declaration(cell, problems)
    if cell is None or literal is None:
        return None
    declared = literal.value if isinstance(literal.value, dict) else {}
    place = place_in(cell, literal)
    report = report_to(problems, place)
    check_keys(report, declared)
    interface = read_interface(report, declared)
    if (interface.ins or interface.outs) and not any(
        _CONTEXT_CALL.search(other.source) for other in notebook.code
    ):
        what = "no cell calls get_context(op_parameters), so the step has no ins and outs"
        fix = "add a cell: context = get_context(op_parameters)"
        problems.append(Problem(cell.where(), what, fix, "no-context"))
    if CONFIG_SCHEMA in literal.apart:
        _add_schema(literal.apart[CONFIG_SCHEMA], cell, parameters, problems)
    check_map(report, interface.map, parameters)
    if not literal.whole:
        return None
    return StepSpec(
        *step_name(notebook.path),
        notebook.path,
        parameters=parameters,
        body=Code.of_notebook(notebook, modules),
        op_parameters=declared,
        declared=place,
        **parts_of(interface),
    )


def report_to(problems: list[Problem], place: Place) -> Report:
    """What appends a finding to ``problems``, with the line on which its keys stand."""

    def report(keys: Keys, what: str, fix: str, name: str) -> None:
        problems.append(Problem(place(*keys), f"{'.'.join(keys)}: {what}", fix, name))

    return report


def check_keys(report: Report, declared: Iterable[str]) -> None:
    """Report every key of an ``op_parameters`` that it doesn't have."""
    for key in declared:
        if key not in KEYS:
            what = "op_parameters has no such key"
            report((key,), what, suggest(key, KEYS), "unknown-key")


def _add_schema(
    schema: ast.expr, cell: Cell, parameters: dict[str, Parameter], problems: list[Problem]
) -> None:
    """Add the parameters of ``config_schema`` to those of the parameters cell."""
    declared = read_config_schema(schema, cell, problems)
    for name, parameter in declared.items():
        if name in parameters:
            what = f"config_schema.{name}: the parameters cell declares '{name}' too"
            fix = "declare it in one of the two places"
            problems.append(Problem(cell.where(parameter.line), what, fix, "duplicate"))
    parameters.update(declared)


def _declaring_cell(notebook: Notebook, problems: list[Problem]) -> Cell | None:
    cells = notebook.tagged(OP_PARAMETERS)
    if not cells:
        problems.append(_untagged(notebook))
        return None
    for extra in cells[1:]:
        what = f"a second cell is tagged 'op_parameters'; the first is cell {cells[0].number}"
        fix = "keep one of the two"
        problems.append(Problem(extra.where(), what, fix, "two-op-parameters"))
    return cells[0]


def _untagged(notebook: Notebook) -> Problem:
    for cell in notebook.code:
        if _ASSIGNS_OP_PARAMETERS.search(cell.source):
            what = "the cell assigns op_parameters, but is not tagged 'op_parameters'"
            fix = "add the tag (in JupyterLab: property inspector, cell tags)"
            return Problem(cell.where(), what, fix, "untagged")
    what = "no cell is tagged 'op_parameters'"
    fix = "add a cell with op_parameters = {...} and tag it (in JupyterLab: property inspector)"
    return Problem(Where(notebook.path), what, fix, "no-op-parameters")


def read_declaration(cell: Cell, problems: list[Problem]) -> Literal | None:
    """The ``op_parameters`` that a cell assigns, a dict; None where it can't be read.

    What is wrong with it is appended to ``problems``.
    """

    def problem(line: int | None, what: str, fix: str, name: str) -> None:
        problems.append(Problem(cell.where(line), what, fix, name))

    try:
        declared = [
            item
            for item in assignments(cell.source, apart=(CONFIG_SCHEMA,))
            if _is_declaration(item)
        ]
    except SyntaxError as error:
        problems.append(syntax_problem(cell, error))
        return None
    if not declared:
        fix = "assign one literal dict: op_parameters = {...}"
        problem(None, "the cell assigns no op_parameters", fix, "no-op-parameters")
        return None
    first = declared[0]
    for extra in declared[1:]:
        line = extra.line if isinstance(extra, NotLiteral) else extra.literal.line
        problem(line, "op_parameters is assigned twice", "keep one of the two", "two-op-parameters")
    if isinstance(first, NotLiteral):
        fix = "write the value out; the cell is read without being run"
        for part in (first, *first.others):
            key = ".".join(part.keys[1:]) or OP_PARAMETERS
            problem(part.line, f"{key}: {part.what}", part.fix or fix, "no-literal")
        return first.partial if isinstance(first.partial.value, dict) else None
    if not isinstance(first.literal.value, dict):
        what = f"op_parameters is no dict but {first.literal.value!r}"
        problem(first.literal.line, what, "assign one literal dict", "no-dict")
        return None
    return first.literal


def _is_declaration(item: Assignment | NotLiteral) -> bool:
    name = item.keys[0] if isinstance(item, NotLiteral) else item.name
    return name == OP_PARAMETERS
