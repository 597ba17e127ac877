"""One clean-up of a storage at a time.

On a disk that is a lock of the operating system. Object storage has none: there a small object
says who is at it and until when, and is looked at again after a moment, in which another that
found none either would have written its own.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from upath import UPath

from dsml.contract.lock import locked
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.evidence.retention.pins import COMMAND
from dsml.step.process import is_gone, mark
from dsml.store import Store, remote

LEASE = ".gc.json"
_LEASE = timedelta(minutes=15)  # from the last sign of life of the one who holds it
_SETTLE = 2.0  # seconds in which another one's lease is to be seen


@contextlib.contextmanager
def alone(store: Store) -> Iterator[Callable[[], None]]:
    """Keep other clean-ups away; what is given is called now and then, to say that it goes on.

    Raises:
        ProjectError: another one is under way.
    """
    if isinstance(store.root, Path):
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(store.root / "gc", patience=0))
            except ProjectError:
                raise ProjectError([_busy(store, "another process of this machine")]) from None
            yield lambda: None
        return
    path, own = store.root / LEASE, mark()
    _take(store, path, own)
    time.sleep(_SETTLE)

    def go_on() -> None:
        holder, _ = _read(path)
        if holder != own:
            raise ProjectError([_busy(store, holder or "another process")])
        _write(store, path, own)

    go_on()
    try:
        yield go_on
    finally:
        if _read(path)[0] == own:
            remote.delete(path)


def _take(store: Store, path: UPath, own: str) -> None:
    holder, until = _read(path)
    if holder and until > _now() and not is_gone(holder):
        raise ProjectError([_busy(store, holder)])
    _write(store, path, own)


def _read(path: UPath) -> tuple[str, str]:
    try:
        found = json.loads(remote.read(path))
        return str(found["process"]), str(found["until"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return "", ""


def _write(store: Store, path: UPath, own: str) -> None:
    content = {"process": own, "until": _now(_LEASE)}
    store.write(path, json.dumps(content) + "\n")


def _now(later: timedelta = timedelta()) -> str:
    return (datetime.now(UTC) + later).isoformat(timespec="microseconds")


def _busy(store: Store, who: str) -> Problem:
    what = f"{who} is cleaning up {store.root} already"
    fix = f"wait for it; one that was killed is passed over after {_LEASE.seconds // 60} minutes"
    if isinstance(store.root, Path):
        fix = "wait until it has ended, and try again"
    return Problem(Where(COMMAND), what, fix, "busy")
