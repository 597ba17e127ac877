"""A large artefact published and read back, beside a plain copy of the file."""

from __future__ import annotations

import logging
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from upath import UPath

from benchmarks.report import Limit, Result
from benchmarks.timing import ROUNDS, in_turn
from dsml.contract.catalog import DEFAULT_PATTERN
from dsml.step.context import Context, Setting
from dsml.step.formats import load, save
from dsml.step.hashed import noted_sha256
from dsml.step.record import Record
from dsml.step.task import HASHES_FOLDER
from dsml.store import Layout, Manifest, Staging, StepRun, Store
from dsml.store.manifest import Output
from dsml.store.manifest import measure as measure_file

if TYPE_CHECKING:
    import pandas as pd

BYTES = 10**9
TIMES_COPY = 1.3  # at most
SAVED = "ours: save, publish, find, read"
PLAIN = "write, copy, read"
WRITTEN = "write, read"
BY_PATH = "ours, of a file that is written: hash, publish, find, read"
COPY = "copy"
COPIED = "copy, read"
HASHED = "copy, sha256, read"
_RIVALS = {SAVED: PLAIN, PLAIN: PLAIN, WRITTEN: PLAIN, BY_PATH: COPIED, COPIED: COPIED}
_OUT = "table"
_FILE = "table.parquet"
_COLUMNS = 8
_WHEN = "2026-01-01T00:00:00+00:00"


def measure(rounds: int = ROUNDS, size: int = BYTES) -> Result:
    """From a table in a step's memory to the table in the memory of the next; without us, too.

    And from a file that a step has written by its path, which is hashed when it is published.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        table, file = table_of(size), root / _FILE
        save(table, file)
        ours, plain = _Ours(root / "store"), _Plain(root, table, file)
        spent = in_turn(
            {
                SAVED: lambda: ours.saved(table),
                PLAIN: lambda: plain.written(copied=True),
                WRITTEN: lambda: plain.written(copied=False),
                BY_PATH: lambda: ours.by_path(file),
                COPY: plain.copy,
                COPIED: lambda: plain.copied(hashed=False),
                HASHED: lambda: plain.copied(hashed=True),
            },
            rounds,
        )
        megabytes = round(file.stat().st_size / 1e6)
    medians = {name: statistics.median(found) for name, found in spent.items()}
    rows = [
        {
            "way": name,
            "MB": megabytes,
            "median s": round(medians[name], 2),
            "fastest s": round(min(found), 2),
            "slowest s": round(max(found), 2),
            "times the plain way": round(medians[name] / medians[_RIVALS.get(name, COPIED)], 2),
        }
        for name, found in spent.items()
    ]
    times = round(medians[SAVED] / medians[PLAIN], 2)
    # round by round: what writing takes differs more than what is looked for
    beyond = [a - b for a, b in zip(spent[SAVED], spent[WRITTEN], strict=True)]
    more = round(max(statistics.median(beyond), 0) / medians[COPY], 2)
    limits = [
        Limit(
            "saved, published, found and read, times written, copied and read", times, TIMES_COPY
        ),
        Limit("what that takes beyond writing and reading, times a copy", more, TIMES_COPY),
    ]
    note = (
        "Files are in the system's cache. The plain way is the one with a copy: of a table that is "
        "in memory, or of a file that is there."
    )
    return Result("publish", "An artefact published and read back", rows, limits, [note])


def table_of(size: int) -> pd.DataFrame:
    """A table of random numbers, which no compression makes smaller."""
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng(0)
    count = size // (8 * _COLUMNS)
    return pd.DataFrame({f"x{i}": generator.random(count) for i in range(_COLUMNS)})


class _Ours:
    """Publishes an out of a step again and again, each time in another run."""

    def __init__(self, root: Path) -> None:
        self._store = Store(UPath(root), Layout(DEFAULT_PATTERN), root)
        self._runs = 0

    def saved(self, table: pd.DataFrame) -> float:
        """The seconds from a table in a notebook until the next one has it as its input."""
        address, staging = self._stage()
        started = time.perf_counter()
        _context(address, staging).save(_OUT, table)
        self._publish_and_read(address, staging)
        return time.perf_counter() - started

    def by_path(self, source: Path) -> float:
        """The seconds from the end of a notebook until the next one has its input."""
        address, staging = self._stage()
        shutil.copyfile(source, staging.outs / _FILE)  # what it has written; isn't counted
        started = time.perf_counter()
        self._publish_and_read(address, staging)
        return time.perf_counter() - started

    def _stage(self) -> tuple[StepRun, Staging]:
        """The folders of another run, when the files of the one before are gone."""
        before = self._address()
        self._store.path(before, _FILE).unlink(missing_ok=True)
        self._runs += 1
        return self._address(), self._store.stage(self._address(), 1)

    def _address(self) -> StepRun:
        return StepRun("a.table", "baseline", f"run{self._runs}", None)

    def _publish_and_read(self, address: StepRun, staging: Staging) -> None:
        file = staging.outs / _FILE
        output = measure_file(file, noted_sha256(file, staging.private / HASHES_FOLDER))
        self._store.publish(staging, _manifest(address, output))
        self._store.unstage(staging)
        found = self._store.newest("a.table", "baseline")
        if found is None:
            raise RuntimeError("what was published isn't there")
        load(self._store.fetch(found.as_input(_OUT), address))


def _context(address: StepRun, staging: Staging) -> Context:
    """The context that the runner gives the notebook."""
    setting = Setting(
        step=address.step,
        run_id=address.run_id,
        experiment=address.experiment,
        partition_key=None,
        retry_number=0,
        config={},
        sources={},
        ins={},
        outs={_OUT: str(staging.outs / _FILE)},
        logged=str(staging.evidence / "logged"),
        hashes=str(staging.private / HASHES_FOLDER),
    )
    return Context(setting, logging.getLogger(__name__), Record(Path(setting.logged)))


def _manifest(address: StepRun, output: Output) -> Manifest:
    return Manifest(
        step=address.step,
        run_id=address.run_id,
        experiment=address.experiment,
        partition=None,
        parameters={},
        inputs={},
        outputs={_OUT: output},
        code="",
        git={},
        versions={},
        started=_WHEN,
        ended=_WHEN,
        attempts=1,
        executed="",
    )


class _Plain:
    """The same without us."""

    def __init__(self, root: Path, table: pd.DataFrame, file: Path) -> None:
        self._table = table
        self._file = file
        self._written = root / "written.parquet"
        self._copy = root / "copy.parquet"

    def written(self, *, copied: bool) -> float:
        """The seconds to write the table and to read it, or a copy of it."""
        started = time.perf_counter()
        save(self._table, self._written)
        if copied:
            shutil.copyfile(self._written, self._copy)
        load(self._copy if copied else self._written)
        return self._taken(started)

    def copy(self) -> float:
        """The seconds to copy the file that is there."""
        started = time.perf_counter()
        shutil.copyfile(self._file, self._copy)
        return self._taken(started)

    def copied(self, *, hashed: bool) -> float:
        """The seconds to copy the file that is there, to hash the copy, and to read it."""
        started = time.perf_counter()
        shutil.copyfile(self._file, self._copy)
        if hashed:
            measure_file(self._copy)
        load(self._copy)
        return self._taken(started)

    def _taken(self, started: float) -> float:
        taken = time.perf_counter() - started
        for file in (self._written, self._copy):
            file.unlink(missing_ok=True)
        return taken
