"""Keep a slow optional module from being imported by a library that can do without it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ABSENT = object()


@contextmanager
def without(module: str) -> Iterator[None]:
    """Let ``import module`` fail in here."""
    modules: dict[str, Any] = sys.modules
    before = modules.get(module, _ABSENT)
    modules[module] = None  # what the import system looks for
    try:
        yield
    finally:
        if before is _ABSENT:
            del modules[module]
        else:
            modules[module] = before
