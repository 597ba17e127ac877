"""A context as a table: where each in comes from, where each out goes, what the parameters are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from dsml.contract.figures import age, short_id, shortened, size

if TYPE_CHECKING:
    from dsml.step.context import Setting

_LONGEST = 60  # characters of a parameter's value that are shown


class _Part(NamedTuple):
    """The rows of one kind, below a line of headings."""

    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]


def as_text(setting: Setting) -> str:
    """The table in columns of equal width."""
    parts = [_aligned([part.headings, *part.rows]) for part in _parts(setting)]
    return "\n\n".join([_title(setting), *parts])


def as_html(setting: Setting) -> str:
    """The same as HTML, in which everything is escaped."""
    return f"<div>{escape(_title(setting))}</div>" + "".join(map(_table, _parts(setting)))


def _title(setting: Setting) -> str:
    partition = f", partition {setting.partition_key}" if setting.partition_key else ""
    experiment = f"experiment {setting.experiment}{partition}"
    return f"{setting.step}, {experiment}, run {short_id(setting.run_id)}"


def _parts(setting: Setting) -> Iterator[_Part]:
    parts = (
        _Part(
            ("in", "artefact", "run", "age", "size"),
            [(name, *_origin(setting, name)) for name in setting.ins],
        ),
        _Part(("out", "file"), list(setting.outs.items())),
        _Part(
            ("parameter", "value", "source"),
            [(n, _shown(v), setting.sources.get(n, "")) for n, v in setting.config.items()],
        ),
    )
    return (part for part in parts if part.rows)


def _origin(setting: Setting, name: str) -> tuple[str, str, str, str]:
    found = setting.inputs.get(name)
    if found is None:
        return str(setting.ins[name]), "", "", ""
    published = age(found.get("published", ""))
    parts = found.get("parts")
    path = found["path"]
    if parts is not None:
        alone = any(part.get("instance") is None for part in parts.values())
        each = "partitions" if alone else "instances"
        path = f"{path}, {len(parts)} {each}"
    return path, short_id(found["run_id"]), published, size(found["bytes"])


def _shown(value: Any) -> str:
    return shortened(repr(value), _LONGEST)


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (zip(row, widths, strict=True) for row in rows)
    return "\n".join("  ".join(f"{c:{w}}" for c, w in line).rstrip() for line in lines)


def _table(part: _Part) -> str:
    rows = [_row("th", part.headings), *(_row("td", row) for row in part.rows)]
    return f'<table style="margin: 0.5em 0">{"".join(rows)}</table>'


def _row(tag: str, cells: Sequence[str]) -> str:
    left = ' style="text-align: left"'
    shown = "".join(f"<{tag}{left}>{escape(cell)}</{tag}>" for cell in cells)
    return f"<tr>{shown}</tr>"
