"""What is recorded of a step that ran: the manifest, and a record of every attempt.

Both are JSON. Times are UTC in ISO 8601, sizes are bytes, hashes are sha256 in hexadecimal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from upath import UPath

from dsml.contract.names import step_of
from dsml.store.paths import StepRun, check_names
from dsml.store.remote import read_if_there

VERSION = 1
MANIFEST_FILE = "manifest.json"
PLAN_FILE = "plan.json"
ATTEMPT_FILE = "attempt.json"
ATTEMPTS_FOLDER = "attempts"
# What is kept of every attempt, beside its record.
NOTEBOOK_FILE = "executed.ipynb"
HTML_FILE = "executed.html"
REPORT_FILE = "report.html"  # of a step that is marked as a report for readers
LOG_FILE = "log.txt"

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True)
class JsonFile:
    """What is kept as a file of JSON."""

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: UPath) -> Self | None:
        """Read a file of a store, None where there is none."""
        content = read_if_there(path)
        return None if content is None else cls.from_json(content)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a file; fields of a newer version are passed over."""
        return cls(**cls._objects(_known(cls, json.loads(text))))

    @classmethod
    def _objects(cls, raw: dict[str, Any]) -> dict[str, Any]:
        """The fields, with objects in the place of their dicts."""
        return raw


