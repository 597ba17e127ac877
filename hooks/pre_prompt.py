"""Refuse, before the first question, what cookiecutter itself would only answer with a traceback.

The other hooks run when the project's folder has been made and every answer has been rendered. A
folder that may not be written to, or an answer on the command line that is no Jinja, ends before
that. What was asked for is read from the command line of the process that runs this hook; where
that cannot be read, nothing is refused here. Standard library alone, and nothing of it is Jinja.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_JINJA = ("{" + "{", "{" + "%", "{" + "#")
_OPTIONS = ("-o", "--output-dir")


def main() -> int:
    """Print what stands in the way, if anything does; return the exit code."""
    parent = os.getppid()
    found = list(findings(command_of(parent), folder_of(parent)))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


def findings(command: Sequence[str], folder: Path) -> Iterator[str]:
    """What is wrong with a command line that was given in a folder, as lines to print."""
    for answer in command[1:]:
        key, equals, value = answer.partition("=")
        if equals and key.isidentifier() and _is_broken(value):
            yield f"{key}: {value!r} on the command line is read as Jinja, and is none"
            yield "  leave the braces out, or give the answer when you are asked, or in a file:"
            yield "  cookiecutter --config-file, --replay-file"
    target = folder / output_dir(command)
    nearest = next((path for path in (target, *target.parents) if path.exists()), target)
    if not nearest.is_dir():
        yield f"{target}: '{nearest}' is a file, so there can be no folder below it"
        yield "  name another folder: cookiecutter --output-dir FOLDER"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield f"{target}: '{nearest}' may not be written to"
        yield "  name another folder: cookiecutter --output-dir FOLDER"


def output_dir(command: Sequence[str]) -> str:
    """The folder that ``-o`` names, the current one where nothing does."""
    for position, word in enumerate(command):
        if word in _OPTIONS and position + 1 < len(command):
            return command[position + 1]
        for option in _OPTIONS:
            if word.startswith(f"{option}="):
                return word.removeprefix(f"{option}=")
    return "."


def _is_broken(value: str) -> bool:
    """Whether a value holds Jinja that doesn't parse; jinja2 is there where cookiecutter is."""
    if not any(sign in value for sign in _JINJA):
        return False
    try:
        import jinja2
    except ImportError:
        return False
    try:
        jinja2.Environment().parse(value)  # noqa: S701 - it is parsed and never rendered
    except jinja2.TemplateSyntaxError:
        return True
    return False


def command_of(process: int) -> list[str]:
    """The words of a process's command line, none where they cannot be read exactly."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []
    return [os.fsdecode(word) for word in words]


def folder_of(process: int) -> Path:
    """The folder that a process works in, as far as it can be known."""
    try:
        return Path(f"/proc/{process}/cwd").readlink()
    except OSError:
        return Path(os.environ.get("PWD", "."))


if __name__ == "__main__":
    sys.exit(main())
