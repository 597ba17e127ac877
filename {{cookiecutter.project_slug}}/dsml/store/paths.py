"""Where an artefact lies: the catalog's path pattern, filled in."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from dsml.contract.problem import Problem, ProjectError, Where

# What {partition} becomes for a step that has no partitions beside its experiment.
NO_PARTITION = "all"
NEWEST_FOLDER = ".newest"
SAME_FOLDER = ".same"
# What is kept of runs as a whole, and in it of each the notes of the attempts that it has begun.
RUNS_FOLDER = ".runs"
BEGUN_FOLDER = "begun"
NOTE = ".json"
# The folder in a step's own in which each instance of a fan-out has one.
INSTANCES_FOLDER = "instances"
# What is no name of one file or folder, but leads to another: a separator, a zero, `.` and `..`.
_LEADS_AWAY = re.compile(r"[/\\\0]|\A\.\.?\Z")


def newest_path(address: StepRun) -> str:
    """Where a store notes, below its root, which run has published a step last."""
    partition = address.partition or NO_PARTITION
    return f"{NEWEST_FOLDER}/{address.experiment}/{partition}/{address.step}.json"


def same_path(address: StepRun, fingerprint: str) -> str:
    """Where a store notes, below its root, which run has published a step from all the same."""
    partition = address.partition or NO_PARTITION
    folder = f"{SAME_FOLDER}/{address.experiment}/{partition}/{address.label}"
    return f"{folder}/{fingerprint}.json"


def note_path(address: StepRun, number: int) -> str:
    """Where a store notes, below its root, that an attempt has begun."""
    return f"{RUNS_FOLDER}/{address.run_id}/{BEGUN_FOLDER}/{address.label}.{number}{NOTE}"


def leads_away(path: str) -> bool:
    """Whether a path with forward slashes leaves the folder that it begins in."""
    return any(_LEADS_AWAY.search(name) for name in path.split("/"))


def is_name(name: str) -> bool:
    """Whether it names one file or folder, and is no path, which might lead anywhere."""
    return bool(name) and not _LEADS_AWAY.search(name)


def check_names(*names: str | None) -> None:
    """Look whether each is the name of one file or folder, or empty.

    The catalog allows no others; what stands in the storage may have been written by anybody.

    Raises:
        ProjectError: one of them leads out of its folder.
    """
    for name in names:
        if name and not is_name(name):
            what = f"{name!r} leads out of its folder, so it is neither read nor written"
            fix = "find out who has changed what lies in the storage, and restore it"
            raise ProjectError([Problem(Where("storage"), what, fix, "leads-away")])


def check_inside(root: Path, target: Path) -> None:
    """Look whether a file that is to be written lies below ``root``, links followed.

    Raises:
        ProjectError: a link leads elsewhere.
    """
    real = os.path.realpath(target)
    if not Path(real).is_relative_to(os.path.realpath(root)):
        what = f"a link in the storage leads to '{real}', where nothing is written"
        fix = "replace the link by a folder, or choose that place as the storage"
        raise ProjectError([Problem(Where(str(target)), what, fix, "leads-away")])


@dataclass(frozen=True)
class StepRun:
    """One step in one run: the address of everything that it leaves behind.

    ``instance`` is the key of one instance of a step that is mapped, None for the whole step.
    """

    step: str
    experiment: str
    run_id: str
    partition: str | None = None
    instance: str | None = None

    def __post_init__(self) -> None:
        check_names(self.step, self.experiment, self.run_id, self.partition, self.instance)

    @property
    def label(self) -> str:
        """What a user calls it: ``train.fit``, or ``train.fit[100]``."""
        return self.step if self.instance is None else f"{self.step}[{self.instance}]"

    def named(self, label: str) -> StepRun:
        """The step, or the instance of one, that a label means, in the same run."""
        step, bracket, key = label.partition("[")
        return replace(self, step=step, instance=key.removesuffix("]") if bracket else None)

    def of_run(self, run_id: str) -> StepRun:
        """The same step, experiment and partition in another run."""
        return replace(self, run_id=run_id)

    def of_instance(self, key: str | None) -> StepRun:
        """One instance of the same step, or the whole of it."""
        return replace(self, instance=key)


@dataclass(frozen=True)
class Layout:
    """The catalog's pattern, such as ``{experiment}/{stage}/{notebook}/{run_id}/{file}``."""

    pattern: str

    def path(self, address: StepRun, file: str) -> str:
        """The path of a file, relative to the storage root, with forward slashes."""
        check_names(*file.split("/"))
        stage, notebook = address.step.split(".")
        if address.instance is not None:
            file = f"{INSTANCES_FOLDER}/{address.instance}/{file}"
        return self.pattern.format(
            experiment=address.experiment,
            stage=stage,
            notebook=notebook,
            run_id=address.run_id,
            partition=address.partition or NO_PARTITION,
            file=file,
        )
