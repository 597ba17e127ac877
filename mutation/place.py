"""A folder in which mutmut finds what it expects: a package, and its tests beside it.

In the repository the runtime stands in a folder with braces in its name. mutmut copies the runtime
and the tests into `mutants/`; whatever else tests read there is a link into the repository.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from mutation.packages import RUNTIME, TEMPLATE, Package

_OWN = {".git", ".venv", "build", "pyproject.toml", "tests"}
# A mutant is seen by tests in the same process. Those that need a server are too slow to ask, and
# one that has threads race against each other fails where all is slow.
_OPTIONS = [
    "-m",
    "not slow",
    "-k",
    "not s3 and not while_others",
    "-p",
    "no:cacheprovider",
    "--hypothesis-seed=1",
]
_SETTINGS = """\
[tool.mutmut]
source_paths = ["dsml"]
only_mutate = {mutated}
pytest_add_cli_args = {options}
pytest_add_cli_args_test_selection = {tests}
timeout_multiplier = 10.0
timeout_constant = 5.0
use_git_change_detection = false

[tool.pytest.ini_options]
pythonpath = [".", "hooks", "tools"]
markers = ["slow: takes more than a few seconds"]
"""


def prepare(folder: Path, package: Package, modules: Sequence[str], tests: Sequence[str]) -> None:
    """Make `folder` a project of mutmut's, in which `modules` of a package are mutated."""
    shutil.rmtree(folder, ignore_errors=True)
    mutants = folder / "mutants"
    mutants.mkdir(parents=True)
    (folder / "dsml").symlink_to(RUNTIME)
    (folder / "tests").symlink_to(TEMPLATE / "tests")
    for path in TEMPLATE.iterdir():
        if path.name not in _OWN:
            (mutants / path.name).symlink_to(path)
    settings = _SETTINGS.format(
        mutated=json.dumps([f"dsml/{package.name}/{module}.py" for module in modules]),
        options=json.dumps(_OPTIONS),
        tests=json.dumps(list(tests)),
    )
    (folder / "pyproject.toml").write_text(settings, encoding="utf-8")
