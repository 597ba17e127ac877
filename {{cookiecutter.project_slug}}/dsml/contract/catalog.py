"""The catalog: experiments, environments, artefact paths, pipelines, and the register."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from dsml.contract.declared import Keys, Reader, key, keys_of
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
from dsml.contract.problem import Problem, ProjectError, Severity, Where, suggest
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


def catalog_of(document: YamlDocument, problems: list[Problem]) -> Catalog:
    """The catalog that a document, which is a mapping, holds."""
    return _Reader(report_to(problems, Catalog(document=document).where)).catalog(document)


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


class _Reader(Reader):
    """Turns the YAML document into a Catalog and says where each finding is."""

    def catalog(self, document: YamlDocument) -> Catalog:
        top = document.value
        for keys in document.duplicates:
            self.report(keys, "stands twice", "keep one of the two", "duplicate-key")
        self.known((), top, KEYS)
        if top.get("version") != 1 or top["version"] is True:
            what = f"{top.get('version')!r} is unknown"
            self.report(("version",), what, "write: version: 1", "version")
        environments = self._named("environments", top, partial(read_environment, self), ("dev",))
        check_storages(self, environments)
        return Catalog(
            project=self.text((), top, "project"),
            environments=environments,
            artefact_pattern=self._pattern(top),
            defaults=read_defaults(self, ("defaults",), top.get("defaults")),
            preload=self._preload(top),
            resources=read_resources(self, (), top),
            experiments=self._named("experiments", top, self._experiment, ("baseline",)),
            pipelines=self._named("pipelines", top, self._pipeline, ("all",)),
            pickles=self.texts((), top, "pickles"),
            models=self._named("models", top, partial(read_model, self)),
            register=self._named("register", top, self._entry),
            document=document,
        )

    def _named(
        self,
        key: str,
        top: Mapping[str, Any],
        read: Callable[[str, dict[str, Any]], T],
        default: tuple[str, ...] = (),
    ) -> dict[str, T]:
        """A section that maps names to mappings; ``default`` names stand in for an empty one."""
        section = self.mapping((key,), top.get(key))
        if not section:
            return {name: read(name, {}) for name in default}
        found: dict[str, T] = {}
        for name, value in section.items():
            if key != "register" and not _NAME.fullmatch(name):
                fix = "use letters, digits, '_', '-' and '.'"
                self.report((key, name), f"{name!r} is no usable name", fix, "no-name")
                continue
            found[name] = read(name, self.mapping((key, name), value))
        return found

    def _experiment(self, name: str, value: dict[str, Any]) -> Experiment:
        keys = ("experiments", name)
        self.known(keys, value, keys_of(Experiment))
        config = self.mapping((*keys, "config"), value.get("config"))
        return Experiment(
            name,
            self.text(keys, value, "description"),
            {
                step: self.mapping((*keys, "config", step), parameters)
                for step, parameters in config.items()
            },
        )

    def _pipeline(self, name: str, value: dict[str, Any]) -> Pipeline:
        keys = ("pipelines", name)
        self.known(keys, value, keys_of(Pipeline))
        if not is_identifier(name):
            fix = f"name it '{to_identifier(name)}'"
            self.report(keys, "the name is no identifier", fix, "no-identifier")
        steps = read_wired_steps(self, (*keys, "steps"), value.get("steps"))
        return Pipeline(
            name,
            self.text(keys, value, "description"),
            # one that wires its own steps runs these, and others where it says so
            self.texts(keys, value, "select", () if steps else ("*",)),
            self.one_of(keys, value, "executor", EXECUTORS),
            self.whole(keys, value, "workers", None, what="number of workers", least=1),
            self.one_of(keys, value, "engine", ENGINES),
            read_schedule(self, (*keys, "schedule"), value.get("schedule")),
            read_sensor(self, (*keys, "sensor"), value.get("sensor")),
            read_partitions(self, (*keys, "partitions"), value.get("partitions")),
            steps,
        )

    def _preload(self, top: Mapping[str, Any]) -> tuple[str, ...]:
        found = self.texts((), top, "preload")
        for name in found:
            if not all(map(str.isidentifier, name.split("."))):
                fix = "name it as an import does: pandas, or sklearn.svm"
                self.report(("preload",), f"{name!r} is no module", fix, "no-module")
        return found

    def _entry(self, name: str, value: dict[str, Any]) -> Entry:
        keys = ("register", name)
        self.known(keys, value, keys_of(Entry))
        return Entry(
            self.text(keys, value, "path"),
            self.mapping((*keys, "ins"), value.get("ins")),
            self.mapping((*keys, "outs"), value.get("outs")),
            self.texts(keys, value, "after"),
        )

    def _pattern(self, top: Mapping[str, Any]) -> str:
        paths = self.mapping(("paths",), top.get("paths"))
        self.known(("paths",), paths, ("artefact",))
        pattern = self.text(("paths",), paths, "artefact", DEFAULT_PATTERN)
        finding = _pattern_finding(pattern)
        if finding:
            self.report(("paths", "artefact"), *finding, "path-pattern")
            return DEFAULT_PATTERN
        return pattern


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
