"""The models of a project that are promoted: which metric decides, and on which data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dsml.contract.declared import Record, key, keys_of
from dsml.contract.names import FUNCTION
from dsml.contract.problem import suggest

MODEL_NAME = r"[A-Za-z0-9_][A-Za-z0-9_-]*"  # of a folder, and of a registered model in MLflow
# The metrics that need nothing but the labels and what a model says, by whether more is better.
_HIGHER = (
    *("accuracy", "balanced_accuracy", "f1", "f1_macro", "f1_micro", "f1_weighted"),
    *("precision", "precision_macro", "recall", "recall_macro", "jaccard"),
    *("cohen_kappa", "matthews_corrcoef", "r2", "explained_variance"),
)
_LOWER = ("mae", "mse", "rmse", "mape", "median_absolute_error", "max_error", "mean_pinball_loss")
METRICS: Mapping[str, bool] = {**dict.fromkeys(_HIGHER, True), **dict.fromkeys(_LOWER, False)}


@dataclass(frozen=True)
class Model:
    """A model that notebooks log under this name, and what decides on its promotion."""

    name: str
    metric: str = key(
        "The metric that decides: the best run is chosen by it as it was logged, and the gate "
        "computes it on the held-out data.",
        default="",
    )
    holdout: str = key(
        "The catalog path of the held-out data, a table that the model has not been fitted to.",
        default="",
    )
    target: str = key("Its column that the model is to name; the others are given.", default="")
    higher: bool = key(
        "Whether a higher value is better; by default as is usual for the metric.",
        schema={"type": "boolean"},
        default=True,
    )
    least: float | None = key(
        "The value that a champion has to reach: at least, or at most where lower is better.",
        schema={"type": ["number", "null"]},
        default=None,
    )
    score: str = key(
        "What computes the metric where it is none of the known ones: module:function, which is "
        "given what is true and what the model says, and returns a number.",
        default="",
    )


def read_model(record: Record) -> Model:
    """Read what stands under the name of a model."""
    record.known(keys_of(Model))
    if not re.fullmatch(MODEL_NAME, record.name):
        record.report((), "is no name of a model", "use letters, digits, '_' and '-'", "no-name")
    metric, score = record.text("metric"), record.text("score")
    for needed, example in (("metric", "accuracy"), ("holdout", "stage.notebook.artefact")):
        if not record.value.get(needed):
            fix = f"write {needed}: {example}"
            record.report((needed,), "is missing", fix, "no-model")
    if score and not FUNCTION.fullmatch(score):
        fix = "write it as module:function, such as my_package.scores:profit"
        record.report(("score",), f"{score!r} is no function", fix, "no-score")
    if metric and not score and metric not in METRICS:
        fix = suggest(metric, METRICS, "name what computes it, score: module:function")
        what = f"nothing computes the metric '{metric}'"
        record.report(("metric",), what, fix, "unknown-metric")
    usual = METRICS.get(metric, True) if not score else True
    higher = record.flag("higher", default=usual)
    if not score and metric in METRICS and higher is not usual:
        better = "higher" if usual else "lower"
        what = f"'{metric}' is better when it is {better}"
        record.report(("higher",), what, "leave it out", "no-model")
    return Model(
        name=record.name,
        metric=metric,
        holdout=record.text("holdout"),
        target=record.text("target", "target"),
        higher=higher,
        least=_least(record),
        score=score,
    )


def _least(record: Record) -> float | None:
    least = record.value.get("least")
    if least is None or (isinstance(least, int | float) and not isinstance(least, bool)):
        return least
    record.report(("least",), f"{least!r} is no number", "write a number", "wrong-type")
    return None
