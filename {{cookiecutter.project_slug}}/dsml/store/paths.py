"""Where an artefact lies: the catalog's path pattern, filled in."""

from __future__ import annotations

from dataclasses import dataclass, replace

# What {partition} becomes for a step that has no partitions beside its experiment.
NO_PARTITION = "all"


@dataclass(frozen=True)
class StepRun:
    """One step in one run: the address of everything that it leaves behind."""

    step: str
    experiment: str
    run_id: str
    partition: str | None = None

    def of_run(self, run_id: str) -> StepRun:
        """The same step, experiment and partition in another run."""
        return replace(self, run_id=run_id)


@dataclass(frozen=True)
class Layout:
    """The catalog's pattern, such as ``{experiment}/{stage}/{notebook}/{run_id}/{file}``."""

    pattern: str

    def path(self, address: StepRun, file: str) -> str:
        """The path of a file, relative to the storage root, with forward slashes."""
        stage, notebook = address.step.split(".")
        return self.pattern.format(
            experiment=address.experiment,
            stage=stage,
            notebook=notebook,
            run_id=address.run_id,
            partition=address.partition or NO_PARTITION,
            file=file,
        )
