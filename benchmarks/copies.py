"""Thousands of runs without the hours that they would take: one, written down again and again.

Every record, manifest, note and trace of the run, and every row that Dagster has of it, is written
once more for each copy, with an id and with times of its own. Its notebooks and artefacts are there
as links. Dagster keeps the log of each run in a database of its own, which nobody opens who looks
at another run: only the newest copies have one.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

_Row = dict[str, Any]  # of a database, by its columns
_APART = timedelta(minutes=1)
_MICROSECOND = timedelta(microseconds=1)
_WITH_A_LOG = 50
_TELLING = (".json", ".jsonl")  # files in which ids and times stand
_ISO = re.compile(rb"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d+(\+00:00)?")
_NANOSECONDS = re.compile(rb'"(1\d{18})"')
_SECONDS = re.compile(rb"\b1\d{9}\.\d+\b")


def multiply(root: Path, number: int) -> list[str]:
    """Write down the only run of a project so many times more, each a minute before the next.

    Returns:
        The ids of the copies, the oldest first.
    """
    (folder,) = (root / "artefacts" / ".runs").iterdir()
    copies = [
        _Copy(folder.name, str(uuid.uuid5(uuid.NAMESPACE_URL, str(n))), _APART * (number - n))
        for n in range(number)
    ]
    if not copies:
        return []
    _multiply_files(root / "artefacts", copies)
    history = root / ".dagster" / "history"
    _multiply_rows(history / "runs.db", copies, "runs", "run_tags")
    logs = history / "runs"
    _multiply_rows(logs / "index.db", copies, "event_logs")
    for copy in copies[-_WITH_A_LOG:]:
        shutil.copyfile(logs / f"{copy.original}.db", logs / f"{copy.run_id}.db")
        _rewrite_log(logs / f"{copy.run_id}.db", copy)
    return [copy.run_id for copy in copies]


@dataclass(frozen=True)
class _Copy:
    """A copy of the run ``original``, which lies ``back`` before it."""

    original: str
    run_id: str
    back: timedelta

    def path(self, path: Path) -> Path:
        """Where a file of the run lies, of the copy."""
        return Path(str(path).replace(self.original, self.run_id))

    def content(self, content: bytes) -> bytes:
        """What a file of the run says, of the copy."""
        content = content.replace(self.original.encode(), self.run_id.encode())
        nanoseconds, seconds = self.back // _MICROSECOND * 1000, self.back.total_seconds()
        content = _ISO.sub(self._moment, content)
        content = _NANOSECONDS.sub(lambda m: b'"%d"' % (int(m[1]) - nanoseconds), content)
        return _SECONDS.sub(lambda m: b"%.6f" % (float(m[0]) - seconds), content)

    def _moment(self, found: re.Match[bytes]) -> bytes:
        text = found[0].decode()
        moment = datetime.fromisoformat(text) - self.back
        return moment.isoformat("T" if "T" in text else " ", "microseconds").encode()

    def row(self, row: _Row) -> _Row:
        """What Dagster has of the run, of the copy."""
        return {name: self._value(value) for name, value in row.items()}

    def _value(self, value: Any) -> Any:
        if isinstance(value, float):
            return value - self.back.total_seconds()
        return self.content(value.encode()).decode() if isinstance(value, str) else value


def _multiply_files(store: Path, copies: Sequence[_Copy]) -> None:
    original = copies[0].original
    found = [f for f in store.rglob("*") if original in str(f.relative_to(store)) and f.is_file()]
    told = {file: file.read_bytes() for file in found if file.suffix in _TELLING}
    for copy in copies:
        for file in found:
            target = copy.path(file)
            target.parent.mkdir(parents=True, exist_ok=True)
            if file in told:
                target.write_bytes(copy.content(told[file]))
            else:
                target.hardlink_to(file)


def _multiply_rows(database: Path, copies: Sequence[_Copy], *tables: str) -> None:
    """Write the rows of a run once more for each copy; with events go the tags that they have."""
    original = copies[0].original
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.row_factory = sqlite3.Row
        for table in tables:
            rows = _rows(connection, table, "run_id", original)
            is_log = table == "event_logs"
            tags = {
                row["id"]: _rows(connection, "asset_event_tags", "event_id", row["id"])
                for row in (rows if is_log else ())
            }
            for copy in copies:
                for row in rows:
                    added = _insert(connection, table, copy.row(row))
                    for tag in tags.get(row["id"], ()):
                        _insert(connection, "asset_event_tags", copy.row(tag | {"event_id": added}))


def _rows(connection: sqlite3.Connection, table: str, column: str, value: Any) -> list[_Row]:
    found = connection.execute(f"SELECT * FROM {table} WHERE {column} = ?", (value,))  # noqa: S608 - ours
    return [dict(row) for row in found]


def _insert(connection: sqlite3.Connection, table: str, row: _Row) -> int | None:
    """Add a row under an id of its own, which is returned."""
    new = {name: value for name, value in row.items() if name != "id"}
    places = ", ".join("?" * len(new))
    statement = f"INSERT INTO {table} ({', '.join(new)}) VALUES ({places})"  # noqa: S608 - ours
    return connection.execute(statement, tuple(new.values())).lastrowid


def _rewrite_log(database: Path, copy: _Copy) -> None:
    """Make the log of a run that of its copy."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.row_factory = sqlite3.Row
        rows = _rows(connection, "event_logs", "run_id", copy.original)
        connection.execute("DELETE FROM event_logs")
        for row in rows:
            _insert(connection, "event_logs", copy.row(row))
