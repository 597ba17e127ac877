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

from dsml.contract.cells import Json
from dsml.contract.declared import Keys, Reader, key, keys_of
from dsml.contract.executors import EXECUTORS
from dsml.contract.models import Model, read_model
from dsml.contract.names import is_identifier, to_identifier
from dsml.contract.partitions import Partitions
from dsml.contract.policies import Defaults, read_defaults
from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.contract.read_partitions import PARTITIONS_SCHEMA, read_partitions
from dsml.contract.storage import (
    DEFAULT_CACHE,
    SIZE,
    bytes_of,
    credentials_finding,
    shared,
    storage_finding,
)
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
RESOURCES_SCHEMA = {"type": ["object", "null"], "additionalProperties": {"type": "string"}}
T = TypeVar("T")

_NAME = re.compile(NAME)
_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True)
class Experiment:
    """A named setting: ``config`` maps a step to the parameters that it sets."""

    name: str
    description: str = key("What is different in it, in one sentence.", default="")
    config: Mapping[str, Mapping[str, Json]] = key(
        "Parameters by step: stage.notebook: {parameter: value}.", default_factory=dict
    )


@dataclass(frozen=True)
class Environment:
    """Where artefacts go; ``storage`` is a folder relative to the project, or a URL.

    ``mlflow`` likewise is a folder, or the tracking URI of an MLflow; empty: nothing is tracked.
    Of a storage that is no folder copies are kept here, up to ``input_cache``. ``workers`` limits
    how many steps of a run are run at once, whatever its pipeline says (None: as that says).
    """

    name: str
    storage: str = key(
        "A folder, relative to this file, or an address such as s3://bucket/prefix.",
        default="artefacts",
    )
    resources: Mapping[str, str] = key(
        "Resources that stand in for those of the same names, such as fakes for tests.",
        schema=RESOURCES_SCHEMA,
        default_factory=dict,
    )
    mlflow: str = key(
        "The MLflow that tracks runs and keeps models: a folder, relative to this file, or the "
        "address of a server. Without it nothing is tracked.",
        schema={"type": "string", "pattern": r"\S"},
        default="",
    )
    input_cache: str = key(
        "How much of what is read from a storage such as s3:// stays on this machine: 500 MB, "
        f"2 TB. What was used longest ago goes first. By default {DEFAULT_CACHE}.",
        schema={"type": "string", "pattern": f"^{SIZE}$"},
        default=DEFAULT_CACHE,
    )
    executor: str = key(
        "How steps are run in it, whatever their pipeline says.", choices=EXECUTORS, default=""
    )
    workers: int | None = key(
        "How many steps of a run are run at once at most, whatever the pipeline says.",
        default=None,
    )
    notify: bool = key(
        "Whether failed runs are told by mail and webhook.",
        schema={"type": "boolean"},
        default=True,
    )

    @property
    def cache_bytes(self) -> int:
        """The room for copies, in bytes."""
        return bytes_of(self.input_cache) or 0


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
    return _Reader(document, problems).catalog()


def _load(file: Path) -> YamlDocument:
    try:
        text = file.read_text(encoding="utf-8-sig")
        document = load_yaml(text)
    except FileNotFoundError:
        fix = f"a project has its {CATALOG_FILE} at the top: go there, or restore it from git"
        raise ProjectError(
            [Problem(Where(CATALOG_FILE), "is missing", fix, "no-catalog")]
        ) from None
    except UnicodeDecodeError:
        where = Where(CATALOG_FILE)
        raise ProjectError(
            [Problem(where, "is no UTF-8 text", "save it as UTF-8", "no-yaml")]
        ) from None
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise ProjectError(
            [Problem(Where(CATALOG_FILE), what, "let it be read", "no-catalog")]
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ProjectError([_no_yaml(error)]) from None
    if not isinstance(document.value, dict):
        fix = "start it with: version: 1"
        raise ProjectError([Problem(Where(CATALOG_FILE), "is no mapping", fix, "no-yaml")])
    return document


def _no_yaml(error: Exception) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).split("\n", maxsplit=1)[0]
    line = None if mark is None else mark.line + 1
    fix = "mend the line; indent with spaces, quote text that holds ': ' or '#'"
    return Problem(Where(CATALOG_FILE, line=line), f"is no YAML: {what}", fix, "no-yaml")


