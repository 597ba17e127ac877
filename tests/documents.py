"""What the tests of the documentation share: the blocks of a page, and following what it says.

A page is followed from top to bottom, as a reader does it: a block in `sh` is run; a block with a
title is a file that the reader writes, or a piece of `catalog.yml`; a table after
`<!-- replace: FILE -->` says what becomes of the text of a notebook; a block in `text` after
commands is what they have printed, `…` being anything.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

from conftest import BIN, run_command

_BLOCK = re.compile(
    r'^(?P<indent> *)```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n'
    r"(?P<text>.*?)^(?P=indent)```$"
    r"|^<!-- replace: (?P<files>.+?) -->\n(?P<rows>(?:\|[^\n]*\n)+)",
    re.MULTILINE | re.DOTALL,
)
_CODE = re.compile(r"``? ?(.+?) ?``?(?=<br>|$)")


@dataclass(frozen=True)
class Block:
    """A block of a page. `rows` are what is to be replaced in `files`, and by what."""

    language: str
    title: str
    text: str
    files: Sequence[str] = ()
    rows: Sequence[tuple[str, str]] = ()


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, from top to bottom."""
    for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if found["files"]:
            rows = [_row(line) for line in found["rows"].splitlines()[2:]]
            yield Block("", "", "", found["files"].split(), rows)
        else:
            yield Block(found["language"], found["title"] or "", dedent(found["text"]))


def _row(line: str) -> tuple[str, str]:
    old, new = (cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("| \n"), maxsplit=1))
    return _code(old), "" if new == "nothing" else _code(new)


def _code(cell: str) -> str:
    parts = _CODE.findall(cell)
    assert parts, f"{cell} is no code"
    return "\n".join(parts).replace("\\|", "|")


def lines(page: Path) -> list[str]:
    """The command lines in the blocks of a page."""
    found = [
        line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()
    ]
    return [line for line in found if shlex.split(line, comments=True)]


def words_of(line: str) -> list[str]:
    """The words of a command, without what is set for it: `DSML_FAULTS=1 make run`."""
    words = shlex.split(line, comments=True)
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    return words[2:] if words[:2] == ["uv", "run"] else words


@dataclass
class Reader:
    """Somebody who follows pages, in `folder`, with the tools of the project that they are in.

    `instead` replaces what a reader would write differently, such as the address of the template.
    `elsewhere` are the commands that another test runs. `arrive` is called with each folder that a
    command is run in.
    """

    folder: Path
    instead: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    arrive: Callable[[Path], None] = lambda _: None
    said: str = ""

    def follow(self, page: Path) -> None:
        """Do what a page says, and compare what it states."""
        count = 0
        for block in blocks(page):
            count += 1
            if block.rows:
                self._replace(block)
            elif block.language == "sh":
                self._run(block.text)
            elif block.title == "catalog.yml":
                self._add_to_catalog(block.text)
            elif block.title:
                file = self.folder / block.title
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text, encoding="utf-8")
            elif block.language == "text":
                self._compare(block.text, page)
        assert count, f"{page} says nothing to do"

    def _run(self, script: str) -> None:
        kept = [line for line in script.splitlines() if line.split("  #")[0] not in self.elsewhere]
        text = "\n".join(kept)
        for old, new in self.instead.items():
            text = text.replace(old, new)
        self.said = ""
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["cd"]:
                self.folder /= words[1]
            elif words:
                self.said += self._command(line.replace("uv run ", ""))

    def _command(self, line: str) -> str:
        self.arrive(self.folder)
        tools = self.folder / ".venv" / "bin"
        done = run_command(
            *("bash", "-ec", line),
            cwd=self.folder,
            input="\n" * 30,  # whoever is asked takes what is proposed
            PATH=os.pathsep.join((str(tools), str(BIN), os.environ["PATH"])),
        )
        return done.stdout + done.stderr

    def _compare(self, stated: str, page: Path) -> None:
        for line in stated.splitlines():
            parts = [re.escape(part).replace(r"\ ", r"\s+") for part in line.split("…")]
            pattern = r"[^\n]*".join(parts)
            assert re.search(pattern, self.said), f"{page.name}: no '{line}' in\n{self.said}"

    def _add_to_catalog(self, piece: str) -> None:
        """Put the entries of a piece first in their section, or the section last."""
        file = self.folder / "catalog.yml"
        text = file.read_text(encoding="utf-8")
        head, _, entries = piece.partition("\n")
        section = f"\n{head}\n"
        if section in text:
            text = text.replace(section, f"{section}{entries}", 1)
        else:
            text += f"\n{piece}"
        file.write_text(text, encoding="utf-8")

    def _replace(self, block: Block) -> None:
        unused = dict(block.rows)
        for name in block.files:
            file = self.folder / name
            text = file.read_text(encoding="utf-8")
            document = json.loads(text) if file.suffix == ".ipynb" else None
            sources = (
                [text] if document is None else ["".join(c["source"]) for c in document["cells"]]
            )
            for old, new in block.rows:
                if any(old in source for source in sources):
                    unused.pop(old, None)
                sources = [_replaced(source, old, new) for source in sources]
            if document is None:
                file.write_text(sources[0], encoding="utf-8")
                continue
            for cell, source in zip(document["cells"], sources, strict=True):
                cell["source"] = source.splitlines(keepends=True)
            file.write_text(json.dumps(document), encoding="utf-8")
        assert not unused, f"not in {block.files}: {list(unused)}"


def _replaced(source: str, old: str, new: str) -> str:
    """A text with another one in its place; a line of which nothing stays goes as a whole."""
    found = source.replace(old, new)
    if new:
        return found
    gone = {n for n, line in enumerate(source.splitlines()) if line.strip() == old}
    return "\n".join(line for n, line in enumerate(found.split("\n")) if n not in gone)
