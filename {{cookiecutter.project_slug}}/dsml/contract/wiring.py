"""Python steps that are wired in ``catalog.yml``: their files know nothing of pipelines.

``pipelines.<pipeline>.steps.<step>`` names the file and holds what ``op_parameters`` would. A path
of two parts in its ``ins`` and ``map``, and one of a single part in its ``after``, mean a step of
the same pipeline; ``outs`` may be a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from dsml.contract.declared import Keys, Record, Report
from dsml.contract.interface import Interface, parts_of, read_interface
from dsml.contract.literals import Json, is_json
from dsml.contract.names import (
    IDENTIFIER,
    STAGES_FOLDER,
    STEP_DEPTH,
    is_identifier,
    to_identifier,
)
from dsml.contract.needs import NEEDS_SCHEMA
from dsml.contract.pair import is_text_notebook
from dsml.contract.parameters import NO_JSON, Parameter, value_problem
from dsml.contract.percent import SUFFIX
from dsml.contract.policies import RETRIES_SCHEMA, TIMEOUT_SCHEMA
from dsml.contract.problem import Problem, suggest
from dsml.contract.python_step import (
    PARAMETER_FIX,
    STEP_FN,
    PythonFile,
    PythonFiles,
    with_function,
)
from dsml.contract.spec import KEYS, StepSpec

if TYPE_CHECKING:
    from dsml.contract.catalog import Catalog

DEFAULT_SUFFIX = ".joblib"  # of an out whose file isn't named: it holds any object

_OF_FILE = ("run", "config")  # the keys that an op_parameters doesn't have


@dataclass(frozen=True)
class WiredStep:
    """A step of one pipeline: its file, its interface, and the parameters that are set here.

    ``declared`` is all that stands there, as ``op_parameters`` would have it.
    """

    run: str
    interface: Interface = field(default_factory=Interface)
    config: Mapping[str, Json] = field(default_factory=dict)
    declared: Mapping[str, Json] = field(default_factory=dict)


# --- the catalog's side


def read_wired_steps(pipeline: Record) -> dict[str, WiredStep]:
    """The steps that a pipeline wires, by name."""
    steps = pipeline.record("steps")
    found: dict[str, WiredStep] = {}
    for name in steps.value:
        if is_identifier(name):
            found[name] = _wired_step(pipeline.name, steps.record(name))
        else:
            fix = f"name it '{to_identifier(name)}'"
            steps.report((name,), "the name is no identifier", fix, "no-identifier")
    return found


def _wired_step(pipeline: str, record: Record) -> WiredStep:
    given = Record(record.report, (), _given(record))
    given.known(_SCHEMAS)
    if "run" not in given.value:
        fix = f"name the file: run: {STAGES_FOLDER}/<stage>/<name>{SUFFIX}"
        record.report((), "run is missing", fix, "missing-key")
    declared = _in_full(record.report, pipeline, given.value)
    return WiredStep(
        given.text("run"),
        read_interface(record.report, declared),
        given.record("config").value,
        declared,
    )


def _given(record: Record) -> dict[str, Json]:
    """What stands there; a key without a value is as good as none."""
    given: dict[str, Json] = {}
    for name, item in record.value.items():
        if not is_json(item):
            record.report((name,), f"{item!r} {NO_JSON[0]}", NO_JSON[1], "wrong-type")
        elif item is not None:
            given[name] = item
    return given


def _in_full(report: Report, pipeline: str, given: Mapping[str, Json]) -> dict[str, Json]:
    """What is declared as ``op_parameters`` would have it: whole paths, outs with their files."""
    full = {name: value for name, value in given.items() if name not in _OF_FILE}
    for key in ("ins", "map"):
        value = full.get(key)
        if isinstance(value, dict):
            full[key] = {name: _within(pipeline, 1, path) for name, path in value.items()}
    after, outs = _as_list(full.get("after")), _as_list(full.get("outs"))
    if after is not None:
        full["after"] = [_within(pipeline, 0, path) for path in after]
    if outs is not None:
        full["outs"] = _files(report, outs)
    return full


def _as_list(value: Json) -> list[Json] | None:
    """A list; a text may stand for a list of one. None for anything else."""
    return [value] if isinstance(value, str) else value if isinstance(value, list) else None


def _within(pipeline: str, dots: int, path: Json) -> Json:
    """A path with so many dots is one inside of the pipeline."""
    is_short = isinstance(path, str) and path.count(".") == dots
    return f"{pipeline}.{path}" if is_short else path


def _files(report: Report, outs: Iterable[Json]) -> dict[str, Json]:
    """Name → file of the outs in a list: each is a name, or a file that is named like its out."""
    files: dict[str, Json] = {}
    for item in outs:
        name, dot, _ = item.partition(".") if isinstance(item, str) else ("", "", "")
        if not name:
            fix = "write outs: [name, other.parquet], or outs: {name: file}"
            report(("outs",), f"{item!r} is no name of an out", fix, "wrong-type")
        elif name in files:
            fix = "give each out a name of its own: outs: {name: file}"
            report(("outs",), f"'{name}' stands twice in the list", fix, "duplicate")
        else:
            files[name] = item if dot else f"{name}{DEFAULT_SUFFIX}"
    return files


# --- the file's side


def outlines(catalog: Catalog) -> dict[str, StepSpec]:
    """The wired steps by name, as far as they are known without their files."""
    found: dict[str, StepSpec] = {}
    for pipeline in catalog.pipelines.values():
        for name, step in pipeline.steps.items():
            spec = StepSpec(
                pipeline.name,
                name,
                step.run,
                op_parameters=step.declared,
                declared=partial(catalog.where, "pipelines", pipeline.name, "steps", name),
                pipeline=pipeline.name,
                **parts_of(step.interface),
            )
            found[spec.name] = spec
    return found


def with_file(
    spec: StepSpec, catalog: Catalog, files: PythonFiles, problems: list[Problem]
) -> StepSpec | None:
    """A wired step with what its file says; None where that can't be told.

    What is wrong is appended to ``problems``.
    """
    step = catalog.pipelines[spec.pipeline].steps[spec.notebook]
    above = ("pipelines", spec.pipeline, "steps", spec.notebook)

    def report(keys: Keys, what: str, fix: str, name: str) -> None:
        problems.append(catalog.problem((*above, *keys), what, fix, name))

    found = _python_file(spec.path, files, report)
    read = None if found is None else with_function(spec, found, report)
    if read is None:
        return None
    return replace(read, parameters=_configured(read.parameters, step.config, report))


def _python_file(path: str, files: PythonFiles, report: Report) -> PythonFile | None:
    root, parts = files.root, PurePosixPath(path).parts
    if not path:
        return None  # which has been told
    if (
        len(parts) != STEP_DEPTH
        or parts[0] != STAGES_FOLDER
        or ".." in parts
        or not path.endswith(SUFFIX)
    ):
        fix = f"write it as {STAGES_FOLDER}/<stage>/<name>{SUFFIX}"
        report(("run",), f"'{path}' is no Python file of a stage", fix, "no-path")
    elif not (root / path).is_file():
        known = (
            p.relative_to(root).as_posix() for p in (root / STAGES_FOLDER).glob(f"*/*{SUFFIX}")
        )
        report(("run",), f"there is no file '{path}'", suggest(path, known), "no-file")
    elif is_text_notebook(root / path):
        fix = f"register it, dsml register {path}, and name it in the pipeline's select"
        report(("run",), f"'{path}' is a text notebook, and no Python step", fix, "text-notebook")
    else:
        found = files.read(path)
        if found is not None and not found.defines and not found.declares:
            what = f"'{path}' has no function {STEP_FN}"
            report(("run",), what, f"write def {STEP_FN}(...) in it", "no-step-fn")
        return found
    return None


def _configured(
    parameters: Mapping[str, Parameter], config: Mapping[str, Json], report: Report
) -> dict[str, Parameter]:
    """The parameters with the values that are set here as their defaults."""
    configured = dict(parameters)
    kinds = {name: parameter.type for name, parameter in parameters.items()}
    for name, value in config.items():
        found = value_problem(kinds, name, value, PARAMETER_FIX)
        if found is not None:
            report(("config", name), *found)
            continue
        default = kinds[name].overlay(parameters[name].default, value)
        configured[name] = replace(parameters[name], default=default)
    return configured


# --- what an editor is told of it

_PATTERN_NAME = {"pattern": f"^{IDENTIFIER}$"}
_TEXTS = {"type": ["object", "null"], "additionalProperties": {"type": "string"}}
_OBJECT = {"type": ["object", "null"]}
_OUT = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"file": {"type": "string"}, "optional": {"type": "boolean"}},
            "required": ["file"],
            "additionalProperties": False,
        },
    ]
}
_STEP_PATTERN = r"^[^.]*(?:\.[^.]*)?$"
_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "run": {"type": "string"},
    "description": {"type": ["string", "null"]},
    "ins": {
        "type": ["object", "null"],
        "propertyNames": _PATTERN_NAME,
        "additionalProperties": {"type": "string", "pattern": r"^[^.]+\.[^.]+(?:\.[^.]+)?$"},
    },
    "outs": {
        "anyOf": [
            {"type": ["string", "null"]},
            {"type": "array", "items": {"type": "string"}},
            {"type": "object", "propertyNames": _PATTERN_NAME, "additionalProperties": _OUT},
        ]
    },
    "after": {
        "type": ["array", "string", "null"],
        "pattern": _STEP_PATTERN,
        "items": {"type": "string", "pattern": _STEP_PATTERN},
    },
    "config": _OBJECT,
    "map": _OBJECT,
    "retries": {"anyOf": [{"type": "null"}, *RETRIES_SCHEMA["anyOf"]]},
    "timeout": {**TIMEOUT_SCHEMA, "type": ["number", "null"]},
    "cache": {"type": ["boolean", "null"]},
    "checks": _OBJECT,
    "pool": {"type": ["string", "null"]},
    "needs": NEEDS_SCHEMA,
    "tags": _TEXTS,
}
_ABOUT: Mapping[str, str] = {
    **KEYS,
    "run": "The Python file with the function step_fn: stages/<stage>/<name>.py.",
    "description": "What it does, in one sentence.",
    "ins": "Parameter of step_fn → an artefact: step.out, or stage.notebook.artefact.",
    "outs": "What step_fn returns: a list of names or file names, or name → file name.",
    "after": "Steps that have to be over before: step, or stage.notebook.",
    "config": "Parameters of step_fn: the values that they have here.",
    "map": "A parameter of step_fn → the values for which it is run once each.",
    "checks": "What has to hold of its outs.",
}
STEPS_SCHEMA: Mapping[str, Any] = {
    "type": ["object", "null"],
    "propertyNames": _PATTERN_NAME,
    "additionalProperties": {
        "type": "object",
        "properties": {
            name: {"description": _ABOUT[name], **schema} for name, schema in _SCHEMAS.items()
        },
        "required": ["run"],
        "additionalProperties": False,
    },
}
