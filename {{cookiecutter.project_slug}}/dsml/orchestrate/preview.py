"""What the UI shows of an artefact: its facts, and a glance at its content."""

from __future__ import annotations

import base64
import csv
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dagster import MetadataValue, TableColumn, TableRecord, TableSchema

from dsml.store import Output

_ROWS = 10
_COLUMNS = 12
_TEXT = 2_000  # characters
_PICTURE = 256 * 1024  # bytes; the picture becomes part of an event in the database
_JSON = 1024 * 1024  # bytes; a larger file is not parsed for a glance at it

Metadata = dict[str, MetadataValue[Any]]


def output_metadata(output: Output, file: Path, url: str) -> Metadata:
    """The metadata of one published artefact; ``file`` is a local copy of it."""
    metadata: Metadata = {
        "path": MetadataValue.path(url),
        "dagster/size_bytes": MetadataValue.int(output.bytes),
        "sha256": MetadataValue.text(output.sha256),
    }
    preview = _PREVIEWS.get(file.suffix.lower())
    if preview is not None:
        try:
            metadata |= preview(file)
        except Exception as error:  # a glance that fails is no reason to fail the step
            metadata["preview"] = MetadataValue.text(f"none: {type(error).__name__}: {error}")
    return metadata


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as Markdown; each cell is one line."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


def picture_markdown(file: Path) -> MetadataValue[Any]:
    """A picture as Markdown that carries its bytes, so that the UI needs no file server."""
    if file.stat().st_size > _PICTURE:
        return MetadataValue.text(f"{file.stat().st_size:,} bytes, too large for a preview")
    data = base64.b64encode(file.read_bytes()).decode()
    return MetadataValue.md(f"![{file.stem}](data:image/png;base64,{data})")


def _picture(file: Path) -> Metadata:
    return {"preview": picture_markdown(file)}


def _csv(file: Path) -> Metadata:
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        lines = list(itertools.islice(csv.reader(stream), _ROWS + 1))
    headings, *rows = lines or [[]]
    widest = max(map(len, lines), default=0)
    names = headings + [f"column {number}" for number in range(len(headings) + 1, widest + 1)]
    return {"preview": _table(names, [dict(zip(names, row, strict=False)) for row in rows])}


def _parquet(file: Path) -> Metadata:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as content:
        names = content.schema_arrow.names
        batch = next(content.iter_batches(batch_size=_ROWS), None)
        rows = [] if batch is None else batch.to_pylist()
        count = content.metadata.num_rows
    metadata: Metadata = {"dagster/row_count": MetadataValue.int(count)}
    return metadata | {"preview": _table(names, rows)}


def _table(names: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> MetadataValue[Any]:
    """The first columns of a table; rows may lack cells, names that stand twice count once."""
    shown = list(dict.fromkeys(names))[:_COLUMNS]
    records = [TableRecord({name: _cell(row.get(name)) for name in shown}) for row in rows]
    return MetadataValue.table(records, TableSchema([TableColumn(name) for name in shown]))


def _cell(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _json(file: Path) -> Metadata:
    if file.stat().st_size > _JSON:
        with file.open(encoding="utf-8") as stream:
            return {"preview": MetadataValue.text(stream.read(_TEXT) + "…")}
    value = json.loads(file.read_text(encoding="utf-8"))
    if isinstance(value, Mapping | list) and len(json.dumps(value)) <= _TEXT:
        return {"preview": MetadataValue.json(value)}
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return {"preview": MetadataValue.md(f"```json\n{text[:_TEXT]}\n```")}


def _text(file: Path) -> Metadata:
    with file.open(encoding="utf-8", errors="replace") as stream:
        text = stream.read(_TEXT)
    return {"preview": MetadataValue.text(text)}


_PREVIEWS = {
    ".png": _picture,
    ".csv": _csv,
    ".parquet": _parquet,
    ".json": _json,
    ".txt": _text,
    ".md": _text,
}
