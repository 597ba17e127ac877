"""Published runs that have logged models, made without Dagster: quick enough for many of them."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.dummy import DummyClassifier

from dsml import Context
from dsml.contract.catalog import read_catalog
from dsml.contract.project import read_project
from dsml.step.checks import Broken, CheckResult
from dsml.step.facts import now
from dsml.step.record import record_in
from dsml.step.reported import Reported
from dsml.step.task import Task, begun, manifest_of, measure_outs, record_of, setting_of
from dsml.store import StepRun, Store, Value
from dsml.store.runs import RunRecord, keep_run

from .projects import Step, write_project

# A model that always says the same is right for so many of the ten rows.
RIGHT = {"one": 5, "two": 3, "three": 2}
HOLDOUT = pd.DataFrame(
    {"x": range(10), "y": [word for word, count in RIGHT.items() for _ in range(count)]}
)
MODELS = {"m": {"metric": "accuracy", "holdout": "a.split.test", "target": "y"}}
STEPS = {
    "a.split": Step("pass", outs={"test": "test.parquet"}),
    "b.fit": Step("pass", ins={"test": "a.split.test"}, outs={"done": "done.txt"}),
    "c.look": Step("pass", ins={"done": "b.fit.done"}, outs={"seen": "seen.txt"}),
}


def import_mlflow() -> Any:
    """MLflow, with what tests need of it: only when they run, since it takes two seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own type hints
        import mlflow.pyfunc
    return mlflow


def saying(word: str, columns: str = "x", dtype: str = "int64") -> tuple[Any, pd.DataFrame]:
    """A model that always says the same word, and an example of what it takes."""
    example = pd.DataFrame({name: [1, 2] for name in columns}).astype(dtype)
    model = DummyClassifier(strategy="constant", constant=word).fit(example, [word, "other"])
    return model, example


def write_models_project(root: Path, **catalog_keys: Any) -> Path:
    """Write a project whose step `b.fit` may log the model `m`; it tracks in a folder."""
    keys = {"models": MODELS, **catalog_keys}
    storage = keys.pop("storage", "artefacts")
    environments = {"dev": {"storage": storage, "mlflow": ".mlflow"}}
    return write_project(root, STEPS, environments=environments, **keys)


@dataclass(frozen=True)
class Runs:
    """Makes runs in a project."""

    root: Path

    @property
    def store(self) -> Store:
        return Store.open(self.root, read_catalog(self.root, []))

    def run(
        self,
        run_id: str,
        word: str = "",
        *,
        log: Callable[[Context], object] | None = None,
        broken: bool = False,
        experiment: str = "baseline",
        look: Callable[[Context], object] | None = None,
        record: bool = True,
        holdout: pd.DataFrame = HOLDOUT,
    ) -> str:
        """Publish a run: held-out data, and a fit that has logged a model which says `word`.

        `log` logs more in `b.fit`, `look` in `c.look`; `broken` breaks a check; without `record`
        the run leaves none, as one in a process of Dagster's own.
        """
        waits = {"a.split": [], "b.fit": ["a.split"], "c.look": ["b.fit"]}
        if record:
            of_run = RunRecord(run_id, "small", "all", experiment, None, now(), steps=waits)
            keep_run(self.store, of_run)
        self.publish(run_id, "a.split", lambda c: c.save("test", holdout), experiment)

        def fit(context: Context) -> None:
            context.save("done", "done")
            if word:
                model, example = saying(word)
                context.log_model("m", model, input_example=example)
                context.log_metric("accuracy", RIGHT[word] / 10)
            if log is not None:
                log(context)

        self.publish(run_id, "b.fit", fit, experiment, broken=broken)
        if look is not None:
            self.publish(run_id, "c.look", look, experiment)
        return run_id

    def publish(
        self,
        run_id: str,
        step: str,
        work: Callable[[Context], object],
        experiment: str = "baseline",
        *,
        broken: bool = False,
        instance: str | None = None,
    ) -> None:
        """Publish one step, as a runner does."""
        spec = read_project(self.root).steps[step]
        address = StepRun(step, experiment, run_id, None, instance)
        store = self.store
        inputs = {
            name: found
            for name, path in spec.ins.items()
            if (found := store.resolve(path, address)) is not None
        }
        values: Mapping[str, Value] = {}
        task = begun(Task(self.root, spec, store, address, 1, values, inputs))
        staging = store.stage(address, task.number)
        setting = setting_of(task, staging)
        record = record_in(setting.logged)
        work(Context(setting, logging.getLogger("tests"), record))
        record.close()
        reported = Reported.read(record.folder)
        store.keep_attempt(staging, record_of(task, "passed"))
        problems = (Broken("column 'x'", "max 1", count=1, first=(("0", "2"),)),) if broken else ()
        checks = [CheckResult("done", blocking=False, problems=problems)]
        for name in spec.outs:  # what the work has not written is of no interest
            out = staging.outs / spec.outs[name]
            out.touch()
        outputs = measure_outs(task, staging, print)
        manifest = manifest_of(task, outputs, reported, checks=checks)
        store.publish(staging, manifest)
        store.unstage(staging)


def copy_database(root: Path, database: Path) -> None:
    """Give a project an MLflow that has nothing in it yet: to make one takes two seconds."""
    folder = root / ".mlflow"
    folder.mkdir()
    shutil.copy(database, folder / "mlflow.db")
