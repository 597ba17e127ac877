"""The record of what one attempt at a step logs.

It is ``record.jsonl`` in the folder of the logged files, each line a JSON object::

    {"kind":"metric","name":"loss","step":3,"value":0.25,"time":"2026-03-01T12:00:00.000000+00:00"}
    {"kind":"param","name":"rows","value":1797,"time":"..."}
    {"kind":"file","name":"curve","file":"curve.png","time":"..."}
    {"kind":"model","name":"digits","file":"digits","flavour":"sklearn","signature":true,"time":"..."}

``step`` is a whole number, ``value`` of a metric a number, or the text ``nan``, ``inf``, ``-inf``.
A file lies in the same folder, and so does the folder of a model. Times are UTC in ISO 8601. Kinds
that a reader doesn't know are passed over.

A line is appended by one call of the system, the moment that it is logged: nothing is lost when
the kernel is killed, and threads and forked processes may log at once.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dsml.step.facts import now

if TYPE_CHECKING:
    from dsml.step.redact import Redactor
    from dsml.store.manifest import Json, LoggedModel

RECORD_FILE = "record.jsonl"
METRIC, PARAM, FILE, MODEL = "metric", "param", "file", "model"

Echo = Callable[[str], object]


class Record:
    """Writes the record in ``folder``; ``echo`` is told what is logged, of a curve not every point.

    ``params``, ``files`` and ``models`` hold what has been logged so far, ``not_finite`` the
    metrics that have been NaN or infinite. ``redactor`` takes the secrets of the step out of all
    that is written here; None where it has none.
    """

    def __init__(self, folder: Path, echo: Echo | None = None) -> None:
        self.folder = folder
        self.params: dict[str, Json] = {}
        self.files: dict[str, str] = {}
        self.models: set[str] = set()
        self.not_finite: set[str] = set()
        self.redactor: Redactor | None = None
        self._echo = echo
        self._file: int | None = None
        self._names: dict[str, str] = {}
        self._next: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def begin_anew(self) -> None:
        """Forget what the notebook has left that was run by hand before."""
        file = self.folder / RECORD_FILE
        if file.exists():
            file.write_bytes(b"")

    def without_secrets(self, text: str) -> str:
        """A text as it may be written."""
        return text if self.redactor is None else self.redactor.text(text)

    def add_point(self, name: str, value: float, step: int | None) -> None:
        """Add a point of a metric; without a step it comes one after the highest so far."""
        highest = self._next.get(name, 0)
        if step is None:
            step = highest
        self._next[name] = max(highest, step + 1)
        quoted = self._names.get(name)
        if quoted is None:
            quoted = self._names[name] = json.dumps(self.without_secrets(name))
        shown = repr(value) if math.isfinite(value) else f'"{value}"'
        # by hand, and not by ``json``: there may be 100,000 of them
        self._append(
            f'{{"kind":"{METRIC}","name":{quoted},"step":{step},"value":{shown},"time":"{now()}"}}\n'
        )
        if self._echo is not None:
            self._echo_point(name, value, step)

    def add_param(self, name: str, value: Json) -> None:
        """Add a fact."""
        self.params[name] = value
        self.add(PARAM, name, value=value)

    def add_file(self, name: str, file: str) -> None:
        """Add a file that has been written to the folder."""
        if self.redactor is not None:
            self.redactor.file(self.folder / file)
        put_file(self.files, name, file)
        self.add(FILE, name, file=file)

    def add_model(self, model: LoggedModel) -> None:
        """Add a model whose folder, which bears its name, has been written."""
        name = model.folder
        if self.redactor is not None:
            for file in filter(Path.is_file, (self.folder / name).rglob("*")):
                self.redactor.file(file)
        self.models.add(name)
        self.add(MODEL, name, file=name, flavour=model.flavour, signature=model.signature)

    def add(self, kind: str, name: str, **fields: Json) -> None:
        """Add anything else, with fields of its own."""
        if self.redactor is not None:
            name, fields = self.redactor.text(name), self.redactor.clean(fields)
        entry = {"kind": kind, "name": name, **fields, "time": now()}
        self._append(json.dumps(entry, separators=(",", ":"), allow_nan=False) + "\n")
        if self._echo is not None:
            self._echo(f"{kind} {name} = {fields.get('value', fields.get('file'))}")

    def close(self) -> None:
        """Close the file, so that it can be moved on any system; a later line opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, line: str) -> None:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._file = os.open(self.folder / RECORD_FILE, flags, 0o644)
        os.write(self._file, line.encode())

    def _echo_point(self, name: str, value: float, step: int) -> None:
        """Tell the first points, then every tenth, every hundredth, and so on."""
        count = self._counts[name] = self._counts.get(name, 0) + 1
        if self._echo is not None and count % 10 ** (len(str(count)) - 1) == 0:
            at = f"[{step}]" if step else ""
            self._echo(f"{METRIC} {name}{at} = {value}")


def put_file(files: dict[str, str], name: str, file: str) -> None:
    """Add a file to ``files``; a name that it had before is gone."""
    for other in [other for other, known in files.items() if known == file]:
        del files[other]
    files[name] = file


@functools.cache
def record_in(folder: str) -> Record:
    """The record of an attempt, one in a process however often the context is fetched."""
    return Record(Path(folder))