def _known(cls: type[Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a dataclass has."""
    return {name: value for name, value in raw.items() if name in cls.__dataclass_fields__}


@dataclass(frozen=True)
class Value:
    """A parameter's value and where it came from: default, experiment, run or map."""

    value: Json
    source: str


@dataclass(frozen=True)
class Input:
    """An artefact that a step read: its catalog path, where it was published, its content.

    ``published`` is when that was, empty where it is not known; it says nothing of the content.
    Of a step that is mapped ``parts`` holds the artefact of each instance by its key, in the order
    of the map; ``file`` is empty then, ``bytes`` their sum and ``sha256`` that of all of theirs.
    ``values`` holds the parameters that made an instance what it is.
    """

    path: str
    run_id: str
    file: str
    bytes: int
    sha256: str
    published: str = field(default="", compare=False)
    partition: str | None = None
    instance: str | None = None
    values: Mapping[str, Json] = field(default_factory=dict)
    parts: Mapping[str, Input] | None = None

    def __post_init__(self) -> None:
        check_names(self.run_id, self.file, self.sha256, self.partition, self.instance)

    def origin(self, experiment: str) -> StepRun:
        """What has published it, in the experiment of whoever reads it."""
        return StepRun(step_of(self.path), experiment, self.run_id, self.partition, self.instance)

    @classmethod
    def of_parts(cls, path: str, run_id: str, parts: Mapping[str, Input]) -> Input:
        """What has been published by several, as one."""
        whole = Output.of_parts(
            {key: Output(part.file, part.bytes, part.sha256) for key, part in parts.items()}
        )
        newest = max((part.published for part in parts.values()), default="")
        return cls(path, run_id, "", whole.bytes, whole.sha256, newest, parts=parts)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Input:
        """Read what ``asdict`` made."""
        known = _known(cls, raw)
        if known.get("parts") is not None:
            known["parts"] = {key: cls.from_dict(part) for key, part in known["parts"].items()}
        return cls(**known)


@dataclass(frozen=True)
class Output:
    """An artefact that a step published; ``parts`` holds that of each instance of a mapped one."""

    file: str
    bytes: int
    sha256: str
    parts: Mapping[str, Output] | None = None

    def __post_init__(self) -> None:
        check_names(self.file, self.sha256)

    @property
    def content(self) -> tuple[int, str]:
        """By which two are known to hold the same, whatever their names."""
        return self.bytes, self.sha256

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Output:
        """Read what ``asdict`` made."""
        parts = raw.get("parts")
        read = None if parts is None else {key: cls.from_dict(part) for key, part in parts.items()}
        return cls(raw["file"], raw["bytes"], raw["sha256"], read)

    @classmethod
    def of_parts(cls, parts: Mapping[str, Output]) -> Output:
        """What the instances of a step have published, as one."""
        digest = hashlib.sha256()
        for key, part in parts.items():  # in their order, which is what a consumer sees
            digest.update(f"{key}\0{part.sha256}\n".encode())
        return cls("", sum(part.bytes for part in parts.values()), digest.hexdigest(), parts)


@dataclass(frozen=True)
class Curve:
    """A metric with more than one point: how many, the smallest and the largest.

    NaN and infinities count as points only; where there is nothing else the two are None.
    """

    points: int
    min: float | None
    max: float | None


@dataclass(frozen=True)
class LoggedModel:
    """A model that was logged: its folder below ``logged``, MLflow's name for its kind.

    ``signature`` says whether it is known what the model takes and gives.
    """

    folder: str
    flavour: str = ""
    signature: bool = False


@dataclass(frozen=True)
class InstanceRun:
    """An instance of a mapped step: its parameters, and the run that has its files."""

    run_id: str
    values: Mapping[str, Json]


@dataclass(frozen=True)
class Plan(JsonFile):
    """What a mapped step is run for: key → parameters; and the inputs that all of them read."""

    instances: Mapping[str, Mapping[str, Json]]
    inputs: Mapping[str, Input]
    version: int = VERSION

    @classmethod
    def _objects(cls, raw: dict[str, Any]) -> dict[str, Any]:
        return {**raw, "inputs": _inputs(raw["inputs"])}


@dataclass(frozen=True)
class _OfStep(JsonFile):
    """What is kept of a step in a run."""

    step: str
    run_id: str
    experiment: str
    partition: str | None
    instance: str | None = field(default=None, kw_only=True)
    parameters: Mapping[str, Value]
    inputs: Mapping[str, Input]

    @property
    def address(self) -> StepRun:
        """The step in the run."""
        return StepRun(self.step, self.experiment, self.run_id, self.partition, self.instance)

    @classmethod
    def _objects(cls, raw: dict[str, Any]) -> dict[str, Any]:
        values = {name: Value(**value) for name, value in raw["parameters"].items()}
        return {**raw, "parameters": values, "inputs": _inputs(raw["inputs"])}


@dataclass(frozen=True)
class Manifest(_OfStep):
    """Everything about one published step of one run. A run folder without it does not exist.

    ``code`` is the sha256 of the notebook's code, ``fingerprint`` that of all that the outputs
    depend on. ``attempts`` counts those that it took, ``executed`` is the executed notebook's path
    below the run's folder. ``logged`` holds the facts that were logged, ``metrics`` the value of
    each metric at its last step, as text where it is NaN or infinite, ``curves`` those that have
    more points, ``files`` the files' names in the attempt's folder ``logged``, ``models`` the
    models in it, ``checks`` what came out of the checks on the outs. ``cached`` names the run that
    has the files, where an equal fingerprint made it needless to run the step.

    Of a mapped step ``instances`` holds the run of each; each has a manifest of its own as well.
    """

    outputs: Mapping[str, Output]
    code: str
    git: Mapping[str, Json]
    versions: Mapping[str, str]
    started: str
    ended: str
    attempts: int
    executed: str
    logged: Mapping[str, Json] = field(default_factory=dict)
    metrics: Mapping[str, float | str] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    checks: Sequence[Mapping[str, Any]] = field(default_factory=list)
    fingerprint: str = ""
    cached: str = ""
    instances: Mapping[str, InstanceRun] | None = None
    models: Mapping[str, LoggedModel] = field(default_factory=dict)
    version: int = VERSION

    @property
    def origin(self) -> StepRun:
        """Where the files are: here, or in the run whose results this one took over."""
        return self.address.of_run(self.cached or self.run_id)

    def as_input(self, out: str) -> Input:
        """What those who read an out record of it."""
        output, runs = self.outputs[out], self.instances or {}
        whole = Input(
            f"{self.step}.{out}",
            self.origin.run_id,
            output.file,
            output.bytes,
            output.sha256,
            self.ended,
            self.partition,
            self.instance,
        )
        if output.parts is None:
            return whole
        parts = {  # an input has the fields of an output and those of an instance's run
            key: replace(whole, instance=key, **vars(part), **vars(runs[key]))
            for key, part in output.parts.items()
        }
        return replace(whole, parts=parts)

    @classmethod
    def _objects(cls, raw: dict[str, Any]) -> dict[str, Any]:
        known = super()._objects(raw)
        known["outputs"] = {name: Output.from_dict(v) for name, v in raw["outputs"].items()}
        known["curves"] = {name: Curve(**v) for name, v in raw.get("curves", {}).items()}
        known["models"] = {name: LoggedModel(**v) for name, v in raw.get("models", {}).items()}
        if raw.get("instances") is not None:
            known["instances"] = {k: InstanceRun(**v) for k, v in raw["instances"].items()}
        return known


@dataclass(frozen=True)
class Attempt(_OfStep):
    """One attempt at a step, kept whether it passed or not.

    ``status`` is passed, failed or cancelled; ``error`` is the message a user was shown; ``code``
    is the sha256 of the step's code and of the project's modules that it imports. ``exception``
    and ``traceback`` tell what a cell raised. ``cpu_seconds`` and ``peak_memory`` (bytes) are those
    of the kernel with all that it has started, None where they were not measured; ``cells`` says
    of each cell by its number when it was ``started`` and how many ``seconds`` it took. ``timeout``
    is the deadline in seconds, ``process`` the one that runs the attempt, as host:pid:start.
    """

    number: int
    status: str
    error: str
    started: str
    ended: str
    code: str = ""
    exception: str = ""
    traceback: str = ""
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    cells: Sequence[Mapping[str, Any]] = field(default_factory=list)
    timeout: float | None = None
    process: str = ""
    version: int = VERSION


def _inputs(raw: Mapping[str, Any]) -> dict[str, Input]:
    return {name: Input.from_dict(value) for name, value in raw.items()}


def measure(file: Path, sha256: str = "") -> Output:
    """Size and sha256 of a file, which is read unless the latter is known."""
    if not sha256:
        with file.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Output(file.name, file.stat().st_size, sha256)
