"""What is looked at does not grow with what is not shown: counted, in few runs and in many."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRun
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.tags import PARTITION_NAME_TAG
from fsspec.implementations.memory import MemoryFileSystem

from dsml.contract.project import Project, load_project
from dsml.evidence import trace
from dsml.orchestrate.history import find_run, list_runs
from dsml.step.inputs import find_inputs
from dsml.store import StepRun, Store
from dsml.store.runs import RUN_FILE, run_path

from .projects import Step, write_project
from .sites import BEGINNING, Done, Runs, run_id_of, written

FEW, MANY = 3, 30
_LOOKS = ("open", "os.listdir", "os.scandir", "glob.glob")


class Looked:
    """The files that this process opens and the folders that it lists, below one folder."""

    def __init__(self) -> None:
        self.below = ""
        self.found: list[tuple[str, str]] = []
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.below and event in _LOOKS and isinstance(arguments[0], str | bytes):
            path = os.fsdecode(arguments[0])
            if path.startswith(self.below):
                self.found.append((event, path.removeprefix(self.below)))

    @contextmanager
    def at(self, folder: Path) -> Iterator[list[tuple[str, str]]]:
        """What is looked at meanwhile."""
        self.found = []
        self.below = str(folder)
        try:
            yield self.found
        finally:
            self.below = ""


LOOKED = Looked()  # audit hooks cannot be removed


# --- an input -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project in which one step reads what another has written."""
    steps = {
        "a.b": Step("context.save('x', 1)", outs={"x": "x.json"}),
        "c.d": Step("context.load('x')", ins={"x": "a.b.x"}),
    }
    root = write_project(tmp_path_factory.mktemp("scale") / "project", steps)
    return load_project(root)


def add(store: Store, numbers: Iterable[int]) -> str:
    """Add runs that have published the input, and return the id of the last."""
    return [Runs(store).add(n, {"a.b": Done(outs={"x.json": b"1"})}) for n in numbers][-1]


def find(project: Project, store: Store) -> str:
    """Find the input of a step in a run that has not published it; the run that has."""
    step = project.registered["c.d"]
    found = find_inputs(project.root, store, step, StepRun("c.d", "wide", "another"))
    return found["x"].run_id


def test_an_input_is_found_without_a_look_at_the_other_runs(project, new_local):
    counts = []
    for numbers in (range(FEW), range(FEW, MANY)):
        newest = add(new_local(), numbers)
        with LOOKED.at(new_local().root) as found:
            assert find(project, new_local()) == newest
        assert {event for event, _ in found} == {"open"}
        counts.append(len(found))
    assert counts[0] == counts[1] <= 4


def test_an_input_in_object_storage_is_found_without_listing_anything(
    project, new_memory, monkeypatch
):
    newest = add(new_memory(), range(FEW))
    for name in ("ls", "find", "glob", "walk"):
        monkeypatch.setattr(MemoryFileSystem, name, None)
    assert find(project, new_memory()) == newest


# --- lists of runs --------------------------------------------------------------------------------


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The runs that Dagster's database has given."""
    found: list[str] = []
    row_to_run = SqlRunStorage._row_to_run

    def told(self, row):
        run = row_to_run(self, row)
        found.append(run.run_id)
        return run

    monkeypatch.setattr(SqlRunStorage, "_row_to_run", told)
    return found


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        for number in range(MANY):
            tags = {PARTITION_NAME_TAG: "wide" if number % 2 else "baseline"}
            instance.add_run(DagsterRun("all", run_id_of(number), tags=tags))
        yield instance


def test_of_all_runs_only_those_are_read_that_are_listed(instance, read):
    listed = [run.run_id for run in list_runs(instance, FEW)]
    assert read == listed == [run_id_of(MANY - n) for n in range(1, FEW + 1)]
    read.clear()
    listed = [run.run_id for run in list_runs(instance, FEW, experiment="baseline")]
    assert read == listed == [run_id_of(MANY - n) for n in range(2, 2 * FEW + 1, 2)]


def test_of_all_runs_only_the_newest_is_read_to_show_it(instance, read):
    assert find_run(instance, "latest").run_id == run_id_of(MANY - 1)
    assert read == [run_id_of(MANY - 1)]


def add_ended(store: Store, number: int, hour: float) -> str:
    """Add a run that began at the hour of its number, with a record written at another one."""
    run_id = add(store, [number])
    written = (BEGINNING + timedelta(hours=hour)).timestamp()
    os.utime(run_path(store, run_id, RUN_FILE), (written, written))
    return run_id


def test_of_all_records_only_the_newest_is_read_to_find_the_latest_run(new_local):
    store = new_local()
    newest = [add_ended(store, number, number + 0.5) for number in range(MANY)][-1]
    with LOOKED.at(store.root) as found:
        assert trace.find_run(store, "latest") == newest
    records = [path for _, path in found if path.endswith(RUN_FILE)]
    assert records == [f"/.runs/{newest}/{RUN_FILE}"]


@pytest.mark.parametrize(
    "hours", [(9, 5, 4), (3, 3, 3), (0, 0, 0)], ids=["long", "at once", "dated by other means"]
)
def test_the_latest_run_is_the_one_that_began_last_whenever_its_record_was_written(
    new_local, hours
):
    store = new_local()
    runs = [add_ended(store, number, hour) for number, hour in enumerate(hours, start=1)]
    assert trace.find_run(store, "latest") == runs[-1]


def test_a_report_reads_of_runs_that_it_has_no_more_than_whether_they_are_the_same(
    new_local, tmp_path
):
    add(new_local(), range(MANY))
    written(new_local(), tmp_path / "site")
    new = add(new_local(), [MANY])
    with LOOKED.at(new_local().root) as found:
        assert written(new_local(), tmp_path / "site").written == 1
    others = {path for _, path in found if new not in path}
    assert others == {"/.runs", *(f"/.runs/{run_id_of(n)}/run.json" for n in range(MANY))}
