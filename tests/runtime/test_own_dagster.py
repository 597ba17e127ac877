"""Dagster code of one's own, merged in dag.py: the module that the page of a project shows."""

from __future__ import annotations

import json
import sys

import pytest
from conftest import run_command
from dagster import AssetCheckKey, AssetKey
from dagster._core.definitions.reconstruct import ReconstructableRepository

from .projects import PROJECT_FOLDER, Step, instance_of, manifests_of, write_project

PAGE = PROJECT_FOLDER / "docs" / "dagster.md"
READ = "from pathlib import Path\ncontext.save('rows', len(Path(source).read_text().split()))"
STEPS = {
    "load.digits": Step(
        READ, outs={"rows": "rows.json"}, parameters="source: str = '../../data/rows.csv'"
    ),
    "train.fit": Step(
        "context.save('model', n)", outs={"model": "model.json"}, parameters="n: int = 1"
    ),
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
    assert graph.get(AssetKey("rows")).child_keys == {
        AssetKey(["load", "digits"]),
        AssetKey(["load", "digits", "rows"]),
    }
    assert graph.get(AssetKey(["train", "fit"])).parent_keys == set()
    assert {key.name for key in graph.asset_check_keys} == {"names_a_run"}
    assert {"all", "fetch", "cards"} <= {job.name for job in repository.get_all_jobs()}


@pytest.mark.slow
def test_notebooks_read_what_a_job_of_ones_own_has_made_and_the_other_way_round(root):
    command(root, "dagster", "job", "execute", "-m", "dag", "-j", "fetch")
    command(root, "dsml", "run", "--set", "train.fit.n=7")
    assert not (root / "card.txt").exists()  # a pipeline runs notebooks only
    command(root, "dagster", "job", "execute", "-m", "dag", "-j", "cards")
    made = manifests_of(root)
    run_id = made["train.fit"].run_id
    folder = root / "artefacts" / "baseline"
    file = folder / "train" / "fit" / run_id / "model.json"
    assert (root / "card.txt").read_text(encoding="utf-8") == f"run {run_id}: {file}\n"
    assert json.loads(file.read_text(encoding="utf-8")) == 7
    rows = folder / "load" / "digits" / made["load.digits"].run_id / "rows.json"
    assert json.loads(rows.read_text(encoding="utf-8")) == 3
    found = json.loads(command(root, "dsml", "runs", "--json").stdout)
    assert [(run["pipeline"], run["status"]) for run in found] == [
        ("cards", "SUCCESS"),
        ("all", "SUCCESS"),
        ("fetch", "SUCCESS"),
    ]
    assert latest_check(root, "card").passed
    # of runs without a step there is nothing to be told
    assert [path.name for path in (root / "artefacts" / ".runs").iterdir()] == [run_id]


def latest_check(root, *asset):
    """The newest evaluation of the check on an asset."""
    key = AssetCheckKey(AssetKey(asset), "names_a_run")
    with instance_of(root) as instance:
        record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    return record.event.dagster_event.event_specific_data


@pytest.mark.slow
def test_a_check_of_ones_own_on_an_artefact_runs_with_the_pipeline_that_makes_it(root):
    module = (root / "dag.py").read_text(encoding="utf-8")
    checked = module.replace("@asset_check(asset=card)", "@asset_check(asset=MODEL)")
    (root / "dag.py").write_text(checked, encoding="utf-8")
    (root / "card.txt").write_text("run 1\n", encoding="utf-8")
    try:
        command(root, "dsml", "run", "--select", "train.fit", "--force")
    finally:
        (root / "dag.py").write_text(module, encoding="utf-8")
    assert latest_check(root, "train", "fit", "model").passed


@pytest.mark.slow
def test_schedules_of_ones_own_are_listed_and_started_like_the_others(root):
    command(root, "dsml", "schedules", "start", "cards_schedule")
    found = json.loads(command(root, "dsml", "schedules", "--json").stdout)
    (own,) = [switch for switch in found if switch["name"] == "cards_schedule"]
    assert (own["pipeline"], own["cron"], own["running"]) == ("cards", "0 3 * * *", True)
