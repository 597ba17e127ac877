"""The catalog: experiments, environments, artefact paths, pipelines, and the register."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml

from dsml.contract.declared import Keys, Record, key, keys_of
from dsml.contract.environments import (
    Environment,
    check_storages,
    read_environment,
    read_resources,
)
from dsml.contract.executors import EXECUTORS
from dsml.contract.literals import Json
from dsml.contract.models import Model, read_model
from dsml.contract.names import is_identifier, to_identifier
from dsml.contract.partitions import Partitions
from dsml.contract.policies import Defaults, read_defaults
from dsml.contract.problem import Problem, ProjectError, Severity, Where, errors, suggest
from dsml.contract.read_partitions import PARTITIONS_SCHEMA, read_partitions
from dsml.contract.spec import report_to
from dsml.contract.triggers import Schedule, Sensor, read_schedule, read_sensor
from dsml.contract.wiring import STEPS_SCHEMA, WiredStep, read_wired_steps
from dsml.contract.yaml_lines import YamlDocument, load_yaml

CATALOG_FILE = "catalog.yml"
DEFAULT_PATTERN = "{experiment}/{stage}/{notebook}/{run_id}/{file}"
PLACEHOLDERS = ("experiment", "stage", "notebook", "run_id", "file", "partition")
ENGINES = ("pipes", "dagstermill")

# The keys at the top of the file, and what each is for. `catalog.schema.json` is made from these
# and from the classes below; editors show its descriptions.
KEYS: Mapping[str, str] = {
    "version": "The version of this file's format.",
    "project": "The name of the project.",
    "environments": "Where artefacts are kept; the variable DSML_ENV chooses one, by default dev.",
    "defaults": "What holds for every step that doesn't say otherwise: retries, timeout.",
    "preload": "Modules that a kernel has imported when it starts, such as pandas (Linux only).",
    "resources": "What Python steps are given by the name of a parameter: name: module:function.",
    "paths": "Where one file of one run goes, below the storage.",
    "experiments": "Named sets of parameter values. The first is the default.",
    "pipelines": "Named selections of steps, each a job in Dagster. The first is the default.",
    "pickles": (
        "Artefacts that may be read though they are pickles, which run code (.joblib, .pkl): "
        'catalog paths, or patterns such as "train.*". "*" allows all.'
    ),
    "models": "The models that are promoted: which metric decides, and on which held-out data.",
    "register": "The steps, with what they read and write. Kept by `dsml register`.",
}
ARTEFACT = (
    "The path of an artefact: the placeholders {experiment}, {stage}, {notebook}, {run_id} and "
    "{file} in any order, and {partition}."
)
NAME = r"(?!.*\.\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]*"  # Dagster writes ranges with three dots
T = TypeVar("T")

_NAME = re.compile(NAME)


@dataclass(frozen=True)
class Experiment:
    """A named setting: ``config`` maps a step to the parameters that it sets."""

    name: str
    description: str = key("What is different in it, in one sentence.", default="")
    config: Mapping[str, Mapping[str, Json]] = key(
        "Parameters by step: stage.notebook: {parameter: value}.", default_factory=dict
    )


@dataclass(frozen=True)
class Pipeline:
    """A named selection of steps. ``workers`` limits how many run at once (None: all cores)."""

    name: str
    description: str = key("What it is for, in one sentence.", default="")
    select: tuple[str, ...] = key(
        'Stages, steps, or Dagster\'s selection syntax; "*" is all of them.', default=("*",)
    )
    executor: str = key(
        "How steps are run: in threads of the run's process, each in a process of its own, one "
        "after the other, or by the workers of Dask, Ray or Kubernetes.",
        choices=EXECUTORS,
        default=EXECUTORS[0],
    )
    workers: int | None = key("How many steps run at once; by default all cores.", default=None)
    engine: str = key("What runs the notebooks.", choices=ENGINES, default=ENGINES[0])
    schedule: Schedule | None = key("When it is run by itself.", default=None)
    sensor: Sensor | None = key("The files for which it is run.", default=None)
    partitions: Partitions | None = key(
        "What it is run for piece by piece, beside its experiment: days, or a list.",
        schema=PARTITIONS_SCHEMA,
        default=None,
    )
    steps: Mapping[str, WiredStep] = key(
        "Python steps that are wired here; their files know nothing of it.",
        schema=STEPS_SCHEMA,
        default_factory=dict,
    )


@dataclass(frozen=True)
class Entry:
    """A registered step: its file, and its ins, outs and order as they were registered."""

    path: str = key("The notebook: stages/<stage>/<notebook>.ipynb.")
    ins: Mapping[str, str] = key("Name → catalog path of an artefact.", default_factory=dict)
    outs: Mapping[str, str] = key("Name → file name.", default_factory=dict)
    after: tuple[str, ...] = key("Steps that have to be over before.", default=())


@dataclass(frozen=True)
class Catalog:
    """The whole of ``catalog.yml``."""

    project: str = ""
    environments: Mapping[str, Environment] = field(default_factory=dict)
    artefact_pattern: str = DEFAULT_PATTERN
    defaults: Defaults = field(default_factory=Defaults)
    preload: tuple[str, ...] = ()
    resources: Mapping[str, str] = field(default_factory=dict)
    experiments: Mapping[str, Experiment] = field(default_factory=dict)
    pipelines: Mapping[str, Pipeline] = field(default_factory=dict)
    pickles: tuple[str, ...] = ()
    models: Mapping[str, Model] = field(default_factory=dict)
    register: Mapping[str, Entry] = field(default_factory=dict)
    document: YamlDocument = field(default_factory=lambda: YamlDocument({}))

    def where(self, *keys: str) -> Where:
        """The line of ``catalog.yml`` on which ``keys`` stands."""
        return Where(CATALOG_FILE, line=self.document.line_of(*keys))

    def problem(
        self, keys: Keys, what: str, fix: str, name: str, severity: Severity = "error"
    ) -> Problem:
        """A finding about what stands below ``keys``."""
        return Problem(self.where(*keys), f"{'.'.join(keys)}: {what}", fix, name, severity)

    @property
    def default_experiment(self) -> str:
        """The experiment that is meant when none is named: the first one."""
        return next(iter(self.experiments))

    @property
    def default_pipeline(self) -> str:
        """The pipeline that is meant when none is named: the first one."""
        return next(iter(self.pipelines))

    def environment(self) -> Environment:
        """The environment that ``DSML_ENV`` names, ``dev`` where it is not set.

        Raises:
            ProjectError: there is no environment of that name.
        """
        name = os.environ.get("DSML_ENV", "dev")
        if name not in self.environments:
            raise ProjectError([unknown("environment", name, self.environments)])
        return self.environments[name]


def unknown(kind: str, name: str, known: Mapping[str, object]) -> Problem:
    """A name, given on a command line or in the environment, that the catalog doesn't have."""
    where = Where("DSML_ENV" if kind == "environment" else CATALOG_FILE)
    what = f"there is no {kind} '{name}'"
    return Problem(where, what, suggest(name, known), f"unknown-{kind}")


