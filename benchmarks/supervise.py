"""Runs one command and tells what it took: `python supervise.py RESULT COMMAND...`.

A command's time is over when the command ends, but processor time is also spent by processes that
outlive it. On Linux they become children of this process, which waits for them: nothing is lost.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


def main(arguments: Sequence[str]) -> int:
    """Run the command, wait for all that it leaves behind, write the figures; return its code."""
    result, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    started = time.perf_counter()
    code = subprocess.run(command, check=False).returncode
    wall = time.perf_counter() - started
    try:
        while True:
            os.wait()
    except ChildProcessError:  # there is none left
        pass
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {"wall": wall, "cpu": used.ru_utime + used.ru_stime}
    Path(result).write_text(json.dumps(figures), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
