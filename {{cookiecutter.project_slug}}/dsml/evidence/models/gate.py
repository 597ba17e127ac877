"""The gate: what a challenger has to be better in before it becomes the champion."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dsml.contract.catalog import Catalog
from dsml.contract.figures import number
from dsml.contract.models import Model
from dsml.evidence.manifests import known_steps, manifests
from dsml.evidence.models.candidates import Candidate
from dsml.evidence.models.decision import Criterion
from dsml.evidence.models.scores import HeldOut, Score, held_out, measure, score_of
from dsml.evidence.models.signatures import incompatible, shown
from dsml.evidence.stored import copy_folder
from dsml.step.checks import CheckResult
from dsml.step.models import load
from dsml.step.record import MODEL
from dsml.step.task import LOGGED_FOLDER
from dsml.store import Manifest, Store

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import PyFuncModel


@dataclass(frozen=True)
class Measured:
    """A model, what it reaches on the held-out data, or why it reaches nothing."""

    model: PyFuncModel | None
    value: float | None
    error: str = ""

    @property
    def text(self) -> str:
        """The value as it is shown."""
        return "" if self.value is None else number(self.value)


class Gate:
    """Compares a challenger with champions, on the same data.

    Raises:
        ProjectError: there is no such data, or nothing to compute the metric with.
    """

    def __init__(
        self, root: Path, catalog: Catalog, store: Store, model: Model, candidate: Candidate
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._model = model
        self._candidate = candidate
        self._data = held_out(store, catalog, model, candidate.manifest, candidate.run_id)
        self._score = score_of(root, model)
        self._copy = tempfile.TemporaryDirectory(prefix="dsml-")

    @cached_property
    def challenger(self) -> Measured:
        """The challenger, as its run has logged it."""
        return _measured(lambda: load(self._folder()), self._data, self._score)

    def champion(self, load_it: Callable[[], PyFuncModel]) -> Measured:
        """A champion on the same data."""
        return _measured(load_it, self._data, self._score)

    def criteria(self, champion: Measured | None) -> list[Criterion]:
        """What is asked of the challenger; ``champion`` is None where there is none yet."""
        found = [self._better(champion)]
        if self._model.least is not None:
            found.append(self._least(self._model.least))
        return [*found, self._checks(), self._signature(champion)]

    def _better(self, champion: Measured | None) -> Criterion:
        name = f"{self._model.metric} on {self._data.about}"
        new = self.challenger
        old = champion.text if champion else "none yet"
        note = new.error or (champion.error if champion else "")
        if note:
            whose = "the challenger" if new.error else "the champion"
            return Criterion(name, False, new.text, old, f"{whose} cannot be measured: {note}")
        if champion is None or new.value is None or champion.value is None:
            return Criterion(name, True, new.text, old)
        if new.value == champion.value:
            return Criterion(name, False, new.text, old, "it is no better, both are equal")
        better = (new.value > champion.value) is self._model.higher
        return Criterion(name, better, new.text, old, "" if better else "it is worse")

    def _least(self, least: float) -> Criterion:
        sign, limit = (">=", "least") if self._model.higher else ("<=", "most")
        value = self.challenger.value
        reached = value is not None and (value >= least if self._model.higher else value <= least)
        note = "" if reached else f"at {limit} {number(least)} is asked for"
        name = f"{self._model.metric} {sign} {number(least)}"
        return Criterion(name, reached, self.challenger.text, "", note)

    def _checks(self) -> Criterion:
        """The checks of the run on what its steps have written."""
        results = [
            (each.step, CheckResult.from_dict(raw))
            for each in self._published()
            for raw in each.checks
        ]
        broken = [f"{step}.{result.out}" for step, result in results if not result.passed]
        name = "checks of the run"
        count = f"{len(results) - len(broken)} of {len(results)} passed" if results else "no checks"
        note = f"broken: {', '.join(dict.fromkeys(broken))}" if broken else ""
        return Criterion(name, not broken, count, "", note)

    def _published(self) -> list[Manifest]:
        run = self._candidate.manifest.address.of_run(self._candidate.run_id)
        found = manifests(self._store, known_steps(self._catalog), run)
        return [each for each in found if each.instance is None]

    def _signature(self, champion: Measured | None) -> Criterion:
        new, old = (_signature_of(each) for each in (self.challenger, champion))
        note = incompatible(new, old) if self.challenger.model is not None else "not loaded"
        held = shown(old) if champion else "none yet"
        return Criterion("signature", not note, shown(new), held, note)

    def _folder(self) -> Path:
        """A local copy of what the run has logged; of local storage the folder itself."""
        manifest = self._candidate.manifest
        folder = f"{LOGGED_FOLDER}/{manifest.models[self._model.name].folder}"
        path = self._store.attempt_path(manifest.origin, manifest.attempts, folder)
        if isinstance(path, Path):
            return path
        copy = Path(self._copy.name, MODEL)
        copy_folder(path, copy)
        return copy


def _measured(load_it: Callable[[], PyFuncModel], data: HeldOut, score: Score) -> Measured:
    """Load a model and measure it; whatever it raises is a reason against it."""
    model: PyFuncModel | None = None
    try:
        model = load_it()
        return Measured(model, measure(model, data, score))
    except Exception as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Measured(model, None, f"{type(error).__name__}: {text}")


def _signature_of(measured: Measured | None) -> ModelSignature | None:
    if measured is None or measured.model is None:
        return None
    signature: ModelSignature | None = measured.model.metadata.signature
    return signature
