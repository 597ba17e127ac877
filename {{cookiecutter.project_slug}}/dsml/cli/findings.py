"""Findings as text for people, as JSON for machines, as annotations for GitHub."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from dsml.contract.json_lines import line_in_file
from dsml.contract.problem import Problem, Where

FORMATS = ("text", "github", "json")

# https://docs.github.com/actions/reference/workflow-commands-for-github-actions
_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def as_json_text(problems: Sequence[Problem]) -> str:
    """A list of objects, each with place, ``what``, ``fix``, ``name`` and ``severity``."""
    return json.dumps([_as_dict(problem) for problem in problems], indent=1)


def _as_dict(problem: Problem) -> dict[str, object]:
    return {**asdict(problem.where), **{k: v for k, v in asdict(problem).items() if k != "where"}}


def as_github(problems: Sequence[Problem], root: Path) -> Iterator[str]:
    """One workflow command for each finding, which GitHub shows at the line in question."""
    prefix = _folder_in_repository(root)
    texts: dict[str, str] = {}  # a file is read once, and only when something is wrong with it
    for problem in problems:
        where = problem.where
        file = root / where.path
        if where.path not in texts:
            texts[where.path] = _text_of(file)
        properties = {"file": f"{prefix}{where.path}"} if file.is_file() else {}
        line = _line(texts[where.path], where)
        if line is not None and properties:
            properties["line"] = str(line)
        properties["title"] = problem.name
        listed = ",".join(f"{key}={_in_property(value)}" for key, value in properties.items())
        place = str(replace(where, path="") if file.is_file() else where).removeprefix(", ")
        told = "\n".join(text for text in (place, problem.what, problem.fix) if text)
        yield f"::{_COMMANDS[problem.severity]} {listed}::{_in_message(told)}"


def _folder_in_repository(root: Path) -> str:
    """The project's folder below the checkout, since GitHub counts paths from there."""
    checkout = Path(os.environ.get("GITHUB_WORKSPACE") or root).resolve()
    if root == checkout or not root.is_relative_to(checkout):
        return ""
    return f"{root.relative_to(checkout).as_posix()}/"


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        return ""


def _line(text: str, where: Where) -> int | None:
    """The line in the file: a notebook's cells count their own lines."""
    if where.cell is None or not where.path.endswith(".ipynb"):
        return where.line
    return line_in_file(text, where.cell, where.line)


def _in_message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _in_property(text: str) -> str:
    return _in_message(text).replace(":", "%3A").replace(",", "%2C")
