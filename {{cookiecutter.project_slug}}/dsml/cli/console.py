"""The console that the commands print on."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from rich.console import Console

_WIDE = 240  # columns where there is no terminal: nothing has to be folded


def make_console(*, quiet: bool = False) -> Console:
    """A console on a copy of stdout, since a run sends its own stdout into a file."""
    if quiet:
        return Console(quiet=True)
    stream: TextIO
    try:
        stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding)
    except (OSError, ValueError, AttributeError):  # no file of the system's: under a test runner
        stream = sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _WIDE)
