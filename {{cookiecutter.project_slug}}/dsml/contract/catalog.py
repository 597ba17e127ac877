"""The catalog: experiments, environments, artefact paths, pipelines, and the register."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from dsml.contract.cells import Json
from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.contract.spec import is_identifier, to_identifier
from dsml.contract.yaml_lines import YamlDocument, load_yaml

CATALOG_FILE = "catalog.yml"
DEFAULT_PATTERN = "{experiment}/{stage}/{notebook}/{run_id}/{file}"
PLACEHOLDERS = ("experiment", "stage", "notebook", "run_id", "file", "partition")
EXECUTORS = ("multiprocess", "in_process")
ENGINES = ("pipes", "dagstermill")

# The keys at the top of the file, and what each is for. `catalog.schema.json` is made from these
# and from the classes below; editors show its descriptions.
KEYS: Mapping[str, str] = {
    "version": "The version of this file's format.",
    "project": "The name of the project.",
    "environments": "Where artefacts are kept; the variable DSML_ENV chooses one, by default dev.",
    "paths": "Where one file of one run goes, below the storage.",
    "experiments": "Named sets of parameter values. The first is the default.",
    "pipelines": "Named selections of steps, each a job in Dagster. The first is the default.",
    "register": "The steps, with what they read and write. Kept by `dsml register`.",
}
ARTEFACT = (
    "The path of an artefact: the placeholders {experiment}, {stage}, {notebook}, {run_id} and "
    "{file} in any order, and {partition}."
)
NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
T = TypeVar("T")

_NAME = re.compile(NAME)


def _key(about: str, *, choices: tuple[str, ...] = (), **default: Any) -> Any:
    """A field that is a key of ``catalog.yml``; other fields of the classes are not."""
    return field(metadata={"about": about, "choices": choices}, **default)


def keys_of(kind: type[Any]) -> dict[str, str]:
    """The keys of a mapping in ``catalog.yml`` that a class stands for, and what each is for."""
    return {item.name: item.metadata["about"] for item in fields(kind) if "about" in item.metadata}


@dataclass(frozen=True)
class Experiment:
    """A named setting: ``config`` maps a step to the parameters that it sets."""

    name: str
    description: str = _key("What is different in it, in one sentence.", default="")
    config: Mapping[str, Mapping[str, Json]] = _key(
        "Parameters by step: stage.notebook: {parameter: value}.", default_factory=dict
    )


@dataclass(frozen=True)
class Environment:
    """Where artefacts go; ``storage`` is a folder relative to the project, or a URL."""

    name: str
    storage: str = _key(
        "A folder, relative to this file, or an address such as s3://bucket/prefix.",
        default="artefacts",
    )


@dataclass(frozen=True)
class Pipeline:
    """A named selection of steps. ``workers`` limits how many run at once (None: all cores)."""

    name: str
    description: str = _key("What it is for, in one sentence.", default="")
    select: tuple[str, ...] = _key(
        'Stages, steps, or Dagster\'s selection syntax; "*" is all of them.', default=("*",)
    )
    executor: str = _key(
        "How steps are run: each in a process, or all in one.",
        choices=EXECUTORS,
        default=EXECUTORS[0],
    )
    workers: int | None = _key("How many steps run at once; by default all cores.", default=None)
    engine: str = _key("What runs the notebooks.", choices=ENGINES, default=ENGINES[0])


@dataclass(frozen=True)
class Entry:
    """A registered step: its file, and its ins, outs and order as they were registered."""

    path: str = _key("The notebook: stages/<stage>/<notebook>.ipynb.")
    ins: Mapping[str, str] = _key("Name → catalog path of an artefact.", default_factory=dict)
    outs: Mapping[str, str] = _key("Name → file name.", default_factory=dict)
    after: tuple[str, ...] = _key("Steps that have to be over before.", default=())


@dataclass(frozen=True)
class Catalog:
    """The whole of ``catalog.yml``."""

    project: str = ""
    environments: Mapping[str, Environment] = field(default_factory=dict)
    artefact_pattern: str = DEFAULT_PATTERN
    experiments: Mapping[str, Experiment] = field(default_factory=dict)
    pipelines: Mapping[str, Pipeline] = field(default_factory=dict)
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

    def catalog(self) -> Catalog:
        top = self._document.value
        for keys in self._document.duplicates:
            self._problem(keys, "stands twice", "keep one of the two", "duplicate-key")
        self._known((), top, KEYS)
        if top.get("version") != 1 or top["version"] is True:
            self._problem(
                ("version",), f"{top.get('version')!r} is unknown", "write: version: 1", "version"
            )
        return Catalog(
            project=self._text((), top, "project"),
            environments=self._named("environments", top, self._environment, ("dev",)),
            artefact_pattern=self._pattern(top),
            experiments=self._named("experiments", top, self._experiment, ("baseline",)),
            pipelines=self._named("pipelines", top, self._pipeline, ("all",)),
            register=self._named("register", top, self._entry),
            document=self._document,
        )

    def _problem(self, keys: tuple[str, ...], what: str, fix: str, name: str) -> None:
        where = Where(CATALOG_FILE, line=self._document.line_of(*keys))
        subject = ".".join(keys)
        self._problems.append(Problem(where, f"{subject}: {what}", fix, name))

    def _known(self, keys: tuple[str, ...], value: Mapping[str, Any], known: Iterable[str]) -> None:
        for key in value:
            if key not in known:
                self._problem(
                    (*keys, str(key)), "no such key", suggest(str(key), known), "unknown-key"
                )

    def _mapping(self, keys: tuple[str, ...], value: object) -> dict[str, Any]:
        if value is None:
            return {}
        if isinstance(value, dict):
            return {str(key): item for key, item in value.items()}
        self._problem(keys, f"{value!r} is no mapping", "write it as {key: value}", "wrong-type")
        return {}

    def _named(
        self,
        key: str,
        top: Mapping[str, Any],
        read: Callable[[str, dict[str, Any]], T],
        default: tuple[str, ...] = (),
    ) -> dict[str, T]:
        """A section that maps names to mappings; ``default`` names stand in for an empty one."""
        section = self._mapping((key,), top.get(key))
        if not section:
            return {name: read(name, {}) for name in default}
        found: dict[str, T] = {}
        for name, value in section.items():
            if key != "register" and not _NAME.fullmatch(name):
                fix = "use letters, digits, '_', '-' and '.'"
                self._problem((key, name), f"{name!r} is no usable name", fix, "no-name")
                continue
            found[name] = read(name, self._mapping((key, name), value))
        return found

    def _environment(self, name: str, value: dict[str, Any]) -> Environment:
        keys = ("environments", name)
        self._known(keys, value, keys_of(Environment))
        return Environment(name, self._text(keys, value, "storage", "artefacts"))

    def _experiment(self, name: str, value: dict[str, Any]) -> Experiment:
        keys = ("experiments", name)
        self._known(keys, value, keys_of(Experiment))
        config = self._mapping((*keys, "config"), value.get("config"))
        return Experiment(
            name,
            self._text(keys, value, "description"),
            {
                step: self._mapping((*keys, "config", step), parameters)
                for step, parameters in config.items()
            },
        )

    def _pipeline(self, name: str, value: dict[str, Any]) -> Pipeline:
        keys = ("pipelines", name)
        self._known(keys, value, keys_of(Pipeline))
        if not is_identifier(name):
            fix = f"name it '{to_identifier(name)}'"
            self._problem(keys, "the name is no identifier", fix, "no-identifier")
        return Pipeline(
            name,
            self._text(keys, value, "description"),
            self._texts(keys, value, "select", ("*",)),
            self._one_of(keys, value, "executor", EXECUTORS),
            self._workers(keys, value),
            self._one_of(keys, value, "engine", ENGINES),
        )

    def _workers(self, keys: tuple[str, ...], value: Mapping[str, Any]) -> int | None:
        workers = value.get("workers")
        if workers is None or (type(workers) is int and workers > 0):
            return workers
        self._problem(
            (*keys, "workers"),
            f"{workers!r} is no number of workers",
            "write 1 or more",
            "wrong-type",
        )
        return None

    def _one_of(
        self, keys: tuple[str, ...], value: Mapping[str, Any], key: str, known: tuple[str, ...]
    ) -> str:
        name = self._text(keys, value, key, known[0])
        if name in known:
            return name
        self._problem(
            (*keys, key), f"there is no {key} '{name}'", suggest(name, known), f"unknown-{key}"
        )
        return known[0]

    def _texts(
        self,
        keys: tuple[str, ...],
        value: Mapping[str, Any],
        key: str,
        default: tuple[str, ...] = (),
    ) -> tuple[str, ...]:
        texts = value.get(key, default)
        if isinstance(texts, str):
            return (texts,)
        if isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts):
            return tuple(texts)
        self._problem(
            (*keys, key), f"{texts!r} is no list of names", f"write {key}: [a, b]", "wrong-type"
        )
        return default

    def _entry(self, name: str, value: dict[str, Any]) -> Entry:
        keys = ("register", name)
        self._known(keys, value, keys_of(Entry))
        return Entry(
            self._text(keys, value, "path"),
            self._mapping((*keys, "ins"), value.get("ins")),
            self._mapping((*keys, "outs"), value.get("outs")),
            self._texts(keys, value, "after"),
        )

    def _pattern(self, top: Mapping[str, Any]) -> str:
        paths = self._mapping(("paths",), top.get("paths"))
        self._known(("paths",), paths, ("artefact",))
        pattern = self._text(("paths",), paths, "artefact", DEFAULT_PATTERN)
        finding = _pattern_finding(pattern)
        if finding:
            self._problem(("paths", "artefact"), *finding, "path-pattern")
            return DEFAULT_PATTERN
        return pattern

    def _text(
        self, keys: tuple[str, ...], value: Mapping[str, Any], key: str, default: str = ""
    ) -> str:
        text = value.get(key, default)
        if isinstance(text, str):
            return text
        self._problem((*keys, key), f"{text!r} is no text", "put it in quotes", "wrong-type")
        return default


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
