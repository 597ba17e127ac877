"""`run_without.py PART dsml-arguments...`: the command `dsml` without one of its parts.

`forks`: kernels are started as any process is, not forked from a warm one. `saves`: the executed
notebook is written when it is done, and not while it runs.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from unittest import mock

FORKS, SAVES = "forks", "saves"


def _never(*_: object) -> None:
    """Leave out what makes kernels start sooner."""


async def _not_yet(_: object) -> None:
    """Wait for the end of the notebook, by which the one who waits is cancelled."""
    await asyncio.Event().wait()


_LEFT_OUT: Mapping[str, tuple[str, Callable[..., object]]] = {
    FORKS: ("dsml.orchestrate.warm.warm_up", _never),
    SAVES: ("dsml.orchestrate.kernel.Execution._save_now_and_then", _not_yet),
}

if __name__ == "__main__":
    target, instead = _LEFT_OUT[sys.argv.pop(1)]
    with mock.patch(target, instead):  # before it is imported by those who call it
        from dsml.cli import main

        sys.argv[0] = "dsml"
        main()