def read_catalog(root: Path, problems: list[Problem]) -> Catalog:
    """Read ``catalog.yml``; what is wrong with it is appended to ``problems``.

    Raises:
        ProjectError: the file is missing or cannot be read as YAML at all.
    """
    return catalog_of(_load(root / CATALOG_FILE), problems)


def sound_catalog(root: Path) -> Catalog:
    """Read ``catalog.yml`` for what must not be done by a catalog that is only half understood.

    Raises:
        ProjectError: there is an error in it.
    """
    problems: list[Problem] = []
    catalog = read_catalog(root, problems)
    if errors(problems):
        raise ProjectError(errors(problems))
    return catalog


def catalog_of(document: YamlDocument, problems: list[Problem]) -> Catalog:
    """The catalog that a document, which is a mapping, holds."""
    report = report_to(problems, Catalog(document=document).where)
    for keys in document.duplicates:
        report(keys, "stands twice", "keep one of the two", "duplicate-key")
    top = Record(report, (), document.value)
    top.known(KEYS)
    version = top.value.get("version")
    if version != 1 or version is True:
        report(("version",), f"{version!r} is unknown", "write: version: 1", "version")
    environments = _named(top, "environments", read_environment, ("dev",))
    check_storages(report, environments)
    return Catalog(
        project=top.text("project"),
        environments=environments,
        artefact_pattern=_read_pattern(top.record("paths")),
        defaults=read_defaults(top.record("defaults")),
        preload=_read_preload(top),
        resources=read_resources(top.record("resources")),
        experiments=_named(top, "experiments", _read_experiment, ("baseline",)),
        pipelines=_named(top, "pipelines", _read_pipeline, ("all",)),
        pickles=top.texts("pickles"),
        models=_named(top, "models", read_model),
        register=_named(top, "register", _read_entry),
        document=document,
    )


