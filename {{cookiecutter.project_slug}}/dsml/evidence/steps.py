"""What charts show of a run: its steps, those that it never came to among them."""

from __future__ import annotations

from dataclasses import dataclass

from dsml.contract.figures import counted, duration, size
from dsml.evidence.trace import Trace
from dsml.step.spans import Span

NOT_BEGUN = "not begun"


@dataclass(frozen=True)
class Node:
    """A step; ``about`` is a line on what came of it."""

    step: str
    outcome: str
    about: str


def nodes(trace: Trace) -> list[Node]:
    """The steps of a run, in the order of the register."""
    begun = {span.step: span for span in trace.steps}
    planned = trace.run.attributes.get("dsml.run.steps", ())
    return [
        Node(name, begun[name].outcome, _about(begun[name]))
        if name in begun
        else Node(name, NOT_BEGUN, NOT_BEGUN)
        for name in dict.fromkeys([*planned, *begun])
    ]


def edges(trace: Trace) -> list[tuple[str, str]]:
    """Each step that another one waits for, with that one."""
    found = (edge.split(" > ") for edge in trace.run.attributes.get("dsml.run.edges", ()))
    return [(above, below) for above, below in found]


def bars(trace: Trace) -> dict[str, list[Span]]:
    """The attempts at each step, those at all its instances together, by their beginnings.

    A step that was unchanged has none, and stands for itself.
    """
    found: dict[str, list[Span]] = {step.step: [] for step in trace.steps}
    for span in trace.attempts:
        found[span.step].append(span)
    return {
        step.step: sorted(found[step.step], key=lambda s: s.start) or [step] for step in trace.steps
    }


def _about(span: Span) -> str:
    count = span.attributes.get("dsml.instances")
    instances = f"{counted(count, 'instance')}, " if count is not None else ""
    return f"{instances}{span.outcome}, {duration(span.seconds)}"


def told(span: Span) -> str:
    """A line on an attempt: outcome, duration, CPU, memory."""
    found = [span.outcome, duration(span.seconds)]
    cpu = span.attributes.get("dsml.cpu.seconds")
    memory = span.attributes.get("dsml.memory.peak.bytes")
    if cpu is not None:
        found.append(f"{cpu:.1f} s of CPU")
    if memory is not None:
        found.append(f"{size(memory)} of memory")
    return ", ".join(found)
