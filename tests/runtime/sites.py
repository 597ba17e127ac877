"""Runs for the tests of the site: written down through the store's own API, not run."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat

from dsml.evidence.site.build import Built, build
from dsml.step.process import mark
from dsml.step.record import Record
from dsml.store import Attempt, Input, Manifest, StepRun, Store, Value
from dsml.store.manifest import measure
from dsml.store.runs import RunRecord, begin, keep_run

BEGINNING = datetime(2026, 3, 1, 12, tzinfo=UTC)
# The smallest PNG: one pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360"
    "f8cfc00000000301010018dd8db00000000049454e44ae426082"
)


def run_id_of(number: int) -> str:
    """The id of a run; those of two runs have nothing in common."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))


def executed(*outputs: Mapping[str, str], text: str = "# A title\n\nWhat it does.") -> str:
    """An executed notebook: a text, and a cell of code for each output (type → content)."""
    cells = [nbformat.v4.new_markdown_cell(text, id="text")]
    for number, data in enumerate(outputs):
        output = nbformat.v4.new_output("display_data", data=dict(data))
        cell = nbformat.v4.new_code_cell(
            f"secret_code = {number}", outputs=[output], execution_count=number, id=f"code-{number}"
        )
        cells.append(cell)
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells))


@dataclass
class Done:
    """What a step of a run has done.

    `kept` are files of the attempt, `logged` files that it has logged, `earlier` are the
    messages of attempts that failed before.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Input] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    outs: Mapping[str, bytes] = field(default_factory=dict)
    logged: Mapping[str, bytes] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=lambda: {"log.txt": "a line\n"})
    seconds: float = 5
    error: str = ""
    earlier: tuple[str, ...] = ()


DONE = Done()


class Runs:
    """Writes runs into a store; `number` tells when each of them began, in hours."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def add(self, number: int, steps: Mapping[str, Done] | None = None, **known: Any) -> str:
        """A run; it has ended unless `status` is running."""
        begun = BEGINNING + timedelta(hours=number)
        steps = {"a.b": DONE} if steps is None else steps
        has_failed = any(done.error for done in steps.values())
        record = RunRecord(
            run_id=known.pop("run_id", run_id_of(number)),
            project="small",
            pipeline=known.pop("pipeline", "training"),
            experiment=known.pop("experiment", "wide"),
            partition=known.pop("partition", None),
            started=_iso(begun),
            status=known.pop("status", "failed" if has_failed else "passed"),
            process=known.pop("process", mark()),
            steps=known.pop("planned", {name: [] for name in steps}),
            git=known.pop("git", {"commit": f"{number:040x}", "dirty": False}),
            user=known.pop("user", "ada"),
            **known,
        )
        keep_run(self.store, replace(record, status="running"))
        end = begun
        for name, done in steps.items():
            end = self._step(record, name, done, end)
        if record.status != "running":
            keep_run(self.store, replace(record, ended=_iso(end)))
        return record.run_id

    def end(self, run_id: str, number: int) -> None:
        """A run that was under way ends."""
        run = next(r for r in [self._read(run_id)] if r is not None)
        ended = _iso(BEGINNING + timedelta(hours=number, minutes=1))
        keep_run(self.store, replace(run, status="passed", ended=ended))

    def _read(self, run_id: str) -> RunRecord | None:
        from dsml.store.runs import read_run

        return read_run(self.store, run_id)

    def _step(self, run: RunRecord, name: str, done: Done, begun: datetime) -> datetime:
        errors = (*done.earlier, done.error)
        step, _, key = name.partition("[")
        for number, error in enumerate(errors, start=1):
            attempt = Attempt(
                step=step,
                run_id=run.run_id,
                experiment=run.experiment,
                partition=run.partition,
                number=number,
                status="running",
                error="",
                started=_iso(begun),
                ended="",
                parameters={n: Value(*_pair(v)) for n, v in done.parameters.items()},
                inputs=done.inputs,
                instance=key.removesuffix("]") or None,
                process=mark(),
            )
            begin(self.store, attempt)
            begun += timedelta(seconds=done.seconds)
            if run.status == "running" and name == list(run.steps)[-1]:
                return begun
            self._end(attempt, done, error, begun)
        return begun

    def _end(self, attempt: Attempt, done: Done, error: str, ended: datetime) -> None:
        attempt = replace(
            attempt, ended=_iso(ended), status="failed" if error else "passed", error=error
        )
        staging = self.store.stage(attempt.address, attempt.number)
        for name, text in done.kept.items():
            (staging.evidence / name).write_text(text, encoding="utf-8")
        record = Record(staging.evidence / "logged")
        for name, value in done.metrics.items():
            for step, point in enumerate(value if isinstance(value, list) else [value]):
                record.add_point(name, point, step)
        for file, content in done.logged.items():
            record.folder.mkdir(exist_ok=True)
            (record.folder / file).write_bytes(content)
            record.add_file(Path(file).stem, file)
        record.close()
        self.store.keep_attempt(staging, attempt)
        if not error:
            for file, content in done.outs.items():
                (staging.outs / file).write_bytes(content)
            outs = {Path(file).stem: measure(staging.outs / file) for file in done.outs}
            self.store.publish(staging, _manifest(attempt, done, outs))
        self.store.unstage(staging)


