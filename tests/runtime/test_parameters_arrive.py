"""What is set arrives in the notebook under its name, and what is not set keeps its default."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import execute
from .projects import Step, write_notebook, write_project

DEFAULTS = {"n": 1, "name": "a", "model": {"depth": 3, "lr": 0.1}}
GIVEN: dict[str, dict[str, Any]] = {
    "none": {},
    "some": {"n": 5},
    "all": {"n": 5, "name": "b", "model": {"depth": 9, "lr": 0.5}},
    "nested": {"model": {"depth": 9}},
}
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "wide": {"name": "wide", "model": {"lr": 0.9}},
}
PARAMETERS = 'n: int = 1\nname: str = "a"'
SCHEMA = '"config_schema": {"model": {"depth": Field(int, default_value=3), "lr": 0.1}},'
DAYS = {"daily": "2024-01-01", "end": "2024-01-05"}
WORK = [
    'seen = {"n": n, "name": name, "model": model}',
    'context.save("seen", {"variables": seen, "config": dict(context.config)})',
]


def overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """The weaker values under the stronger ones, key by key."""
    laid = {
        key: overlaid(below[key], value) if isinstance(value, dict) else value
        for key, value in above.items()
    }
    return {**below, **laid}


def write_step(root, step):
    """A project of one step that declares parameters in both ways; once more, by days."""
    from dsml.contract.register import write_register

    names = ("a.b", "c.b")
    pipelines = {"all": {"select": "a"}, "daily": {"select": "c", "partitions": DAYS}}
    write_project(root, {}, experiments={name: {} for name in EXPERIMENTS}, pipelines=None)
    for name in names:
        file = write_notebook(root, name, step)
        document = json.loads(file.read_text(encoding="utf-8"))
        declaration = document["cells"][1]
        source = "".join(declaration["source"])
        declaration["source"] = "from dsml import Field\n\n" + source[:-1] + f"    {SCHEMA}\n}}"
        file.write_text(json.dumps(document), encoding="utf-8")
    experiments = {
        experiment: {"config": dict.fromkeys(names, values)}
        for experiment, values in EXPERIMENTS.items()
    }
    catalog = root / "catalog.yml"
    text = catalog.read_text(encoding="utf-8")
    text = text.replace(
        "experiments:\n  baseline: {}\n  wide: {}\n", f"experiments: {json.dumps(experiments)}\n"
    ).replace("pipelines:\n  all: {}\n", f"pipelines: {json.dumps(pipelines)}\n")
    text = text.replace("{run_id}/{file}", "{partition}/{run_id}/{file}")
    catalog.write_text(text, encoding="utf-8")
    write_register(root)
    return root


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A step that publishes what it was given."""
    root = tmp_path_factory.mktemp("parameters") / "a project"
    return write_step(root, Step(WORK, outs={"seen": "seen.json"}, parameters=PARAMETERS))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("given", GIVEN)
def test_what_is_given_is_set_and_the_rest_is_kept(project, given, experiment):
    config = GIVEN[given]
    run_config = {"ops": {"a__b": {"config": config}}} if config else {}
    ran = execute(project, experiment=experiment, run_config=run_config)
    assert ran.passed
    (file,) = project.glob(f"artefacts/{experiment}/a/b/all/{ran.run_id}/seen.json")
    expected = overlaid(overlaid(DEFAULTS, EXPERIMENTS[experiment]), config)
    assert json.loads(file.read_text()) == {"variables": expected, "config": expected}


# --- mapped, partitioned and retried --------------------------------------------------------------

GRID = [3, 4]
KINDS: dict[str, dict[str, Any]] = {
    "mapped": {"map": {"n": GRID}},
    "retried": {"retries": 1},
    "mapped and retried": {"map": {"n": GRID}, "retries": 1},
}
FIRST_FAILS = "assert context.retry_number, 'the first attempt'\n"
# Each kind with all that can be given; between them each two of the four things once. The whole
# product is that of the test above, which sees how values overlay each other.
PAIRS = [
    (kind, given, list(EXPERIMENTS)[(i + j) % 2], [None, "2024-01-02"][(i + j // 2) % 2])
    for i, kind in enumerate(KINDS)
    for j, given in enumerate(GIVEN)
]


@pytest.fixture(scope="module")
def special(request, tmp_path_factory):
    """The same step, mapped over `n`, tried twice, or both; with days as partitions beside."""
    declared = KINDS[request.param]
    work = [FIRST_FAILS + WORK[0] if "retries" in declared else WORK[0], WORK[1]]
    step = Step(work, outs={"seen": "seen.json"}, parameters=PARAMETERS, declared=declared)
    root = write_step(tmp_path_factory.mktemp("special") / "a project", step)
    return root, "map" in declared


def lists(config: dict[str, Any], *, mapped: bool) -> dict[str, Any]:
    """The same configuration for a step that is mapped over `n`: what is set of it is a list."""
    return {k: [v] if mapped and k == "n" else v for k, v in config.items()}


@pytest.mark.parametrize(
    ("special", "given", "experiment", "partition"), PAIRS, indirect=["special"]
)
def test_the_same_arrives_in_mapped_partitioned_and_retried_steps(
    special, given, experiment, partition
):
    root, mapped = special
    config = lists(GIVEN[given], mapped=mapped)
    job, key, name = "all", experiment, "a__b"
    if partition is not None:
        job, key, name = "daily", f"{experiment}|{partition}", "c__b"
    run_config = {"ops": {name: {"config": config}}} if config else {}
    ran = execute(root, experiment=key, job=job, run_config=run_config)
    assert ran.passed
    expected = overlaid(overlaid(DEFAULTS, EXPERIMENTS[experiment]), GIVEN[given])
    grid = ([expected["n"]] if "n" in GIVEN[given] else GRID) if mapped else [expected["n"]]
    files = sorted(root.glob(f"artefacts/{experiment}/**/{ran.run_id}/**/seen.json"))
    seen = [json.loads(file.read_text()) for file in files]
    wanted = [expected | {"n": n} for n in grid]
    assert seen == [{"variables": values, "config": values} for values in wanted]


@pytest.mark.parametrize(
    "config",
    [{"n": "many"}, {"model": {"depth": "deep"}}, {"model": {"width": 1}}, {"nn": 1}],
    ids=["a type", "a nested type", "a nested name", "a name"],
)
def test_what_does_not_fit_is_refused_before_the_launch(project, config):
    from dagster import DagsterInvalidConfigError

    with pytest.raises(DagsterInvalidConfigError):
        execute(project, run_config={"ops": {"a__b": {"config": config}}})
