"""Dagster code of one's own, merged in dag.py: the module that the page of a project shows."""

from __future__ import annotations

import json
import sys

import pytest
from conftest import run_command
from dagster import AssetKey
from dagster._core.definitions.reconstruct import ReconstructableRepository

from .projects import PROJECT_FOLDER, Step, manifests_of, write_project

PAGE = PROJECT_FOLDER / "docs" / "dagster.md"
STEPS = {
    "train.fit": Step(
        "context.save('model', n)", outs={"model": "model.json"}, parameters="n: int = 1"
    )
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A project with that dag.py."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("```python\n")
    root = write_project(tmp_path_factory.mktemp("own") / "a project", STEPS)
    (root / "dag.py").write_text(rest.partition("```")[0], encoding="utf-8")
    return root


def command(root, *words):
    return run_command(sys.executable, "-m", *words, cwd=root, DAGSTER_HOME=str(root / ".dagster"))


def test_what_is_merged_stands_beside_what_the_notebooks_declare(root):
    file = ReconstructableRepository.for_file(str(root / "dag.py"), "defs")
    repository = file.get_definition()
    graph = repository.asset_graph
    assert graph.get(AssetKey("card")).parent_keys == {AssetKey(["train", "fit", "model"])}
    assert AssetKey(["train", "fit"]) in graph.materializable_asset_keys
    assert {"all", "cards"} <= {job.name for job in repository.get_all_jobs()}


@pytest.mark.slow
def test_a_pipeline_runs_notebooks_only_and_a_job_of_ones_own_reads_what_they_published(root):
    command(root, "dsml", "run", "--set", "train.fit.n=7")
    assert not (root / "card.txt").exists()
    command(root, "dagster", "job", "execute", "-m", "dag", "-j", "cards")
    run_id = manifests_of(root)["train.fit"].run_id
    file = root / "artefacts" / "baseline" / "train" / "fit" / run_id / "model.json"
    assert (root / "card.txt").read_text(encoding="utf-8") == f"run {run_id}: {file}\n"
    assert json.loads(file.read_text(encoding="utf-8")) == 7
    found = json.loads(command(root, "dsml", "runs", "--json").stdout)
    assert [(run["pipeline"], run["status"]) for run in found] == [
        ("cards", "SUCCESS"),
        ("all", "SUCCESS"),
    ]


@pytest.mark.slow
def test_schedules_of_ones_own_are_listed_and_started_like_the_others(root):
    command(root, "dsml", "schedules", "start", "cards_schedule")
    found = json.loads(command(root, "dsml", "schedules", "--json").stdout)
    (own,) = [switch for switch in found if switch["name"] == "cards_schedule"]
    assert (own["pipeline"], own["cron"], own["running"]) == ("cards", "0 3 * * *", True)
