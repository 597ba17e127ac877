"""What is recorded of a step that ran: the manifest, and a record of every attempt.

Both are JSON. Times are UTC in ISO 8601, sizes are bytes, hashes are sha256 in hexadecimal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

VERSION = 1
MANIFEST_FILE = "manifest.json"
ATTEMPT_FILE = "attempt.json"
ATTEMPTS_FOLDER = "attempts"
# What is kept of every attempt, beside its record.
NOTEBOOK_FILE = "executed.ipynb"
HTML_FILE = "executed.html"
LOG_FILE = "log.txt"

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True)
class Value:
    """A parameter's value and where it came from: default, experiment or run."""

    value: Json
    source: str


@dataclass(frozen=True)
class Input:
    """An artefact that a step read: its catalog path, the run that published it, its content.

    ``published`` is when that was, empty where it is not known; it says nothing of the content.
    """

    path: str
    run_id: str
    file: str
    bytes: int
    sha256: str
    published: str = field(default="", compare=False)


@dataclass(frozen=True)
class Output:
    """An artefact that a step published."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything about one published step of one run. A run folder without it does not exist.

    ``code`` is the sha256 of the notebook's code cells, ``attempts`` counts those that it took,
    ``executed`` is the executed notebook's path below the run's folder, ``metrics`` holds the
    last logged value of each metric, as text where it is NaN or infinite.
    """

    step: str
    run_id: str
    experiment: str
    partition: str | None
    parameters: Mapping[str, Value]
    inputs: Mapping[str, Input]
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
    version: int = VERSION

    def to_json(self) -> str:
        """The manifest as it is written."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read a manifest; fields of a newer version are passed over."""
        known = _known(cls, text)
        known["outputs"] = {name: Output(**v) for name, v in known["outputs"].items()}
        return cls(**known)


@dataclass(frozen=True)
class Attempt:
    """One attempt at a step, kept whether it passed or not.

    ``status`` is passed, failed or cancelled; ``error`` is the message a user was shown; ``code``
    is the sha256 of the notebook's code cells.
    """

    step: str
    run_id: str
    experiment: str
    partition: str | None
    number: int
    status: str
    error: str
    started: str
    ended: str
    parameters: Mapping[str, Value]
    inputs: Mapping[str, Input]
    code: str = ""
    version: int = VERSION

    def to_json(self) -> str:
        """The record as it is written."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Attempt:
        """Read a record; fields of a newer version are passed over."""
        return cls(**_known(cls, text))


def _known(cls: type[Manifest | Attempt], text: str | bytes) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(text)
    known = {key: value for key, value in raw.items() if key in cls.__dataclass_fields__}
    known["parameters"] = {name: Value(**v) for name, v in known["parameters"].items()}
    known["inputs"] = {name: Input(**v) for name, v in known["inputs"].items()}
    return known