def _load(file: Path) -> YamlDocument:
    try:
        document = load_yaml(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        fix = f"a project has its {CATALOG_FILE} at the top: go there, or restore it from git"
        raise _unreadable("is missing", fix, "no-catalog") from None
    except UnicodeDecodeError:
        raise _unreadable("is no UTF-8 text", "save it as UTF-8", "no-yaml") from None
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise _unreadable(what, "let it be read", "no-catalog") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).split("\n", maxsplit=1)[0]
        fix = "mend the line; indent with spaces, quote text that holds ': ' or '#'"
        line = None if mark is None else mark.line + 1
        raise _unreadable(f"is no YAML: {what}", fix, "no-yaml", line) from None
    if not isinstance(document.value, dict):
        raise _unreadable("is no mapping", "start it with: version: 1", "no-yaml")
    return document


def _unreadable(what: str, fix: str, name: str, line: int | None = None) -> ProjectError:
    return ProjectError([Problem(Where(CATALOG_FILE, line=line), what, fix, name)])


def _named(
    top: Record, key: str, read: Callable[[Record], T], default: tuple[str, ...] = ()
) -> dict[str, T]:
    """A section that maps names to mappings; ``default`` names stand in for an empty one."""
    section = top.record(key)
    found: dict[str, T] = {}
    for name in section.value or default:
        if key != "register" and not _NAME.fullmatch(name):
            fix = "use letters, digits, '_', '-' and '.'"
            section.report((name,), f"{name!r} is no usable name", fix, "no-name")
        else:
            found[name] = read(section.record(name))
    return found


def _read_experiment(record: Record) -> Experiment:
    record.known(keys_of(Experiment))
    config = record.record("config")
    return Experiment(
        record.name,
        record.text("description"),
        {step: config.record(step).value for step in config.value},
    )


def _read_pipeline(record: Record) -> Pipeline:
    record.known(keys_of(Pipeline))
    if not is_identifier(record.name):
        fix = f"name it '{to_identifier(record.name)}'"
        record.report((), "the name is no identifier", fix, "no-identifier")
    steps = read_wired_steps(record)
    return Pipeline(
        record.name,
        record.text("description"),
        # one that wires its own steps runs these, and others where it says so
        record.texts("select", () if steps else ("*",)),
        record.one_of("executor", EXECUTORS),
        record.whole("workers", None, what="number of workers", least=1),
        record.one_of("engine", ENGINES),
        read_schedule(record.record("schedule")),
        read_sensor(record.record("sensor")),
        read_partitions(record.record("partitions")),
        steps,
    )


def _read_preload(top: Record) -> tuple[str, ...]:
    found = top.texts("preload")
    for name in found:
        if not all(map(str.isidentifier, name.split("."))):
            fix = "name it as an import does: pandas, or sklearn.svm"
            top.report(("preload",), f"{name!r} is no module", fix, "no-module")
    return found


def _read_entry(record: Record) -> Entry:
    record.known(keys_of(Entry))
    ins, outs = record.record("ins").value, record.record("outs").value
    return Entry(record.text("path"), ins, outs, record.texts("after"))


def _read_pattern(paths: Record) -> str:
    paths.known(("artefact",))
    pattern = paths.text("artefact", DEFAULT_PATTERN)
    finding = _pattern_finding(pattern)
    if finding is None:
        return pattern
    paths.report(("artefact",), *finding, "path-pattern")
    return DEFAULT_PATTERN


def _pattern_finding(pattern: str) -> tuple[str, str] | None:
    """What is wrong with a path pattern, and how to mend it."""
    try:
        parsed = list(string.Formatter().parse(pattern))
    except ValueError as error:
        return f"{pattern!r} is no pattern: {error}", "write placeholders as {name}"
    if any(spec or conversion for _, _, spec, conversion in parsed):
        fix = "write placeholders as {name}, and nothing more"
        return f"{pattern!r} formats a placeholder", fix
    names = [name for _, name, _, _ in parsed if name is not None]
    for name in names:
        if name not in PLACEHOLDERS:
            return f"no placeholder '{name}'", suggest(name, PLACEHOLDERS)
    missing = [name for name in PLACEHOLDERS[:5] if name not in names]
    if missing:
        listed = ", ".join(f"{{{name}}}" for name in missing)
        fix = "two artefacts would share a path: add what is missing"
        return f"{pattern!r} lacks {listed}", fix
    parts = pattern.split("/")
    if pattern.startswith("/") or "\\" in pattern or any(p in ("", ".", "..") for p in parts):
        fix = "write a relative path with forward slashes"
        return f"{pattern!r} leaves the storage folder", fix
    return None
