"""Where an artefact lies: the catalog's path pattern, filled in."""

from __future__ import annotations

from dataclasses import dataclass, replace

# What {partition} becomes for a step that has no partitions beside its experiment.
NO_PARTITION = "all"
# The folder in a step's own in which each instance of a fan-out has one.
INSTANCES_FOLDER = "instances"


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
