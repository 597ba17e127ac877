"""What a run has left behind, as tables and as plain data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dsml.cli.format import number
from dsml.contract.figures import size
from dsml.store import Attempt, Manifest, StepRun, Store


def manifests(store: Store, steps: Iterable[str], experiment: str, run_id: str) -> list[Manifest]:
    """The manifests of a run, in the order of ``steps``."""
    found = (store.manifest(StepRun(step, experiment, run_id)) for step in steps)
    return [manifest for manifest in found if manifest is not None]


def address(found: Manifest | Attempt) -> StepRun:
    """Where the files of a published step, or of an attempt, lie."""
    return StepRun(found.step, found.experiment, found.run_id, found.partition)


def artefacts(store: Store, found: Iterable[Manifest]) -> Iterator[dict[str, Any]]:
    """Every published artefact: catalog path, where it lies, bytes, sha256."""
    for manifest in found:
        for name, output in manifest.outputs.items():
            yield {
                "artefact": f"{manifest.step}.{name}",
                "path": str(store.path(address(manifest), output.file)),
                "bytes": output.bytes,
                "sha256": output.sha256,
            }


def show_artefacts(console: Console, store: Store, found: Iterable[Manifest]) -> None:
    """Print the artefacts of a run as a table."""
    rows = list(artefacts(store, found))
    if not rows:
        return
    table = Table(title="Artefacts", title_justify="left", box=None, pad_edge=False)
    table.add_column("artefact", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("file", overflow="fold")
    for row in rows:
        table.add_row(row["artefact"], size(row["bytes"]), short_path(row["path"]))
    console.print(table, highlight=False)


def show_metrics(console: Console, found: Iterable[Manifest]) -> None:
    """Print the figures that the notebooks of a run have logged."""
    rows = [(m.step, name, value) for m in found for name, value in m.metrics.items()]
    if not rows:
        return
    table = Table(title="Figures", title_justify="left", box=None, pad_edge=False)
    table.add_column("step", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right")
    for step, name, value in rows:
        table.add_row(step, name, number(value))
    console.print(table, highlight=False)


def short_path(path: str) -> str:
    """A local path as seen from here, a URL as it is."""
    if "://" in path:
        return path
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else str(Path(relative))
