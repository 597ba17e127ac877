"""The files of a storage: which there are, which step of which run each belongs to, removing them.

On object storage one listing of everything is much cheaper than many of a few files each.
"""

from __future__ import annotations

import contextlib
import os
import string
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dsml.store import StepRun, Store
from dsml.store.paths import INSTANCES_FOLDER, Layout
from dsml.store.remote import delete

_FILE = "{file}"
# The folders of the store's own begin with it; an experiment's name doesn't.
_HIDDEN = "."


def hidden(path: str) -> bool:
    """Whether a file is one of the store's own, and not of a step."""
    return path.startswith(_HIDDEN)


def listed(store: Store) -> dict[str, int]:
    """All files of a storage, as paths below its root, with their bytes.

    The store's own come first, so that what they point at is there when it is looked for.
    """
    if isinstance(store.root, Path):
        return dict(walked(store.root))
    path = store.root.path
    base = path.strip("/") + "/"
    try:
        found = store.root.fs.find(path, detail=True)
    except FileNotFoundError:
        return {}
    sizes = ((name.strip("/").removeprefix(base), about) for name, about in found.items())
    return {name: int(about.get("size") or 0) for name, about in sorted(sizes, key=lambda p: p[0])}


def walked(root: Path) -> Iterator[tuple[str, int]]:
    """All files below a local folder, as paths from there, with their bytes; by their names."""
    for folder, folders, names in os.walk(root):
        folders.sort()  # those that begin with a full stop first
        for name in sorted(names):
            file = Path(folder, name)
            with contextlib.suppress(FileNotFoundError):
                yield file.relative_to(root).as_posix(), file.lstat().st_size


class Owners:
    """Tells of a file by its path which step, or instance, of which run it belongs to."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[tuple[str, str], StepRun] = {}
        literal = [text for text, *_ in string.Formatter().parse(layout.pattern)]
        names = [name for _, name, *_ in string.Formatter().parse(layout.pattern)]
        place = names.index("file")
        # The characters beside a file's name: there its path is cut. None: anywhere.
        self._before = literal[place][-1:] or (None if place else "")
        following = literal[place + 1] if place + 1 < len(literal) else ""
        self._after = following[:1] or (None if place + 1 < len(names) else "")

    def add(self, address: StepRun) -> None:
        """Make a step of a run known; of two that share their paths the first stays."""
        path = self._layout.path(address.of_instance(None), _FILE)
        before, _, after = path.rpartition(_FILE)
        self._known.setdefault((before, after), address.of_instance(None))

    def owner(self, path: str) -> tuple[StepRun, str] | None:
        """The step or instance that a file belongs to, and its path below that; None for others."""
        for end in _cuts(path, self._after, at_end=True):
            after = path[end:]
            for start in _cuts(path[:end], self._before, at_end=False):
                address = self._known.get((path[:start], after))
                if address is not None:
                    return _in_instance(address, path[start:end])
        return None


def _cuts(path: str, beside: str | None, *, at_end: bool) -> Iterator[int]:
    """Where a path may be cut, the longest rest last."""
    if beside == "":
        yield len(path) if at_end else 0
        return
    for place in range(len(path), -1, -1):
        next_to = path[place : place + 1] if at_end else path[max(place - 1, 0) : place]
        if beside is None or next_to == beside:
            yield place


def _in_instance(address: StepRun, file: str) -> tuple[StepRun, str]:
    folder, _, rest = file.partition("/")
    key, slash, inner = rest.partition("/")
    return (
        (address.of_instance(key), inner)
        if folder == INSTANCES_FOLDER and slash
        else (address, file)
    )


def remove(store: Store, paths: Iterable[str], stop_at: Callable[[Path], bool]) -> None:
    """Remove files of a storage, in any order, and the folders that get empty.

    Folders are left from the one on of which ``stop_at`` says so: others may be about to write
    something there.
    """
    if isinstance(store.root, Path):
        remove_local(store.root, paths, stop_at)
        return
    store.each(paths, lambda path: delete(store.at(path)))


def remove_local(root: Path, paths: Iterable[str], stop_at: Callable[[Path], bool]) -> None:
    """Remove files below a local folder, and the folders that get empty."""
    folders: set[Path] = set()
    for path in paths:
        file = Path(path)
        _unlink(root / file)
        folders |= {parent for parent in file.parents if not stop_at(parent)}
    for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
        with contextlib.suppress(OSError):  # something else is in there
            (root / folder).rmdir()


def _unlink(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except PermissionError:  # Windows doesn't delete what may only be read
        file.chmod(0o666)
        file.unlink(missing_ok=True)
