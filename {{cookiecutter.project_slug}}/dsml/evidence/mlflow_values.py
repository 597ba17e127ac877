"""What a step has logged, in the terms of MLflow: metrics, params and their names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from dsml.contract.figures import shortened
from dsml.evidence.records import Tried
from dsml.step.record import METRIC

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param

_NOT_IN_KEYS = re.compile(r"[^\w.\- /]", re.ASCII)
_LONGEST_KEY, _LONGEST_PARAM = 250, 6000  # characters, of MLflow
T = TypeVar("T")


def key_of(name: str) -> str:
    """A name as MLflow takes it: ``train.fit[100].loss`` becomes ``train.fit/100.loss``."""
    return _NOT_IN_KEYS.sub("_", name.replace("[", "/").replace("]", ""))[:_LONGEST_KEY]


def milliseconds(moment: str) -> int:
    """A moment in ISO 8601 as MLflow counts it, since 1970."""
    return int(datetime.fromisoformat(moment).timestamp() * 1000)


def points(logged: Iterable[Mapping[str, Any]]) -> list[Metric]:
    """The points of all metrics in a record; of a step that comes twice the last one."""
    from mlflow.entities import Metric

    found: dict[tuple[str, int], Metric] = {}
    for entry in logged:
        if entry.get("kind") == METRIC:
            name, step, moment = key_of(entry["name"]), entry["step"], milliseconds(entry["time"])
            found[name, step] = Metric(name, float(entry["value"]), moment, step)
    return list(found.values())


def last_values(tried: Tried, prefix: str = "") -> list[Metric]:
    """The metrics of a step, each as one value."""
    from mlflow.entities import Metric

    moment = milliseconds(tried.seen)
    return [
        Metric(key_of(prefix + name), float(value), moment, 0)
        for name, value in tried.logged.metrics.items()
    ]


def params(tried: Tried, prefix: str = "", *, mapped: bool = True) -> list[Param]:
    """The parameters of a step, and the facts that it has logged; ``mapped`` ones too, or not."""
    from mlflow.entities import Param

    given = {
        name: value.value
        for name, value in tried.attempt.parameters.items()
        if mapped or value.source != "map"
    }
    facts = {name if name not in given else f"logged {name}": value
             for name, value in tried.logged.params.items()}  # fmt: skip
    return [Param(key_of(prefix + name), _shown(v)) for name, v in {**given, **facts}.items()]


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shortened(text, _LONGEST_PARAM)


def all_pages(search: Callable[..., Any]) -> Iterator[Any]:
    """All that a search of MLflow finds, which gives a page at a time."""
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
