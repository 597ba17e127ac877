"""What is to be said of a run on one page: how it ended, its graph, its metrics beside others.

It is made of the trace of the run, so a run that failed or was killed has one as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dsml.contract.figures import duration, number, short_id
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.evidence.mermaid import graph_mermaid
from dsml.evidence.records import WENT_WRONG
from dsml.evidence.steps import edges
from dsml.evidence.trace import Trace
from dsml.step.spans import Span
from dsml.store import Store
from dsml.store.runs import RunRecord, read_run, run_ids

# What Mermaid draws at most, unless it is told otherwise.
_MOST_CHARACTERS, _MOST_EDGES = 50_000, 500
_MOST_METRICS, _MOST_FAILURES = 60, 10
_LONGEST = 4000  # characters of an error
Metrics = Mapping[str, float | str]


@dataclass(frozen=True)
class Summary:
    """One run. ``seconds`` is how long it took, ``ref`` the branch or tag of a job of CI."""

    run_id: str
    pipeline: str
    experiment: str
    partition: str = ""
    outcome: str = ""
    started: str = ""
    seconds: float = 0.0
    commit: str = ""
    ref: str = ""
    metrics: Metrics = field(default_factory=dict)

    @classmethod
    def of(cls, trace: Trace) -> Summary:
        """The summary of a run that has left a trace."""
        run = trace.run
        known = {
            name: str(run.attributes.get(f"dsml.{attribute}", ""))
            for name, attribute in _ATTRIBUTES.items()
        }
        return cls(
            run_id=trace.run_id,
            outcome=run.outcome,
            started=run.started.isoformat(timespec="seconds"),
            seconds=round(run.seconds, 1),
            metrics=dict(_logged(trace)),
            **known,
        )

    def is_like(self, other: Summary) -> bool:
        """Whether both were to do the same: pipeline, experiment and partition."""
        mine = (self.pipeline, self.experiment, self.partition)
        return mine == (other.pipeline, other.experiment, other.partition)


def _logged(trace: Trace) -> Iterator[tuple[str, float | str]]:
    """Each metric by its full name; a later attempt has the last word."""
    for span in trace.spans:
        label = span.step if span.instance is None else f"{span.step}[{span.instance}]"
        yield from ((f"{label}.{name}", value) for name, value in span.metrics.items())


_ATTRIBUTES = {
    "pipeline": "pipeline",
    "experiment": "experiment",
    "partition": "partition",
    "commit": "git.commit",
    "ref": "ci.ref",
}


def runs_of_job(store: Store, job: Mapping[str, str]) -> list[str]:
    """The ids of the runs that a job of continuous integration has started, in that order.

    ``job`` are its facts, of which ``system`` and ``run_id`` tell one from all others.
    """

    def dated(run_id: str) -> tuple[RunRecord | None, str]:
        return read_run(store, run_id), run_id

    found = [
        (record.started, run_id)
        for record, run_id in store.each(run_ids(store), dated)
        if record is not None and all(record.ci.get(k) == job[k] for k in ("system", "run_id"))
    ]
    return [run_id for _, run_id in sorted(found)]


# --- as plain data --------------------------------------------------------------------------------


def as_json(summaries: Iterable[Summary]) -> dict[str, Any]:
    """Summaries as plain data."""
    return {"runs": [asdict(summary) for summary in summaries]}


def read_summaries(file: Path) -> list[Summary]:
    """Read what was written as JSON before; nothing where there is no such file.

    Raises:
        ProjectError: the file holds something else.
    """
    known = {each.name for each in fields(Summary)}
    try:
        raw = json.loads(file.read_bytes())
        return [Summary(**{k: v for k, v in run.items() if k in known}) for run in raw["runs"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        fix = f"write it anew: dsml summary --format json > {file}"
        what = "is nothing that dsml summary has written"
        raise ProjectError([Problem(Where(str(file)), what, fix, "no-summary")]) from None


# --- as Markdown ----------------------------------------------------------------------------------


def markdown(
    trace: Trace, against: Sequence[Summary] | None = None, links: Mapping[str, str] | None = None
) -> str:
    """A run as Markdown of the kind that GitHub and GitLab show, with a graph in Mermaid.

    Args:
        trace: the run.
        against: earlier runs, of which the last that was to do the same stands beside its metrics;
            None where nothing is to be compared.
        links: what else there is to see, by what it is called.
    """
    summary = Summary.of(trace)
    before = next((s for s in reversed(against or ()) if s.is_like(summary)), None)
    lines = [
        *_head(summary, links or {}),
        *_failures(trace),
        *_graph(trace),
        *_metrics(summary, before),
    ]
    if against is not None and before is None:
        lines += ["", "There is no earlier run of this kind to compare with."]
    return "\n".join(lines) + "\n"


def _head(summary: Summary, links: Mapping[str, str]) -> Iterator[str]:
    on = ", ".join(filter(None, (summary.experiment, summary.partition)))
    yield f"## {_text(summary.pipeline)} on {_text(on)}: {summary.outcome}"
    yield ""
    facts = [f"Run {short_id(summary.run_id)}", duration(summary.seconds)]
    facts += [_version(summary)] if summary.commit or summary.ref else []
    yield " · ".join([*facts, *(f"[{_text(name)}]({url})" for name, url in links.items())])


def _version(summary: Summary) -> str:
    commit = f"`{summary.commit[:8]}`" if summary.commit else ""
    return " ".join(filter(None, (_text(summary.ref), commit)))


def _failures(trace: Trace) -> Iterator[str]:
    bad = [a for a in trace.attempts if a.outcome in WENT_WRONG]
    for span in bad[:_MOST_FAILURES]:
        yield from ("", f"**{_text(span.name)}**: {span.outcome}")
        if text := _error(span)[:_LONGEST]:
            fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 0)
            yield from ("", f"{fence}text", text, fence)
    if len(bad) > _MOST_FAILURES:
        yield from ("", f"And {len(bad) - _MOST_FAILURES} attempts more.")


def _error(span: Span) -> str:
    """What ended an attempt, whole; of one that was killed there is nothing."""
    told = (event.attributes.get("exception.message", "") for event in span.events)
    return next(filter(None, map(str, told)), span.message)


def _graph(trace: Trace) -> Iterator[str]:
    graph = graph_mermaid(trace)
    yield ""
    if len(graph) > _MOST_CHARACTERS or len(edges(trace)) > _MOST_EDGES:
        yield "The graph has more steps than can be drawn here; the site shows it."
        return
    yield from ("```mermaid", graph.rstrip("\n"), "```")


def _metrics(summary: Summary, before: Summary | None) -> Iterator[str]:
    earlier = {} if before is None else before.metrics
    names = sorted({**summary.metrics, **earlier}, key=lambda name: "[" in name)
    if not names:
        return
    yield ""
    if before is None:
        yield from ("| Metric | This run |", "|---|---:|")
        yield from (f"| {_text(n)} | {_value(summary.metrics, n)} |" for n in names[:_MOST_METRICS])
    else:
        yield f"| Metric | {_version(before) or short_id(before.run_id)} | This run | Change |"
        yield "|---|---:|---:|---:|"
        for name in names[:_MOST_METRICS]:
            pair = f"{_value(earlier, name)} | {_value(summary.metrics, name)}"
            yield f"| {_text(name)} | {pair} | {_change(earlier, summary.metrics, name)} |"
    if len(names) > _MOST_METRICS:
        yield from ("", f"And {len(names) - _MOST_METRICS} metrics more; the site has them all.")


def _value(metrics: Metrics, name: str) -> str:
    return _text(number(metrics[name])) if name in metrics else ""


def _change(earlier: Metrics, now: Metrics, name: str) -> str:
    if name not in earlier:
        return "new"
    if name not in now:
        return "gone"
    one, other = earlier[name], now[name]
    if one == other:
        return "="
    if isinstance(one, str) or isinstance(other, str):  # NaN and the infinities are texts
        return "changed"
    return f"{other - one:+.4g}"


def _text(text: str) -> str:
    """A text that may hold anything, as one that Markdown and its tables take for nothing else."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", " ".join(text.split()))
