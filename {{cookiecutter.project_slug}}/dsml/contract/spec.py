"""StepSpec: what one notebook declares about itself, and the reading of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from dsml.contract.cells import (
    OP_PARAMETERS,
    Assignment,
    Cell,
    Json,
    Literal,
    Notebook,
    NotLiteral,
    assignments,
)
from dsml.contract.config_schema import read_config_schema
from dsml.contract.parameters import Parameter, read_parameters, syntax_problem
from dsml.contract.problem import Problem, Where, suggest

CONFIG_SCHEMA = "config_schema"
KEYS = ("description", "ins", "outs", "after", "tags", CONFIG_SCHEMA)
# Names that the store itself writes beside the outs of a step.
RESERVED_FILES = ("manifest.json", "attempts")

_CONTEXT_CALL = re.compile(r"\bget_context\s*\(")
_ASSIGNS_OP_PARAMETERS = re.compile(r"^op_parameters\b[^=\n]*=", re.MULTILINE)
_FILE_NAME = re.compile(r"[\w][\w.+-]*")
_CATALOG_PATH_PARTS = 3


@dataclass(frozen=True)
class StepSpec:
    """The interface of one step.

    ``ins`` maps a name in the notebook to the catalog path of an artefact, ``outs`` a name to a
    file name, ``after`` names steps that have to be over before. ``code`` is the sha256 of the
    code cells. ``lines`` tells where a declaration stands, for messages.
    """

    stage: str
    notebook: str
    path: str
    description: str = ""
    ins: Mapping[str, str] = field(default_factory=dict)
    outs: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    code: str = ""
    op_parameters: Mapping[str, Json] = field(default_factory=dict)
    declared: tuple[Cell, Literal] | None = None

    @property
    def name(self) -> str:
        """The catalog path of the step: ``stage.notebook``."""
        return f"{self.stage}.{self.notebook}"

    @property
    def artefacts(self) -> dict[str, str]:
        """Catalog path of each out → its name in the notebook."""
        return {f"{self.name}.{out}": out for out in self.outs}

    @property
    def upstream(self) -> set[str]:
        """The steps that this one waits for, by data or by order."""
        return {source.rpartition(".")[0] for source in self.ins.values()} | set(self.after)

    def where(self, *keys: str) -> Where:
        """The line of ``op_parameters`` on which ``keys`` is declared."""
        if self.declared is None:
            return Where(self.path)
        cell, literal = self.declared
        return cell.where(self.path, literal.line_of(*keys))


def step_name(path: str) -> tuple[str, str]:
    """Stage and notebook of ``stages/<stage>/<notebook>.ipynb``."""
    parts = PurePosixPath(path)
    return parts.parent.name, parts.stem


def read_spec(notebook: Notebook, problems: list[Problem]) -> StepSpec | None:
    """Read what a notebook declares; what is wrong with it is appended to ``problems``.

    Returns None where there is nothing to go on with.
    """
    try:
        return _read_spec(notebook, problems)
    except RecursionError:
        what = "an expression in a tagged cell is nested too deeply to be read"
        problems.append(Problem(Where(notebook.path), what, "write a plain literal", "no-literal"))
        return None


def _read_spec(notebook: Notebook, problems: list[Problem]) -> StepSpec | None:
    parameters = read_parameters(notebook, problems)
    found = _find_declaration(notebook, problems)
    if found is None:
        return None
    cell, literal = found
    declared = literal.value if isinstance(literal.value, dict) else {}
    stage, name = step_name(notebook.path)
    reader = _Reader(notebook.path, cell, literal, problems)
    reader.unknown_keys(declared)
    ins = reader.names("ins", declared.get("ins", {}))
    outs = reader.names("outs", declared.get("outs", {}))
    reader.check_ins(ins)
    reader.check_outs(outs)
    if (ins or outs) and not any(_CONTEXT_CALL.search(other.source) for other in notebook.code):
        what = "no cell calls get_context(op_parameters), so the step has no ins and outs"
        fix = "add a cell: context = get_context(op_parameters)"
        problems.append(Problem(cell.where(notebook.path), what, fix, "no-context"))
    description = reader.text("description", declared.get("description", ""))
    after = reader.steps("after", declared.get("after", []))
    tags = reader.names("tags", declared.get("tags", {}), identifiers=False)
    _add_schema(cell, literal, notebook.path, parameters, problems)
    if not literal.whole:
        return None
    return StepSpec(
        stage=stage,
        notebook=name,
        path=notebook.path,
        description=description,
        ins=ins,
        outs=outs,
        after=after,
        tags=tags,
        parameters=parameters,
        code=_hash(cell.source for cell in notebook.code),
        op_parameters=declared,
        declared=(cell, literal),
    )


def _add_schema(
    cell: Cell,
    literal: Literal,
    path: str,
    parameters: dict[str, Parameter],
    problems: list[Problem],
) -> None:
    """Add the parameters of ``config_schema`` to those of the parameters cell."""
    if CONFIG_SCHEMA not in literal.apart:
        return
    declared = read_config_schema(literal.apart[CONFIG_SCHEMA], path, cell, problems)
    for name, parameter in declared.items():
        if name in parameters:
            what = f"config_schema.{name}: the parameters cell declares '{name}' too"
            where = cell.where(path, parameter.line)
            problems.append(
                Problem(where, what, "declare it in one of the two places", "duplicate")
            )
    parameters.update(declared)


def _hash(sources: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _find_declaration(notebook: Notebook, problems: list[Problem]) -> tuple[Cell, Literal] | None:
    cells = notebook.tagged(OP_PARAMETERS)
    if not cells:
        problems.append(_untagged(notebook))
        return None
    for extra in cells[1:]:
        what = f"a second cell is tagged 'op_parameters'; the first is cell {cells[0].number}"
        fix = "keep one of the two"
        problems.append(Problem(extra.where(notebook.path), what, fix, "two-op-parameters"))
    return _read_declaration(notebook.path, cells[0], problems)


def _untagged(notebook: Notebook) -> Problem:
    for cell in notebook.code:
        if _ASSIGNS_OP_PARAMETERS.search(cell.source):
            return Problem(
                cell.where(notebook.path),
                "the cell assigns op_parameters, but is not tagged 'op_parameters'",
                "add the tag (in JupyterLab: property inspector, cell tags)",
                "untagged",
            )
    return Problem(
        Where(notebook.path),
        "no cell is tagged 'op_parameters'",
        "add a cell with op_parameters = {...} and tag it (in JupyterLab: property inspector)",
        "no-op-parameters",
    )


def _read_declaration(
    path: str, cell: Cell, problems: list[Problem]
) -> tuple[Cell, Literal] | None:
    def problem(line: int | None, what: str, fix: str, name: str) -> None:
        problems.append(Problem(cell.where(path, line), what, fix, name))

    try:
        declared = [
            item
            for item in assignments(cell.source, apart=(CONFIG_SCHEMA,))
            if _is_declaration(item)
        ]
    except SyntaxError as error:
        problems.append(syntax_problem(path, cell, error))
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
        return (cell, first.partial) if isinstance(first.partial.value, dict) else None
    if not isinstance(first.literal.value, dict):
        what = f"op_parameters is no dict but {first.literal.value!r}"
        problem(first.literal.line, what, "assign one literal dict", "no-dict")
        return None
    return cell, first.literal


def _is_declaration(item: Assignment | NotLiteral) -> bool:
    name = item.keys[0] if isinstance(item, NotLiteral) else item.name
    return name == OP_PARAMETERS


class _Reader:
    """Checks the values of one ``op_parameters`` and says where each finding is."""

    def __init__(self, path: str, cell: Cell, literal: Literal, problems: list[Problem]) -> None:
        self._path = path
        self._cell = cell
        self._literal = literal
        self._problems = problems

    def _problem(self, keys: tuple[str, ...], what: str, fix: str, name: str) -> None:
        where = self._cell.where(self._path, self._literal.line_of(*keys))
        self._problems.append(Problem(where, f"{'.'.join(keys)}: {what}", fix, name))

    def unknown_keys(self, declared: Mapping[str, Json]) -> None:
        for key in declared:
            if key not in KEYS:
                self._problem(
                    (key,), "op_parameters has no such key", suggest(key, KEYS), "unknown-key"
                )

    def text(self, key: str, value: Json) -> str:
        if isinstance(value, str):
            return value
        self._problem((key,), f"{value!r} is no text", f'write "{key}": "..."', "wrong-type")
        return ""

    def names(self, key: str, value: Json, *, identifiers: bool = True) -> dict[str, str]:
        """A mapping of names to text, such as ``ins``; entries that are none are left out."""
        if not isinstance(value, dict):
            fix = f'write "{key}": {{"name": "..."}}'
            self._problem((key,), f"{value!r} is no dict of names", fix, "wrong-type")
            return {}
        good: dict[str, str] = {}
        for name, text in value.items():
            if identifiers and not is_identifier(name):
                fix = f"name it '{to_identifier(name)}'"
                self._problem((key, name), "the name is no identifier", fix, "no-identifier")
            elif not isinstance(text, str):
                self._problem((key, name), f"{text!r} is no text", "write it as text", "wrong-type")
            else:
                good[name] = text
        return good

    def steps(self, key: str, value: Json) -> tuple[str, ...]:
        """A list of catalog paths of steps."""
        if not isinstance(value, list):
            fix = f'write "{key}": ["stage.notebook"]'
            self._problem((key,), f"{value!r} is no list of steps", fix, "wrong-type")
            return ()
        good: list[str] = []
        for i, name in enumerate(value):
            if isinstance(name, str) and name.count(".") == 1:
                good.append(name)
                continue
            fix = "write it as 'stage.notebook'"
            self._problem((key, str(i)), f"{name!r} is no catalog path of a step", fix, "no-path")
        return tuple(good)

    def check_ins(self, ins: dict[str, str]) -> None:
        for name, source in list(ins.items()):
            if len(source.split(".")) != _CATALOG_PATH_PARTS or not all(source.split(".")):
                what = f"'{source}' is no catalog path of an artefact"
                fix = "write it as 'stage.notebook.artefact'"
                self._problem(("ins", name), what, fix, "no-path")
                del ins[name]

    def check_outs(self, outs: dict[str, str]) -> None:
        seen: dict[str, str] = {}
        for name, file in list(outs.items()):
            if not _FILE_NAME.fullmatch(file) or file.casefold() in RESERVED_FILES:
                reserved = file.casefold() in RESERVED_FILES
                what = f"'{file}' is " + (
                    "a name of the store's own" if reserved else "no file name"
                )
                fix = "give a plain file name with a suffix, such as 'model.joblib'"
                self._problem(("outs", name), what, fix, "no-file-name")
                del outs[name]
            elif file.casefold() in seen:
                what = f"'{file}' is also the file of outs.{seen[file.casefold()]}"
                self._problem(("outs", name), what, "give each out a file of its own", "same-file")
            else:
                seen[file.casefold()] = name


def is_identifier(name: str) -> bool:
    """Whether a name can be part of a catalog path: a Python identifier in ASCII, no keyword."""
    import keyword

    return name.isidentifier() and name.isascii() and not keyword.iskeyword(name)


def to_identifier(name: str) -> str:
    """The nearest identifier, for a message."""
    text = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "name"
    text = f"_{text}" if text[0].isdigit() else text
    return text if is_identifier(text) else f"{text}_"
