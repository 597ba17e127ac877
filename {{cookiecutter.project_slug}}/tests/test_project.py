"""The project holds together: its catalog, register, graph and notebooks, and the pipeline."""

import hashlib
import subprocess
import sys
from pathlib import Path

from dsml.contract.problem import render
from dsml.contract.project import load_project
from dsml.contract.register import check_project, write_register
from dsml.contract.selection import steps_of
from dsml.orchestrate.definitions import load_definitions
from dsml.store import Store

SECONDS = 600  # after which a notebook or a pipeline is taken to hang


def run_module(folder: Path, *arguments: str) -> None:
    """Run `python -m ...` in a folder; if it fails, what it printed is the test's message."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_catalog_and_all_notebooks_are_valid(project: Path) -> None:
    assert render(check_project(project).errors) == ""


def test_the_register_says_what_the_notebooks_say(project: Path) -> None:
    before = (project / "catalog.yml").read_bytes()
    assert not write_register(project, paths=())
    assert (project / "catalog.yml").read_bytes() == before


def test_the_graph_has_every_artefact_of_every_registered_step(project: Path) -> None:
    assets = {".".join(key.path) for key in load_definitions(project).resolve_all_asset_keys()}
    steps = load_project(project).registered
    assert steps
    for name, step in steps.items():
        assert {name, *step.artefacts} <= assets


def test_a_notebook_runs_by_itself_in_jupyter(project: Path) -> None:
    steps = load_project(project).registered.values()
    source = next(step for step in steps if not step.sources and step.function is None)
    notebook = project / source.path
    command = ["IPython"] if notebook.suffix == ".py" else ["jupyter", "execute"]
    run_module(notebook.parent, *command, notebook.name)
    written = {path.name for path in (project / "artefacts").rglob("*")}
    assert {source.outs[name] for name in source.outs.keys() - source.optional} <= written


def test_the_pipeline_publishes_every_artefact(project: Path) -> None:
    declared = load_project(project)
    catalog, experiments = declared.catalog, declared.catalog.experiments
    experiment = "small" if "small" in experiments else catalog.default_experiment
    run_module(project, "dsml", "run", "--experiment", experiment, "--select", "*")
    store = Store.open(project, catalog)
    for name in steps_of(catalog.pipelines[catalog.default_pipeline], declared.registered):
        manifest = store.newest(name, experiment)
        assert manifest is not None, f"{name} has published nothing"
        step = declared.registered[name]
        assert step.outs.keys() - step.optional <= manifest.outputs.keys() <= step.outs.keys()
        for out in manifest.outputs:
            found = manifest.as_input(out)
            for part in [found] if found.parts is None else found.parts.values():
                published = store.fetch(part, manifest.address)
                assert hashlib.sha256(published.read_bytes()).hexdigest() == part.sha256