class _Reader:
    """Turns the YAML document into a Catalog and says where each finding is."""

    def __init__(self, document: YamlDocument, problems: list[Problem]) -> None:
        self._document = document
        self._problems = problems
        self._read = Reader(self._problem)

    def catalog(self) -> Catalog:
        top = self._document.value
        for keys in self._document.duplicates:
            self._problem(keys, "stands twice", "keep one of the two", "duplicate-key")
        self._read.known((), top, KEYS)
        if top.get("version") != 1 or top["version"] is True:
            self._problem(
                ("version",), f"{top.get('version')!r} is unknown", "write: version: 1", "version"
            )
        return Catalog(
            project=self._read.text((), top, "project"),
            environments=self._environments(top),
            artefact_pattern=self._pattern(top),
            defaults=read_defaults(self._read, ("defaults",), top.get("defaults")),
            preload=self._preload(top),
            resources=self._resources((), top),
            experiments=self._named("experiments", top, self._experiment, ("baseline",)),
            pipelines=self._named("pipelines", top, self._pipeline, ("all",)),
            pickles=self._read.texts((), top, "pickles"),
            models=self._named("models", top, partial(read_model, self._read)),
            register=self._named("register", top, self._entry),
            document=self._document,
        )

    def _problem(self, keys: Keys, what: str, fix: str, name: str) -> None:
        where = Where(CATALOG_FILE, line=self._document.line_of(*keys))
        subject = ".".join(keys)
        self._problems.append(Problem(where, f"{subject}: {what}", fix, name))

    def _named(
        self,
        key: str,
        top: Mapping[str, Any],
        read: Callable[[str, dict[str, Any]], T],
        default: tuple[str, ...] = (),
    ) -> dict[str, T]:
        """A section that maps names to mappings; ``default`` names stand in for an empty one."""
        section = self._read.mapping((key,), top.get(key))
        if not section:
            return {name: read(name, {}) for name in default}
        found: dict[str, T] = {}
        for name, value in section.items():
            if key != "register" and not _NAME.fullmatch(name):
                fix = "use letters, digits, '_', '-' and '.'"
                self._problem((key, name), f"{name!r} is no usable name", fix, "no-name")
                continue
            found[name] = read(name, self._read.mapping((key, name), value))
        return found

    def _environments(self, top: Mapping[str, Any]) -> dict[str, Environment]:
        found = self._named("environments", top, self._environment, ("dev",))
        for name, other in shared({name: e.storage for name, e in found.items()}):
            what = f"environment '{other}' keeps its artefacts there, too"
            fix = f"give it a storage of its own, such as storage: build/{name}"
            self._problem(("environments", name, "storage"), what, fix, "shared-storage")
        return found

    def _environment(self, name: str, value: dict[str, Any]) -> Environment:
        keys = ("environments", name)
        self._read.known(keys, value, keys_of(Environment))
        storage = self._read.text(keys, value, "storage", "artefacts")
        if (finding := storage_finding(storage)) is not None:
            self._problem((*keys, "storage"), *finding)
        mlflow = self._read.text(keys, value, "mlflow")
        if (finding := credentials_finding(mlflow)) is not None:
            self._problem((*keys, "mlflow"), *finding)
        cache = self._read.text(keys, value, "input_cache", DEFAULT_CACHE)
        if bytes_of(cache) is None:
            fix = "write a number and a unit: 500 MB, 10 GB"
            self._problem((*keys, "input_cache"), f"{cache!r} is no size", fix, "no-size")
        if "mlflow" in value and isinstance(value["mlflow"], str) and not mlflow.strip():
            fix = "write a folder, such as mlflow: .mlflow, or an address; or leave the key out"
            self._problem((*keys, "mlflow"), "names no MLflow", fix, "no-mlflow")
        executor = self._read.one_of(keys, value, "executor", EXECUTORS)
        return Environment(
            name,
            storage,
            self._resources(keys, value),
            mlflow.strip(),
            cache,
            executor if "executor" in value else "",
            self._read.whole(keys, value, "workers", what="number of workers", least=1),
            self._read.flag(keys, value, "notify", default=True) is not False,
        )

    def _experiment(self, name: str, value: dict[str, Any]) -> Experiment:
        keys = ("experiments", name)
        self._read.known(keys, value, keys_of(Experiment))
        config = self._read.mapping((*keys, "config"), value.get("config"))
        return Experiment(
            name,
            self._read.text(keys, value, "description"),
            {
                step: self._read.mapping((*keys, "config", step), parameters)
                for step, parameters in config.items()
            },
        )

    def _pipeline(self, name: str, value: dict[str, Any]) -> Pipeline:
        keys = ("pipelines", name)
        self._read.known(keys, value, keys_of(Pipeline))
        if not is_identifier(name):
            fix = f"name it '{to_identifier(name)}'"
            self._problem(keys, "the name is no identifier", fix, "no-identifier")
        read = self._read
        steps = read_wired_steps(read, (*keys, "steps"), value.get("steps"))
        return Pipeline(
            name,
            read.text(keys, value, "description"),
            # one that wires its own steps runs these, and others where it says so
            read.texts(keys, value, "select", () if steps else ("*",)),
            read.one_of(keys, value, "executor", EXECUTORS),
            read.whole(keys, value, "workers", what="number of workers", least=1),
            read.one_of(keys, value, "engine", ENGINES),
            read_schedule(read, (*keys, "schedule"), value.get("schedule")),
            read_sensor(read, (*keys, "sensor"), value.get("sensor")),
            read_partitions(read, (*keys, "partitions"), value.get("partitions")),
            steps,
        )

    def _preload(self, top: Mapping[str, Any]) -> tuple[str, ...]:
        found = self._read.texts((), top, "preload")
        for name in found:
            if not all(map(str.isidentifier, name.split("."))):
                fix = "name it as an import does: pandas, or sklearn.svm"
                self._problem(("preload",), f"{name!r} is no module", fix, "no-module")
        return found

    def _resources(self, keys: Keys, value: Mapping[str, Any]) -> dict[str, str]:
        keys = (*keys, "resources")
        found = self._read.mapping(keys, value.get("resources"))
        for name in list(found):
            text = self._read.text(keys, found, name)
            if not is_identifier(name) or not _FACTORY.fullmatch(text):
                what = f"{found.pop(name)!r} is no function for a parameter's name"
                fix = "write it as name: module:function, such as db: my_package.resources:database"
                self._problem((*keys, name), what, fix, "no-resource")
        return found

    def _entry(self, name: str, value: dict[str, Any]) -> Entry:
        keys = ("register", name)
        self._read.known(keys, value, keys_of(Entry))
        return Entry(
            self._read.text(keys, value, "path"),
            self._read.mapping((*keys, "ins"), value.get("ins")),
            self._read.mapping((*keys, "outs"), value.get("outs")),
            self._read.texts(keys, value, "after"),
        )

    def _pattern(self, top: Mapping[str, Any]) -> str:
        paths = self._read.mapping(("paths",), top.get("paths"))
        self._read.known(("paths",), paths, ("artefact",))
        pattern = self._read.text(("paths",), paths, "artefact", DEFAULT_PATTERN)
        finding = _pattern_finding(pattern)
        if finding:
            self._problem(("paths", "artefact"), *finding, "path-pattern")
            return DEFAULT_PATTERN
        return pattern


def _pattern_finding(pattern: str) -> tuple[str, str] | None:
    """What is wrong with a path pattern, and how to mend it."""
    try:
        parsed = list(string.Formatter().parse(pattern))
    except ValueError as error:
        return f"{pattern!r} is no pattern: {error}", "write placeholders as {name}"
    if any(spec or conversion for _, _, spec, conversion in parsed):
        return (
            f"{pattern!r} formats a placeholder",
            "write placeholders as {name}, and nothing more",
        )
    names = [name for _, name, _, _ in parsed if name is not None]
    for name in names:
        if name not in PLACEHOLDERS:
            return f"no placeholder '{name}'", suggest(name, PLACEHOLDERS)
    missing = [name for name in PLACEHOLDERS[:5] if name not in names]
    if missing:
        listed = ", ".join(f"{{{name}}}" for name in missing)
        return (
            f"{pattern!r} lacks {listed}",
            "two artefacts would share a path: add what is missing",
        )
    parts = pattern.split("/")
    if pattern.startswith("/") or "\\" in pattern or any(p in ("", ".", "..") for p in parts):
        return (
            f"{pattern!r} leaves the storage folder",
            "write a relative path with forward slashes",
        )
    return None
