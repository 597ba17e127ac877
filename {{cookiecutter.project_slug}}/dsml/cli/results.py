"""What a run has left behind, as tables and as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from dsml.cli.console import make_table
from dsml.contract.figures import number, size
from dsml.store import Manifest, Store


def artefacts(store: Store, found: Iterable[Manifest]) -> Iterator[dict[str, Any]]:
    """Every published artefact: catalog path, where it lies, bytes, sha256."""
    for manifest in found:
        if manifest.instances is not None:
            continue  # its instances have the files
        for name, output in manifest.outputs.items():
            yield {
                "artefact": f"{manifest.address.label}.{name}",
                "path": str(store.path(manifest.origin, output.file)),
                "bytes": output.bytes,
                "sha256": output.sha256,
            }


def show_artefacts(console: Console, store: Store, found: Iterable[Manifest]) -> None:
    """Print the artefacts of a run as a table."""
    rows = list(artefacts(store, found))
    if not rows:
        return
    table = make_table(("artefact", "size"), "Artefacts", right=["size"], no_wrap=True)
    table.add_column("file", overflow="fold")
    for row in rows:
        table.add_row(escape(row["artefact"]), size(row["bytes"]), escape(short_path(row["path"])))
    console.print(table, highlight=False)


def show_metrics(console: Console, found: Iterable[Manifest]) -> None:
    """Print the figures that the notebooks of a run have logged."""
    rows = [
        (m.address.label, name, number(value), m.curves.get(name))
        for m in found
        for name, value in m.metrics.items()
    ]
    if not rows:
        return
    table = make_table(("step", "metric"), "Figures", no_wrap=True)
    table.add_column("value", justify="right")
    if any(curve for *_, curve in rows):
        table.add_column("points", justify="right")
    for step, name, value, curve in rows:
        table.add_row(escape(step), escape(name), value, *([f"{curve.points:,}"] if curve else []))
    console.print(table, highlight=False)


def short_path(path: str) -> str:
    """A local path as seen from here, a URL as it is."""
    if "://" in path:
        return path
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
