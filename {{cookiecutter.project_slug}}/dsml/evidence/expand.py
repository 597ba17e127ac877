"""A run as a tree of folders: run, steps, instances, attempts, artefacts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from upath import UPath

from dsml.evidence.attributes import KEPT
from dsml.evidence.charts import gantt_svg, graph_svg
from dsml.evidence.mermaid import gantt_mermaid, graph_mermaid
from dsml.evidence.trace import Trace
from dsml.step.spans import ATTEMPT, INSTANCE, STEP, Span
from dsml.store import Store
from dsml.store.runs import TRACE_FILE

# Where a span's folder lies in the one of the span that it hangs under.
_FOLDERS = {STEP: "steps", INSTANCE: "instances", ATTEMPT: "attempts"}


def expand(store: Store, trace: Trace, folder: Path) -> list[str]:
    """Write a run as a tree of folders below ``folder``; the artefacts in it are copies.

    Returns:
        The files of the store that are gone, relative to the storage.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "run.json", trace.run.plain())
    _write(folder / TRACE_FILE, trace.to_otlp())
    for name, draw in (
        ("graph.svg", graph_svg),
        ("gantt.svg", gantt_svg),
        ("graph.mmd", graph_mermaid),
        ("gantt.mmd", gantt_mermaid),
    ):
        (folder / name).write_text(draw(trace), encoding="utf-8")
    return list(_below(store, trace, trace.run, folder))


def _below(store: Store, trace: Trace, parent: Span, folder: Path) -> Iterator[str]:
    for span in trace.children(parent):
        if span.level not in _FOLDERS:
            continue  # a span of the notebook's own, which is in trace.json
        own = folder / _FOLDERS[span.level] / _name(span)
        _write(own / f"{span.level}.json", span.plain())
        for path, target in _files(span):
            try:
                _copy(store.at(path), own.joinpath(*target))
            except FileNotFoundError:
                yield path
        yield from _below(store, trace, span, own)


def _name(span: Span) -> str:
    names = {STEP: span.step, INSTANCE: span.instance, ATTEMPT: span.attributes.get("dsml.attempt")}
    return str(names[span.level])


def _files(span: Span) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The files of a span: where each lies below the storage, and where it is to go."""
    for name, facts in span.group("evidence").items():
        yield facts["path"], (KEPT[name],)
    for facts in span.group("file").values():
        yield facts["path"], ("logged", facts["file"])
    for facts in span.group("artefact").values():
        if facts["file"]:  # of a mapped step its instances have the files
            yield facts["path"], ("artefacts", facts["file"])


def _copy(source: UPath, target: Path) -> None:
    with source.open("rb") as stream:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as copy:
            shutil.copyfileobj(stream, copy)


def _write(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{json.dumps(content, indent=1, ensure_ascii=False)}\n", encoding="utf-8")
