"""The graph and the Gantt chart of a run as Mermaid text (https://mermaid.js.org)."""

from __future__ import annotations

from collections.abc import Iterator

from dsml.contract.figures import short_id
from dsml.evidence.steps import NOT_BEGUN, bars, edges, nodes
from dsml.evidence.trace import Trace
from dsml.step.spans import Span

_STYLES = {
    "passed": "fill:#c8e6c9,stroke:#2e7d32,color:#1b1b1b",
    "cached": "fill:#e8f5e9,stroke:#2e7d32,color:#1b1b1b,stroke-dasharray:4",
    "failed": "fill:#ffb3ad,stroke:#b3261e,color:#1b1b1b",
    "killed": "fill:#ffb3ad,stroke:#b3261e,color:#1b1b1b",
    "cancelled": "fill:#ffe0b2,stroke:#b26a00,color:#1b1b1b",
    "running": "fill:#bbdefb,stroke:#1565c0,color:#1b1b1b",
    NOT_BEGUN: "fill:#eeeeee,stroke:#757575,color:#1b1b1b",
}
# What a Gantt chart can say of a task.
_TASKS = {"failed": "crit, ", "killed": "crit, ", "cancelled": "crit, ", "running": "active, "}
_MILLISECOND = 1_000_000


def graph_mermaid(trace: Trace) -> str:
    """A flowchart of the steps, coloured by what came of them."""
    return "\n".join(_graph(trace)) + "\n"


def _graph(trace: Trace) -> Iterator[str]:
    yield "flowchart LR"
    numbers: dict[str, int] = {}
    for node in nodes(trace):
        number = numbers.setdefault(node.step, len(numbers))
        yield f'  s{number}["{node.step}<br/>{node.about}"]:::{_class(node.outcome)}'
    for above, below in edges(trace):
        yield f"  s{numbers[above]} --> s{numbers[below]}"
    for outcome in dict.fromkeys(node.outcome for node in nodes(trace)):
        yield f"  classDef {_class(outcome)} {_STYLES[outcome]}"


def _class(outcome: str) -> str:
    return outcome.replace(" ", "_")


def gantt_mermaid(trace: Trace) -> str:
    """A Gantt chart of the attempts, a section for each step."""
    return "\n".join(_gantt(trace)) + "\n"


def _gantt(trace: Trace) -> Iterator[str]:
    yield "gantt"
    yield f"  title {trace.run.name}, run {short_id(trace.run_id)}"
    yield "  dateFormat x"
    yield "  axisFormat %H:%M:%S"
    for step, spans in bars(trace).items():
        yield f"  section {step}"
        yield from (f"    {_task(step, span)}" for span in spans)


def _task(step: str, span: Span) -> str:
    name = span.name.removeprefix(step).strip() or span.outcome
    start, end = span.start // _MILLISECOND, span.end // _MILLISECOND
    return f"{name} :{_TASKS.get(span.outcome, 'done, ')}{start}, {max(end, start + 1)}"
