"""Keep a slow optional module from being imported by a library that can do without it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(module: str) -> Iterator[None]:
    """Let ``import module`` fail in here, unless it has been imported already.

    jsonschema imports ``rfc3987_syntax`` where JupyterLab has installed it: 1.2 s to build a
    grammar for a check of URIs that no notebook needs.
    """
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # what the import system looks for
    try:
        yield
    finally:
        del sys.modules[module]
