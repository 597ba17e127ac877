"""Fan-out: one notebook run once for each of a list of values, and what its consumers see of it."""

from __future__ import annotations

import json

import pytest
from dagster import AssetKey, DagsterInstance, MetadataValue

from dsml.orchestrate.definitions import load_definitions
from dsml.store import Manifest, Value

from .conftest import execute
from .projects import Step, manifests_of, write_project

SIZES = 'context.save("sizes", [2, 3])'
FIT = """
context.save("model", {"n": n, "kind": kind, "key": context.instance})
context.log_metric("twice", 2 * n)
"""
PARAMETERS = 'n: int = 1\nkind: str = "a"'
USE = """
context.save("seen", {
    "keys": list(context.ins.model),
    "models": context.load("model"),
    "instances": context.instances.model,
})
"""


def project(root, mapped, *, fit=FIT, use=USE, sizes=SIZES, experiments=None, **declared):
    steps = {
        "load.sizes": Step(sizes, outs={"sizes": "sizes.json"}),
        "train.fit": Step(
            fit,
            outs={"model": "model.json"},
            parameters=PARAMETERS,
            declared={"map": mapped, **declared},
        ),
        "score.all": Step(use, ins={"model": "train.fit.model"}, outs={"seen": "seen.json"}),
    }
    return write_project(root, steps, experiments=experiments)


def seen(ran):
    (file,) = ran.root.glob(f"artefacts/*/score/all/{ran.run_id}/seen.json")
    return json.loads(file.read_text())


def test_each_value_is_an_instance_whose_artefact_a_consumer_gets_by_its_key(root):
    ran = execute(project(root, {"n": [2, 3]}))
    assert ran.passed
    assert seen(ran) == {
        "keys": ["2", "3"],
        "models": {k: {"n": int(k), "kind": "a", "key": k} for k in ("2", "3")},
        "instances": {"2": {"n": 2}, "3": {"n": 3}},
    }


def test_several_names_give_the_product_of_their_values(root):
    ran = execute(project(root, {"n": [2, 3], "kind": ["x", "y/z"]}))
    assert seen(ran)["keys"] == ["2__x", "2__y_z", "3__x", "3__y_z"]
    assert seen(ran)["instances"]["3__y_z"] == {"n": 3, "kind": "y/z"}


def test_an_experiment_sets_another_grid(root):
    experiments = {"baseline": {}, "wide": {"config": {"train.fit": {"n": [7], "kind": "w"}}}}
    ran = execute(project(root, {"n": [2, 3]}, experiments=experiments), experiment="wide")
    assert seen(ran)["models"] == {"7": {"n": 7, "kind": "w", "key": "7"}}


def test_a_run_sets_another_grid(root):
    config = {"ops": {"train__fit": {"config": {"n": [8, 9]}}}}
    ran = execute(project(root, {"n": [2, 3]}), run_config=config)
    assert seen(ran)["keys"] == ["8", "9"]


def test_the_values_may_be_a_list_that_a_step_has_published(root):
    ran = execute(
        project(root, {"n": "load.sizes.sizes"}, sizes='context.save("sizes", [4, 5, 6])')
    )
    assert seen(ran)["keys"] == ["4", "5", "6"]
    graph = load_definitions(root).resolve_asset_graph()
    assert AssetKey(["load", "sizes", "sizes"]) in graph.get(AssetKey(["train", "fit"])).parent_keys


def test_of_an_empty_list_the_consumers_see_an_empty_mapping(root):
    ran = execute(project(root, {"n": "load.sizes.sizes"}, sizes='context.save("sizes", [])'))
    assert ran.passed
    assert seen(ran) == {"keys": [], "models": {}, "instances": {}}


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("{'a': 1}", "holds a dict, and no list"),
        ("[1, 1]", "holds 1 twice"),
        ("['x']", "['x'] is no list[int]"),
    ],
)
def test_a_list_that_is_none_is_told(root, value, what):
    ran = execute(project(root, {"n": "load.sizes.sizes"}, sizes=f'context.save("sizes", {value})'))
    assert not ran.passed
    (event,) = ran.result.get_step_failure_events()
    assert event.step_key == "train__fit.plan"
    message = event.event_specific_data.user_failure_data.description.splitlines()
    assert message[0].startswith("stages/train/fit.ipynb, cell 2 (op_parameters), line ")
    assert message[1:] == [
        f"  map.n: 'load.sizes.sizes' {what}",
        "  publish a JSON list of values of type int",
    ]


