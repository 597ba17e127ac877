"""The layers of the runtime, downward only: each may import those below it."""

from __future__ import annotations

import ast
import sys

import pytest

from .projects import PROJECT_FOLDER

# from the bottom to the top
LAYERS = ("contract", "store", "step", "evidence", "orchestrate", "cli")
RUNTIME = PROJECT_FOLDER / "dsml"
MODULES = {path.relative_to(RUNTIME).as_posix(): path for path in sorted(RUNTIME.rglob("*.py"))}
# The progress of a run is read from Dagster's events; `cli.run` imports it when it needs it.
DAGSTER = {"cli/progress.py"}


def imported(path):
    """The full names of all that a module imports when it runs, at its top and in functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    never = {inner for node in for_types for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if node in never:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_belongs_to_a_layer():
    outside = {name for name in MODULES if name.partition("/")[0] not in LAYERS}
    assert outside == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("name", [name for name in MODULES if "/" in name])
def test_a_module_imports_downward_only(name):
    allowed = LAYERS[: LAYERS.index(name.partition("/")[0]) + 1]
    ours = [module.split(".") for module in imported(MODULES[name]) if module.startswith("dsml.")]
    assert [".".join(parts) for parts in ours if parts[1] not in allowed] == []


@pytest.mark.parametrize("name", [n for n in MODULES if not n.startswith("orchestrate/")])
def test_only_orchestrate_imports_dagster(name):
    packages = {module.partition(".")[0] for module in imported(MODULES[name])}
    found = {package for package in packages if package.startswith("dagster")} - {"dagster_pipes"}
    assert found <= ({"dagster"} if name in DAGSTER else set())


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("contract/")])
def test_the_contract_imports_the_standard_library_and_yaml_only(name):
    packages = {module.partition(".")[0] for module in imported(MODULES[name])}
    assert packages - set(sys.stdlib_module_names) <= {"yaml", "dsml"}


def test_dagster_pipes_is_all_that_a_kernel_needs_of_dagster():
    users = {
        name
        for name, path in MODULES.items()
        if any(module.startswith("dagster_pipes") for module in imported(path))
    }
    assert users == {"step/context.py", "orchestrate/pipes.py"}
