"""What a step has logged, read from the record of an attempt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dsml.step.record import FILE, METRIC, MODEL, PARAM, RECORD_FILE, put_file
from dsml.store.manifest import Curve, Json, LoggedModel


class Readable(Protocol):
    """A local path, or one of the store."""

    def read_bytes(self) -> bytes:
        """The content of the file."""


def entries(file: Readable) -> list[dict[str, Any]]:
    """The lines of a record in the order in which they were logged; none where there is no file."""
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    try:  # all at once takes half the time
        found: list[Any] = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:  # the disk was full in the middle of a line
        found = [_parsed(line) for line in lines]
    return [entry for entry in found if isinstance(entry, dict)]


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


@dataclass
class Reported:
    """What a step has logged.

    ``points`` holds the curve of each metric, step → value in the order of the steps, with NaN and
    infinities as text. Of a step, a fact, a file or a model that was logged twice the last one
    counts.
    """

    points: dict[str, dict[int, float | str]] = field(default_factory=dict)
    params: dict[str, Json] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    models: dict[str, LoggedModel] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float | str]:
        """The value of each metric at its last step."""
        return {name: next(reversed(curve.values())) for name, curve in self.points.items()}

    @property
    def curves(self) -> dict[str, Curve]:
        """The metrics that have more than one point."""
        return {name: _curve(points) for name, points in self.points.items() if len(points) > 1}

    @classmethod
    def of(cls, logged: Iterable[Mapping[str, Any]]) -> Reported:
        """Sort the entries of a record by their kind."""
        found = cls()
        for entry in logged:
            kind, name = entry.get("kind"), str(entry.get("name"))
            if kind == METRIC:
                found.points.setdefault(name, {})[entry["step"]] = entry["value"]
            elif kind == PARAM:
                found.params[name] = entry["value"]
            elif kind == FILE:
                put_file(found.files, name, entry["file"])
            elif kind == MODEL:
                found.models[name] = LoggedModel(
                    entry["file"], entry.get("flavour", ""), bool(entry.get("signature"))
                )
        found.points = {name: dict(sorted(curve.items())) for name, curve in found.points.items()}
        return found

    @classmethod
    def read(cls, folder: Path) -> Reported:
        """What the record in a folder of logged files says."""
        return cls.of(entries(folder / RECORD_FILE))


def _curve(points: Mapping[int, float | str]) -> Curve:
    """What the manifest says of a curve; NaN and infinities count as points only."""
    numbers = [value for value in points.values() if not isinstance(value, str)]
    return Curve(len(points), min(numbers, default=None), max(numbers, default=None))
