"""A large artefact published and read back, beside a plain copy of the file."""

from __future__ import annotations

import hashlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from upath import UPath

from benchmarks.report import Limit, Result
from benchmarks.timing import ROUNDS, in_turn
from dsml.contract.catalog import DEFAULT_PATTERN
from dsml.store import Layout, Manifest, StepRun, Store
from dsml.store.manifest import Output
from dsml.store.publish import input_of
from dsml.store.publish import measure as measure_file

BYTES = 10**9
TIMES_COPY = 1.3  # at most
_COLUMNS = 8
_WHEN = "2026-01-01T00:00:00+00:00"


def measure(rounds: int = ROUNDS, size: int = BYTES) -> Result:
    """Hash, publish, find and read a Parquet file of 1 GB; the same without us."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source = root / "table.parquet"
        write_parquet(source, size)
        ours = _Ours(root, source)
        tasks: dict[str, Callable[[], float]] = {
            "ours: hash, publish, find, read": ours.publish,
            "copy, read": lambda: _copied(root, source, hashed=False),
            "copy, sha256, read": lambda: _copied(root, source, hashed=True),
        }
        spent = in_turn(tasks, rounds)
        megabytes = round(source.stat().st_size / 1e6)
    copied = statistics.median(spent["copy, read"])
    rows = [
        {
            "way": name,
            "MB": megabytes,
            "median s": round(statistics.median(found), 2),
            "fastest s": round(min(found), 2),
            "slowest s": round(max(found), 2),
            "times a copy": round(statistics.median(found) / copied, 2),
        }
        for name, found in spent.items()
    ]
    times = round(statistics.median(next(iter(spent.values()))) / copied, 2)
    limit = Limit("times a plain copy", times, TIMES_COPY)
    note = "The file is in the system's cache; what is read is the whole table, by pyarrow."
    return Result("publish", "An artefact published and read back", rows, [limit], [note])


def write_parquet(file: Path, size: int) -> None:
    """Write a table of random numbers, which no compression makes smaller."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    generator = np.random.default_rng(0)
    count = size // (8 * _COLUMNS)
    table = pa.table({f"x{i}": generator.random(count) for i in range(_COLUMNS)})
    pq.write_table(table, file, compression="none", use_dictionary=False)


class _Ours:
    """Publishes the file of a step again and again, each time in another run."""

    def __init__(self, root: Path, source: Path) -> None:
        self._source = source
        self._store = Store(UPath(root / "store"), Layout(DEFAULT_PATTERN), root / "store")
        self._runs = 0

    def publish(self) -> float:
        """The seconds from the end of the notebook until the next one has read its input."""
        self._runs += 1
        address = StepRun("a.table", "baseline", f"run{self._runs}", None)
        staging = self._store.stage(address, 1)
        file = staging.outs / self._source.name
        shutil.copyfile(self._source, file)  # what the notebook has written; isn't counted
        started = time.perf_counter()
        output = measure_file(file)
        self._store.publish(address, staging, _manifest(address, output))
        self._store.unstage(staging)
        found = self._store.newest("a.table", "baseline")
        if found is None:
            raise RuntimeError("what was published isn't there")
        path = self._store.fetch(input_of(found, "table"), address)
        _read(path)
        taken = time.perf_counter() - started
        path.unlink()
        return taken


def _manifest(address: StepRun, output: Output) -> Manifest:
    return Manifest(
        step=address.step,
        run_id=address.run_id,
        experiment=address.experiment,
        partition=None,
        parameters={},
        inputs={},
        outputs={"table": output},
        code="",
        git={},
        versions={},
        started=_WHEN,
        ended=_WHEN,
        attempts=1,
        executed="",
    )


def _copied(root: Path, source: Path, *, hashed: bool) -> float:
    target = root / "copy.parquet"
    started = time.perf_counter()
    shutil.copyfile(source, target)
    if hashed:
        with target.open("rb") as stream:
            hashlib.file_digest(stream, "sha256").hexdigest()
    _read(target)
    taken = time.perf_counter() - started
    target.unlink()
    return taken


def _read(file: Path) -> None:
    import pyarrow.parquet as pq

    pq.read_table(file)
