"""How a kernel ends when its notebook is done, and a run when its steps are.

ipykernel 6 answers a shutdown request from two threads at once: now and then the one waits for a
socket that the other has closed, and the kernel hangs until somebody's patience is over. Here the
kernel runs its exit hooks in its main thread and leaves.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import NoReturn

CODE = "from dsml.step.finish import finish\nfinish()"


def finish() -> None:
    """Run the exit hooks of the notebook's libraries, and end the kernel."""
    from ipykernel.kernelapp import IPKernelApp

    atexit.unregister(IPKernelApp.instance().close)
    leave(0)


def leave(code: int) -> NoReturn:
    """End the process as the interpreter would, but for taking every module apart.

    With all of Dagster loaded that alone takes half a second.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
