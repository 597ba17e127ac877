"""What Dagster sees of a project: assets, jobs, configuration, metadata."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dagster import (
    AssetKey,
    DagsterInvalidConfigError,
    DagsterUnknownPartitionError,
    MetadataValue,
    validate_run_config,
)

from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project
from dsml.orchestrate.definitions import load_definitions
from dsml.orchestrate.preview import output_metadata
from dsml.store.manifest import Output

from .conftest import execute
from .projects import Step, manifests_of, write_project

PARAMETERS = """from typing import Literal

n: int = 3  # how many
rate: float = 0.5  # how fast
name: str = "a"
kind: Literal["linear", "rbf"] = "rbf"
limit: int | None = None  # none for all
names: list[str] = ["a"]
extra: dict = {}"""
FILES = """
import numpy as np, pandas as pd
from matplotlib.figure import Figure
frame = pd.DataFrame({"n": range(30), "s": ["text"] * 30})
context.save("csv", frame)
context.save("parquet", frame)
context.save("json", {"a": [1, 2]})
context.save("array", np.zeros(3))
context.save("note", "some text")
figure = Figure(figsize=(1, 1))
context.save("picture", figure)
context.log_metric("accuracy", 0.75)
context.log_metric("broken", float("inf"))
context.log_param("rows", 30)
context.log_figure("curve", figure)
"""
OUTS = {
    "csv": "table.csv",
    "parquet": "table.parquet",
    "json": "data.json",
    "array": "array.npy",
    "note": "note.txt",
    "picture": "picture.png",
}
STEPS = {
    "load.raw": Step(FILES, outs=OUTS, parameters=PARAMETERS, description="Read the data."),
    "train.fit": Step("", ins={"rows": "load.raw.csv", "more": "load.raw.json"}),
    "train.last": Step("", after=["train.fit"]),
}
EXPERIMENTS = {"baseline": {}, "wide": {"config": {"load.raw": {"n": 5}}}}
PIPELINES = {
    "all": {"description": "Everything."},
    "first": {"select": "load", "executor": "in_process"},
    "upward": {"select": ["+train.fit"]},
    "dagsters": {"select": 'key:"train/fit"+'},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("orchestrate") / "a project"
    return write_project(folder, STEPS, experiments=EXPERIMENTS, pipelines=PIPELINES)


@pytest.fixture(scope="module")
def definitions(root):
    return load_definitions(root)


@pytest.fixture(scope="module")
def graph(definitions):
    return definitions.resolve_asset_graph()


def key(path):
    return AssetKey(path.split("."))


# --- assets ---------------------------------------------------------------------------------------


def test_every_step_and_every_artefact_is_an_asset(graph):
    artefacts = {key(f"load.raw.{name}") for name in OUTS}
    assert graph.get_all_asset_keys() == {key(name) for name in STEPS} | artefacts


def test_an_asset_depends_on_the_artefacts_that_its_step_reads(graph):
    assert graph.get(key("train.fit")).parent_keys == {key("load.raw.csv"), key("load.raw.json")}
    assert graph.get(key("train.last")).parent_keys == {key("train.fit")}
    assert graph.get(key("load.raw.csv")).parent_keys == set()


def test_assets_are_grouped_by_stage_and_of_the_kind_jupyter(graph):
    for name in ("load.raw", "load.raw.csv", "train.fit"):
        node = graph.get(key(name))
        assert node.group_name == name.partition(".")[0]
        assert node.kinds == {"jupyter"}


def test_the_experiments_are_the_partitions_of_every_asset(graph):
    for name in graph.get_all_asset_keys():
        assert graph.get(name).partitions_def.get_partition_keys() == ["baseline", "wide"]


def test_the_code_version_changes_with_the_code_alone(root, graph):
    before = graph.get(key("load.raw.csv")).code_version
    assert before == load_project(root).steps["load.raw"].code[:16]
    file = root / "stages" / "load" / "raw.ipynb"
    text = file.read_text()

    def version():
        return load_definitions(root).resolve_asset_graph().get(key("load.raw.csv")).code_version

    try:
        file.write_text(text.replace("# load.raw", "# Another heading"))
        assert version() == before
        file.write_text(text.replace("range(30)", "range(31)"))
        assert version() != before
    finally:
        file.write_text(text)


def test_an_asset_has_the_description_and_the_source_of_its_notebook(root, graph):
    node = graph.get(key("load.raw"))
    assert node.description == "Read the data."
    source = root / "stages" / "load" / "raw.ipynb"
    assert node.metadata["source"] == MetadataValue.notebook(str(source))
    (reference,) = node.metadata["dagster/code_references"].code_references
    assert Path(reference.file_path) == source


# --- jobs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pipeline", "steps"),
    [
        ("all", {"load__raw", "train__fit", "train__last"}),
        ("first", {"load__raw"}),
        ("upward", {"load__raw", "train__fit"}),
        ("dagsters", {"train__fit", "train__last"}),
    ],
)
def test_a_pipeline_is_a_job_of_what_it_selects(definitions, pipeline, steps):
    job = definitions.resolve_job_def(pipeline)
    assert {node.name for node in job.nodes} == steps


def test_a_job_has_the_description_and_the_executor_of_its_pipeline(definitions):
    assert definitions.resolve_job_def("all").description == "Everything."
    assert definitions.resolve_job_def("all").executor_def.name == "threads"
    assert definitions.resolve_job_def("first").executor_def.name == "in_process"


def test_a_project_that_is_wrong_is_told_with_every_mistake_at_once(tmp_path):
    root = write_project(tmp_path / "a project", {"a.b": Step(), "a.c": Step()})
    for name in ("b", "c"):
        file = root / "stages" / "a" / f"{name}.ipynb"
        file.write_text(file.read_text().replace("description", "descripton"))
    with pytest.raises(ProjectError) as refused:
        load_definitions(root)
    told = str(refused.value)
    assert told.count("descripton: op_parameters has no such key") == 2
    assert told.count("did you mean 'description'?") == 2
    assert told.startswith("stages/a/b.ipynb, cell 2 (op_parameters), line 2\n")


# --- configuration --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fields(definitions):
    """The fields of the configuration of `load.raw`, as the Launchpad shows them."""
    job = definitions.resolve_job_def("all")
    return job.get_node_named("load__raw").definition.config_schema.config_type.fields


def test_parameters_are_fields_with_their_defaults_and_descriptions(fields):
    defaults = {name: field.default_value for name, field in fields.items()}
    assert defaults == {
        "n": 3,
        "rate": 0.5,
        "name": "a",
        "kind": "rbf",
        "limit": None,
        "names": ["a"],
        "extra": {},
    }
    assert not any(field.is_required for field in fields.values())
    assert fields["n"].description == "how many"
    assert fields["limit"].description == "none for all"


def config_of(**values):
    return {"ops": {"load__raw": {"config": values}}}


@pytest.mark.parametrize(
    "values",
    [
        {"n": 7},
        {"rate": 2.5, "name": "ü"},
        {"kind": "linear"},
        {"limit": None},
        {"limit": 3},
        {"names": []},
        {"extra": {"any": [1]}},
    ],
)
def test_a_value_of_the_right_type_is_accepted(definitions, values):
    assert validate_run_config(definitions.resolve_job_def("all"), config_of(**values))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"n": "seven"}, "root:ops:load__raw:config:n"),
        ({"rate": "fast"}, "root:ops:load__raw:config:rate"),
        ({"kind": "cubic"}, "cubic"),
        ({"names": [1]}, "root:ops:load__raw:config:names"),
        ({"extra": [1]}, "root:ops:load__raw:config:extra"),
        ({"m": 7}, '"m"'),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_before_anything_is_started(root, values, told):
    with pytest.raises(DagsterInvalidConfigError) as refused:
        execute(root, run_config=config_of(**values))
    assert told in str(refused.value)
    assert not list(root.glob("artefacts/.staging"))


def test_an_experiment_that_is_not_in_the_catalog_is_no_partition(root):
    with pytest.raises(DagsterUnknownPartitionError):
        execute(root, experiment="wyde")


# --- metadata -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown(root):
    """The metadata of what a run of `load.raw` has materialised, by catalog path."""
    ran = execute(root, experiment="wide", job="first", run_config=config_of(rate=2.5))
    assert ran.passed, ran.log
    events = ran.result.get_asset_materialization_events()
    found = [event.materialization for event in events]
    assert {m.partition for m in found} == {"wide"}
    return {".".join(m.asset_key.path): m.metadata for m in found}


def test_every_artefact_tells_its_path_size_and_hash(root, shown):
    outputs = manifests_of(root)["load.raw"].outputs
    for name, output in outputs.items():
        metadata = shown[f"load.raw.{name}"]
        path = Path(metadata["path"].value)
        assert path.name == output.file
        assert path.is_file()
        assert metadata["dagster/size_bytes"].value == output.bytes == path.stat().st_size
        assert metadata["sha256"].value == output.sha256


def test_every_asset_tells_experiment_seconds_and_parameters(shown):
    assert len(shown) == 1 + len(OUTS)
    for metadata in shown.values():
        assert metadata["experiment"].value == "wide"
        assert 0 < metadata["seconds"].value < 60
        parameters = metadata["parameters"].value
        assert (parameters["n"], parameters["rate"], parameters["name"]) == (5, 2.5, "a")


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_a_table_is_previewed_by_its_first_rows(shown, name):
    preview = shown[f"load.raw.{name}"]["preview"]
    assert [column.name for column in preview.schema.columns] == ["n", "s"]
    assert len(preview.records) == 10
    assert str(preview.records[9].data["n"]) == "9"


@pytest.mark.parametrize(
    ("text", "headings", "rows"),
    [
        ("n,s\n1\n2,b,more\n", ["n", "s", "column 3"], [[1, None, None], [2, "b", "more"]]),
        ("n,s\n1,2,3\n4,5\n", ["n", "s", "column 3"], [[1, 2, 3], [4, 5, None]]),
        ("n,s\n", ["n", "s"], []),
        ("", [], []),
        ("n,n\n1,2\n", ["n"], [[2]]),
    ],
)
def test_a_ragged_table_is_previewed_with_all_its_cells(tmp_path, text, headings, rows):
    file = tmp_path / "table.csv"
    file.write_text(text, encoding="utf-8")
    output = Output(file.name, len(text), "0" * 64)
    preview = output_metadata(output, file, str(file))["preview"]
    assert [column.name for column in preview.schema.columns] == headings
    as_text = [[None if cell is None else str(cell) for cell in row] for row in rows]
    assert [list(record.data.values()) for record in preview.records] == as_text


def test_a_parquet_table_tells_how_many_rows_it_has(shown):
    assert shown["load.raw.parquet"]["dagster/row_count"].value == 30


def test_json_and_text_are_previewed_as_they_are(shown):
    assert shown["load.raw.json"]["preview"].value == {"a": [1, 2]}
    assert shown["load.raw.note"]["preview"].value == "some text"


def test_a_picture_is_previewed_as_a_picture(shown):
    assert shown["load.raw.picture"]["preview"].value.startswith(
        "![picture](data:image/png;base64,iVBOR"
    )


def test_what_cannot_be_previewed_has_no_preview(shown):
    assert "preview" not in shown["load.raw.array"]


def test_the_step_tells_its_executed_notebook_and_what_it_logged(shown):
    metadata = shown["load.raw"]
    notebooks = [value for value in metadata.values() if isinstance(value, type(NOTEBOOK))]
    (executed,) = [Path(value.value) for value in notebooks]
    assert executed.name == "executed.ipynb"
    assert json.loads(executed.read_text())["cells"]
    assert metadata["accuracy"].value == 0.75
    assert metadata["broken"].value == "inf"
    assert metadata["rows"].value == "30"
    assert metadata["curve"].value.startswith("![curve](data:image/png;base64,iVBOR")


NOTEBOOK = MetadataValue.notebook("")


def test_a_failed_step_tells_its_executed_notebook_too(tmp_path):
    ran = execute(write_project(tmp_path / "a project", {"a.b": Step("1 / 0")}))
    (event,) = ran.result.get_step_failure_events()
    metadata = event.event_specific_data.user_failure_data.metadata
    paths = [str(value.value) for value in metadata.values()]
    assert str(ran.attempt("a.b") / "executed.ipynb") in paths
    assert str(ran.attempt("a.b") / "log.txt") in paths
