"""A metric on held-out data."""

from __future__ import annotations

import importlib
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsml.contract.catalog import Catalog
from dsml.contract.models import Model
from dsml.contract.pickles import is_allowed, is_pickle, refusal
from dsml.contract.problem import Problem, ProjectError, suggest
from dsml.step import formats
from dsml.store import Manifest, Store

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc import PyFuncModel

Score = Callable[[Any, Any], float]

# Name → function of sklearn.metrics, and what it is given beside.
_FUNCTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "accuracy": ("accuracy_score", {}),
    "balanced_accuracy": ("balanced_accuracy_score", {}),
    "f1": ("f1_score", {}),
    "f1_macro": ("f1_score", {"average": "macro"}),
    "f1_micro": ("f1_score", {"average": "micro"}),
    "f1_weighted": ("f1_score", {"average": "weighted"}),
    "precision": ("precision_score", {}),
    "precision_macro": ("precision_score", {"average": "macro"}),
    "recall": ("recall_score", {}),
    "recall_macro": ("recall_score", {"average": "macro"}),
    "jaccard": ("jaccard_score", {}),
    "cohen_kappa": ("cohen_kappa_score", {}),
    "matthews_corrcoef": ("matthews_corrcoef", {}),
    "r2": ("r2_score", {}),
    "explained_variance": ("explained_variance_score", {}),
    "mae": ("mean_absolute_error", {}),
    "mse": ("mean_squared_error", {}),
    "rmse": ("root_mean_squared_error", {}),
    "mape": ("mean_absolute_percentage_error", {}),
    "median_absolute_error": ("median_absolute_error", {}),
    "max_error": ("max_error", {}),
    "mean_pinball_loss": ("mean_pinball_loss", {}),
}


@dataclass(frozen=True)
class HeldOut:
    """What models are measured on: rows that they are given, and what is true of each.

    ``about`` says which artefact of which run it is.
    """

    rows: pd.DataFrame
    truth: pd.Series[Any]
    about: str


def held_out(store: Store, catalog: Catalog, model: Model, manifest: Manifest, run: str) -> HeldOut:
    """The held-out data of the run in which a model was logged.

    It is what the step has read itself, else what the run has published, else the newest.

    Raises:
        ProjectError: there is none, or it is no table with the target in it.
    """
    where = catalog.where("models", model.name, "holdout")
    read = (found for found in manifest.inputs.values() if found.path == model.holdout)
    found = next(read, None) or store.resolve(model.holdout, manifest.address.of_run(run))
    if found is None:
        what = f"{model.holdout} has not been published for '{manifest.experiment}'"
        fix = f"dsml run --select {model.holdout.rpartition('.')[0]}"
        raise ProjectError([Problem(where, what, fix, "no-holdout")])
    file = store.fetch(found, manifest.address)
    if is_pickle(file.name) and not is_allowed(model.holdout, catalog.pickles):
        raise ProjectError([Problem(where, *refusal(model.holdout), "pickle")])
    table = _table(formats.load(file))
    if table is None:
        what, fix = f"{found.file} is no table", "name an artefact that holds a table"
        raise ProjectError([Problem(where, what, fix, "no-table")])
    if model.target not in table.columns:
        what = f"models.{model.name}.target: {found.file} has no column '{model.target}'"
        fix = suggest(model.target, map(str, table.columns))
        where = catalog.where("models", model.name, "target")
        raise ProjectError([Problem(where, what, fix, "no-column")])
    about = f"{model.holdout}, {len(table):,} rows"
    return HeldOut(table.drop(columns=model.target), table[model.target], about)


def _table(loaded: Any) -> pd.DataFrame | None:
    import pandas as pd

    if isinstance(loaded, list | dict):
        try:
            return pd.DataFrame(loaded)
        except (ValueError, TypeError):
            return None
    return loaded if isinstance(loaded, pd.DataFrame) else None


def measure(model: PyFuncModel, data: HeldOut, score: Score) -> float:
    """What a model reaches on held-out data.

    Raises:
        Exception: the model cannot take the data, or what it says cannot be scored.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, on other versions than they were fitted by
        value = float(score(data.truth, model.predict(data.rows)))
    if not math.isfinite(value):
        raise ValueError(f"the metric is {value}")
    return value


def score_of(root: Path, model: Model) -> Score:
    """What computes the metric of a model.

    Raises:
        ProjectError: the function that the catalog names cannot be imported.
    """
    if not model.score:
        from sklearn import metrics

        name, options = _FUNCTIONS[model.metric]
        return partial(_scored, partial(getattr(metrics, name), **options))
    module, _, function = model.score.partition(":")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    score: Score = getattr(importlib.import_module(module), function)
    return score


def _scored(function: Callable[[Any, Any], float], truth: Any, said: Any) -> float:
    import numpy as np

    values = np.asarray(said)
    if values.size == len(truth):  # one column is as good as none
        values = values.ravel()
    if values.ndim != 1:
        shape = " x ".join(map(str, values.shape))
        raise ValueError(f"the model says {shape} numbers; name what scores them: score: in models")
    return float(function(truth, values))
