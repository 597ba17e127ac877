"""`dsml ...` whose kernels are started as any process is, not forked from a warm one."""

from __future__ import annotations

import sys

from dsml.contract.project import Project
from dsml.orchestrate import warm


def _no_warm_process(project: Project, executor: str) -> None:
    """Leave out what makes kernels start sooner."""


if __name__ == "__main__":
    warm.warm_up = _no_warm_process  # before it is imported by those who call it
    from dsml.cli import main

    sys.argv[0] = "dsml"
    main()
