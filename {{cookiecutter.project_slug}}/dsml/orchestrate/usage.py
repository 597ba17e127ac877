"""How much of the machine a kernel takes, with all that it has started."""

from __future__ import annotations

import contextlib
import time

import psutil

_EVERY = 0.2  # seconds between two looks, at least
_SHARE = 50  # a look at all processes takes time: spend a fiftieth of it at most


class Usage:
    """CPU seconds, and the most memory that was taken at once, of a process and its descendants.

    ``peak_memory`` is in bytes, the sum of what is resident of each process: what several share
    counts for each of them, and a peak between two looks is missed. Both are None until there has
    been a look. Where the system doesn't tell what ended children have spent (Windows, macOS), the
    CPU seconds are those of the processes that were there at one look.
    """

    def __init__(self) -> None:
        self.cpu_seconds: float | None = None
        self.peak_memory: int | None = None
        self._next = 0.0

    def look(self, pid: int, *, at_once: bool = False) -> None:
        """Look at the processes, if it is time, or ``at_once``."""
        begun = time.monotonic()
        if begun < self._next and not at_once:
            return
        with contextlib.suppress(psutil.Error):
            kernel = psutil.Process(pid)
            self._add([kernel, *kernel.children(recursive=True)])
        ended = time.monotonic()
        self._next = ended + max(_EVERY, _SHARE * (ended - begun))

    def _add(self, processes: list[psutil.Process]) -> None:
        spent, memory = 0.0, 0
        for process in processes:
            with contextlib.suppress(psutil.Error), process.oneshot():  # it may have ended
                spent += sum(process.cpu_times()[:4])  # its own, and of children that ended
                memory += process.memory_info().rss
        self.cpu_seconds = max(self.cpu_seconds or 0.0, spent)
        self.peak_memory = max(self.peak_memory or 0, memory)
