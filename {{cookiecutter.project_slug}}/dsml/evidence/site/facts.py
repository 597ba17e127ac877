"""What the pages of a run show, put the way that the templates want it; ``reader`` reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dsml.evidence.comparison import Column
from dsml.evidence.records import Tried
from dsml.evidence.site.previews import Preview
from dsml.evidence.trace import Trace
from dsml.step.checks import CheckResult
from dsml.step.spans import Span
from dsml.store.manifest import Json, LoggedModel
from dsml.store.runs import RunRecord

_LOG_SHOWN = 60_000  # characters at the end of a log that a page shows
_INSTANCES = 50  # of a mapped step, on the page of a run


@dataclass(frozen=True)
class Value:
    """A parameter, a fact or a metric; ``label`` is the step's, ``source`` where it came from."""

    label: str
    name: str
    text: str
    source: str = ""
    curve: str = ""


@dataclass(frozen=True)
class Given:
    """An input; ``href`` leads to the step that has published it, from the folder ``runs``."""

    label: str
    name: str
    path: str
    run_id: str
    sha256: str
    bytes: int
    href: str = ""


@dataclass(frozen=True)
class File:
    """An artefact or a logged file.

    ``path`` is where it lies below the storage, ``copy`` the name of the picture or the page that
    the site has of it, in the folder of the step's page.
    """

    label: str
    name: str
    file: str = ""
    path: str = ""
    glance: Preview = field(default_factory=Preview)
    copy: str = ""
    bytes: int | None = None
    sha256: str = ""
    parts: int | None = None


@dataclass(frozen=True)
class Model:
    """A model that was logged; ``path`` is its folder below the storage."""

    label: str
    name: str
    model: LoggedModel
    path: str


@dataclass(frozen=True)
class AttemptFacts:
    """One attempt: what ``tried`` knows of it, and its files."""

    span: Span
    tried: Tried
    error: str
    traceback: str
    log: str
    is_log_cut: bool
    has_notebook: bool
    has_report: bool

    @property
    def number(self) -> int:
        """Its number, from 1."""
        return self.tried.attempt.number

    @property
    def end_of_log(self) -> str:
        """What a page shows of the log, from the beginning of a line."""
        if len(self.log) <= _LOG_SHOWN:
            return self.log
        return self.log[-_LOG_SHOWN:].partition("\n")[2]


@dataclass(frozen=True)
class StepFacts:
    """A step, or an instance of a mapped one; of a mapped step ``instances`` are there.

    ``origin`` is the address of the step in the run that has the files, where it was unchanged;
    ``origin_run`` that run's id.
    """

    span: Span
    label: str
    parameters: Sequence[Value] = ()
    inputs: Sequence[Given] = ()
    metrics: Sequence[Value] = ()
    facts: Sequence[Value] = ()
    figures: Sequence[File] = ()
    files: Sequence[File] = ()
    artefacts: Sequence[File] = ()
    models: Sequence[Model] = ()
    checks: Sequence[CheckResult] = ()
    attempts: Sequence[AttemptFacts] = ()
    instances: Sequence[StepFacts] = ()
    origin: str = ""
    origin_run: str = ""

    @property
    def pictures(self) -> list[File]:
        """The figures that were logged, and the artefacts that are pictures."""
        glances = (file for file in self.artefacts if file.glance.picture or file.glance.address)
        return [*self.figures, *glances]

    @property
    def report(self) -> AttemptFacts | None:
        """The attempt whose notebook is a report for readers."""
        return next((each for each in reversed(self.attempts) if each.has_report), None)


@dataclass(frozen=True)
class RunFacts:
    """A run. ``linked`` are the runs of the site to which its pages lead, ``unlinked`` others."""

    run_id: str
    project: str
    record: RunRecord | None
    outcome: str
    trace: Trace
    steps: Sequence[StepFacts]
    values: Mapping[Column, Json]
    linked: frozenset[str] = frozenset()
    unlinked: frozenset[str] = frozenset()

    @cached_property
    def leaves(self) -> list[StepFacts]:
        """The steps, each mapped one followed by its instances."""
        return [part for step in self.steps for part in (step, *step.instances)]

    @cached_property
    def shown(self) -> list[StepFacts]:
        """Those that the page of the run lists; of many instances the page of the step has all."""
        return [part for step in self.steps for part in (step, *step.instances[:_INSTANCES])]

    @cached_property
    def reports(self) -> list[StepFacts]:
        """The steps that have a report for readers."""
        return [step for step in self.leaves if step.report is not None]

    def attribute(self, name: str) -> Any:
        """What the run's span says; "" where that is nothing."""
        return self.trace.run.attributes.get(name, "")

    @property
    def commit(self) -> str:
        """The commit that was run."""
        return str(self.attribute("dsml.git.commit"))

    @property
    def named(self) -> dict[str, str]:
        """The facts of git and of the job of continuous integration, by their names."""
        found = self.trace.run.attributes.items()
        return {
            name.removeprefix("dsml.").replace(".", " ").replace("_", " "): str(value)
            for name, value in found
            if name.startswith(("dsml.git.", "dsml.ci."))
        }
