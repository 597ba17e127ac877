"""Print what a project's pyproject.toml asks for: its dependencies and the groups that are named.

    python tools/requirements.py PYPROJECT [GROUP...]

`make test` installs the dependencies of a generated project, but not the project itself: the tests
run every bake against one environment, and an installed project would shadow the one under test.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path, groups: list[str]) -> list[str]:
    """Return the requirements as they stand in the file, those of the groups last."""
    content = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    found = list(content["project"]["dependencies"])
    for group in groups:
        found += content["dependency-groups"][group]
    return found


if __name__ == "__main__":
    print("\n".join(requirements(Path(sys.argv[1]), sys.argv[2:])))
