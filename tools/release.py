"""Prepare a release, and check that tag, version and CHANGELOG agree.

    python tools/release.py prepare 0.2.0    # CHANGELOG.md and pyproject.toml, for a pull request
    python tools/release.py check v0.2.0     # that the tag may be pushed
    python tools/release.py notes v0.2.0     # what the page of the release says

The standard library alone: the workflow on a tag runs it on a bare machine.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
CHANGELOG, PYPROJECT = "CHANGELOG.md", "pyproject.toml"
UNRELEASED = "Unreleased"
TO_DO = "To do when updating"
NOTHING = "Nothing."  # below TO_DO where a change asks nothing of a project
_ASKING = ("Changed", "Deprecated", "Removed")
_KINDS = ("Added", *_ASKING, "Fixed", "Security", TO_DO)
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_HEADING = re.compile(r"## \[([^\]]+)\](?: - (\S+))?")
_FORM = "write: ## [1.2.0] - 2026-11-30"


class Fault(NamedTuple):
    """What keeps a release from being made."""

    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return "\n  ".join(self)


class ReleaseError(Exception):
    """A release cannot be made; its text says why."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n\n".join(map(str, faults)))


@dataclass(frozen=True)
class Section:
    """One version in the CHANGELOG; ``line`` is that of its heading, counted from 1."""

    name: str
    date: str | None
    line: int
    text: str

    @property
    def kinds(self) -> dict[str, str]:
        """What stands below each heading such as ``Added``."""
        parts = re.split(r"^### (.*)$", self.text, flags=re.MULTILINE)[1:]
        kinds, texts = parts[::2], parts[1::2]
        return {k.strip(): text.strip() for k, text in zip(kinds, texts, strict=True)}

    def fault(self, what: str, fix: str) -> Fault:
        """A fault at the heading of this version."""
        return Fault(f"{CHANGELOG}, line {self.line}", f"[{self.name}] {what}", fix)


def sections(changelog: str) -> list[Section]:
    """The versions of a CHANGELOG, in its order.

    Raises:
        ReleaseError: a heading is not that of a version, or the first is not that of what is
            unreleased.
    """
    lines = changelog.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("## ")]
    found = []
    for start, end in pairwise([*starts, len(lines)]):
        heading = _HEADING.fullmatch(lines[start].rstrip())
        if heading is None:
            what = f"{lines[start]!r} is no heading of a version"
            raise ReleaseError(Fault(f"{CHANGELOG}, line {start + 1}", what, _FORM))
        text = "\n".join(lines[start + 1 : end]).strip()
        found.append(Section(heading[1], heading[2], start + 1, text))
    if not found or found[0].name != UNRELEASED:
        what = f"the first version is not [{UNRELEASED}]"
        raise ReleaseError(Fault(CHANGELOG, what, f"begin with: ## [{UNRELEASED}]"))
    return found


def faults(changelog: str) -> Iterator[Fault]:
    """What is wrong in a CHANGELOG, whatever is released next."""
    unreleased, *released = sections(changelog)
    yield from _faults_of_parts(unreleased)
    for section in released:
        if not _VERSION.fullmatch(section.name) or not _is_date(section.date):
            yield section.fault("is not a version of three numbers with its date", _FORM)
        if not section.text:
            yield section.fault("says nothing", "say what a user notices")
        yield from _faults_of_parts(section)
    for newer, older in pairwise(released):
        if _number(newer.name) <= _number(older.name):
            yield older.fault(f"stands below {newer.name}", "the newest version comes first")


def _faults_of_parts(section: Section) -> Iterator[Fault]:
    for kind, text in section.kinds.items():
        if kind not in _KINDS:
            yield section.fault(f"has a part {kind!r}", f"known are: {', '.join(_KINDS)}")
        if not text:
            yield section.fault(f"has nothing below {kind!r}", "say what, or leave it out")
    asking = [kind for kind in _ASKING if kind in section.kinds]
    if asking and TO_DO not in section.kinds:
        what = f"has {' and '.join(asking)}, and doesn't say what a user has to do"
        yield section.fault(what, f"add: ### {TO_DO}; where that is nothing, below it: {NOTHING}")


def check(tag: str, root: Path = REPOSITORY) -> Section:
    """The version of a tag, which pyproject.toml names and which is the newest in the CHANGELOG.

    Raises:
        ReleaseError: they don't agree, or the CHANGELOG is not in order.
    """
    version = tag.removeprefix("v")
    if version == tag or not _VERSION.fullmatch(version):
        raise ReleaseError(Fault(f"tag {tag!r}", "is no tag of a release", "write: v1.2.0"))
    changelog = (root / CHANGELOG).read_text(encoding="utf-8")
    told = list(faults(changelog))
    unreleased, *released = sections(changelog)
    fix = f"run: make release version={version}"
    declared, newest = _declared(root), released[0].name if released else "none"
    if declared != version:
        told.append(Fault(PYPROJECT, f"the version is {declared}, the tag is {tag}", fix))
    if newest != version:
        told.append(Fault(CHANGELOG, f"the newest version is {newest}, the tag is {tag}", fix))
    elif unreleased.text:
        told.append(unreleased.fault("is not empty", f"move what is in {tag} to [{version}]"))
    if told:
        raise ReleaseError(*told)
    return released[0]


def prepare(version: str, root: Path = REPOSITORY) -> None:
    """Make a version of what is unreleased, in CHANGELOG.md and pyproject.toml.

    Raises:
        ReleaseError: it is no version, it is not above the newest, or there is nothing to release.
    """
    if not _VERSION.fullmatch(version):
        raise ReleaseError(
            Fault(f"version {version!r}", "is no version", "write three numbers: 1.2.0")
        )
    file = root / CHANGELOG
    changelog = file.read_text(encoding="utf-8")
    told = list(faults(changelog))
    unreleased, *released = sections(changelog)
    if not unreleased.text:
        told.append(unreleased.fault("is empty", "say what a user notices"))
    if released and _number(version) <= _number(released[0].name):
        what = f"is not above {released[0].name}, the newest version"
        told.append(Fault(f"version {version!r}", what, "take the next number"))
    if told:
        raise ReleaseError(*told)
    there, today = f"## [{UNRELEASED}]", datetime.now(UTC).date().isoformat()
    _write(file, changelog.replace(there, f"{there}\n\n## [{version}] - {today}", 1))
    text = (root / PYPROJECT).read_text(encoding="utf-8")
    old, new = f'\nversion = "{_declared(root)}"\n', f'\nversion = "{version}"\n'
    _write(root / PYPROJECT, text.replace(old, new, 1))


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")


def _declared(root: Path) -> str:
    content = tomllib.loads((root / PYPROJECT).read_text(encoding="utf-8"))
    return str(content["project"]["version"])


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _is_date(text: str | None) -> bool:
    try:
        return datetime.fromisoformat(text or "").date().isoformat() == text
    except ValueError:
        return False


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say; return the exit code."""
    try:
        match arguments:
            case ["prepare", version]:
                prepare(version)
                print(f"{CHANGELOG} and {PYPROJECT} say {version}. Once that is on main:")
                print(f"  git tag --annotate v{version} --message v{version}")
                print(f"  git push origin v{version}")
            case ["check", tag]:
                print(f"{tag}: tag, version and CHANGELOG agree, of {check(tag).date}")
            case ["notes", tag]:
                print(check(tag).text)
            case _:
                print("usage: release.py prepare VERSION | check TAG | notes TAG", file=sys.stderr)
                return 2
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
