"""Whether the runtime of a project is as it was generated.

The hook after generation writes ``dsml/SHA256SUMS``, in the form that ``sha256sum --check`` reads,
and ``cruft update`` keeps it in step with the files that it lists. So a file that differs from it
was edited in this project, and a later update may meet that edit.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from dsml.contract.problem import Problem, ProjectError, Where

RUNTIME = "dsml"
SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def write_sums(root: Path) -> None:
    """Write down what the runtime of the project in ``root`` consists of."""
    runtime = root / RUNTIME
    lines = [f"{digest}  {name}\n" for name, digest in _measured(runtime).items()]
    (runtime / SUMS).write_text("".join(lines), encoding="utf-8", newline="\n")


def edits(root: Path) -> dict[str, str]:
    """The files that are not as they were generated: ``changed``, ``added`` or ``missing``.

    Raises:
        ProjectError: the list to compare with is not there, or is no such list.
    """
    there, generated = _measured(root / RUNTIME), _read(root)
    found = dict.fromkeys(generated.keys() - there.keys(), "missing")
    found |= dict.fromkeys(there.keys() - generated.keys(), "added")
    changed = {name for name, _ in there.items() ^ generated.items()} - found.keys()
    found |= dict.fromkeys(changed, "changed")
    return {f"{RUNTIME}/{name}": found[name] for name in sorted(found)}


def _read(root: Path) -> dict[str, str]:
    path = f"{RUNTIME}/{SUMS}"
    fix = f"restore it: git checkout HEAD -- {path}; without one, cruft update brings it"
    try:
        lines = (root / path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        what = f"the list of the runtime's files cannot be read: {error.strerror}"
        raise ProjectError([Problem(Where(path), what, fix, "no-sums")]) from error
    sums = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            what = f"{line[:40]!r} is no sha256 and the name of a file"
            raise ProjectError([Problem(Where(path, line=number), what, fix, "no-sums")])
        sums[match[2]] = match[1]
    return sums


def _measured(runtime: Path) -> dict[str, str]:
    """The sha256 of each file, by its path, the same on every system: git may change line ends."""
    files = {path.relative_to(runtime).as_posix(): path for path in _files(runtime)}
    contents = {name: files[name].read_bytes() for name in sorted(files)}
    return {
        name: hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()
        for name, content in contents.items()
    }


def _files(runtime: Path) -> Iterator[Path]:
    for path in runtime.rglob("*"):
        parts = path.relative_to(runtime).parts
        cached = any(part == "__pycache__" or part.startswith(".") for part in parts)
        if not cached and parts != (SUMS,) and path.is_file():
            yield path