def test_each_instance_has_its_own_executed_notebook_and_manifest(root):
    ran = execute(project(root, {"n": [2, 3]}))
    folder = root / "artefacts" / "baseline" / "train" / "fit" / ran.run_id / "instances"
    for key in ("2", "3"):
        assert (folder / key / "attempts" / "1" / "executed.ipynb").is_file()
        manifest = Manifest.from_json((folder / key / "manifest.json").read_bytes())
        assert (manifest.instance, manifest.metrics) == (key, {"twice": 2.0 * int(key)})
        assert manifest.parameters["n"].source == "map"
    whole = manifests_of(root)["train.fit"]
    assert whole.parameters["n"] == Value([2, 3], "map")
    assert {k: dict(run.values) for k, run in whole.instances.items()} == {
        "2": {"n": 2},
        "3": {"n": 3},
    }


def test_the_ui_shows_a_table_of_the_instances(root):
    root = project(root, {"n": [2, 3]})
    ran = execute(root)
    (found,) = [
        m
        for m in ran.result.get_asset_materialization_events()
        if m.asset_key.path == ["train", "fit"]
    ]
    metadata = found.materialization.metadata
    assert metadata["instances"] == MetadataValue.int(2)
    lines = metadata["table"].value.splitlines()
    assert lines[0] == "| n | twice | seconds | notebook |"
    assert [line.split(" | ")[0:2] for line in lines[2:]] == [["| 2", "4.0"], ["| 3", "6.0"]]


def test_a_failed_instance_fails_the_step_and_leaves_the_others(root):
    fit = FIT + "\nassert n != 3, 'three'"
    ran = execute(project(root, {"n": [2, 3, 4]}, fit=fit))
    assert not ran.passed
    ended = {e.step_key for e in ran.result.all_events if e.is_step_success}
    assert ended == {"load__sizes", "train__fit.plan", "train__fit.run[2]", "train__fit.run[4]"}
    assert "train.fit" not in {m.step for m in manifests_of(root).values() if m.instance is None}
    assert "AssertionError: three" in ran.failure("train.fit.run[3]")


@pytest.mark.parametrize(
    ("file", "step", "what", "fix"),
    [
        (
            "instances/2/manifest.json",
            "train.fit.collect",
            "  map: 1 of 2 instances have not been run: 2",
            "  run them: dsml run --from-failure ",
        ),
        (
            "plan.json",
            "train.fit.collect",
            "  map: the list of its instances has been deleted with the run that made it",
            "  start anew: dsml run all",
        ),
    ],
)
def test_what_is_not_there_any_more_is_told(root, file, step, what, fix):
    fit = f"""
from pathlib import Path
if n == 3:
    (file,) = Path().resolve().parents[1].glob("artefacts/*/train/fit/*/{file}")
    file.unlink()
"""
    ran = execute(project(root, {"n": [2, 3]}, fit=FIT + fit))
    message = ran.failure(step).splitlines()
    assert message[0].startswith("stages/train/fit.ipynb, cell 2 (op_parameters), line ")
    assert message[1] == what
    assert message[2].startswith(fix)


def test_instances_are_tried_again_one_by_one(root):
    fit = "assert context.retry_number or n != 3, 'not yet'\n" + FIT
    ran = execute(project(root, {"n": [2, 3]}, fit=fit, retries=1))
    assert ran.passed
    folder = root / "artefacts" / "baseline" / "train" / "fit" / ran.run_id / "instances"
    assert {p.parent.name: len(list(p.iterdir())) for p in folder.glob("*/attempts")} == {
        "2": 1,
        "3": 2,
    }


def test_a_mapped_step_has_the_configuration_of_a_plain_one_with_lists_for_what_is_mapped(root):
    root = project(root, {"n": [2, 3]})
    job = load_definitions(root).resolve_job_def("all")
    with DagsterInstance.ephemeral():
        fields = job.run_config_schema.config_type.fields["ops"].config_type.fields["train__fit"]
    config = fields.config_type.fields["config"].config_type.fields
    assert config["n"].default_value == [2, 3]
    assert config["kind"].default_value == "a"