def _manifest(attempt: Attempt, done: Done, outs: Mapping[str, Any]) -> Manifest:
    last = {n: v[-1] if isinstance(v, list) else v for n, v in done.metrics.items()}
    return Manifest(
        **vars(attempt.address),
        parameters=attempt.parameters,
        inputs=attempt.inputs,
        outputs=outs,
        code="",
        git={},
        versions={},
        started=attempt.started,
        ended=attempt.ended,
        attempts=attempt.number,
        executed="",
        metrics=last,
        files={Path(file).stem: file for file in done.logged},
    )


def _pair(value: Any) -> tuple[Any, str]:
    return value if isinstance(value, tuple) else (value, "default")


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def given(path: str, run_id: str) -> Input:
    """An input of three bytes."""
    return Input(path, run_id, "x.bin", 3, "a" * 64)


def address(step: str, run_id: str) -> StepRun:
    """A step of a run that was added without another experiment."""
    return StepRun(step, "wide", run_id)


# --- what a site says -----------------------------------------------------------------------------


def written(store: Store, site: Path, **options: Any) -> Built:
    """Bring a site up to date; nothing may be told."""
    told: list[str] = []
    built = build(store, "small", site, told.append, **options)
    assert told == []
    return built


def files_of(site: Path) -> dict[str, bytes]:
    """All files of a site, by their paths."""
    return {
        path.relative_to(site).as_posix(): path.read_bytes()
        for path in sorted(site.rglob("*"))
        if path.is_file()
    }


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._silent = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._silent += tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """Its text, words parted by one blank."""
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, tag: str) -> Iterator[dict[str, str]]:
        """The attributes of the elements of a kind."""
        return (attributes for name, attributes in self.elements if name == tag)


def page(site: Path, *parts: str) -> Page:
    """A page of a site."""
    return Page(site.joinpath(*parts).read_text(encoding="utf-8"))


def dead_links(site: Path) -> list[str]:
    """The links, pictures, frames and scripts of all pages behind which there is no file."""
    found = []
    for file in site.rglob("*.html"):
        if file.name in ("notebook.html", "report.html"):
            continue  # what the user has written
        for _, attributes in Page(file.read_text(encoding="utf-8")).elements:
            for name in ("href", "src"):
                parts = urlsplit(attributes.get(name, ""))
                target = file.parent / unquote(parts.path)
                if parts.path and not parts.scheme and not target.is_file():
                    found.append(f"{file.relative_to(site)}: {attributes[name]}")
    return found
