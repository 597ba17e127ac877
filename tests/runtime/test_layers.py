"""The layers of the runtime, downward only: each may import those below it. They are drawn."""

from __future__ import annotations

import ast
import json
import re
import sys

import pytest

from dsml.contract.scaffold import notebook

from .projects import PROJECT_FOLDER

# from the bottom to the top
LAYERS = ("contract", "store", "step", "evidence", "orchestrate", "cli")
RUNTIME = PROJECT_FOLDER / "dsml"
MODULES = {path.relative_to(RUNTIME).as_posix(): path for path in sorted(RUNTIME.rglob("*.py"))}
# The progress of a run is read from Dagster's events; `cli.run` imports it when it needs it.
DAGSTER = {"cli/progress.py"}
ARCHITECTURE = PROJECT_FOLDER.parent / "docs" / "architecture.md"


def imported(path):
    """The full names of all that a module imports when it runs, at its top and in functions."""
    return imported_by(path.read_text(encoding="utf-8"))


def imported_by(code):
    tree = ast.parse(code)
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
            assert node.level == 0, "imports are absolute"
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


# --- the drawing ----------------------------------------------------------------------------------


def layers_of(modules):
    """The layers of modules of the runtime; what `dsml` itself hands on counts where it is from."""
    handed_on = {name.rpartition(".")[2]: name for name in imported(MODULES["__init__.py"])}
    parts = [module.split(".") for module in modules if module.startswith("dsml.")]
    whence = [handed_on[p[1]].split(".") if p[1] in handed_on else p for p in parts]
    return {layer for _, layer, *_ in whence}


def outside():
    """Each thing outside of the runtime that enters it, as it is drawn, and what it imports."""
    root = PROJECT_FOLDER.parent
    declared = {"description": "It.", "ins": {}, "outs": {}}
    cells = json.loads(notebook("# It", declared, "n: int = 1  # one", "print(n)"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    project = (PROJECT_FOLDER / "pyproject.toml").read_text(encoding="utf-8")
    return {
        "dsml ...": re.findall(r'^dsml = "(.*):', project, re.MULTILINE),
        "dag.py": imported(PROJECT_FOLDER / "dag.py"),
        "a notebook": imported_by(code),
        "the hook after generation": imported(root / "hooks" / "post_gen_project.py"),
    }


def arrows():
    """What imports what, from the code: layers, and what enters them from outside."""
    inside = {name: imported(path) for name, path in MODULES.items() if "/" in name}
    users = [(name.partition("/")[0], modules) for name, modules in inside.items()]
    found = {(u, layer) for u, names in [*users, *outside().items()] for layer in layers_of(names)}
    return {(user, layer) for user, layer in found if user != layer}


def drawn(text):
    """The arrows of the page's only diagram, by what its boxes say."""
    (diagram,) = re.findall(r"^```mermaid\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    titles, found = {}, set()
    kind, *lines = diagram.splitlines()
    assert kind == "flowchart TD"
    for line in lines:
        start, title, end = re.fullmatch(r' +(\w+)(?:\(\["(.*)"\]\))? --> (\w+)', line).groups()
        titles.setdefault(start, title or start)
        found.add((titles[start], titles.get(end, end)))
    return found


def test_the_architecture_is_drawn_as_the_imports_are():
    assert drawn(ARCHITECTURE.read_text(encoding="utf-8")) == arrows()


def test_the_order_of_the_layers_is_that_of_the_page():
    rows = re.findall(r"^\| `(\w+)` \|", ARCHITECTURE.read_text(encoding="utf-8"), re.MULTILINE)
    assert tuple(rows) == LAYERS


def test_every_module_that_the_architecture_names_is_there():
    text = ARCHITECTURE.read_text(encoding="utf-8")
    named = set(re.findall(rf"`((?:{'|'.join(LAYERS)})/[\w/.]*)`", text))
    assert len(named) > 20
    assert [name for name in named if not (RUNTIME / name).exists()] == []
