"""A glance at an artefact or a logged file, as a page shows it."""

from __future__ import annotations

import base64
import csv
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsml.contract.figures import shortened

_ROWS, _COLUMNS = 8, 12
_TEXT = 4_000  # characters
_LARGEST = 16 * 1024 * 1024  # bytes of a file that is looked into
_LARGEST_PICTURE = 2 * 1024 * 1024  # bytes of one that becomes part of the site
_LARGEST_PAGE = 12 * 1024 * 1024  # bytes of a figure with a library in it, as plotly's have
_LONGEST = 80  # characters of a cell

PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
PAGES = (".html", ".htm")


@dataclass(frozen=True)
class Preview:
    """What is shown: the first rows of a table, a text, a picture, a page; ``note`` says more.

    ``picture`` is the content of a file, or of SVG, which may hold scripts, a ``data:`` address:
    opened by itself it belongs to no site.
    """

    headings: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    text: str = ""
    picture: bytes = b""
    address: str = ""
    page: str = ""
    note: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be seen."""
        return not (self.headings or self.text or self.picture or self.address or self.page)


def can_preview(name: str, size: int) -> bool:
    """Whether there is a glance at a file of that name and size (bytes)."""
    suffix = Path(name).suffix.lower()
    if suffix in PICTURES:
        return size <= _LARGEST_PICTURE
    return suffix in _READERS and size <= _LARGEST


def preview(file: Path) -> Preview:
    """A glance at a file; one that cannot be read says so."""
    suffix = file.suffix.lower()
    try:
        if suffix in PICTURES:
            return _picture(file)
        return _READERS[suffix](file)
    except Exception as error:  # whatever a library makes of a broken file
        return Preview(note=f"no preview: {type(error).__name__}: {error}")


def _picture(file: Path) -> Preview:
    content = file.read_bytes()
    if len(content) > _LARGEST_PICTURE:
        return Preview(note=f"{len(content):,} bytes are too large for a preview")
    if file.suffix.lower() == ".svg":
        data = base64.b64encode(content).decode()
        return Preview(address=f"data:{PICTURES['.svg']};base64,{data}")
    return Preview(picture=content)


def _page(file: Path) -> Preview:
    size = file.stat().st_size
    if size > _LARGEST_PAGE:
        return Preview(note=f"{size:,} bytes are too large for a preview")
    return Preview(page=file.read_text(encoding="utf-8", errors="replace"))


def _csv(file: Path) -> Preview:
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        lines = list(itertools.islice(csv.reader(stream, delimiter=delimiter), _ROWS + 1))
    headings, *rows = lines or [[]]
    return _table(headings, rows, "the first rows" if len(rows) == _ROWS else "")


def _parquet(file: Path) -> Preview:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as content:
        names = content.schema_arrow.names
        batch = next(content.iter_batches(batch_size=_ROWS), None)
        rows: list[Mapping[str, Any]] = [] if batch is None else batch.to_pylist()
        count = content.metadata.num_rows
    cells = [[str(row[name]) for name in names[:_COLUMNS]] for row in rows]
    return _table(names, cells, f"{count:,} rows, {len(names):,} columns")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> Preview:
    more = len(headings) - _COLUMNS
    note = ", ".join(filter(None, [note, f"{more} more columns" if more > 0 else ""]))
    return Preview(
        [str(name) for name in headings[:_COLUMNS]],
        [[shortened(cell, _LONGEST) for cell in row[:_COLUMNS]] for row in rows],
        note=note,
    )


def _json(file: Path) -> Preview:
    value = json.loads(file.read_text(encoding="utf-8"))
    return _cut(json.dumps(value, indent=1, ensure_ascii=False))


def _text(file: Path) -> Preview:
    with file.open(encoding="utf-8", errors="replace") as stream:
        return _cut(stream.read(_TEXT + 1))


def _cut(text: str) -> Preview:
    if len(text) <= _TEXT:
        return Preview(text=text)
    return Preview(text=f"{text[:_TEXT]}…", note=f"the first {_TEXT:,} characters")


_READERS: Mapping[str, Callable[[Path], Preview]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".json": _json,
    ".jsonl": _text,
    ".txt": _text,
    ".md": _text,
    ".log": _text,
    ".yaml": _text,
    ".yml": _text,
    **dict.fromkeys(PAGES, _page),
}
