"""The fingerprint of a step's code, wherever a step is read."""

from __future__ import annotations

import pytest
from dagster import DagsterRun

from dsml.contract.project import load_project
from dsml.orchestrate.definitions import load_definitions
from dsml.step import standalone, stock

from .projects import Step, write_project

USES = Step("from pkg.size import n\ncontext.save('x', n)", outs={"x": "x.json"})


@pytest.fixture
def project(root):
    """A project of one step that imports a module."""
    (root / "pkg").mkdir(parents=True)
    (root / "pkg" / "size.py").write_text("n = 1\n")
    return write_project(root, {"a.uses": USES})


def code_of(project):
    return load_project(project).steps["a.uses"].code


def test_every_way_to_read_a_step_gives_the_same_code(project):
    file = project / "stages" / "a" / "uses.ipynb"
    by_hand = standalone._read(project, "stages/a/uses.ipynb")[0]
    by_dagstermill = stock._task(file, DagsterRun(job_name="stock"), "a__uses").step
    assert by_hand.code == by_dagstermill.code == code_of(project)


def test_a_module_that_a_step_imports_belongs_to_the_code_version_of_its_assets(project):
    def versions():
        graph = load_definitions(project).resolve_asset_graph()
        return {graph.get(key).code_version for key in graph.get_all_asset_keys()}

    before = versions()
    assert before == {code_of(project)[:16]}
    (project / "pkg" / "size.py").write_text("n = 1  # how many\n")
    assert versions() == before
    (project / "pkg" / "size.py").write_text("n = 2\n")
    assert versions() != before
