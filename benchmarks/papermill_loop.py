"""papermill and nothing else: `python papermill_loop.py PROCESSES NOTEBOOK...`.

Each process executes its share of the notebooks, one after the other.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import papermill


def main(processes: int, files: Sequence[str]) -> int:
    """Execute the notebooks; return 0 if all passed."""
    others = [
        subprocess.Popen([sys.executable, __file__, "1", *files[number::processes]])
        for number in range(1, processes)
    ]
    for file in files[::processes]:
        path = Path(file)
        output = path.parent / "executed" / path.name
        output.parent.mkdir(exist_ok=True)
        papermill.execute_notebook(
            str(path), str(output), parameters={}, progress_bar=False, cwd=str(path.parent)
        )
    return max((other.wait() for other in others), default=0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
