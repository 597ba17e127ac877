"""How a kernel ends when its notebook is done.

ipykernel 6 answers a shutdown request from two threads at once: now and then the one waits for a
socket that the other has closed, and the kernel hangs until somebody's patience is over. Here the
kernel runs its exit hooks in its main thread and leaves.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading

CODE = "from dsml.step.finish import finish\nfinish()"


def finish() -> None:
    """Run the exit hooks of the notebook's libraries, and end the process."""
    from ipykernel.kernelapp import IPKernelApp

    # what the interpreter itself does at its end: wait for threads, then run the hooks
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    atexit.unregister(IPKernelApp.instance().close)
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
